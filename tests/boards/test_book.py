"""How boards are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfedge.boards.agent import PYTHON
from tfedge.boards.book import Entry, book_path, find_board
from tfedge.errors import InputError


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "tfedge" / "boards.toml"
    assert book_path() == path
    path.parent.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "host", "user"),
    [
        ("pi@raspberrypi", "raspberrypi", "pi"),
        ("shed", "shed", None),
        ("pi@192.168.1.20", "192.168.1.20", "pi"),
        ("fe80::1%eth0", "fe80::1%eth0", None),
    ],
)
def test_as_ssh_calls_it(book: Path, name: str, host: str, user: str | None) -> None:
    assert find_board(name) == Entry(name, host, user)
    assert find_board(name).is_own


@pytest.mark.parametrize(
    "name", ["", "-oProxyCommand=x", "a b", "pi@", "@host", "pi@-x", "-pi@x", "a/b", "a@b@c"]
)
def test_what_is_no_board(book: Path, name: str) -> None:
    """No name is an option of ssh."""
    with pytest.raises(InputError, match=r"is no board: give USER@HOST, .*boards.toml$"):
        find_board(name)


def test_from_the_book(book: Path) -> None:
    book.write_text(
        '[shed]\nhost = "192.168.1.20"\nuser = "pi"\nport = 2222\npython = "my/env/bin/python"\n'
        'runtime = "litert"\n\n["the attic"]\nhost = "attic"\n'
    )
    shed = find_board("shed")
    assert shed == Entry("shed", "192.168.1.20", "pi", 2222, "my/env/bin/python", "litert")
    assert not shed.is_own
    assert find_board("the attic") == Entry("the attic", "attic", python=PYTHON)
    assert find_board("pi@elsewhere").host == "elsewhere"
    with pytest.raises(InputError, match=r"boards\.toml has shed, the attic$"):
        find_board("a cellar")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shed = 1", r"\[shed\] is no table"),
        ("[shed]", r'\[shed\] lacks host = "..."'),
        ('[shed]\nhots = "x"', r"unknown 'hots', perhaps 'host' is meant"),
        ('[shed]\nname = "x"', "unknown 'name'"),
        ('[shed]\nhost = ""', "host = ''; give a name or an address"),
        ("[shed]\nhost = 5", "host = 5; give a name or an address"),
        ('[shed]\nhost = "-x"', "which ssh cannot take"),
        ('[shed]\nhost = "pi@x"', "which ssh cannot take"),
        ('[shed]\nhost = "x"\nuser = "a b"', "which ssh cannot take"),
        ('[shed]\nhost = "x"\nport = 70000', "give a number from 1 to 65535"),
        ('[shed]\nhost = "x"\nport = true', "give a number from 1 to 65535"),
        ('[shed]\nhost = "x"\nport = "22"', "give a number from 1 to 65535"),
        ('[shed]\nhost = "x"\nruntime = "onnx"', "give tflite-runtime or litert"),
        ("[shed", "is not TOML"),
    ],
)
def test_a_book_with_a_mistake(book: Path, text: str, message: str) -> None:
    book.write_text(text)
    with pytest.raises(InputError, match=message):
        find_board("shed")
