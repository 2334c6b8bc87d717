"""The shortsdb command: its subcommands, each loaded when it is needed, and how refusals end."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from shortsdb import streams
from shortsdb.log import as_json, configure, get_logger, operation
from shortsdb.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

log = get_logger(__name__)

# Name, the module below shortsdb.cli that has it, and the first sentence of its help. The modules
# are imported when their command is: `shortsdb --help` and shell completion answer at once.
COMMANDS = {
    "upgrade": ("migrate", "Upgrade the database to REVISION, by default to the newest."),
    "downgrade": ("migrate", "Downgrade the database to REVISION."),
    "stamp": ("migrate", "Write REVISION into the version table, and change nothing else."),
    "status": ("migrate", "Say at which revision the database is, and what is pending."),
    "check": ("migrate", "Compare the database with the models, and look for broken foreign keys."),
    "plan": (
        "plan",
        "Say what an upgrade or downgrade to REVISION would do, by default to the newest.",
    ),
    "rehearse": (
        "plan",
        "Migrate a copy of the SQLite database to REVISION and back, and compare.",
    ),
    "history": ("history", "List the upgrades, downgrades, stamps and adoptions of the database."),
    "health": ("health", "Say whether the database can be reached, is current and sound."),
    "backup": ("backups", "Copy the SQLite database while it is in use, and check the copy."),
    "backups": ("backups", "List the backups of the SQLite database."),
    "restore": ("backups", "Put BACKUP back over the SQLite database."),
    "verify": ("backups", "Restore BACKUP into a temporary file, and check that."),
    "copy": ("transfer", "Copy a database from SQLite to PostgreSQL or back, and compare."),
    "seed": ("seed", "Fill an empty database with a small channel, for trying things out."),
    "console": ("console", "Show the channel in a browser, until Ctrl-C."),
    "diagram": ("diagram", "Draw the tables of the models and how they point to each other."),
}

_CHANGING = {"upgrade", "downgrade", "stamp", "backup", "restore", "copy", "seed"}
_OF_COMMANDS = {"--url", "--schema", "--backup", "--json", "--yes"}


class _Commands(click.Group):
    """Loads subcommands lazily, and turns refusals into one message and exit code 1."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's signature
        streams.make_lenient()
        return super().main(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _one_message(ctx):
            try:
                return super().parse_args(ctx, args)
            except click.NoSuchOption as error:
                if error.option_name not in _OF_COMMANDS:
                    raise
                raise click.UsageError(
                    f"{error.option_name} belongs after the command: "
                    f"shortsdb COMMAND {error.option_name} …",
                    ctx,
                ) from None

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"shortsdb.cli.{COMMANDS[name][0]}"), name)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        configure("shortsdb")
        with operation(), _one_message(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_message(ctx: click.Context) -> Iterator[None]:
    """Turn refusals into click's errors, whose message is safe to print.

    Raises:
        click.ClickException: Something was refused, or the result could not be printed.
    """
    try:
        yield
    except click.exceptions.Exit:  # a command's verdict, or the end of --help
        _settle_output(work_is_done=ctx.invoked_subcommand in _CHANGING)
        raise
    except click.ClickException as error:
        error.message = _without_arguments(error)  # type: ignore[misc]
        raise
    except (BrokenPipeError, click.Abort):  # click ends them by itself
        raise
    except Exception as error:
        from shortsdb.errors import OperationRefused

        if not isinstance(error, OperationRefused | OSError) and not _is_of_alembic(error):
            # Not left to Python, which would print the traceback as it is, names and all.
            log.critical("this should not happen; please report it", exc_info=True)
            ctx.exit(1)
        message = str(error) if isinstance(error, OperationRefused) else printable(error)
        if as_json():
            log.error(message)  # noqa: TRY400 - a refusal needs no traceback
            ctx.exit(1)
        raise click.ClickException(message) from error
    else:
        _settle_output(work_is_done=ctx.invoked_subcommand in _CHANGING)


def _is_of_alembic(error: Exception) -> bool:
    """Return whether an error is one whose message Alembic prints to its users."""
    from alembic.util import CommandError

    return isinstance(error, CommandError)


def _without_arguments(error: click.ClickException) -> str:
    """Return the message of an error, without an argument in it that may hold a password."""
    of_click = isinstance(error, click.UsageError) and not isinstance(error, click.BadParameter)
    if of_click and {"@", "="}.intersection(error.message):
        return "an argument is not understood, and not repeated, as it may hold a password"
    return printable(error.message)


def _settle_output(*, work_is_done: bool) -> None:
    """Say if the result could not be printed, at the end of a command.

    A reader that has left, such as `head`, is no failure: it has read what it wanted.

    Args:
        work_is_done: The command has changed or made something, which counts more than its report.

    Raises:
        click.ClickException: The report was all that the command is for.
    """
    failure = streams.output_failure()
    if failure is None or failure.errno == errno.EPIPE:
        return
    if not work_is_done:
        raise click.ClickException(f"standard output could not be written ({failure.strerror})")
    log.warning("done, but standard output could not be written (%s)", failure.strerror)


_EPILOG = """\b
Environment:
  SHORTSDB_URL                the database, as URL or path
  SHORTSDB_SCHEMA             the schema of a PostgreSQL database
  SHORTSDB_BACKUP             where backups go: a folder, or off
  SHORTSDB_BACKUP_KEEP        how many backups are kept, or how long: 5, or 30d
  SHORTSDB_MUST_EXIST         1 makes upgrade refuse where there is no database
  SHORTSDB_LOCK_TIMEOUT       seconds to wait for a lock: 60, on PostgreSQL 5
                              for a table
  SHORTSDB_STATEMENT_TIMEOUT  seconds for a statement on PostgreSQL: 300
  SHORTSDB_CONSOLE_PASSWORD   what a login of the console needs
  SHORTSDB_LOG                json makes each log record a line of JSON
  SHORTSDB_CORRELATION_ID     the id that all log records of one command carry
  NO_COLOR                    not empty: no colours on a terminal either

\b
Shell completion, in the file that your shell reads first:
  bash  eval "$(_SHORTSDB_COMPLETE=bash_source shortsdb)"
  zsh   eval "$(_SHORTSDB_COMPLETE=zsh_source shortsdb)"
  fish  _SHORTSDB_COMPLETE=fish_source shortsdb | source
"""


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.version_option(package_name="shortsdb")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Create, upgrade, back up and restore the database of the Shorts pipeline.

    The database is the one that --url or SHORTSDB_URL names, as URL or path; without either it is
    ./shortsdb.db. A refusal leaves the database as it was and says why in one message.

    \b
    Exit codes:
      0  done
      1  refused or failed, or `check` has found something
      2  wrong usage
      3  `status --exit-code`: revisions are pending
      4  `status --exit-code` and `check`: there is no such file

    The exit code says whether the work was done. If it was, and only its report could not be
    written, that is a warning; a command that only reports exits with 1 then. A reader that leaves
    early (| head) is no failure.
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    if os.environ.get("NO_COLOR"):  # https://no-color.org; click itself does not look at it
        ctx.color = False
