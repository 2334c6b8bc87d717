"""`alembic revision` writes a complete migration into a checkout, and drift is detected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from project import HEAD, NEXT

if TYPE_CHECKING:
    from project_copy import Checkout


def test_unchanged_models_create_no_revision(checkout: Checkout) -> None:
    before = checkout.revisions()
    done = checkout.run("alembic", "revision", "--autogenerate", "-m", "nothing")
    assert done.returncode == 0, done.stderr
    assert checkout.revisions() == before
    assert checkout.run("alembic", "check").returncode == 0


def test_a_changed_model_creates_the_next_revision(checkout: Checkout) -> None:
    checkout.change(
        "analytics",
        "    like_count:",
        '    polled_at: Mapped[CreatedAt]\n    """When we asked."""\n'
        '    shares: Mapped[int | None]\n    """Shares."""\n    like_count:',
    )
    checkout.change(
        "short",
        "    file_path: Mapped[str | None]",
        "    file_path: Mapped[str | None] = mapped_column(index=True)",
    )
    done = checkout.run("alembic", "revision", "--autogenerate", "-m", "Count shares")
    assert done.returncode == 0, done.stderr
    assert checkout.revisions()[-1] == f"{NEXT}_count_shares.py"
    written = checkout.folder / "alembic" / "versions" / f"{NEXT}_count_shares.py"
    text = written.read_text(encoding="utf-8")
    assert f'down_revision = "{HEAD}"' in text
    assert "shortsdb" not in text
    assert "#" not in text
    assert "Hazard: <what can go wrong" in text
    assert 'server_default=sa.text("CURRENT_TIMESTAMP")' in text
    assert 'with_variant(sa.BigInteger(), "postgresql")' in text
    assert "sa.DateTime(timezone=True)" in text
    assert "ix_shorts_file_path" in text
    for check in (("ruff", "check", "."), ("ruff", "format", "--check", ".")):
        checked = checkout.run(*check)
        assert checked.returncode == 0, checked.stdout
    for arguments in (["upgrade", "head"], ["check"], ["downgrade", "-1"], ["upgrade", "head"]):
        done = checkout.run("alembic", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_revision_gets_the_next_number(checkout: Checkout) -> None:
    assert checkout.run("alembic", "revision", "-m", "by hand").returncode == 0
    assert checkout.revisions()[-1] == f"{NEXT}_by_hand.py"
    chosen = ("--rev-id", "0042", "-m", "chosen")
    assert checkout.run("alembic", "upgrade", "head").returncode == 0
    assert checkout.run("alembic", "revision", *chosen).returncode == 0
    assert checkout.revisions()[-1] == "0042_chosen.py"


@pytest.mark.parametrize(
    ("model", "old", "new", "seen"),
    [
        ("clip", "    rank_position:", "    more: Mapped[str | None]\n    rank_position:", "more"),
        (
            "clip",
            "    rank_position: Mapped[int]",
            "    rank_position: Mapped[str]",
            "rank_position",
        ),
        ("analytics", "view_count: Mapped[int | None]", "view_count: Mapped[int]", "view_count"),
        (
            "discovered_video",
            'Index("idx_discovered_videos_processed", "processed")',
            'Index("idx_discovered_videos_processed", "processed"), Index("idx_more", "title")',
            "idx_more",
        ),
        (
            "tts_audio",
            "    engine_used: Mapped[str]",
            "    engine_used: Mapped[str] = mapped_column(unique=True)",
            "engine_used",
        ),
        (
            "analytics",
            '    __tablename__ = "analytics"',
            '    __tablename__ = "analytics2"',
            "analytics2",
        ),
    ],
    ids=["column", "type", "nullability", "index on a deployed table", "uniqueness", "table"],
)
def test_drift_is_detected(checkout: Checkout, model: str, old: str, new: str, seen: str) -> None:
    if "mapped_column" in new:
        checkout.change(model, "orm import Mapped,", "orm import Mapped, mapped_column,")
    checkout.change(model, old, new)
    done = checkout.run("alembic", "check")
    assert done.returncode != 0
    assert "New upgrade operations detected" in done.stdout
    assert seen in done.stdout
