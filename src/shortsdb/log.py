"""Logging: a correlation id on all records of one operation, and plain or JSON lines."""

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

# The loggers, with their children, whose records get the correlation id. "shortsdb" is among them
# because SQLAlchemy names the logger of a pool after its class, and two pool classes are ours.
_LIBRARIES = {"alembic", "sqlalchemy", "aiosqlite", "psycopg", "shortsdb"}

_correlation_id: ContextVar[str | None] = ContextVar("shortsdb_correlation_id", default=None)


def get_logger(name: str) -> logging.Logger:
    """Return a logger whose records have the attribute `correlation_id` and are safe to print.

    The id is that of the current operation, see `operation`, or None. The id and the `printable`
    arguments of the message are part of the record, so that handlers of an application can print
    them too.
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
    """Add the correlation id to the records of libraries, once per process.

    This needs a record factory, because filters of a logger do not apply to its children, and
    Alembic logs during import. Records of other loggers are unchanged: an application may set the
    attribute with `extra`, which raises if it already exists.
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
    """Give all log records of the block one correlation id; also usable as a decorator.

    The id is SHORTSDB_CORRELATION_ID, or is generated. A nested operation uses the outer id.
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
    """Run a function as one operation, and log its errors before they are raised."""
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
    """Return an error in one line, without the parameters of a statement, which may be secret.

    SQLAlchemy's message, tracebacks and further lines of the driver's message contain them.
    """
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"


def _new_id() -> str:
    given = settings.correlation_id()
    return printable(given, VALUE_LENGTH) if given else uuid4().hex


@contextmanager
def quiet(name: str, level: int) -> Iterator[None]:
    """Raise the level of a logger in the block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def as_json() -> bool:
    """Return whether programs log JSON, by SHORTSDB_LOG=json."""
    return settings.log_format().lower() == "json"


def configure(*informative: str) -> None:
    """Set up logging for a program: one line on standard error for each record.

    The whole program is one operation. If logging is set up already, nothing is changed, because
    the program may run inside an application with its own handlers. From here on, errors of the
    standard streams are not raised, see `shortsdb.streams`.

    Args:
        informative: The loggers that print messages of level INFO; others print only warnings and
            errors.
    """
    if logging.root.handlers:
        return
    streams.make_lenient()
    _correlation_id.set(_new_id())
    handler = logging.StreamHandler()
    handler.addFilter(_prepare)  # for records of other loggers, such as Alembic's
    handler.setFormatter(_Json() if as_json() else _Plain(_plain()))
    logging.basicConfig(handlers=[handler])
    for name in informative:
        logging.getLogger(name).setLevel(logging.INFO)
    wanted = settings.log_format()
    if wanted and not as_json():
        logging.getLogger(__name__).warning("SHORTSDB_LOG is %r: only json is known", wanted)
    if not as_json():
        # The alembic program prints the failure itself.
        logging.getLogger("alembic.util.messaging").setLevel(logging.CRITICAL)


def _plain() -> str:
    given = " [%(correlation_id)s]" if settings.correlation_id() else ""
    return f"%(levelname)-7s %(message)s{given}"


class _Plain(logging.Formatter):
    """Formats a record as one line, followed by its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - logging's signature
        return printable_lines(super().formatException(ei))


class _Json(logging.Formatter):
    """Formats a record as one line of JSON; `exception` is the traceback, if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            # The message of a refusal may have several lines.
            "message": printable_lines(record.getMessage()),
            "correlation_id": getattr(record, "correlation_id", None),
        }
        if record.exc_info:
            fields["exception"] = printable_lines(self.formatException(record.exc_info))
        return json.dumps(fields)  # ASCII only, which every terminal can display
