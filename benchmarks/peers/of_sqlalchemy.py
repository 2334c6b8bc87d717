"""SQLAlchemy with its default engine, and the same tables with its own types."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime, create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry, relationship, sessionmaker

from peers.sessions import MODELS, SessionPeer, relations
from shortsdb.models import metadata
from shortsdb.models.types import UTCDateTime


class Peer(SessionPeer):
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines, on a file or on the URL of a PostgreSQL database."""
        url = path if "://" in path else f"sqlite:///{path}"
        engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
        super().__init__(
            _models(),
            sessionmaker(create_engine(url)),
            engine,
            # As https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html has it.
            async_sessionmaker(engine, expire_on_commit=False),
        )


def _models() -> dict[str, Any]:
    """Map the tables to classes without anything of shortsdb's."""
    mapped = registry()
    for table in metadata.tables.values():
        for column in table.to_metadata(mapped.metadata).columns:
            if isinstance(column.type, UTCDateTime):
                column.type = DateTime()
    models: dict[str, Any] = {name: type(model.__name__, (), {}) for name, model in MODELS.items()}
    for table_name, model in models.items():
        mapped.map_imperatively(
            model,
            mapped.metadata.tables[table_name],
            properties={
                name: relationship(models[other]) for name, other in relations(table_name).items()
            },
        )
    return models
