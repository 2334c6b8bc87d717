"""Engines and sessions, sync and async, that read without a lock and never lose an update.

The same code gives the same guarantees on SQLite and PostgreSQL:

1. A session that is merely used reads without any lock. Its first flush or writing statement takes
   the write lock, for which it waits up to `busy_timeout`, and until commit or rollback everything
   is one transaction. There is one writer at a time.
2. No update is lost. Before a flush writes, the values that it overwrites or deletes are compared
   with what the database holds. If another transaction has changed one of them since it was read,
   the flush raises `StaleRowError`, which names table, primary key and columns, and nothing is
   written. A change of another column of the same row is no conflict.
3. A transaction that is begun explicitly (`factory.begin()`, `session.begin()`, `engine.begin()`)
   takes the write lock before its first statement. What it reads stays true until it commits.
4. A read-only session reads one snapshot. It waits for nobody, and nobody waits for it.
5. `run_transaction` repeats an explicit transaction after a conflict or a lost connection.
   `OutcomeUnknownError` says that the connection was lost during COMMIT; nothing repeats that.

A session that is merely used does not protect a decision based on rows that it does not change, as
in "no review is open, so open one". Neither does it protect bulk statements with values computed
from what was read earlier, nor values that are changed in place (`MutableDict`). Use an explicit
transaction for these.

On PostgreSQL the write lock is an advisory lock of the schema, which programs that do not use
shortsdb do not take. The comparison before a flush protects against them; the decisions of explicit
transactions are not protected from them.
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
