"""SQLModel, with the engine of its tutorial."""

from __future__ import annotations

from types import GenericAlias, new_class
from typing import TYPE_CHECKING, Any

from pydantic import NaiveDatetime
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from peers.sessions import MODELS, SessionPeer, relations
from shortsdb.models import metadata
from shortsdb.models.types import UTCDateTime

if TYPE_CHECKING:
    from sqlalchemy import Table


class Peer(SessionPeer):
    """See `peers.Peer`."""

    def __init__(self, path: str) -> None:
        """Make the engines."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        super().__init__(
            {name: _model(metadata.tables[name]) for name in MODELS},
            sessionmaker(create_engine(f"sqlite:///{path}"), class_=Session),
            engine,
            async_sessionmaker(engine, class_=AsyncSession),
        )


def _model(table: Table) -> Any:  # noqa: ANN401 - made at run time
    """Make a model as one writes it by hand, with a field for each column."""
    types: dict[str, Any] = {}
    values: dict[str, Any] = {"__tablename__": table.name, "__module__": __name__}
    for column in table.columns:
        kind = NaiveDatetime if isinstance(column.type, UTCDateTime) else column.type.python_type
        optional = column.nullable or column is table.autoincrement_column
        types[column.name] = kind | None if optional else kind
        values[column.name] = Field(
            default=None if optional else ...,
            primary_key=column.primary_key,
            foreign_key=next((key.target_fullname for key in column.foreign_keys), None),
        )
    for relation, other in relations(table.name).items():
        name = MODELS[other].__name__
        # A run has lists, others have one.
        types[relation] = GenericAlias(list, (name,)) if relation == other else name
        values[relation] = Relationship()
    values["__annotations__"] = types
    name = MODELS[table.name].__name__
    return new_class(name, (SQLModel,), {"table": True}, lambda body: body.update(values))
