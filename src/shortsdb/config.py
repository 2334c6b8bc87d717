"""Alembic's configuration for the packaged revisions, for use without a checkout."""

from pathlib import Path

from alembic.config import Config

DEFAULT_URL = "sqlite:///shortsdb.db"
"""The database where nobody names one: a file in the present folder."""

_PACKAGE = Path(__file__).parent


def alembic_config(url: str | None = None, *, backup: str | None = None) -> Config:
    """Return a configuration with which `alembic.command` runs the revisions of this release.

    Args:
        url: The database, by URL or path. Without one SHORTSDB_URL counts, then `DEFAULT_URL`.
        backup: Where backups go, a folder or "off". Without one SHORTSDB_BACKUP counts, then the
            folder `backups` beside the file.
    """
    config = Config()
    packaged = _PACKAGE / "alembic"
    # An editable install has the revisions where the checkout has them.
    location = packaged if packaged.is_dir() else _PACKAGE.parents[1] / "alembic"
    # Config reads options with interpolation: a folder may have a % in its name.
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", DEFAULT_URL)
    config.attributes |= {"url": url, "backup": backup}
    return config
