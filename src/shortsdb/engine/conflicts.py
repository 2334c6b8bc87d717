"""Optimistic locking: before a flush, compare the values it overwrites with the database."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Text, bindparam, cast, event, select, tuple_
from sqlalchemy.orm import (
    ColumnProperty,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
    Session,
    SessionTransaction,
    SessionTransactionOrigin,
)
from sqlalchemy.orm.attributes import instance_state

from shortsdb.engine.errors import StaleRow, StaleRowError
from shortsdb.engine.transactions import TrackedConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.orm import InstanceState, UOWTransaction

# By row: the attributes whose values a flush overwrites or deletes.
Overwritten: TypeAlias = "dict[InstanceState[Any], set[str]]"
PrimaryKey: TypeAlias = "tuple[Any, ...]"

# Rows per SELECT. Before 3.32 SQLite took up to 999 parameters (https://sqlite.org/limits.html).
_ROWS_PER_SELECT = 400

# The key under which a flush keeps its connections in `UOWTransaction.attributes`.
_FLUSHING = "shortsdb_connections"

# The objects that the session held when an explicit transaction began, and those attached since.
# All other objects in the session were read under the write lock.
_read_earlier: WeakKeyDictionary[SessionTransaction, set[InstanceState[Any]]] = WeakKeyDictionary()


# The listeners are on `Session` itself, so that the guarantee does not depend on how a session was
# created. They ignore connections of other engines.


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if not isinstance(connection, TrackedConnection):
        return
    explicit = transaction.origin is SessionTransactionOrigin.BEGIN
    # A connection that the caller passed to the session may be in its own explicit transaction.
    connection.lock_first = explicit or (connection.lock_first and session.bind is connection)
    if explicit:
        _read_earlier.setdefault(transaction, set()).update(session.identity_map.all_states())


@event.listens_for(Session, "detached_to_persistent")
def _detached_to_persistent(session: Session, instance: object) -> None:
    transaction = session.get_transaction()
    if transaction is not None and transaction in _read_earlier:
        _read_earlier[transaction].add(instance_state(instance))


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, context: UOWTransaction, _: object) -> None:
    deleted = {instance_state(row) for row in session.deleted}
    overwritten = _overwritten(session, deleted)
    mappers = {instance_state(row).mapper for row in (*session.new, *session.dirty)}
    mappers.update(state.mapper for state in overwritten)
    connections = {}
    for mapper in mappers:
        connection = session.connection(bind_arguments={"mapper": mapper})
        if isinstance(connection, TrackedConnection):
            connections[mapper] = connection
            connection.flushing = True
    context.attributes[_FLUSHING] = set(connections.values())
    transaction = session.get_transaction()
    read_earlier = None if transaction is None else _read_earlier.get(transaction)
    stale: dict[TrackedConnection, list[StaleRow]] = defaultdict(list)
    for mapper, connection in connections.items():
        rows = {state: keys for state, keys in overwritten.items() if state.mapper is mapper}
        # On PostgreSQL other programs may write without taking the advisory lock.
        if read_earlier is not None and connection.dialect.name == "sqlite":
            rows = {state: keys for state, keys in rows.items() if state in read_earlier}
        stale[connection] += _stale_rows(connection, mapper, rows, deleted)
    # Only now, because comparing would raise it.
    for connection, found in stale.items():
        if found:
            connection.refusal = StaleRowError(found)


@event.listens_for(Session, "after_flush")
def _after_flush(_: Session, context: UOWTransaction) -> None:
    for connection in context.attributes.pop(_FLUSHING, ()):
        connection.end_flush()


def _overwritten(session: Session, deleted: set[InstanceState[Any]]) -> Overwritten:
    found: Overwritten = defaultdict(set)
    for row in session.dirty:
        state = instance_state(row)
        for key in tuple(state.committed_state):
            _add_changed(found, state, key)
    for state in deleted:
        found[state].update(state.mapper.column_attrs.keys())
        for relationship in state.mapper.relationships:
            # SQLAlchemy sets the foreign keys of the children to NULL.
            if relationship.passive_deletes != "all":
                _add_changed(found, state, relationship.key, every_child=True)
    return found


def _add_changed(
    found: Overwritten, state: InstanceState[Any], key: str, *, every_child: bool = False
) -> None:
    """Add the columns behind a changed attribute: its own column, or those of a foreign key."""
    attribute = state.mapper.attrs.get(key)
    history = state.attrs[key].history
    if isinstance(attribute, ColumnProperty):
        if history.deleted:  # of a value that was never read nothing can be compared
            found[state].add(key)
    elif isinstance(attribute, RelationshipProperty) and not attribute.viewonly:
        changed = (*history.added, *history.deleted)
        if attribute.direction is RelationshipDirection.MANYTOONE:
            if changed:
                found[state].update(_keys(state.mapper, attribute.local_columns))
        elif attribute.direction is RelationshipDirection.ONETOMANY:
            for child in filter(None, history.sum() if every_child else changed):
                child_state = instance_state(child)
                if child_state.persistent:
                    found[child_state].update(_keys(child_state.mapper, attribute.remote_side))


def _keys(mapper: Mapper[Any], columns: Iterable[ColumnElement[Any]]) -> Iterator[str]:
    for column in columns:
        if isinstance(column, Column) and mapper.c.contains_column(column):
            yield mapper.get_property_by_column(column).key


def _stale_rows(
    connection: TrackedConnection,
    mapper: Mapper[Any],
    rows: Overwritten,
    deleted: set[InstanceState[Any]],
) -> Iterator[StaleRow]:
    """Yield the rows whose values have changed since they were read."""
    read = {state: _values_read(state, keys) for state, keys in rows.items()}
    read = {state: values for state, values in read.items() if values}
    columns = sorted({column for values in read.values() for column in values}, key=str)
    states = list(read)
    for start in range(0, len(states), _ROWS_PER_SELECT):
        portion = states[start : start + _ROWS_PER_SELECT]
        held = _select(connection, mapper, columns, [_primary_key(state) for state in portion])
        for state in portion:
            key = _primary_key(state)
            # The object may hold its key in another type, such as the text "1" for a number.
            row = held.get(key) or next(
                iter(_select(connection, mapper, columns, [key]).values()), None
            )
            names = tuple(
                column.name
                for column, value in read[state].items()
                if row is None or not _is_same(connection, mapper, key, column, value, row[column])
            )
            # Deleting a row that is already deleted loses nothing.
            if names and not (row is None and state in deleted):
                yield StaleRow(mapper.local_table.description, key, names, gone=row is None)


def _values_read(state: InstanceState[Any], keys: Iterable[str]) -> dict[Column[Any], Any]:
    """Return the values with which attributes were loaded; attributes never loaded are omitted."""
    values = {}
    for key in keys:
        column = state.mapper.column_attrs[key].expression
        history = state.attrs[key].history
        # The loaded value is in `deleted` after a change, otherwise in `unchanged`.
        before: Sequence[Any] = history.deleted or history.unchanged or ()
        if before and isinstance(column, Column):
            (values[column],) = before
    return values


def _primary_key(state: InstanceState[Any]) -> PrimaryKey:
    assert state.identity is not None  # noqa: S101 - the row is persistent
    return tuple(state.identity)


def _select(
    connection: Connection,
    mapper: Mapper[Any],
    columns: Sequence[Column[Any]],
    keys: Sequence[PrimaryKey],
) -> dict[PrimaryKey, dict[Column[Any], Any]]:
    """Take the write lock, and return the columns of rows by primary key.

    On PostgreSQL the rows are locked too, because not every program takes the write lock.
    """
    primary_key = mapper.primary_key
    statement = (
        select(*primary_key, *columns)
        .select_from(mapper.persist_selectable)
        .where(tuple_(*primary_key).in_(keys))
        # FOR NO KEY UPDATE still lets other transactions insert rows that refer to these.
        .with_for_update(key_share=True)
    )
    count = len(primary_key)
    return {
        tuple(row[:count]): dict(zip(columns, row[count:], strict=True))
        for row in connection.execute(statement)
    }


def _is_same(  # noqa: PLR0913, PLR0917 - two values, and the location of the second
    connection: Connection,
    mapper: Mapper[Any],
    key: PrimaryKey,
    column: Column[Any],
    read: object,
    held: object,
) -> bool:
    """Return whether a column still holds the value that was read."""
    if column.type.compare_values(read, held) is True:
        return True
    # The database may store a value that this session assigned in another form, such as an aware
    # datetime or the text "1" in a numeric column. So the database compares.
    value: ColumnElement[Any] = bindparam(None, read, type_=column.type)
    stored: ColumnElement[Any] = column
    if connection.dialect.name != "sqlite":
        # Both are compared as text, because some types (JSON) have no equality.
        value, stored = cast(cast(value, column.type), Text), cast(column, Text)
    same = select(stored.is_not_distinct_from(value)).where(tuple_(*mapper.primary_key).in_([key]))
    return bool(connection.scalar(same.select_from(mapper.persist_selectable)))
