"""The next release, played through once: two revisions on a copy of the project."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import legacy_database
import pytest
import shown_commands
from alembic import command
from extra_revision import number
from inspect_sqlite import columns, execute, row_counts, row_hashes, schema, version
from project import HEAD, NEXT
from sample_rows import fill_new_tables
from sqlalchemy import func, select

from shortsdb.database import get_session
from shortsdb.engine import create_engine
from shortsdb.migration.revisions import alembic_config
from shortsdb.models import Script, metadata
from shortsdb.seed import EXAMPLE_END, channel

if TYPE_CHECKING:
    from pathlib import Path

    from postgresql_server import Database

_MODEL = '''"""The stickers table."""

from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shortsdb.models.base import Base
from shortsdb.models.types import CreatedAt, PrimaryKey

if TYPE_CHECKING:
    from shortsdb.models.script import Script


class Sticker(Base):
    """A picture that is laid over a scene; written by the script step."""

    __tablename__ = "stickers"

    id: Mapped[PrimaryKey]
    script_id: Mapped[int] = mapped_column(ForeignKey("scripts.id"), index=True)
    """The script that asks for it."""
    caption: Mapped[str]
    """What is written on it."""
    created_at: Mapped[CreatedAt]
    """When it was made."""

    script: Mapped["Script"] = relationship(passive_deletes="all")
'''
_COLUMN = '''
    sticker_count: Mapped[int | None]
    """How many stickers it asks for."""
'''
_SECOND_COLUMN = '''
    height: Mapped[int | None]
    """Its height in pixels."""
'''


class Project:
    """A copy of the project, in which the next release is made."""

    def __init__(self, folder: Path) -> None:
        """Copy the project to `folder`, and make a database for development at head."""
        shown_commands.copy_checkout(folder)
        self.folder = folder
        self.models = folder / "src" / "shortsdb" / "models"
        self.run("alembic", "upgrade", "head")

    def run(self, program: str, *arguments: str, succeeds: bool = True) -> str:
        """Run a program in the copy, and return what it has printed."""
        environment = shown_commands.environment(self.folder) | {shown_commands.RUNNING: "1"}
        done = subprocess.run(
            [self.folder / ".venv" / "bin" / program, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == succeeds, done.stdout
        return done.stdout

    def insert(self, model: str, after: str, text: str, *, lines_below: int = 0) -> None:
        """Insert text into a model, after the first line that begins with `after`, or below it."""
        file = self.models / f"{model}.py"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(n for n, line in enumerate(lines) if line.strip().startswith(after))
        lines.insert(place + 1 + lines_below, text)
        file.write_text("".join(lines), encoding="utf-8")

    def add_revision(self, revision: str, message: str) -> None:
        """Make a revision as the guide says: generate it, write why, and lint it."""
        self.run("alembic", "revision", "--autogenerate", "-m", message)
        (file,) = (self.folder / "alembic" / "versions").glob(f"{revision}_*.py")
        found = self.run("python", "tools/lint_revisions.py", succeeds=False)
        assert f"{revision}: missing-why: the docstring does not say Why, Question, Hazard" in found
        assert found.count("\n") == 1
        lines = file.read_text(encoding="utf-8").splitlines()
        written = [line.partition("<")[0] + "of a test." * ("<" in line) for line in lines]
        file.write_text("\n".join([*written, ""]), encoding="utf-8")
        assert self.run("python", "tools/lint_revisions.py") == ""
        self.run("alembic", "upgrade", "head")
        self.run("alembic", "check")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the project with two more revisions, and all that is generated of them."""
    project = Project(tmp_path_factory.mktemp("next") / "shortsdb")
    (project.models / "sticker.py").write_text(_MODEL, encoding="utf-8")
    exports = "from shortsdb.models.sticker import Sticker\n"
    project.insert("__init__", "from shortsdb.models.short import Short", exports)
    project.insert("__init__", '"ShortStatus",', '    "Sticker",\n')
    # Below the docstring of the column.
    project.insert("script", "generated_at:", _COLUMN.lstrip("\n"), lines_below=1)
    project.add_revision(NEXT, "Stickers")
    project.insert("sticker", "created_at:", _SECOND_COLUMN.lstrip("\n"), lines_below=1)
    project.add_revision(number(2), "The height of a sticker")
    project.run("python", "tools/generate.py")
    return project


@pytest.fixture
def grown(project: Project, deployed_file: Path) -> Path:
    """Return a deployed file with rows that has run both revisions."""
    project.run("alembic", "-x", f"url={deployed_file}", "upgrade", "head")
    return deployed_file


def test_a_file_with_rows_goes_up_and_down(project: Project, tmp_path: Path) -> None:
    path = legacy_database.make(tmp_path / "rows.db")
    command.upgrade(alembic_config(str(path), backup="off"), "head")
    fill_new_tables(path)
    before, hashes, ddl = columns(path), row_hashes(path), schema(path)
    project.run("alembic", "-x", f"url={path}", "upgrade", "head")
    assert version(path) == [number(2)]
    assert row_hashes(path, before) == hashes
    assert "sticker_count" in columns(path)["scripts"]
    assert "height" in columns(path)["stickers"]
    project.run("alembic", "-x", f"url={path}", "downgrade", HEAD)
    assert version(path) == [HEAD]
    assert schema(path) == ddl
    assert row_hashes(path) == hashes


def test_the_application_of_this_release_goes_on(grown: Path) -> None:
    """It has this release's models, and was started before the upgrade."""
    engine = create_engine(grown)
    with get_session(engine) as session:
        session.add_all(channel(EXAMPLE_END, days=2))
        session.commit()
        for mapper in Script.registry.mappers:
            assert session.scalars(select(mapper.class_)).first() is not None
        script = session.scalars(select(Script)).first()
        assert script is not None
        script.opening_text = "changed"
        session.commit()
        assert session.scalar(select(func.count()).where(Script.opening_text == "changed")) == 1
        session.delete(script)
        session.commit()
    engine.dispose()


def test_rows_of_new_tables_are_copied_to_postgresql(
    project: Project, grown: Path, target: Database
) -> None:
    fill_new_tables(grown)
    execute(grown, "INSERT INTO stickers (script_id, caption) VALUES (1, '猫')")
    execute(grown, "UPDATE scripts SET sticker_count = 1 WHERE id = 1")
    project.run("shortsdb", "copy", str(grown), target.url)
    assert target.psql("SELECT caption, height, created_at < now() FROM stickers") == "猫||t\n"
    assert target.psql("SELECT id, sticker_count FROM scripts ORDER BY id") == "1|1\n2|\n"
    project.run("alembic", "-x", f"url={target.url}", "check")
    project.run("alembic", "-x", f"url={target.url}", "downgrade", HEAD)
    assert target.psql("SELECT count(*) FROM scripts") == f"{row_counts(grown)['scripts']}\n"


def test_what_create_all_of_the_newer_models_made_is_adopted(
    project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "create_all.db"
    make = "from shortsdb.models import metadata; import sqlalchemy as sa;"
    make += f"metadata.create_all(sa.create_engine('sqlite:///{path}'))"
    project.run("python", "-c", make)
    with closing(sqlite3.connect(path)) as connection, connection:
        legacy_database.fill(connection, 60)
    hashes = row_hashes(path)
    assert columns(path).keys() == metadata.tables.keys() | {"stickers"}
    said = project.run("alembic", "-x", f"url={path}", "upgrade", "head")
    assert f"its tables are those of revision {number(2)}" in said
    assert version(path) == [number(2)]
    assert row_hashes(path) == hashes


def test_what_is_generated_knows_the_new_table(project: Project) -> None:
    baselines = {file.stem for file in project.models.parent.glob("migration/baselines/*.sql")}
    assert number(2) in baselines
    assert NEXT not in baselines  # neither released nor the newest
    for file in ("docs/reference/schema.md", "tests/assets/head_postgresql.sql"):
        assert "sticker_count" in (project.folder / file).read_text(encoding="utf-8")
    project.run("python", "-c", "from shortsdb.repositories import AsyncStickerRepository")
    project.run("python", "-c", "from shortsdb.repositories import StickerRepository")
    project.run("python", "-c", "from shortsdb.database import Sticker")
    for check in (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "src", "alembic"),
    ):
        project.run(*check)
