"""Increment a config override in processes and threads by read, add one and commit.

`increment_worker.py DATABASE KIND THREADS TIMES` waits for a line on standard input, counts, and
prints how many increments it committed and how many were refused: "database is locked", or a
conflict. KIND is shortsdb, "shortsdb explicit" (the same), "shortsdb plain" (without an explicit
transaction), sqlalchemy (its default engine) or deferred (a plain BEGIN).
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from shortsdb.engine import StaleRowError, create_engine, session_factory
from shortsdb.models import ConfigOverride

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session, sessionmaker


def default_engine(path: str) -> Engine:
    """Return an engine with SQLAlchemy's defaults."""
    return sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})


def deferred_engine(path: str) -> Engine:
    """Return an engine whose transactions begin with a plain BEGIN."""
    engine = default_engine(path)
    event.listen(engine, "connect", lambda dbapi, _: setattr(dbapi, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def count(factory: sessionmaker[Session], times: int, *, plain: bool) -> tuple[int, int]:
    """Increment the counter `times` times; return the numbers of committed and refused ones."""
    committed = refused = 0
    for _ in range(times):
        try:
            with factory() if plain else factory.begin() as session:
                counter = session.get_one(ConfigOverride, "counter")
                counter.value = str(int(counter.value) + 1)
                if plain:
                    session.commit()
        except StaleRowError:
            refused += 1
        except OperationalError as error:
            if "database is locked" not in str(error):
                raise
            refused += 1
        else:
            committed += 1
    return committed, refused


def main(path: str, kind: str, threads: int, times: int) -> None:
    """Count in `threads` threads, after a line on standard input."""
    make: dict[str, Callable[[str], Engine]] = {
        "shortsdb": create_engine,
        "sqlalchemy": default_engine,
        "deferred": deferred_engine,
    }
    engine = make[kind.split(maxsplit=1)[0]](path)
    factory = session_factory(engine)
    with factory() as session:
        session.get_one(ConfigOverride, "counter")  # connected, and all is imported
    print("ready", flush=True)  # noqa: T201 - how the test hears of it
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        plain = kind.endswith("plain")
        results = list(pool.map(lambda _: count(factory, times, plain=plain), range(threads)))
    engine.dispose()
    print(*(sum(column) for column in zip(*results, strict=True)))  # noqa: T201 - as above


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
