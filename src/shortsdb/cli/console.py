"""shortsdb console."""

from __future__ import annotations

import click

from shortsdb import settings
from shortsdb.cli.options import not_empty, schema_option, url_option
from shortsdb.cli.output import say


@click.command()
@url_option
@schema_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=not_empty,
    help="The address to listen on. Any but this machine's own loopback needs "
    f"{settings.CONSOLE_PASSWORD}.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8642,
    show_default=True,
    help="The port to listen on; 0 chooses a free one.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which browsers ask, such as that of the proxy in front; repeatable.",
)
@click.option(
    "--allow-changes",
    is_flag=True,
    help="Let the reader mark errors as resolved, and set and delete config overrides.",
)
def console(  # noqa: PLR0913 - one parameter for each option
    url: str | None,
    schema: str | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    *,
    allow_changes: bool,
) -> None:
    """Show the channel in a browser, until Ctrl-C.

    Runs, reviews, errors and growth on a first page, and the rows of every table behind it. Reads
    only, unless --allow-changes is given. Needs the extra `console`: pip install
    'shortsdb[console]'.

    \b
    Examples:
      shortsdb console                    http://127.0.0.1:8642/
      shortsdb console --url try.db --port 0
      shortsdb console --allow-changes    errors and overrides can be changed
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    try:
        from shortsdb.console import create_app
        from shortsdb.console.server import is_loopback, listen, serve
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed: pip install 'shortsdb[console]'"
        ) from error
    from shortsdb.cli.target import parse_target, refuse_missing
    from shortsdb.engine import create_engine
    from shortsdb.errors import OperationRefused
    from shortsdb.migration import create_migration_engine

    password = settings.console_password()
    if password is None and not is_loopback(host):
        raise OperationRefused(
            f"--host {host} lets other machines read the database; set "
            f"{settings.CONSOLE_PASSWORD}, and put TLS in front"
        )
    target = parse_target(url, schema)
    refuse_missing(target)
    if target.file is None:
        create_migration_engine(target, changes=False)  # refuses a driver that is not there
    engine = create_engine(
        target.url,
        schema=target.schema,
        # A page must not change the journal mode of the file, nor wait long for a lock.
        pragmas={"journal_mode": None, "busy_timeout": 2_000},
    )
    app = create_app(
        engine,
        allow_changes=allow_changes,
        password=password,
        allowed_hosts=[host, *allowed_hosts],
    )
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/"
    say(
        f"{target.name}: {address} ({'changes allowed' if allow_changes else 'read-only'}); "
        "Ctrl-C ends it"
    )
    if not is_loopback(host):
        say("The password and the rows travel in clear text: put a proxy with TLS in front.")
    try:
        serve(app, listener)
    finally:
        engine.dispose()
