"""shortsdb seed."""

from __future__ import annotations

import click

from shortsdb.cli.options import schema_option, url_option
from shortsdb.cli.output import say


@click.command()
@url_option
@schema_option
def seed(url: str | None, schema: str | None) -> None:
    """Fill an empty database with a small channel, for trying things out.

    Three weeks of three niches up to now: runs at every stage of the pipeline, growing views, open
    reviews and errors. Apart from the times, the rows are the same every time. Refuses a database
    that is not at head, or holds a row already.

    \b
    Example:
      shortsdb upgrade --url try.db && shortsdb seed --url try.db
    """  # noqa: D301 - \b is click's, for lines that stay as they are
    from sqlalchemy import func, select
    from sqlalchemy.exc import DBAPIError

    from shortsdb.cli.target import parse_target
    from shortsdb.database import get_session, seed_db
    from shortsdb.driver_errors import explain
    from shortsdb.engine import create_engine
    from shortsdb.migration import MigrationRefused, outdated, read_status
    from shortsdb.models import metadata
    from shortsdb.models.types import utcnow

    target = parse_target(url, schema)
    found = read_status(target, "off")
    if why_not := outdated(found):
        raise MigrationRefused(why_not)
    engine = create_engine(target.url, schema=target.schema)
    try:
        with get_session(engine) as session:
            seed_db(session, end=utcnow().replace(minute=0, second=0, microsecond=0), days=21)
            for table in metadata.sorted_tables:
                rows = session.scalar(select(func.count()).select_from(table))
                say(f"{table.name}: {rows} rows")
    except ValueError as error:
        raise MigrationRefused(f"{found.database}: {error}") from error
    except DBAPIError as error:
        raise MigrationRefused(explain(error, found.database)) from error
    finally:
        engine.dispose()
