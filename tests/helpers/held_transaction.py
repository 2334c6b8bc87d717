"""Fork during a large transaction; the child exits normally, then the parent commits.

`python held_transaction.py URL JOURNAL_MODE` exits with 0 if the parent could commit.
"""

from __future__ import annotations

import os
import sys

from sqlalchemy import insert

from shortsdb.engine import create_engine, session_factory
from shortsdb.models import ErrorLog


def main(url: str, journal_mode: str) -> None:
    """Write 5,000 rows, most of which no longer fit in the cache, fork, and commit them."""
    engine = create_engine(url, pragmas={"journal_mode": journal_mode, "cache_size": 10})
    row = {"module": "m", "error_type": "e", "error_message": "x" * 200}
    with session_factory(engine).begin() as session:
        session.execute(insert(ErrorLog), [row] * 5_000)
        result = session.connection().exec_driver_sql("SELECT id FROM error_logs")
        result.fetchone()
        child = os.fork()
        if child == 0:
            # The block and the session end, then everything that the interpreter still has.
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with status {status}"
        assert len(result.fetchall()) == 4_999
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
