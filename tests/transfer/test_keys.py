"""Keys of the models' tables, and the order in which both sides of a copy read them."""

from __future__ import annotations

from shortsdb.models import Base
from shortsdb.transfer.keys import foreign_keys, key_order, primary_key

TABLES = Base.metadata.tables


def test_each_table_is_read_in_the_order_of_its_key_by_bytes() -> None:
    assert str(key_order(TABLES["clips"], "C")) == "clips.id"
    assert str(key_order(TABLES["config_overrides"], "C")) == 'config_overrides.key COLLATE "C"'


def test_keys() -> None:
    shorts = TABLES["shorts"]
    assert primary_key(shorts) is shorts.c.id
    assert primary_key(TABLES["config_overrides"]).name == "key"
    assert foreign_keys(shorts) == [
        (shorts.c.pipeline_run_id, TABLES["pipeline_runs"].c.id),
        (shorts.c.clip_id, TABLES["clips"].c.id),
    ]
