"""The lint of unreleased revisions: each rule finds what is bad in its way, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import extra_revision
import lint_revisions
import pytest
import released
from project import NEXT

from shortsdb.migration.revisions import alembic_config

if TYPE_CHECKING:
    from pathlib import Path

_REBUILD = """
with op.batch_alter_table("shorts") as batch:
    batch.alter_column("title", type_=sa.{})
"""
_ADD = 'op.add_column("shorts", sa.Column("mood", sa.String()))'
_DROP = 'op.drop_column("shorts", "mood")'

# Of a revision: the body of upgrade(), that of downgrade(), what stands above them, and the rules
# that find something. What both databases are told of, Squawk finds too.
BAD: dict[str, tuple[str, str, str, set[str]]] = {
    "an import": (_ADD, _DROP, "from shortsdb.models import Short", {"imports-shortsdb"}),
    "an import of a part": (_ADD, _DROP, "import shortsdb.errors", {"imports-shortsdb"}),
    "an error": ('op.execute("UPDATE nowhere SET a = 1")', "pass", "", {"fails"}),
    "an error going down": (_ADD, 'op.drop_column("shorts", "mod")', "", {"fails"}),
    "a question to the rows": (
        'assert op.get_bind().scalar(sa.text("SELECT 1"))',
        "pass",
        "",
        {"cannot-be-printed"},
    ),
    "a commit": (f'{_ADD}\nop.execute("COMMIT")', _DROP, "", {"commits", "transaction-nesting"}),
    "an autocommit block": (
        f"{_ADD}\nwith op.get_context().autocommit_block():\n    pass",
        _DROP,
        "",
        {"commits"},
    ),
    "a rebuild": (
        _REBUILD.format("Text()"),
        _REBUILD.format("String()"),
        "",
        {"rebuilds-table", "changing-column-type"},
    ),
    "a dropped table": (
        'op.drop_table("analytics")',
        'op.create_table("analytics", sa.Column("id", sa.Integer, primary_key=True))',
        "",
        {"drops-released", "ban-drop-table", "downgrade-differs"},
    ),
    "a dropped column": (
        'op.drop_column("shorts", "title")',
        'op.add_column("shorts", sa.Column("title", sa.String()))',
        "",
        {"drops-released", "ban-drop-column"},
    ),
    "a renamed column": (
        'op.alter_column("shorts", "title", new_column_name="headline")',
        'op.alter_column("shorts", "headline", new_column_name="title")',
        "",
        {"drops-released", "renaming-column"},
    ),
    "a dropped index": (
        'op.drop_index("ix_shorts_status", table_name="shorts")',
        'op.create_index("ix_shorts_status", "shorts", ["status"])',
        "",
        {"drops-released", "require-concurrent-index-deletion"},
    ),
    "a required column": (
        'op.add_column("shorts", sa.Column("mood", sa.String(), nullable=False))',
        _DROP,
        "",
        {"not-null-without-default", "adding-required-field"},
    ),
    "an update": ('op.execute("UPDATE clips SET rank_position = 1")', "pass", "", {"changes-rows"}),
    "a delete": (
        'op.execute("WITH gone AS (SELECT 1) DELETE FROM clips")',
        "pass",
        "",
        {"changes-rows"},
    ),
    "a downgrade that does nothing": (_ADD, "pass", "", {"downgrade-differs"}),
    "an index on a table with rows": (
        'op.create_index("ix_shorts_title", "shorts", ["title"])',
        'op.drop_index("ix_shorts_title", table_name="shorts")',
        "",
        {"require-concurrent-index-creation"},
    ),
    "an index that cannot be built in a transaction": (
        'op.create_index("ix_more", "shorts", ["title"], postgresql_concurrently=True)',
        'op.drop_index("ix_more", table_name="shorts")',
        "",
        {"ban-concurrent-index-creation-in-transaction", "prefer-robust-stmts"},
    ),
    "an allowance of nothing": (
        _ADD,
        _DROP,
        'allows = {"rebuilds-table": "it is small"}',
        {"needless-allowance"},
    ),
    "an allowance without a reason": (
        'op.execute("UPDATE clips SET rank_position = 1")',
        "pass",
        'allows = {"changes-rows": ""}',
        {"changes-rows"},
    ),
}
GOOD = {
    "a column": (_ADD, _DROP),
    "a column with a default": (
        'op.add_column("shorts", sa.Column("mood", sa.Text, server_default="", nullable=False))',
        _DROP,
    ),
    "a table": (
        """
op.create_table("moods", sa.Column("id", sa.BigInteger), sa.Column("name", sa.Text, nullable=False))
op.create_index("ix_moods_name", "moods", ["name"])
""",
        'op.drop_table("moods")',
    ),
    "rows of a new table": (
        """
op.create_table("moods", sa.Column("name", sa.Text(), primary_key=True))
op.execute("INSERT INTO moods VALUES ('glad')")
op.execute("DELETE FROM moods")
""",
        'op.drop_table("moods")',
    ),
}


_CONCURRENTLY = (
    'op.create_index("ix_more", "shorts", ["title"], if_not_exists=True,'
    " postgresql_concurrently=True)"
)


def found(folder: Path) -> set[str]:
    """Return the rules that find something in the revisions of a folder."""
    findings = lint_revisions.lint(extra_revision.config(folder, None))
    # The checkout may have unreleased revisions of its own, which are tested below.
    return {finding.rule for finding in findings if finding.revision >= NEXT}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_revision_is_found_by_its_own_rules(bad: str, tmp_path: Path) -> None:
    upgrade, downgrade, attributes, rules = BAD[bad]
    extra_revision.add(tmp_path, upgrade, downgrade=downgrade, attributes=attributes)
    assert found(tmp_path) == rules


@pytest.mark.parametrize("good", GOOD)
def test_nothing_is_found_in_a_good_revision(good: str, tmp_path: Path) -> None:
    upgrade, downgrade = GOOD[good]
    extra_revision.add(tmp_path, upgrade, downgrade=downgrade)
    assert found(tmp_path) == set()


def test_an_index_that_is_built_outside_a_transaction_is_good(tmp_path: Path) -> None:
    drop = 'op.drop_index("ix_more", table_name="shorts")'
    extra_revision.add(tmp_path, _CONCURRENTLY, downgrade=drop, attributes="transactional = False")
    assert found(tmp_path) == set()


def test_a_finding_is_allowed_with_a_reason(tmp_path: Path) -> None:
    allows = 'allows = {"changes-rows": "clips has 40 rows per cycle"}'
    body = 'op.execute("UPDATE clips SET rank_position = 1")'
    extra_revision.add(tmp_path, body, attributes=allows)
    assert found(tmp_path) == set()


@pytest.mark.parametrize("part", ["Why", "Question", "Hazard"])
@pytest.mark.parametrize("left", ["<what the template says>", ""])
def test_a_docstring_that_was_not_filled_in_is_found(part: str, left: str, tmp_path: Path) -> None:
    extra_revision.add(tmp_path, _ADD, downgrade=_DROP)
    (file,) = tmp_path.glob("*.py")
    lines = file.read_text(encoding="utf-8").splitlines()
    changed = [f"{part}: {left}" if line.startswith(f"{part}: ") else line for line in lines]
    file.write_text("\n".join(changed), encoding="utf-8")
    assert found(tmp_path) == {"missing-why"}


def test_what_an_unreleased_revision_made_the_next_may_change(tmp_path: Path) -> None:
    """No released code knows it, and no deployed row is in it."""
    extra_revision.add(tmp_path, _ADD, downgrade=_DROP)
    again = 'op.add_column("shorts", sa.Column("mood", sa.String()))'
    extra_revision.add(tmp_path, _DROP, downgrade=again, place=2)
    assert found(tmp_path) == {"ban-drop-column"}


def test_every_rule_of_ours_is_tested() -> None:
    tested = {rule for *_, rules in BAD.values() for rule in rules}
    assert set(lint_revisions.RULES) - tested == {"frozen", "missing-why"}


def test_the_revisions_of_the_checkout_are_clean() -> None:
    assert list(map(str, lint_revisions.lint(alembic_config()))) == []


def test_released_revisions_are_as_they_were() -> None:
    assert released.changed() == {}
    assert "0001" in released.RELEASED


def test_a_changed_released_revision_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "versions").mkdir()
    for name in ("0001_kept.py", "0002_changed.py", "0003_removed.py"):
        (tmp_path / "versions" / name).write_text("was", encoding="utf-8")
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    monkeypatch.setattr(released, "HASHES", tmp_path / "released.sha256")
    (tmp_path / "released.sha256").touch()
    released.release()
    assert not released.changed()
    (tmp_path / "versions" / "0002_changed.py").write_text("is", encoding="utf-8")
    (tmp_path / "versions" / "0003_removed.py").unlink()
    assert released.changed().keys() == {"versions/0002_changed.py", "versions/0003_removed.py"}
    with pytest.raises(SystemExit, match="0002_changed"):
        released.release()
