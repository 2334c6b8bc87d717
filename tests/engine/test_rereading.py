"""Queries of async sessions read rows again, unless that would overwrite an unsaved change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shortsdb.database import get_session_async
from shortsdb.engine import (
    StaleRowError,
    async_session_factory,
    create_async_engine,
    create_engine,
    session_factory,
)
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def change(url: str) -> Iterator[Callable[[str], None]]:
    """Return a function that gives an override of the database, "0" at first, another value."""
    ours = create_engine(url)

    def change(value: str) -> None:
        with session_factory(ours).begin() as session:
            session.merge(ConfigOverride(key="counter", value=value))

    change("0")
    yield change
    ours.dispose()


def test_a_long_async_session_refreshes_rows_by_select(
    url: str, change: Callable[[str], None]
) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        statement = sqlalchemy.select(ConfigOverride)
        async with async_session_factory(engine)() as session:
            row = (await session.scalars(statement)).one()
            await session.commit()
            change("7")
            assert row.value == "0"  # not expired: as it was
            assert (await session.scalars(statement)).one() is row
            assert row.value == "7"
            row.value = "8"
            assert await session.get(ConfigOverride, "counter") is row
            assert row.value == "8"  # flushed first
            with session.no_autoflush:
                row.value = "9"
                await session.get(ConfigOverride, "counter")
                await session.scalars(statement)
            assert row.value == "9"
        await engine.dispose()

    asyncio.run(main())


def test_a_long_async_session_without_autoflush_refreshes_rows_until_it_changes_one(
    url: str, change: Callable[[str], None]
) -> None:
    async def main() -> None:
        engine = create_async_engine(url)
        statement = sqlalchemy.select(ConfigOverride)
        async with get_session_async(engine) as session:
            row = (await session.scalars(statement)).one()
            await session.commit()
            change("1")
            await session.scalars(statement)
            assert row.value == "1"
            await session.commit()
            change("2")
            session.add(ConfigOverride(key="incomplete"))  # is neither flushed nor in the way
            await session.get(ConfigOverride, "counter")
            assert row.value == "2"
            row.value = "mine"
            await session.get(ConfigOverride, "counter")
            await session.scalars(statement)
            assert row.value == "mine"
        await engine.dispose()

    asyncio.run(main())


def test_a_row_that_is_to_be_deleted_is_not_refreshed(
    url: str, change: Callable[[str], None]
) -> None:
    """Otherwise a change by somebody else would be deleted with it."""

    async def main() -> None:
        engine = create_async_engine(url)
        statement = sqlalchemy.select(ConfigOverride)
        async with get_session_async(engine) as session:
            await session.delete((await session.scalars(statement)).one())
            change("theirs")
            await session.scalars(statement)
            with pytest.raises(StaleRowError):
                await session.commit()
        await engine.dispose()

    asyncio.run(main())


class Own(DeclarativeBase):
    """Mappings of an application."""


class Parent(Own):
    """Its deletion sets the keys of its children to NULL."""

    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    children: Mapped[list[Child]] = relationship()


class Child(Own):
    """One that a flush looks for."""

    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))
    name: Mapped[str]


def test_rows_that_a_flush_loads_keep_their_unsaved_changes(url: str) -> None:
    ours = create_engine(url)
    with ours.begin() as connection:
        Own.metadata.create_all(connection)
    with session_factory(ours).begin() as new:
        new.add(Parent(id=1, children=[Child(id=1, name="read")]))

    async def main() -> None:
        engine = create_async_engine(url)
        async with async_session_factory(engine)() as session:
            child, parent = await session.get_one(Child, 1), await session.get_one(Parent, 1)
            child.name = "mine"
            with session.no_autoflush:
                await session.delete(parent)
            await session.commit()
            await session.refresh(child)
            assert (child.name, child.parent_id) == ("mine", None)
        await engine.dispose()

    asyncio.run(main())
    ours.dispose()
