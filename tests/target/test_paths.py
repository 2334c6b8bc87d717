"""Which texts are plausible paths, which may hold a password, and how paths are expanded."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortsdb.errors import OperationRefused
from shortsdb.paths import absolute, may_hold_password, plausible_path


@pytest.mark.parametrize(
    "text",
    [
        "host=h",
        " \thost\n = h",
        "u:pw",
        "two words:pw",
        "//u:pw@h",
        "//u:pw",
        "postgresql:/u",
        "./a://b",
        "./u:p\nw@h",
        "./x password=y",
        "./x PassWord =y",
        "./passwd=y",
        "./passphrase=y",
        "./sslpassword_2=y",
        "./pwd=y",
        "/x/PWD=y",
    ],
)
def test_implausible_paths_are_refused(text: str) -> None:
    with pytest.raises(OperationRefused, match="neither a URL nor plausibly a path") as refused:
        plausible_path(text)
    assert text.strip() not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *("a b", "./a=b", "./a:b", "/a:b", "/a=b", "sub/a=b", "sub/a:b", "x/host=h"),
        *("a@b", "./a@b:c", "./xpwd=1", "./pass=1", "./pass", "./password", "=", "///a:b"),
    ],
)
def test_plausible_paths_are_accepted(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plausible_path(text) == tmp_path.joinpath(text)


def test_a_path_object_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plausible_path(Path("u:pw@h")) == tmp_path / "u:pw@h"
    assert plausible_path(Path("x://y")) == tmp_path / "x:/y"


def test_text_that_may_hold_a_password() -> None:
    assert may_hold_password("a:b@c")
    assert not may_hold_password("a@b:c")
    assert not may_hold_password("host=h")


def test_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of/somebody")
    assert absolute("~") == Path("/home/of/somebody")
    assert absolute("~/d.db") == Path("/home/of/somebody/d.db")
    assert absolute("./~") == tmp_path / "~"
    assert absolute("a/~/d.db") == tmp_path / "a/~/d.db"
    assert absolute("link/./x/../d.db") == tmp_path / "link/d.db"
    with pytest.raises(OperationRefused, match="there is no such user"):
        absolute("~nobody-at-all/d.db")
