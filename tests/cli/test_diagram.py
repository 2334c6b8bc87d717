"""The diagram shows every table, column and foreign key of the models, the same every time."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from click.testing import CliRunner
from project import PROGRAMS

from shortsdb.cli import main
from shortsdb.diagram import mermaid, svg
from shortsdb.models import metadata

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    (key.table.name, key.referred_table.name, *key.column_keys)
    for table in metadata.tables.values()
    for key in table.foreign_key_constraints
}


def test_mermaid_has_every_table_column_and_key() -> None:
    text = mermaid(metadata)
    tables = dict(re.findall(r"^  (\w+) \{\n(.*?)^  \}", text, re.DOTALL | re.MULTILINE))
    assert tables.keys() == metadata.tables.keys()
    for name, body in tables.items():
        columns = [line.split()[1] for line in body.splitlines()]
        assert columns == [column.name for column in metadata.tables[name].columns]
    keys = re.findall(r"^  (\w+) \|\|--o\{ (\w+) : (\w+)$", text, re.MULTILINE)
    assert {(child, parent, column) for parent, child, column in keys} == KEYS


def test_svg_has_every_table_column_and_key() -> None:
    root = ET.fromstring(svg(metadata))  # noqa: S314 - our own
    groups: dict[str, list[list[str]]] = {"node": [], "edge": []}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if group.get("class") in groups:
            texts = [text.text or "" for text in group.iter("{http://www.w3.org/2000/svg}text")]
            title = group.findtext("{http://www.w3.org/2000/svg}title") or ""
            groups[group.attrib["class"]].append([title, *texts])
    assert {node[0] for node in groups["node"]} == metadata.tables.keys()
    for title, header, *texts in groups["node"]:
        assert header == title
        columns = [column.name for column in metadata.tables[title].columns]
        assert texts[: len(columns)] == columns
        assert [bool(column.nullable) for column in metadata.tables[title].columns] == [
            text.endswith("?") for text in texts[len(columns) : 2 * len(columns)]
        ]
    assert {(*title.split("->"), *labels) for title, *labels in groups["edge"]} == KEYS


def test_the_diagram_is_the_same_every_time(tmp_path: Path) -> None:
    for language in ("mermaid", "svg"):
        pictures = {
            subprocess.run(
                [PROGRAMS / "shortsdb", "diagram", "--format", language],
                cwd=tmp_path,
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(pictures) == 1


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.svg"
    done = CliRunner().invoke(main, ["diagram", "--format", "svg", "-o", str(file)])
    assert (done.exit_code, done.output) == (0, "")
    assert file.read_text(encoding="utf-8") == svg(metadata)
    refused = CliRunner().invoke(main, ["diagram", "-o", str(tmp_path / "no" / "schema")])
    assert refused.exit_code == 1
    assert "No such file or directory" in refused.output
    assert CliRunner().invoke(main, ["diagram", "--format", "png"]).exit_code == 2
