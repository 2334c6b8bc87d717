"""Runs the commands that the pages show, and rewrites the outputs.

A `console` block holds commands, each behind "$ ", and under each what it prints. All blocks of a
page are run in one shell, in a fresh copy of the checkout, which the pages call /srv/shorts. Any
other block that begins with a comment of a relative path is that file, there for the commands after
it. An output line of "…" stands for any lines. A console block under a comment
"<!-- not run: REASON -->" is only shown.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "guides"
PAGES = [
    ROOT / "README.md",
    GUIDES / "operations.md",
    GUIDES / "migrations.md",
    GUIDES / "console.md",
]
SHOWN_FOLDER = "/srv/shorts"
SHOWN_PORT = "8000"
RUNNING = "SHORTSDB_PAGES_RUNNING"
"""Set for the commands of a page, so that `make generate` among them does not run the pages too."""

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FILE_COMMENT = re.compile(r"# (?P<path>\w[\w./-]*\.\w+)\n")

# What differs from one run to the next, each with what stands for it when outputs are compared.
VARYING = {
    r"\b\d{8}T\d{6,12}Z": "<time>",  # in the name of a backup
    r"-[0-9a-f]{8}(?=\.)": "-<path>",  # in a folder that several databases share
    r"\b[\d.]+ ms\b": "<time>",
    r'"latency_seconds": [\d.e-]+': '"latency_seconds": <time>',
    r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b": "<time>",
    r"\b\d+\.\d+ s\b": "<time>",
    r"\b\d+\.\d+ +\d+\.\d+ +(?=\d+\.\d+\.\d+$)": "<times> ",  # of the history
    r"backup age:   [\d.]+ h": "backup age:   <time>",
    r"has [\d.]+ MiB free": "has <size> free",
    r"peak disk:    [\d.]+ MiB": "peak disk:    <size>",
    r"free space:   [\d.]+ MiB": "free space:   <size>",
    r'"free_bytes": \d+': '"free_bytes": <size>',
    r"\b[0-9a-f]{32}\b": "<correlation id>",  # made up
    r"\b\d+ source files": "<number> source files",
    r"\b\d+ passed in [\d.]+s(?: \(\d+:\d\d:\d\d\))?": "<tests> passed",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00": "<time>",
}

_REVISIONS = re.compile(r"\b0\d{3}\b(, 0\d{3}\b)*")


@dataclass
class Block:
    """A fenced block of a page, and where its text begins in the page."""

    language: str
    text: str
    start: int
    reason: str | None

    @property
    def file(self) -> str | None:
        """The file that the block is, if it begins with a comment of its path."""
        match = _FILE_COMMENT.match(self.text)
        return match["path"] if match and self.language != "console" else None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block that is run, each with the output shown."""
        if self.language != "console" or self.reason:
            return []
        parts = re.split(r"^\$ (.*)\n", self.text, flags=re.MULTILINE)
        assert not parts[0], f"output before the first command: {parts[0]}"
        return list(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(match["language"], match["text"], match.start("text"), match["reason"])
        for match in _BLOCK.finditer(page)
    ]


def run(page: str, folder: Path) -> list[str]:
    """Run all commands of a page in `folder`, which is made, and return what each has printed."""
    copy_checkout(folder)
    # What the page leaves running ends with it.
    script = ["trap 'kill $(jobs -p) 2>/dev/null' EXIT"]
    script += ['_shown() { local code=$?; printf "\\n\\001\\n"; return $code; }']
    for block in blocks(page):
        if block.file:
            source = folder / ".shown" / str(len(script))
            source.parent.mkdir(exist_ok=True)
            source.write_text(block.text, encoding="utf-8")
            script.append(f"mkdir -p {Path(block.file).parent}; cp {source} {block.file}")
        script += [line for command, _ in block.commands for line in ("_shown", command)]
    # What the page calls otherwise, here and in what is printed.
    port = str(_free_port())
    real = {SHOWN_FOLDER: str(folder), f"port {SHOWN_PORT}": f"port {port}"}
    real[f":{SHOWN_PORT}/"] = f":{port}/"
    done = subprocess.run(
        ["bash", "-c", _replaced("\n".join(script), real)],  # noqa: S607 - where the system has it
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # as on a terminal
        text=True,
        check=False,
        timeout=600,
    )
    printed = _replaced(done.stdout, {new: shown for shown, new in real.items()})
    outputs = printed.split("\n\001\n")[1:]
    return [output.strip("\n") + "\n" * bool(output.strip()) for output in outputs]


def _replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_checkout(folder: Path) -> None:
    """Copy the checkout to `folder`, which is made; its environment is the one that runs this."""
    ignored = shutil.ignore_patterns(".*", "*.db", "backups", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignored)
    venv = folder / ".venv"
    venv.mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        if (Path(sys.prefix) / part).exists():
            (venv / part).symlink_to(Path(sys.prefix) / part)
    for marker in (".installed", ".installed-dev"):
        (venv / marker).touch()


# What a `make test` around the commands would hand down to the `make` among them.
_OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "SQLALCHEMY", "VENV", "PYTHON"}


def environment(folder: Path) -> dict[str, str]:
    """Return the environment variables for programs that run in a copy of the checkout."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("SHORTSDB_") and name not in _OF_MAKE
    }
    programs = Path(sys.executable).parent
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(folder / "src"),  # the copy's models, not those of the checkout
        "COLUMNS": "80",
        RUNNING: "1",
        "PYTHONUNBUFFERED": "1",  # both streams in the order of a terminal
    }


def same(shown: str, printed: str) -> bool:
    """Return whether an output is the one shown, but for what always differs."""
    return _match(shown, printed) is not None


def _match(shown: str, printed: str) -> re.Match[str] | None:
    pieces = re.split("^…\n", _still(shown), flags=re.MULTILINE)
    return re.fullmatch("((?:.*\n)*?)".join(map(re.escape, pieces)), _still(printed))


def _still(output: str) -> str:
    for pattern, replacement in VARYING.items():
        output = re.sub(pattern, replacement, output, flags=re.MULTILINE)
    return output


def _shortened(shown: str, printed: str) -> str:
    """Return an output with "…" for the lines that the page does not show."""
    unnumbered = [_REVISIONS.sub("<revision>", output) for output in (shown, printed)]
    match = _match(shown, printed) or _match(*unnumbered)
    if match is None:
        return printed
    lines = printed.splitlines(keepends=True)
    for group in reversed(range(1, match.re.groups + 1)):
        first, last = (match.string[:end].count("\n") for end in match.span(group))
        lines[first:last] = ["…\n"]
    return "".join(lines)


def rewritten(page: str, outputs: list[str]) -> str:
    """Return the page with these outputs, or as it is if it shows the same already."""
    remaining = iter(outputs)
    texts = []
    end = 0
    changed = False
    for block in blocks(page):
        texts.append(page[end : block.start])
        end = block.start + len(block.text)
        if not block.commands:
            texts.append(block.text)
        for command, shown in block.commands:
            printed = next(remaining)
            changed |= not same(shown, printed)
            # All of them: the backup that one command names is restored by the next.
            texts.append(f"$ {command}\n{_shortened(shown, printed)}")
    return "".join([*texts, page[end:]]) if changed else page


def write() -> None:
    """Run all pages, and rewrite those that show something else than what was printed.

    Raises:
        SystemExit: A command has failed in a way that no page shows on purpose.
    """
    for file in PAGES:
        text = file.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as temporary:
            outputs = run(text, Path(temporary) / "shorts")
        for output in outputs:
            if "Traceback (most recent call last)" in output or str(ROOT) in output:
                raise SystemExit(
                    f"a command of {file.name} fails, so it is not rewritten:\n{output}"
                )
        file.write_text(rewritten(text, outputs), encoding="utf-8")
