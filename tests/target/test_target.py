"""A plain SQLite file is found without SQLAlchemy, and is the one that SQLAlchemy would open."""

from __future__ import annotations

import pytest

from shortsdb import url as urls
from shortsdb.errors import OperationRefused
from shortsdb.target import Target, _plain_path

_PLAIN = ["a.db", "./a b.db", "../x/a.db", "~/a.db", "/srv/a%41.db"]
_PLAIN_URLS = [
    "sqlite:///a.db",
    "sqlite:////srv/../a.db",
    "sqlite+aiosqlite:///a b.db",
    "sqlite+pysqlite:///./a.db",
]


@pytest.mark.parametrize("given", [*_PLAIN, *_PLAIN_URLS])
def test_the_target_file_is_the_one_that_sqlalchemy_opens(given: str) -> None:
    assert _plain_path(given) is not None
    target, url = Target.parse(given), urls.parse(given)
    assert target.file == urls.file(url)
    assert target.name == urls.display(url)
    assert target.url.database == url.database


@pytest.mark.parametrize(
    "given",
    [
        "",
        ":memory:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///a%41.db",
        "sqlite:///a.db?timeout=3",
        "sqlite:///~/a.db",
        "sqlite:///file:a.db?uri=true",
        "postgresql+psycopg://u:p@h/d",
    ],
)
def test_ambiguous_urls_are_parsed_by_sqlalchemy(given: str) -> None:
    assert _plain_path(given) is None


@pytest.mark.parametrize("given", ["", ":memory:", "sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(given: str) -> None:
    with pytest.raises(OperationRefused, match="gone when the command ends"):
        Target.parse(given).refuse_in_memory()


def test_a_link_is_resolved_to_its_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("links")
    (folder / "real.db").touch()
    (folder / "link.db").symlink_to("real.db")
    target = Target.parse(str(folder / "link.db"))
    assert target.file == folder / "real.db"
    assert target.name == str(folder / "real.db")


def test_a_password_is_not_repeated() -> None:
    for given in ("pass:word@x", "postgresql+psycopg://u:s3@cret@h/d"):
        with pytest.raises(OperationRefused) as refusal:
            Target.parse(given)
        assert "s3" not in str(refusal.value)
        assert "word" not in str(refusal.value).replace("PASSWORD", "").replace("password", "")
