"""The figures that README.md quotes, out of benchmarks/RESULTS.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"

_SECTION = re.compile(
    r"(?<=<!-- figures: by `make generate` -->\n).*?(?=<!-- end of figures -->)", re.DOTALL
)
_STOCK, _DEFAULT = "Alembic, stock env.py", "SQLAlchemy, default engine"

_FIGURES = """
- **With nothing to do**, `shortsdb upgrade` takes {nothing_to_do:.2f} times as long as stock
  Alembic.
- **A deploy of {rows} rows** takes {grown:.2f} times as long as that of an empty file, without
  the backup; Django's, which checks all foreign keys, {django_grown:,.0f} times. The backup takes
  {backup:.1f} times as long as `cp` and `sync`.
- **Eight processes that count at once** lose {lost} of {counted} updates, and count {faster:.1f}
  times as fast as with SQLAlchemy's default engine, which loses {lost_by_default} of them.

"""


def readme_page() -> str:
    """Return README.md with the figures that RESULTS.md has now."""
    at_head = _rows("At head already: nothing to do")
    # The last column is that of the largest file; each of its cells ends with the ratio.
    upgrades = {name: cells[-1] for name, cells in _rows("Wall time of an upgrade, ms").items()}
    backups = _rows("What the backup adds, ms")
    writers = _rows("8 processes")
    ours, by_default = writers["shortsdb"], writers[_DEFAULT]
    figures = _FIGURES.format(
        nothing_to_do=_first(at_head["shortsdb: `shortsdb upgrade`, backup on"][0])
        / _first(at_head[_STOCK][0]),
        rows=upgrades[""].split()[0],
        grown=_last(upgrades["shortsdb: `alembic upgrade head`, backup off"]),
        django_grown=_last(upgrades["Django"]),
        backup=_last(backups["ratio"][-1]),
        faster=_first(ours[0]) / _first(by_default[0]),
        lost=f"{_first(ours[4]):.0f}",
        lost_by_default=f"{_first(by_default[4]):.0f}",
        counted=writers[""][4].split()[-1],
    )
    return _SECTION.sub(lambda _: figures, README.read_text(encoding="utf-8"))


def _rows(title: str) -> dict[str, list[str]]:
    """Return the cells of a table of RESULTS.md, by what its first column says."""
    page = RESULTS.read_text(encoding="utf-8")
    lines = page.partition(f"\n### {title}\n\n")[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {name: rest for name, *rest in cells}


def _first(cell: str) -> float:
    return float(cell.split(maxsplit=1)[0].replace(",", ""))


def _last(cell: str) -> float:
    return float(cell.rsplit(maxsplit=1)[-1].rstrip("x").replace(",", ""))
