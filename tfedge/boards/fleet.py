"""The same work on several boards at the same time, each by itself."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from tfedge.boards import ssh
from tfedge.boards.book import find_board, read_book
from tfedge.boards.remote import Remote
from tfedge.errors import TfedgeError
from tfedge.progress import MakeBar, ProgressBar

_AT_ONCE = 32  # connections
Found = TypeVar("Found")


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[Found]):
    """What came of the work on one board: what was found, or what went wrong."""

    board: str
    found: Found | None = None
    error: TfedgeError | None = None


class _Unshown(ProgressBar):
    """The bar of one board among several, which one bar counts."""

    def __init__(self, description: str, total: int) -> None:
        pass

    def __enter__(self) -> _Unshown:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass

    def update(self, done: int, note: str | None = None) -> None:
        pass


def on_each(
    names: Sequence[str], work: Callable[[Remote], Found], what: str, make_bar: MakeBar
) -> Iterator[Outcome[Found]]:
    """Does some work on boards, and gives what came of it, in their order.

    A board where it fails stops no other; one by itself shows its own progress.

    Args:
        names: of boards, as the user calls them.
        what: is done, for the bar that counts them.

    Raises:
        InputError: one is no board; nothing has been done then.
    """
    book = read_book()
    entries = [find_board(name, book) for name in dict.fromkeys(names)]
    if len(entries) == 1:
        yield _outcome(Remote(entries[0], make_bar), work)
        return
    remotes = [Remote(entry, _Unshown) for entry in entries]
    with concurrent.futures.ThreadPoolExecutor(min(_AT_ONCE, len(remotes))) as pool:
        done = [pool.submit(_outcome, remote, work) for remote in remotes]
        try:
            with make_bar(f"{what} {len(remotes)} boards", len(remotes)) as bar:
                for _ in concurrent.futures.as_completed(done):
                    bar.advance()
        except BaseException:  # an interrupt: nobody is waited for
            pool.shutdown(wait=False, cancel_futures=True)
            ssh.end_all()
            raise
    for one in done:
        yield one.result()


def _outcome(remote: Remote, work: Callable[[Remote], Found]) -> Outcome[Found]:
    try:
        return Outcome(remote.name, work(remote))
    except TfedgeError as error:
        return Outcome(remote.name, error=error)


def exit_code(outcomes: Sequence[Outcome[Found]]) -> int:
    """0 where all is well, the code of what went wrong where that is of one kind, else 1."""
    codes = {one.error.exit_code for one in outcomes if one.error is not None}
    if len(codes) > 1:
        return TfedgeError.exit_code
    return next(iter(codes), 0)
