"""Engines and sessions, sync and async, that read without a lock and never lose an update.

The same code gives the same guarantees on SQLite and PostgreSQL:

1. A session without an explicit transaction reads without a lock. Its first flush or writing
   statement takes the write lock, for which it waits up to `busy_timeout`. From then until commit
   or rollback everything is one transaction. There is one writer at a time.
2. No update is lost. Before a flush writes, the values that it overwrites or deletes are compared
   with the database. If another transaction has changed one of them since it was read, the flush
   raises `StaleRowError`, which names table, primary key and columns, and nothing is written.
   Changes to different columns of one row do not conflict.
3. A transaction that is begun explicitly (`factory.begin()`, `session.begin()`, `engine.begin()`)
   takes the write lock before its first statement. Rows it reads cannot change until it commits.
4. A read-only session reads one snapshot. It does not wait for writers, nor they for it.
5. `run_transaction` repeats an explicit transaction after a conflict or a lost connection.
   `OutcomeUnknownError` means that the connection was lost during COMMIT; it is never repeated.

Use an explicit transaction for a decision based on rows that the session does not change ("no
review is open, so open one"), for bulk statements with values computed from earlier reads, and for
values that are changed in place (`MutableDict`). The comparison before a flush does not cover them.

On PostgreSQL the write lock is an advisory lock of the schema. Programs that do not use shortsdb do
not take it. The comparison before a flush detects their changes, but they can change the rows that
an explicit transaction has read.
"""

from shortsdb.engine.engines import PRAGMAS, create_async_engine, create_engine
from shortsdb.engine.errors import OutcomeUnknownError, ReadOnlyError, StaleRow, StaleRowError
from shortsdb.engine.fork import InUseAtForkError
from shortsdb.engine.retry import run_transaction, run_transaction_async
from shortsdb.engine.sessions import async_session_factory, session_factory
from shortsdb.engine.transactions import READ_ONLY_OPTIONS

__all__ = [
    "PRAGMAS",
    "READ_ONLY_OPTIONS",
    "InUseAtForkError",
    "OutcomeUnknownError",
    "ReadOnlyError",
    "StaleRow",
    "StaleRowError",
    "async_session_factory",
    "create_async_engine",
    "create_engine",
    "run_transaction",
    "run_transaction_async",
    "session_factory",
]
