"""pytest-alembic's own tests, default and experimental, against this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from pytest_alembic import tests
from pytest_alembic.tests import experimental
from sqlalchemy import Engine, create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_alembic import MigrationContext


@pytest.fixture
def alembic_config() -> dict[str, str]:
    """Run pytest-alembic on the checkout's own configuration."""
    return {"file": str(ROOT / "alembic.ini"), "script_location": str(ROOT / "alembic")}


@pytest.fixture
def alembic_engine(tmp_path: Path) -> Iterator[Engine]:
    """Give pytest-alembic a plain engine on a new file."""
    engine = create_engine(f"sqlite:///{tmp_path / 'pytest_alembic.db'}")
    yield engine
    engine.dispose()


def test_single_head_revision(alembic_runner: MigrationContext) -> None:
    tests.test_single_head_revision(alembic_runner)


def test_upgrade(alembic_runner: MigrationContext) -> None:
    tests.test_upgrade(alembic_runner)


def test_model_definitions_match_ddl(alembic_runner: MigrationContext) -> None:
    tests.test_model_definitions_match_ddl(alembic_runner)


def test_up_down_consistency(alembic_runner: MigrationContext) -> None:
    tests.test_up_down_consistency(alembic_runner)


