"""Derives the sync repositories from the async ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "shortsdb" / "repositories"
SYNC = FOLDER / "_sync.py"

# In this order.
_REPLACED = (
    (
        r"\A.*\n",
        '"""Repositories; `make docs` derives them from their async twins, _async.py."""\n',
    ),
    (r"\(await (.*?\)\))\)\.first\(\)", r"\1.first()"),
    (r"\(\s*await (self\.session\.scalars\(.*?\)\))\s*\)\.first\(\)", r"\1.first()"),
    (r"\bawait ", ""),
    (r"\basync def\b", "def"),
    (r"SQLAlchemyAsyncRepository", "SQLAlchemySyncRepository"),
    (r"\bclass Async", "class "),
    (r", for asyncio\.", "."),
)


def sync_repositories() -> str:
    """Return the source of the sync repositories."""
    source = (FOLDER / "_async.py").read_text(encoding="utf-8")
    for pattern, replacement in _REPLACED:
        source = re.sub(pattern, replacement, source)
    return subprocess.run(
        [Path(sys.executable).parent / "ruff", "format", "--stdin-filename", SYNC, "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    SYNC.write_text(sync_repositories(), encoding="utf-8")
