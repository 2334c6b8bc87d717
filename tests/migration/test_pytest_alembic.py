"""pytest-alembic's own tests, default and experimental, against this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from project import ROOT
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
from sqlalchemy.pool import NullPool

from shortsdb.sqlite.history import CREATE

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Server

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


@pytest.fixture(params=["sqlite", "postgresql"])
def alembic_engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """Give pytest-alembic a plain engine on a new database, with the history, which stays."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'pytest_alembic.db'}"
    else:
        server: Server = request.getfixturevalue("postgres")
        # pytest-alembic passes the URL to Alembic's Config, which cannot take a %.
        monkeypatch.setenv("PGHOST", str(server.folder))
        url = f"postgresql+psycopg://shortsdb@/{server.create_database().name}"
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(CREATE)
    return engine
