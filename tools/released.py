"""The released revisions, each with its hash: they are frozen.

    python tools/released.py    adds the revisions of a release that is being made

alembic/released.sha256 is what `sha256sum -c` reads, in the folder alembic/.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "alembic"
HASHES = FOLDER / "released.sha256"


def released() -> dict[str, str]:
    """Return the hash of every released revision's file, by its path in alembic/."""
    lines = HASHES.read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


RELEASED = {Path(path).name.partition("_")[0] for path in released()}


def changed() -> dict[str, str]:
    """Return the released revisions that are not as they were, each with what has become of it."""
    return {
        path: "it was changed after its release" if (FOLDER / path).exists() else "it is gone"
        for path, digest in released().items()
        if not (FOLDER / path).exists() or _digest(FOLDER / path) != digest
    }


def release() -> None:
    """Freeze every revision that there is.

    Raises:
        SystemExit: A revision that is frozen already was changed.
    """
    if changed():
        raise SystemExit(f"released and changed: {', '.join(changed())}")
    files = sorted(FOLDER.glob("versions/*.py"))
    lines = [f"{_digest(file)}  {file.relative_to(FOLDER).as_posix()}\n" for file in files]
    HASHES.write_text("".join(lines), encoding="utf-8")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    release()
