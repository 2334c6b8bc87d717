"""The packaged revisions: which there are, and Alembic's configuration to run them anywhere."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from shortsdb.settings import DEFAULT_URL

if TYPE_CHECKING:
    from alembic.config import Config

_PACKAGE = Path(__file__).parents[1]


def _location() -> Path:
    packaged = _PACKAGE / "alembic"
    # An editable install has the revisions where the checkout has them.
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "alembic"


def revision_ids() -> list[str]:
    """Return the revisions of this release, oldest first, as their files' names say.

    Half a second faster than to ask Alembic; revisions are numbered, and each follows the one
    before.
    """
    return sorted(path.name.partition("_")[0] for path in _location().glob("versions/*.py"))


def checksum(file: str | Path) -> str:
    """Return what tells the text of a revision's file from another, however its lines end."""
    return sha256(b"\n".join(Path(file).read_bytes().splitlines())).hexdigest()


def revision_checksums() -> dict[str, str]:
    """Return the checksum of each revision of this release."""
    files = _location().glob("versions/*.py")
    return {path.name.partition("_")[0]: checksum(path) for path in files}


def alembic_config(
    url: str | None = None,
    *,
    backup: str | None = None,
    schema: str | None = None,
    must_exist: bool | None = None,
) -> Config:
    """Return a configuration with which `alembic.command` runs the revisions of this release.

    Args:
        url: The database, by URL or path. Without one SHORTSDB_URL counts, then `DEFAULT_URL`.
        backup: Where backups go, a folder or "off". Without one SHORTSDB_BACKUP counts, then the
            folder `backups` beside the file.
        schema: The schema of a PostgreSQL database. Without one SHORTSDB_SCHEMA counts.
        must_exist: Whether to refuse where there is no database yet. Without an answer
            SHORTSDB_MUST_EXIST counts.
    """
    from alembic.config import Config  # noqa: PLC0415 - who migrates nothing need not wait for it

    config = Config()
    # Config reads options with interpolation: a folder may have a % in its name.
    config.set_main_option("script_location", str(_location()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", DEFAULT_URL)
    config.attributes |= {
        "url": url,
        "backup": backup,
        "schema": schema,
        "must_exist": must_exist,
    }
    return config
