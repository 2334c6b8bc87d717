"""Logs: a correlation id on every record of one operation, and plain or JSON lines for programs."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import uuid4

from shortsdb import settings, streams
from shortsdb.printable import VALUE_LENGTH, printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

# Loggers of the libraries that an operation uses, and all below them. SQLAlchemy names the logger
# of a pool after its class, and two of those are ours.
_LIBRARIES = {"alembic", "sqlalchemy", "aiosqlite", "psycopg", "shortsdb"}

_correlation_id: ContextVar[str | None] = ContextVar("shortsdb_correlation_id", default=None)


def get_logger(name: str) -> logging.Logger:
    """Return a logger whose records have the attribute `correlation_id`, and are safe to print.

    The id is that of the operation which logs (see `operation`), None outside of any. The record
    itself has it, and in it every value put into the message is `printable`, so that the handlers
    of an application, too, may print both.
    """
    logger = logging.getLogger(name)
    logger.addFilter(_prepare)
    return logger


def _prepare(record: logging.LogRecord) -> bool:
    record.correlation_id = _correlation_id.get()
    if isinstance(record.args, tuple):
        record.args = tuple(
            value if isinstance(value, int | float) else printable(value) for value in record.args
        )
    return True


@cache
def _correlate_libraries() -> None:
    """Give the records of libraries the attribute too, once in a process.

    By the factory of records: the filter of a logger misses the loggers below it, and Alembic logs
    while it is imported, before it has loggers. Records of other loggers stay as they are: an
    application may give its own the attribute by `extra`, which refuses one that is there already.
    """
    make = logging.getLogRecordFactory()

    def factory(*args: Any, **options: Any) -> logging.LogRecord:  # noqa: ANN401 - LogRecord's own
        record = make(*args, **options)
        if record.name.partition(".")[0] in _LIBRARIES:
            record.correlation_id = _correlation_id.get()
        return record

    logging.setLogRecordFactory(factory)


@contextmanager
def operation() -> Iterator[None]:
    """Give everything that is logged inside one correlation id; also a decorator.

    It is SHORTSDB_CORRELATION_ID, or made up. An operation inside another is part of that one.
    """
    if _correlation_id.get() is not None:
        yield
        return
    _correlate_libraries()
    token = _correlation_id.set(_new_id())
    try:
        yield
    finally:
        _correlation_id.reset(token)


def correlation_id() -> str | None:
    """Return the id of the present operation, None outside of any."""
    return _correlation_id.get()


def logged(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function be one operation, and log what it fails with before that is raised."""
    log = get_logger(function.__module__)

    @wraps(function)
    def wrapper(*args: P.args, **options: P.kwargs) -> T:
        with operation():
            try:
                return function(*args, **options)
            except Exception as error:
                log.error("%s failed: %s", function.__name__, _reason(error))  # noqa: TRY400 - see _reason
                raise

    return wrapper


def _reason(error: Exception) -> str:
    """Return an error in one line without the values of a statement, which may be secrets.

    SQLAlchemy's own text and a traceback have them, and so have the driver's further lines.
    """
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"


def _new_id() -> str:
    given = settings.correlation_id()
    return printable(given, VALUE_LENGTH) if given else uuid4().hex


@contextmanager
def quiet(name: str, level: int) -> Iterator[None]:
    """Keep what is below a level out of a logger: of what is only a part of something else."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def as_json() -> bool:
    """Return whether programs log JSON: SHORTSDB_LOG=json."""
    return settings.log_format().lower() == "json"


def configure(*informative: str) -> None:
    """Let a program print what is logged to standard error, a line for each record.

    All of it is one operation. Does nothing if logging is set up already: the program may run
    inside an application, which has handlers of its own. A standard stream that is closed or cannot
    be written to stops nothing from here on, see `shortsdb.streams`.

    Args:
        informative: The loggers whose information is printed; of others only warnings and errors.
    """
    if logging.root.handlers:
        return
    streams.make_lenient()
    _correlation_id.set(_new_id())
    handler = logging.StreamHandler()
    handler.addFilter(_prepare)  # for the records of others, such as Alembic's
    handler.setFormatter(_Json() if as_json() else _Plain(_plain()))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for name in informative:
        logging.getLogger(name).setLevel(logging.INFO)
    wanted = settings.log_format()
    if wanted and not as_json():
        logging.getLogger(__name__).warning("SHORTSDB_LOG is %r: only json is known", wanted)
    if not as_json():
        # The alembic program prints a failure itself; once is enough.
        logging.getLogger("alembic.util.messaging").setLevel(logging.CRITICAL)


def _plain() -> str:
    given = " [%(correlation_id)s]" if settings.correlation_id() else ""
    return f"%(levelname)-7s %(message)s{given}"


class _Plain(logging.Formatter):
    """Writes a record as one line, and its traceback below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - logging's signature
        return printable_lines(super().formatException(ei))


class _Json(logging.Formatter):
    """Writes a record as one line of JSON; `exception` is its traceback, where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            # A refusal may have several lines.
            "message": printable_lines(record.getMessage()),
            "correlation_id": getattr(record, "correlation_id", None),
        }
        if record.exc_info:
            fields["exception"] = printable_lines(self.formatException(record.exc_info))
        return json.dumps(fields)  # in ASCII, which every terminal and program can read
