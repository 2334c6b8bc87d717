"""Draw charts as SVG without scripts and styles; the page gives them their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from markupsafe import Markup

from shortsdb.extras import extra

with extra("console", "pygal"):
    import pygal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SVG = "{http://www.w3.org/2000/svg}"


def line_chart(title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> Markup:
    """Return a chart with a line for each series; the page has the same numbers as a table."""
    return _draw(pygal.Line, title, labels, series)


def bar_chart(title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]]) -> Markup:
    """Return a chart whose bars are stacks of one part for each series."""
    return _draw(pygal.StackedBar, title, labels, series)


def _draw(
    kind: type[pygal.Graph], title: str, labels: Sequence[str], series: Mapping[str, Sequence[int]]
) -> Markup:
    chart = kind(
        width=640,
        height=280,
        js=[],
        css=[],
        disable_xml_declaration=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        show_minor_y_labels=False,
        truncate_legend=24,
        max_scale=5,
        min_scale=2,
        range=None if any(map(any, series.values())) else (0, 1),
        include_x_axis=True,
        formatter=lambda value: f"{value:,.0f}",
        x_labels=labels,
    )
    for name, values in series.items():
        chart.add(name, values)
    chart.add_xml_filter(_plain)
    root = chart.render_tree()
    root.set("role", "img")
    root.set("aria-label", title)
    # The library has escaped all names: this is a serialised tree.
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - as above


def _plain(root: ET.Element) -> ET.Element:
    """Remove the script, the styles, and what only the script would show."""
    for parent in root.iter():
        for child in list(parent):
            names = str(child.get("class", "")).split()
            if child.tag in {"defs", f"{_SVG}defs"} or "tooltip-overlay" in names:
                parent.remove(child)
    return root
