"""pytest-alembic's own tests, default and experimental, against this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from pytest_alembic.tests.experimental import (
    test_all_models_register_on_metadata,
    test_downgrade_leaves_no_trace,
)
from sqlalchemy import Engine, create_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "test_all_models_register_on_metadata",
    "test_downgrade_leaves_no_trace",
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]


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
