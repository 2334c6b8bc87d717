"""Writes the repositories that nobody writes by hand.

Those for asyncio are written in _async.py, where a model that has none yet gets a plain one. From
that file come the sync twins, and what the package exports.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from shortsdb.models import Base

FOLDER = Path(__file__).parents[1] / "src" / "shortsdb" / "repositories"
ASYNC = FOLDER / "_async.py"
SYNC = FOLDER / "_sync.py"
PACKAGE = FOLDER / "__init__.py"

_PLAIN = '''

class Async{model}Repository(SQLAlchemyAsyncRepository[{model}]):
    """The rows of {table}, for asyncio."""

    model_type = {model}
'''
# What makes a sync repository of an async one, in this order.
_REPLACED = (
    (
        r"\A.*\n",
        '"""Repositories; `make generate` derives them from their async twins, _async.py."""\n',
    ),
    (r"\(await (.*?\)\))\)\.first\(\)", r"\1.first()"),
    (r"\(\s*await (self\.session\.scalars\(.*?\)\))\s*\)\.first\(\)", r"\1.first()"),
    (r"\bawait ", ""),
    (r"\basync def\b", "def"),
    (r"SQLAlchemyAsyncRepository", "SQLAlchemySyncRepository"),
    (r"\bclass Async", "class "),
    (r", for asyncio\.", "."),
)


def async_repositories() -> str:
    """Return the source of the async repositories, with a plain one for each model without one."""
    source = ASYNC.read_text(encoding="utf-8")
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: mapper.class_.__name__):
        model = mapper.class_.__name__
        if f"SQLAlchemyAsyncRepository[{model}]" in source:
            continue
        source = source.replace("\n)\n\nwith extra(", f"\n    {model},\n)\n\nwith extra(", 1)
        source += _PLAIN.format(model=model, table=mapper.class_.__tablename__)
        key = mapper.primary_key[0].key
        if key != "id":  # what advanced-alchemy takes for granted
            source += f'    id_attribute = "{key}"\n'
    return _formatted(source, ASYNC)


def sync_repositories() -> str:
    """Return the source of the sync repositories."""
    source = ASYNC.read_text(encoding="utf-8")
    for pattern, replacement in _REPLACED:
        source = re.sub(pattern, replacement, source)
    return _formatted(source, SYNC)


def package() -> str:
    """Return the source of the package, which exports every repository."""
    docstring = PACKAGE.read_text(encoding="utf-8").partition("\nfrom ")[0]
    imports = []
    exported = []
    for module in (ASYNC, SYNC):
        names = re.findall(r"^class (\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
        imports.append(f"from shortsdb.repositories.{module.stem} import {', '.join(names)}\n")
        exported += names
    return _formatted("".join([docstring, "\n", *imports, f"\n__all__ = {exported}\n"]), PACKAGE)


def _formatted(source: str, file: Path) -> str:
    """Return the source as ruff sorts and formats it in `file`."""
    ruff = Path(sys.executable).parent / "ruff"
    sort = ("check", "--fix-only", "--quiet", "--select", "I,RUF022")
    for command in (sort, ("format",)):
        source = subprocess.run(
            [ruff, *command, "--stdin-filename", file, "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return source
