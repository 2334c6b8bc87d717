"""A migration of a SQLite file: when its backup is made, kept and deleted, and who waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import extra_revision
import legacy_database
import pytest
from alembic import command
from inspect_sqlite import execute, file_hash, version
from project import HEAD, NEXT
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import OperationalError

from shortsdb.migration import MigrationRefused, alembic_config, read_applied, sqlite
from shortsdb.migration.revision_run import MigrationHalfApplied
from shortsdb.migration.transaction import ReadersInTheWay
from shortsdb.sqlite.backup import make_backup
from shortsdb.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from project import Program


@pytest.fixture
def other(deployed_file: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection of another program, which waits for nobody."""
    with closing(sqlite3.connect(deployed_file, timeout=0, isolation_level=None)) as other:
        yield other


def upgrade(path: Path, revision: str = "head", backup: str | None = None) -> None:
    command.upgrade(alembic_config(str(path), backup=backup), revision)


def backups(path: Path) -> list[Path]:
    return sorted((path.parent / "backups").glob("*"))


def during(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], None]) -> list[Path]:
    """Call `do` with the number of each backup before it is made; return the backups."""
    made: list[Path] = []

    def make(*arguments: object) -> Path:
        do(len(made))
        made.append(make_backup(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(sqlite, "make_backup", make)
    return made


def test_others_write_while_the_backup_is_made_but_not_while_it_is_made_again(
    deployed_file: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(number: int) -> None:
        if number:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("DELETE FROM clips WHERE id = 1")
        else:
            other.execute("DELETE FROM clips WHERE id = 2")

    made = during(monkeypatch, write)
    upgrade(deployed_file)
    assert len(made) == 2
    # The first one was begun after the write: nothing came after it.
    assert backups(deployed_file) == made[-1:]
    with closing(sqlite3.connect(made[-1])) as connection:
        assert connection.execute("SELECT id FROM clips WHERE id < 3").fetchall() == [(1,)]


def test_a_backup_of_a_file_to_which_nobody_writes_is_made_once(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = during(monkeypatch, lambda _: None)
    upgrade(deployed_file)
    assert backups(deployed_file) == made
    assert len(made) == 1
    adoption, upgraded = read_applied(Target.parse(str(deployed_file)))
    assert (adoption.backup, upgraded.backup) == (str(made[0]), str(made[0]))


@pytest.mark.parametrize(("seconds", "made_again"), [(0.75, True), (1.0, False)])
def test_a_backup_that_takes_a_second_is_not_made_again(  # noqa: PLR0913 - fixtures
    deployed_file: Path,
    other: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    seconds: float,
    *,
    made_again: bool,
) -> None:
    now = [100.0]

    def write_and_take_long(number: int) -> None:
        if not number:
            other.execute("DELETE FROM clips WHERE id = 2")
        now[0] += seconds

    monkeypatch.setattr(sqlite, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = during(monkeypatch, write_and_take_long)
    upgrade(deployed_file)
    assert len(made) == 1 + made_again
    said = f"{deployed_file} was written to after the backup was begun: the last 1 s are not in it"
    assert (said in caplog.text) != made_again
    # The first one is made while others write.
    (upgraded,) = [one for one in read_applied(Target.parse(str(deployed_file))) if one.seconds]
    assert upgraded.seconds is not None
    assert upgraded.seconds_locked is not None
    assert 0 < upgraded.seconds - upgraded.seconds_locked < 2 * seconds


def test_what_another_upgrade_has_done_meanwhile_needs_no_backup(
    deployed_file: Path, alembic: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy that was made in vain is deleted."""
    arguments = ("-x", f"url={deployed_file}", "-x", "backup=off", "upgrade", "head")
    made = during(monkeypatch, lambda _: alembic(*arguments).check_returncode())
    upgrade(deployed_file)
    assert len(made) == 1
    assert backups(deployed_file) == []
    assert version(deployed_file) == [HEAD]


def failed_commit(name: str) -> OperationalError:
    """Return SQLAlchemy's error of a COMMIT that fails as SQLite calls it."""
    error = sqlite3.OperationalError(name)
    error.sqlite_errorname = name
    return OperationalError("COMMIT", None, error)


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (failed_commit("SQLITE_IOERR_FSYNC"), True),
        (failed_commit("SQLITE_FULL"), True),
        (failed_commit("SQLITE_CORRUPT"), True),
        (failed_commit("SQLITE_READONLY"), False),
        (MigrationHalfApplied("a part"), True),
        (MigrationRefused("no"), False),
        (ZeroDivisionError(), False),
    ],
    ids=str,
)
def test_a_backup_is_kept_if_the_database_may_have_changed(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, *, kept: bool
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(sqlite, "commit", fail)
    with pytest.raises((type(error), MigrationRefused)):
        upgrade(deployed_file)
    assert len(backups(deployed_file)) == kept


def test_a_reader_that_stays_is_named_and_nothing_is_changed(
    deployed_file: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "0.1")
    before = file_hash(deployed_file)
    other.execute("BEGIN")
    other.execute("SELECT * FROM clips").fetchone()
    with pytest.raises(MigrationRefused) as refused:
        upgrade(deployed_file)
    assert str(refused.value).startswith(
        f"{deployed_file} is read by another process for longer than 0.1 s (SHORTSDB_LOCK_TIMEOUT)"
    )
    assert isinstance(refused.value.__cause__, ReadersInTheWay)
    assert file_hash(deployed_file) == before
    assert backups(deployed_file) == []


def test_the_upgrade_is_tried_again_until_it_is_time_to_give_up(
    deployed_file: Path,
    other: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    waited: list[tuple[float, float]] = []

    def wait(took: float, until: float) -> bool:
        waited.append((took, until))
        if len(waited) == 3:
            other.execute("ROLLBACK")
        return True

    moments = iter(range(1000, 10_000))
    monkeypatch.setattr("shortsdb.migration.transaction._COMMIT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "wait_for_readers", wait)
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    monkeypatch.setenv("SHORTSDB_LOCK_TIMEOUT", "7000")
    other.execute("BEGIN")
    other.execute("SELECT * FROM clips").fetchone()
    with caplog.at_level("INFO", "shortsdb"):
        upgrade(deployed_file)
    assert version(deployed_file) == [HEAD]
    assert len(backups(deployed_file)) == 1
    assert caplog.text.count("was read by another process: trying again") == 3
    assert all(0 < took < 10 for took, _ in waited)  # since the lock was taken
    (until,) = {until for _, until in waited}
    assert 8000 < until < 8050


def test_a_new_file_with_backups_is_suspicious(
    deployed_file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(deployed_file, "0002")
    upgrade(deployed_file)
    _, backup = backups(deployed_file)
    deployed_file.unlink()
    caplog.clear()
    upgrade(deployed_file, "0001")
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{deployed_file} is new: creating the schema from the first revision",
        (
            f"{deployed_file} is new, but {backup} is a backup of a database at this path: check "
            "that its disk is mounted, or restore that backup"
        ),
    ]
    caplog.clear()
    execute(deployed_file, "DROP TABLE alembic_version")
    upgrade(deployed_file, "0002")  # which adopts it
    upgrade(deployed_file, "0003")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    for setting in ("off", str(deployed_file.parent / "elsewhere")):
        deployed_file.unlink()
        upgrade(deployed_file, "0001", setting)
    deployed_file.unlink()

    def forbidden(self: Path) -> None:  # root may read any folder
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", forbidden)
    upgrade(deployed_file, "0001")
    assert "is a backup of a database" not in caplog.text


@pytest.mark.parametrize("rows", [False, True])
def test_a_backup_that_is_switched_off_is_said_if_there_was_something_to_back_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, rows: bool
) -> None:
    path = tmp_path / "d.db"
    upgrade(path, "0007")
    if rows:
        execute(path, "INSERT INTO config_overrides VALUES ('k', 'v', '2026-01-01', 'me')")
    upgrade(path, "0008", "off")
    said = f"{path}: backup disabled: the data is not checked for corruption"
    assert (said in caplog.text) == rows
    assert backups(path) == []


def test_room_is_needed_without_a_backup_too(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    before = file_hash(deployed_file)
    with pytest.raises(MigrationRefused, match="MiB"):
        upgrade(deployed_file, backup="off")
    assert file_hash(deployed_file) == before


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = legacy_database.make(Path(f"{tmp_path}/\udcff.db"))
    upgrade(path)
    assert version(path) == [HEAD]
    (backup,) = backups(path)
    assert backup.name.startswith("\udcff.0001-upgrade.")


def test_the_backup_is_named_in_what_a_revision_leaves(deployed_file: Path) -> None:
    class WithoutAuthorizer(sqlite3.Connection):
        set_authorizer = None  # type: ignore[assignment]

    raw = "op.get_bind().connection.dbapi_connection"
    extra_revision.add(deployed_file.parent, f"{raw}.commit()")
    url = f"sqlite:///{deployed_file}"
    engine = create_engine(url, connect_args={"factory": WithoutAuthorizer})
    config = extra_revision.config(deployed_file.parent, None)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with pytest.raises(MigrationHalfApplied) as failed:
            command.upgrade(config, "head")
    engine.dispose()
    (backup,) = backups(deployed_file)
    assert f"parts of {NEXT}. The backup of before is {backup}. Restore it" in str(failed.value)


def test_a_backup_that_somebody_has_deleted_hides_no_error(
    deployed_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        backups(deployed_file)[0].unlink()
        raise ZeroDivisionError

    monkeypatch.setattr(sqlite, "commit", fail)
    with pytest.raises(ZeroDivisionError):
        upgrade(deployed_file)


def test_what_the_caller_has_changed_is_the_state_of_before(deployed_file: Path) -> None:
    extra_revision.add(
        deployed_file.parent,
        "with op.batch_alter_table('clips', recreate='always') as batch:\n"
        "    batch.add_column(sa.Column('score', sa.Float))",
    )
    engine = create_engine(f"sqlite:///{deployed_file}", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("DELETE FROM clips WHERE id = 1")
        command.upgrade(extra_revision.config(deployed_file.parent, None, connection), "head")
        connection.commit()
    assert version(deployed_file) == [NEXT]


def test_a_block_of_alembic_outside_of_the_transaction_is_refused(deployed_file: Path) -> None:
    body = "with op.get_context().autocommit_block():\n    op.execute('SELECT 1')"
    extra_revision.add(deployed_file.parent, body)
    before = file_hash(deployed_file)
    with pytest.raises(MigrationRefused, match=f"revision {NEXT} runs COMMIT"):
        command.upgrade(extra_revision.config(deployed_file.parent, deployed_file), "head")
    assert file_hash(deployed_file) == before
