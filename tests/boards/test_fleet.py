"""Several boards at the same time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from bars import Bar, Bars
from server import Server

from tfedge.boards import book
from tfedge.boards.book import Entry, book_path
from tfedge.boards.errors import AccessError, UnreachableError
from tfedge.boards.fleet import Outcome, exit_code, on_each
from tfedge.boards.remote import Remote
from tfedge.errors import InputError


def models(remote: Remote) -> list[dict[str, Any]]:
    return remote.models()


def test_at_the_same_time(ready: Server) -> None:
    """Those that fail stop no other; one bar counts them, and none of a board by itself is shown."""
    bars = Bars()
    names = ["shed", "nobody-listens", "attic", "cellar"]
    found = list(on_each(names, models, "asking", bars))
    assert [(one.board, one.found, type(one.error)) for one in found] == [
        ("shed", [], type(None)),
        ("nobody-listens", None, UnreachableError),
        ("attic", [], type(None)),
        ("cellar", [], type(None)),
    ]
    assert [(bar.description, bar.done) for bar in bars] == [("asking 4 boards", 4)]


def test_nothing_is_done_where_one_is_no_board(ready: Server) -> None:
    asked = []
    with pytest.raises(InputError, match="'a b' is no board"):
        list(on_each(["shed", "a b"], asked.append, "asking", Bars()))
    assert asked == []


def test_the_book_is_read_once(boards: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many boards are in it: each name by itself would read all of them."""
    book_path().parent.mkdir(parents=True)
    names = [f"b{number}" for number in range(20)]
    book_path().write_text("".join(f'[{name}]\nhost = "shed"\n' for name in names))
    reads = []

    def read_book() -> dict[str, Entry]:
        reads.append(1)
        return real()

    real = book.read_book
    monkeypatch.setattr("tfedge.boards.book.read_book", read_book)
    monkeypatch.setattr("tfedge.boards.fleet.read_book", read_book)
    found = on_each(names, lambda remote: remote.entry.host, "asking", Bars())
    assert [one.found for one in found] == ["shed"] * 20
    assert len(reads) == 1


class Interrupted(Bar):
    """One that is interrupted at its first step."""

    def advance(self, count: int = 1) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_waits_for_nobody(ready: Server) -> None:
    book_path().parent.mkdir(parents=True)
    book_path().write_text('[slow]\nhost = "attic"\npython = "sleep 60; echo"\n')
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(on_each(["shed", "slow"], models, "asking", lambda *told: Interrupted(*told)))
    assert time.monotonic() - begin < 20


def test_exit_codes() -> None:
    refused, other = UnreachableError("no"), AccessError("no")
    fine: Outcome[int] = Outcome("a", 1)
    assert exit_code([fine]) == 0
    assert exit_code([fine, Outcome("b", error=refused), Outcome("c", error=refused)]) == 12
    assert exit_code([Outcome("b", error=refused), Outcome("c", error=other)]) == 1
