"""Conflicts of mappings that the models do not use: composite keys, inheritance and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    and_,
    event,
    false,
    func,
    select,
    text,
)
from sqlalchemy import create_engine as plain_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    foreign,
    mapped_column,
    relationship,
)
from sqlalchemy.pool import NullPool

from shortsdb.engine import StaleRowError, create_engine, session_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


class Base(DeclarativeBase):
    """The mappings of this module."""


marked = Table(
    "marked",
    Base.metadata,
    Column("parent_id", ForeignKey("parent.id"), primary_key=True),
    Column("mark_id", ForeignKey("mark.id"), primary_key=True),
)


class Mark(Base):
    """One that many parents have."""

    __tablename__ = "mark"
    id: Mapped[int] = mapped_column(primary_key=True)


class Child(Base):
    """Its parent's deletion sets `parent_id` to NULL, unless it is hidden."""

    __table__ = Table(
        "child",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("parent_id", ForeignKey("parent.id")),
        Column("name", String),
        Column("hidden", Boolean, server_default=false()),
    )
    __mapper_args__ = {"exclude_properties": ["hidden"]}  # noqa: RUF012 - SQLAlchemy's
    if TYPE_CHECKING:
        id: Mapped[int]
        parent_id: Mapped[int | None]
        name: Mapped[str | None]


class Pair(Base):
    """A composite key."""

    __tablename__ = "pair"
    one: Mapped[int] = mapped_column(primary_key=True)
    other: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Parent(Base):
    """The base of an inheritance with a table for each class."""

    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="parent")
    value: Mapped[Any] = mapped_column(JSON, nullable=True)
    pairs: Mapped[int] = column_property(select(func.count()).select_from(Pair).scalar_subquery())
    children: Mapped[list[Child]] = relationship(
        order_by=Child.id,
        primaryjoin=lambda: and_(
            Parent.id == foreign(Child.parent_id), Child.__table__.c.hidden.is_(false())
        ),
    )
    all_children: Mapped[list[Child]] = relationship(viewonly=True)
    marks: Mapped[list[Mark]] = relationship(secondary=marked)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "parent"}  # noqa: RUF012 - SQLAlchemy's


class Grown(Parent):
    """A class of two tables."""

    __tablename__ = "grown"
    id: Mapped[int] = mapped_column(ForeignKey("parent.id"), primary_key=True)
    size: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "grown"}  # noqa: RUF012 - as above


@pytest.fixture
def mapped(url: str) -> Iterator[Engine]:
    """Return an engine on a database with a row or two of each mapping."""
    engine = create_engine(url)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
    with session_factory(engine).begin() as session:
        session.add(Parent(id=1, value={"a": 1}, children=[Child(id=1), Child(id=2)]))
        session.add(Grown(id=2, size=1, marks=[Mark(id=1)]))
        session.add_all(Pair(one=1, other=other, value=other) for other in "ab")
    yield engine
    engine.dispose()


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def refused(session: Session) -> set[str]:
    """Return the rows for which a flush is refused, as they are described."""
    with pytest.raises(StaleRowError) as caught:
        session.flush()
    session.rollback()
    return {str(row).partition(" since")[0] for row in caught.value.rows}


def test_a_composite_key(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        pairs = session.scalars(select(Pair).order_by(Pair.other)).all()
        change(mapped, "UPDATE pair SET value = 'theirs' WHERE other = 'b'")
        for pair in pairs:
            pair.value = "mine"
        assert refused(session) == {"pair 1, 'b': value changed"}
        for pair in pairs:
            pair.value = "mine"
        session.commit()


def test_both_tables_of_a_class_are_compared(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        grown = session.get_one(Grown, 2)
        change(mapped, "UPDATE grown SET size = 7", "UPDATE parent SET value = '7' WHERE id = 2")
        grown.size, grown.value = 8, 8
        assert refused(session) in (
            {"grown 2: size, value changed"},
            {"grown 2: value, size changed"},
        )
        grown.size, grown.value = 8, 8
        session.commit()


def test_a_json_value_is_compared_with_what_the_session_wrote(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        session.expire_on_commit = False
        parent = session.get_one(Parent, 1)
        for value in ({"b": [1, None]}, {"c": 1.5}):
            parent.value = value
            session.commit()
        change(mapped, """UPDATE parent SET value = '{"c": 2}'""")
        parent.value = {}
        assert refused(session) == {"parent 1: value changed"}


@pytest.mark.parametrize("loaded", [True, False])
def test_children_that_a_deletion_changes_are_compared(mapped: Engine, *, loaded: bool) -> None:
    """Only those that the session has: SQLAlchemy reads the others under the lock."""
    with session_factory(mapped)() as session:
        parent = session.get_one(Parent, 1)
        if loaded:
            assert [child.id for child in parent.children] == [1, 2]
        change(
            mapped,
            "INSERT INTO parent (id, kind) VALUES (3, 'parent')",
            "UPDATE child SET parent_id = 3 WHERE id = 2",
            "DELETE FROM pair",  # changes `pairs`, which is no column
        )
        session.delete(parent)
        if loaded:
            assert refused(session) == {"child 2: parent_id changed"}
            session.delete(parent)
        session.commit()
    with session_factory(mapped)() as session:
        assert [child.parent_id for child in session.scalars(select(Child).order_by(Child.id))] == [
            None,
            3,
        ]


def test_a_child_that_is_taken_away_or_is_new(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        parent = session.get_one(Parent, 1)
        first = parent.children[0]
        change(mapped, "UPDATE child SET parent_id = NULL WHERE id = 1")
        parent.children.remove(first)
        parent.children.append(Child(id=3))
        assert refused(session) == {"child 1: parent_id changed"}


def test_other_relationships_are_not_compared(mapped: Engine) -> None:
    """Rows of a secondary table are written one by one, and a viewonly relationship never."""
    change(mapped, "INSERT INTO child (id, parent_id, hidden) VALUES (3, 2, true)")
    with session_factory(mapped)() as session:
        grown = session.get_one(Grown, 2)
        assert [child.id for child in grown.all_children] == [3]
        assert len(grown.marks) == 1
        change(mapped, "UPDATE child SET parent_id = 1 WHERE id = 3")
        session.delete(grown)
        session.commit()
        assert session.scalar(select(marked.c.mark_id)) is None


def test_a_key_of_another_type_is_found(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        child = Child(id="7", name="new")
        session.add(child)
        session.commit()
        assert child.name == "new"
        change(mapped, "UPDATE child SET name = 'theirs'")
        child.name = "mine"
        assert refused(session) == {"child '7': name changed"}
        child.name = "mine"
        session.commit()


def test_deleting_a_row_that_is_deleted_loses_nothing(mapped: Engine) -> None:
    with session_factory(mapped)() as session:
        pairs = session.scalars(select(Pair).order_by(Pair.other)).all()
        change(mapped, "DELETE FROM pair")
        session.delete(pairs[0])
        pairs[1].value = "mine"
        assert refused(session) == {"pair 1, 'b': the row was deleted"}


def test_an_explicit_transaction_on_sqlite_compares_only_rows_read_before(mapped: Engine) -> None:
    """On PostgreSQL others may write without the lock, so that all are compared."""
    statements: list[str] = []
    with session_factory(mapped)() as session, session.begin():
        session.get_one(Pair, (1, "a")).value = "mine"
        event.listen(mapped, "before_cursor_execute", lambda *args: statements.append(args[2]))
        session.flush()
    compared = mapped.dialect.name == "postgresql"
    assert [each.split()[0] for each in statements] == ["SELECT"] * compared + ["UPDATE"]


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
def test_rows_that_refer_to_a_compared_one_can_be_inserted(mapped: Engine, url: str) -> None:
    other = create_engine(url, isolation_level="AUTOCOMMIT")
    with session_factory(mapped)() as session:
        session.get_one(Parent, 1).value = "mine"
        session.flush()
        with other.connect() as connection:
            connection.execute(text("SET lock_timeout = 1"))
            connection.execute(text("INSERT INTO child (id, parent_id) VALUES (9, 1)"))
    other.dispose()


@pytest.mark.parametrize("new_url", ["postgresql"], indirect=True)
def test_compared_rows_are_locked_until_they_are_written(mapped: Engine, url: str) -> None:
    other = plain_engine(url, poolclass=NullPool)
    refusals: list[str] = []

    def overtake(*arguments: Any) -> None:  # noqa: ANN401 - the event's
        if arguments[2].startswith("UPDATE"):
            with other.connect() as connection:
                connection.execute(text("SET lock_timeout = 1"))
                with pytest.raises(OperationalError) as caught:
                    connection.execute(text("UPDATE pair SET value = 'theirs'"))
            refusals.append(str(caught.value.orig))

    with session_factory(mapped)() as session:
        session.get_one(Pair, (1, "a")).value = "mine"
        event.listen(mapped, "before_cursor_execute", overtake)
        session.commit()
    assert len(refusals) == 1
    assert "lock timeout" in refusals[0]
