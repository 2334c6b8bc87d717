"""Models are exported, and say what their tables and columns mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shortsdb.model_docs import column_meanings, find_incomplete_models
from shortsdb.models import Script

if TYPE_CHECKING:
    from project_copy import Checkout

_INCOMPLETE = '''"""The stickers table."""

from sqlalchemy.orm import Mapped

from shortsdb.models.base import Base
from shortsdb.models.types import PrimaryKey


class Sticker(Base):
    __tablename__ = "stickers"

    id: Mapped[PrimaryKey]
    file_path: Mapped[str]
'''


def test_every_model_is_complete() -> None:
    assert not find_incomplete_models()


def test_a_column_means_what_stands_below_it_or_in_its_shape() -> None:
    meanings = column_meanings(Script)
    assert meanings["llm_model_used"] == "The LLM that wrote the script."
    assert meanings["pipeline_run_id"] == "The run that the row belongs to."
    assert list(meanings) == [column.key for column in Script.__table__.columns]


def test_autogenerate_refuses_incomplete_models_by_name(checkout: Checkout) -> None:
    """Alembic itself would print nothing and exit 0: nobody imports the module."""
    (checkout.folder / "src/shortsdb/models/sticker.py").write_text(_INCOMPLETE, encoding="utf-8")
    before = checkout.revisions()
    done = checkout.run("alembic", "revision", "--autogenerate", "-m", "Stickers")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert (
        'add `from shortsdb.models.sticker import Sticker` and "Sticker" in `__all__` to '
        "shortsdb/models/__init__.py" in said
    )
    assert "shortsdb.models.sticker.Sticker has no docstring" in said
    assert "shortsdb.models.sticker.Sticker.file_path has no docstring" in said
    assert "Traceback" not in said
    assert checkout.revisions() == before
