"""Run several sessions step by step, and compare each step with the model.

No step waits: a party that would wait for a lock fails at once, and the model predicts that. So the
test detects readers that wait and writers that do not.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
from contract_model import (
    Database,
    Duplicate,
    Party,
    ReadOnly,
    Refused,
    Row,
    Rows,
    Stale,
    Waits,
)
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Connection, make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from shortsdb.engine import (
    ReadOnlyError,
    StaleRowError,
    async_session_factory,
    create_async_engine,
    create_engine,
    run_transaction,
    run_transaction_async,
    session_factory,
)
from shortsdb.models import PipelineRun, Short
from shortsdb.models.types import utcnow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from sqlalchemy.ext.asyncio import AsyncSession

AT_ONCE = {"busy_timeout": 0}
COLUMNS = ("title", "duration_seconds")
FIRST: Rows = {key: {"title": "0", "duration_seconds": 0.0} for key in (1, 2)}

INCREMENT = "UPDATE shorts SET duration_seconds = duration_seconds + 1 WHERE id = "
CHOSEN = "WITH chosen AS (SELECT id FROM shorts WHERE id = :key) "
INCREMENTS: dict[str, Callable[[Any, int], object]] = {
    "text": lambda on, key: on.execute(text(INCREMENT + ":key"), {"key": key}),
    "comment": lambda on, key: on.execute(text(f"-- why\n/* so */ {INCREMENT}{key}")),
    "cte": lambda on, key: on.execute(
        text(CHOSEN + INCREMENT + "(SELECT id FROM chosen)"), {"key": key}
    ),
    "returning": lambda on, key: on.scalars(text(f"{INCREMENT}{key} RETURNING id")).all(),
    "many": lambda on, key: on.execute(text(INCREMENT + ":key"), [{"key": key}, {"key": -1}]),
    "driver": lambda on, key: connection(on).exec_driver_sql(f"{INCREMENT}{key}"),
    "update": lambda on, key: on.execute(
        update(Short)
        .where(Short.id == key)
        .values(duration_seconds=Short.duration_seconds + 1)
        .execution_options(synchronize_session=False)
    ),
}


def connection(on: Session | Connection) -> Connection:
    """Return the connection of a session, or the connection itself."""
    return on.connection() if isinstance(on, Session) else on


class World:
    """One database, engines on it, and a separate raw connection."""

    def __init__(self, url: str) -> None:
        """Connect, on a database at head."""
        self.refusals: Counter[type[Refused]] = Counter()
        self.engine = create_engine(url, pragmas=AT_ONCE)
        self.async_engine = create_async_engine(url, pragmas=AT_ONCE)
        self.loop = asyncio.new_event_loop()
        self.raw: Any = (
            sqlite3.connect(str(make_url(url).database), timeout=0, isolation_level=None)
            if self.engine.dialect.name == "sqlite"
            else psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        )
        with session_factory(self.engine).begin() as session:
            session.add(PipelineRun(id=1, niche="n", cycle_start=utcnow(), cycle_end=utcnow()))

    def __enter__(self) -> Self:
        """Return the world, to be closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything."""
        self.raw.close()
        self.loop.run_until_complete(self.async_engine.dispose())
        self.loop.close()
        self.engine.dispose()

    def reset(self) -> None:
        """Put the first rows into the database."""
        self.raw.execute("DELETE FROM shorts")
        for key, row in FIRST.items():
            self.raw.execute(
                "INSERT INTO shorts (id, pipeline_run_id, title, duration_seconds) "
                f"VALUES ({key}, 1, '{row['title']}', {row['duration_seconds']})"
            )

    def rows(self) -> Rows:
        """Return the committed rows."""
        found = self.raw.execute("SELECT id, title, duration_seconds FROM shorts").fetchall()
        return {key: dict(zip(COLUMNS, values, strict=True)) for key, *values in found}


class Player:
    """A sync session, and the rows that it has loaded; subclasses are other kinds of party."""

    expires = True

    def __init__(self, world: World, *, read_only: bool = False) -> None:
        """Create a session, which does not connect yet."""
        self.world = world
        self.read_only = read_only
        self.loaded: dict[int, Short] = {}
        self.nested: Any = None
        self.open()

    def open(self) -> None:
        """Make the session."""
        self.session = session_factory(self.world.engine, read_only=self.read_only)()

    def run(self, step: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - what the step returns
        """Run a step on the session."""
        return step(self.session)

    def forget(self, on: Session) -> None:
        """Forget loaded rows, as after a rollback."""
        on.expunge_all()
        self.loaded.clear()

    def expire(self, on: Session) -> None:
        """Expire loaded rows, as after a statement that changed them."""
        on.expire_all()

    def flush(self, on: Session) -> None:
        """Flush."""
        on.flush()

    def run_transaction(self, work: Callable[[Any], None]) -> None:
        """Run an explicit transaction, in a session of its own."""
        run_transaction(session_factory(self.world.engine), work)


class AsyncPlayer(Player):
    """An async session, whose rows do not expire."""

    expires = False

    def open(self) -> None:
        """Make the session."""
        factory = async_session_factory(self.world.async_engine, read_only=self.read_only)
        self.async_session = factory()

    def run(self, step: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - what the step returns
        """Run a step on the session."""
        return self.world.loop.run_until_complete(self.async_session.run_sync(step))

    def run_transaction(self, work: Callable[[Any], None]) -> None:
        """Run an explicit transaction, in a session of its own."""

        async def async_work(session: AsyncSession) -> None:
            await session.run_sync(work)

        factory = async_session_factory(self.world.async_engine)
        self.world.loop.run_until_complete(run_transaction_async(factory, async_work))


class CorePlayer(Player):
    """A connection without a session."""

    def open(self) -> None:
        """Connect."""
        self.connection = self.world.engine.connect()

    def run(self, step: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - what the step returns
        """Run a step on the connection."""
        return step(self.connection)

    def forget(self, on: Any) -> None:  # noqa: ANN401 - it has loaded nothing
        """There is nothing to forget."""

    expire = flush = forget


PLAYERS: dict[str, Callable[[World], Player]] = {
    "one": Player,
    "two": Player,
    "reader": lambda world: Player(world, read_only=True),
    "async": AsyncPlayer,
    "async reader": lambda world: AsyncPlayer(world, read_only=True),
    "core": CorePlayer,
}
ANYBODY = st.sampled_from(["one", "two", "async", "core"] * 2 + ["reader", "async reader"])
WRITERS = st.sampled_from(["one", "two", "async", "core"])
# A session that may only read can still be asked to write.
SESSIONS = st.sampled_from(["one", "two", "async"] * 3 + ["reader", "async reader"])
# Most of them meet at one row.
KEYS = st.sampled_from([1, 1, 1, 2, 3])
ACTS = st.sampled_from(["change", "change a row that is gone", "delete", "insert"])
VALUES = st.integers(0, 2)


def row(value: int) -> Row:
    """Return the columns of a row."""
    return {"title": str(value), "duration_seconds": float(value)}


class ContractMachine(RuleBasedStateMachine):
    """Each rule is a step of one party, on the database and in the model."""

    def __init__(self, world: World) -> None:
        """Start with the first rows and idle parties."""
        super().__init__()
        self.world = world
        world.reset()
        self.model = Database({key: dict(row) for key, row in FIRST.items()})
        self.players = {name: make(world) for name, make in PLAYERS.items()}
        self.parties = {
            name: Party(self.model, player.read_only, player.expires)
            for name, player in self.players.items()
        }

    def teardown(self) -> None:
        """Give all connections back."""
        for player in self.players.values():
            player.run(lambda on: on.close())

    def play(
        self, who: str, predict: Callable[[Party], Any], step: Callable[[Any, Player], Any]
    ) -> None:
        """Run a step of a party, and check that it ends as the model predicts."""
        player, party = self.players[who], self.parties[who]
        try:
            predicted = predict(party)
        except Refused as refusal:
            with pytest.raises(self.errors(refusal)) as caught:
                player.run(lambda on: step(on, player))
            self.look_at(caught.value, refusal)
            self.world.refusals[type(refusal)] += 1
            self.end(who, "rollback")
        else:
            assert player.run(lambda on: step(on, player)) == predicted

    def errors(self, refusal: Refused) -> tuple[type[Exception], ...]:
        """Return the exceptions that a refusal is raised as."""
        on_sqlite = self.world.engine.dialect.name == "sqlite"
        return {
            Waits: (OperationalError,),
            ReadOnly: (ReadOnlyError if on_sqlite else DBAPIError,),
            Duplicate: (IntegrityError,),
            Stale: (StaleRowError,),
        }[type(refusal)]

    def look_at(self, error: Exception, refusal: Refused) -> None:
        """Check that the error names the refused rows and the reason."""
        if isinstance(refusal, Stale):
            assert isinstance(error, StaleRowError)
            assert {row.table for row in error.rows} == {"shorts"}
            named = {row.primary_key[0]: set(row.columns) for row in error.rows}
            assert named == refusal.columns
            gone = {row.primary_key[0] for row in error.rows if row.gone}
            assert gone == refusal.columns.keys() - self.model.committed.keys()
        elif isinstance(refusal, Waits):
            assert "database is locked" in str(error) or "lock timeout" in str(error)
        elif isinstance(refusal, ReadOnly):
            assert "read-only" in str(error)

    def end(self, who: str, how: str) -> None:
        """Roll back or close, which rolls back too."""
        player, party = self.players[who], self.parties[who]
        party.rollback()
        player.nested = None
        player.run(lambda on: (getattr(on, how)(), player.forget(on)))
        if how == "close":
            player.open()

    @invariant()
    def the_database_holds_what_was_committed(self) -> None:
        """Check that the database holds all committed rows and no others."""
        assert self.world.rows() == self.model.committed

    @rule(who=WRITERS)
    def begin(self, who: str) -> None:
        """Begin explicitly."""
        if not self.parties[who].began:
            self.play(who, Party.begin, lambda on, _: (on.begin(), None)[1])

    @rule(who=SESSIONS, key=KEYS)
    def read(self, who: str, key: int) -> None:
        """Load a row, or see it again."""

        def step(on: Session, player: Player) -> Row | None:
            found = on.scalars(select(Short).where(Short.id == key)).one_or_none()
            if found is None:
                return None
            player.loaded[key] = found
            return {column: getattr(found, column) for column in COLUMNS}

        self.play(who, lambda party: party.read(key), step)

    @rule(who=ANYBODY)
    def look(self, who: str) -> None:
        """Read all rows without loading them."""

        def step(on: Session | Connection, _: Player) -> Rows:
            found = connection(on).execute(select(Short.id, Short.title, Short.duration_seconds))
            return {key: dict(zip(COLUMNS, values, strict=True)) for key, *values in found}

        self.play(who, Party.select, step)

    @rule(who=SESSIONS, key=KEYS, column=st.sampled_from(COLUMNS), value=VALUES)
    def change(self, who: str, key: int, column: str, value: int) -> None:
        """Assign to a column of a row, which is loaded unless it was before."""
        if self.knows(who, key):
            assigned = row(value)[column]

            def step(_: Session, player: Player) -> None:
                setattr(player.loaded[key], column, assigned)

            self.play(who, lambda party: party.change(key, column, assigned), step)

    @rule(who=SESSIONS, key=KEYS, value=VALUES)
    def add(self, who: str, key: int, value: int) -> None:
        """Add a row. Somebody else may have added it, too."""
        party = self.parties[who]
        if key not in party.seen and key not in party.added:

            def step(on: Session, player: Player) -> None:
                player.loaded[key] = Short(id=key, pipeline_run_id=1, **row(value))
                on.add(player.loaded[key])

            self.play(who, lambda party: party.add(key, row(value)), step)

    @rule(who=SESSIONS, key=KEYS)
    def delete(self, who: str, key: int) -> None:
        """Delete a row, which is loaded unless it was before."""
        if self.knows(who, key):
            self.play(
                who,
                lambda party: party.delete(key),
                lambda on, player: on.delete(player.loaded[key]),
            )

    def knows(self, who: str, key: int) -> bool:
        """Return whether a session has a row, after loading it if it had not or it is expired."""
        party = self.parties[who]
        if not party.seen.get(key) and key not in party.added:
            self.read(who, key)
        return bool(party.seen.get(key)) and key not in party.deleted

    @rule(who=SESSIONS)
    def flush(self, who: str) -> None:
        """Write what is changed."""
        self.play(who, Party.flush, lambda on, _: on.flush())

    @rule(who=ANYBODY, key=KEYS, form=st.sampled_from(sorted(INCREMENTS)))
    def increment(self, who: str, key: int, form: str) -> None:
        """Add one by a statement, after a flush, and expire what was loaded."""

        def step(on: Any, player: Player) -> None:  # noqa: ANN401 - a session or a connection
            player.flush(on)
            INCREMENTS[form](on, key)
            player.expire(on)

        self.play(who, lambda party: party.increment(key, "duration_seconds"), step)

    @rule(who=ANYBODY, key=KEYS)
    def remove(self, who: str, key: int) -> None:
        """Delete a row by a statement, after a flush, and expire what was loaded."""

        def step(on: Any, player: Player) -> None:  # noqa: ANN401 - a session or a connection
            player.flush(on)
            on.execute(text("DELETE FROM shorts WHERE id = :key"), {"key": key})
            player.expire(on)

        self.play(who, lambda party: party.remove(key), step)

    @rule(who=WRITERS)
    def begin_savepoint(self, who: str) -> None:
        """Set a savepoint; one at a time."""
        if self.parties[who].savepoint is None:

            def step(on: Any, player: Player) -> None:  # noqa: ANN401 - a session or a connection
                player.nested = on.begin_nested()
                connection(on)  # a session sets it when it needs the connection

            self.play(who, Party.begin_savepoint, step)

    @rule(who=WRITERS, keep=st.booleans())
    def end_savepoint(self, who: str, *, keep: bool) -> None:
        """Release a savepoint or roll back to it."""
        if self.parties[who].savepoint is not None:

            def roll_back(on: Any, player: Player) -> None:  # noqa: ANN401 - as above
                player.nested.rollback()
                player.forget(on)

            if keep:
                self.play(who, Party.release_savepoint, lambda _, player: player.nested.commit())
            else:
                self.play(who, Party.rollback_savepoint, roll_back)

    @rule(who=ANYBODY)
    def commit(self, who: str) -> None:
        """Commit. A reader's next transaction reads a new snapshot."""

        def step(on: Any, player: Player) -> None:  # noqa: ANN401 - a session or a connection
            on.commit()
            for key in player.loaded.keys() - self.parties[who].seen.keys():
                del player.loaded[key]

        self.play(who, Party.commit, step)

    @precondition(lambda self: self.model.holder is not None)
    @rule()
    def commit_what_is_written(self) -> None:
        """Whoever holds the lock commits, so that others come to write."""
        self.commit(next(name for name, p in self.parties.items() if p is self.model.holder))

    @precondition(lambda self: any(self.changed()))
    @rule()
    def commit_what_is_changed(self) -> None:
        """A session that has changed something commits."""
        self.commit(next(self.changed()))

    def changed(self) -> Iterator[str]:
        """Return the sessions that have something to flush."""
        return (name for name, p in self.parties.items() if p.changes or p.added or p.deleted)

    @rule(who=ANYBODY, how=st.sampled_from(["rollback", "close"]))
    def roll_back(self, who: str, how: str) -> None:
        """Roll back, or close."""
        self.end(who, how)

    @rule(who=st.sampled_from(["one", "async"]), key=KEYS, fails=st.booleans())
    def run_transaction(self, who: str, key: int, *, fails: bool) -> None:
        """Read, add one and commit, or fail after the flush."""

        def work(session: Session) -> None:
            found = session.get(Short, key)
            if found is not None:
                found.duration_seconds = (found.duration_seconds or 0) + 1
            session.flush()
            if fails:
                raise ZeroDivisionError

        player = self.players[who]
        if self.model.holder is not None:
            with pytest.raises(OperationalError, match=r"database is locked|lock timeout"):
                player.run_transaction(work)
        elif fails:
            with pytest.raises(ZeroDivisionError):
                player.run_transaction(work)
        else:
            player.run_transaction(work)
            party = Party(self.model)
            party.increment(key, "duration_seconds")
            party.commit()

    @precondition(lambda self: self.model.holder is None)
    @rule(key=KEYS, column=st.sampled_from(COLUMNS), value=VALUES)
    def write_past_shortsdb(self, key: int, column: str, value: int) -> None:
        """Commit a change as a program does that knows nothing of shortsdb."""
        self.world.raw.execute(f"UPDATE shorts SET {column} = '{value}' WHERE id = {key}")
        if key in self.model.committed:
            self.model.committed[key] = self.model.committed[key] | {column: row(value)[column]}

    @precondition(lambda self: self.model.holder is None)
    @rule(key=KEYS)
    def delete_past_shortsdb(self, key: int) -> None:
        """Delete a row as a program does that knows nothing of shortsdb."""
        self.world.raw.execute(f"DELETE FROM shorts WHERE id = {key}")
        self.model.committed.pop(key, None)

    @rule(who=SESSIONS, key=KEYS, column=st.sampled_from(COLUMNS), act=ACTS)
    def overtake(self, who: str, key: int, column: str, act: str) -> None:
        """Let a session change a row, somebody else too, and the session commit.

        The other rules come to this in one example of twenty. Whoever holds the lock commits
        first, as in most examples somebody holds it at most times; and neither of the two writes
        what the session has read, which would be no conflict.
        """
        if self.model.holder is not None:
            self.commit_what_is_written()
        known = act != "insert" and self.knows(who, key)
        read = int(float(self.parties[who].seen[key][column])) if known else 0
        if act == "insert":
            self.add(who, key, read + 1)
        elif act == "delete":
            self.delete(who, key)
        else:
            self.change(who, key, column, read + 1)
        if self.model.holder is None:  # an explicit session has it now
            if act == "change a row that is gone":
                self.delete_past_shortsdb(key)
            else:
                self.write_past_shortsdb(key, column, read + 2)
        self.commit(who)
