"""Progress on standard error: a live bar on a terminal, in a notebook one line that changes, a line
every 10 seconds elsewhere; with --quiet none of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

from rich import progress
from rich.console import Console

from tfedge.notes import is_quiet
from tfedge.runtime.errors import one_line, shortened
from tfedge.runtime.terminal import say, silence

_HELD_OUT = "eval_"  # how figures begin that are of texts that are not trained on
_SECONDS_BETWEEN_LINES = 9.0  # and some room
_SECONDS_BETWEEN_CHANGES = 0.5  # of the line in a notebook


# Told how many more steps are done.
Progress = Callable[[int], None]


def unheard(count: int) -> None:
    """The progress that nobody asks for."""


class ProgressBar:
    """One bar; also a context manager.

    Args:
        description: what is being done, in a few words.
        total: how many steps that takes.
    """

    def __init__(self, description: str, total: int) -> None:
        self._description, self._total = one_line(description), total  # names of files may be in it
        self._done, self._note = 0, ""
        self._first: tuple[int, float] | None = None  # of the updates: steps, and when
        self._last = 0.0  # when the last one was
        self._ended = threading.Event()
        self._bar: progress.Progress | None = None
        self._is_quiet = is_quiet()
        self._line: _NotebookLine | None = None
        self._telling: threading.Thread | None = None
        if self._is_quiet:
            return
        if _is_notebook():
            self._line = _NotebookLine()
        elif sys.stderr is not None and sys.stderr.isatty():
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[note]}", markup=False),
                console=Console(file=cast(TextIO, _Terminal(sys.stderr))),
            )
            self._task = self._bar.add_task(self._description, total=total, note="")

    def __enter__(self) -> ProgressBar:
        if self._bar:
            self._bar.start()
        elif not self._is_quiet:
            self._show(f"{self._description} ...")
            self._telling = threading.Thread(target=self._tell, daemon=True)
            self._telling.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._bar:
            self._bar.stop()
        if self._line and self._telling:
            self._telling.join()
            self._show(self._state())

    def advance(self, count: int = 1) -> None:
        """Notes that `count` more steps are done."""
        self.update(self._done + count)

    def update(self, done: int, note: str | None = None) -> None:
        """Notes that `done` steps are done; `note` is shown behind the bar."""
        self._done, self._last = done, time.monotonic()
        self._first = self._first or (done, self._last)
        self._note = self._note if note is None else note
        if self._bar:
            self._bar.update(self._task, completed=done, note=self._note)

    def _tell(self) -> None:
        pause = _SECONDS_BETWEEN_CHANGES if self._line else _SECONDS_BETWEEN_LINES
        while not self._ended.wait(pause):
            self._show(self._state() + self._left())

    def _state(self) -> str:
        return f"{self._description}: {self._done}/{self._total} {self._note}".rstrip()

    def _show(self, line: str) -> None:
        """Shows how far it is, where there is no terminal."""
        if self._line:
            self._line.show(line)
        else:
            self.say(line)

    def _left(self) -> str:
        """How long what is left takes, at the mean speed since the first update: one that resumes does
        not begin at 0."""
        done, begun = self._first or (0, 0.0)
        if self._done <= done:
            return ""
        seconds = (self._last - begun) / (self._done - done) * (self._total - self._done)
        seconds = max(seconds - (time.monotonic() - self._last), 0)
        return f", about {seconds:.0f} s left" if seconds < 90 else f", {seconds / 60:.0f} min left"

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self._bar:
            self._bar.console.print(shortened(line), highlight=False, markup=False)
        elif not self._is_quiet:
            say(line)


class _Terminal:
    """Standard error for rich. It may fail, as that of a session that has ended does behind `disown`,
    and what is being done goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream  # in whose place rich puts one of its own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)


def _is_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows more than a stream of text."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class _NotebookLine:
    """A line below a cell that is replaced by the next. rich would want ipywidgets for that."""

    def __init__(self) -> None:
        self._shown: Any = None

    def show(self, line: str) -> None:
        from IPython.display import display

        content = {"text/plain": line}
        if self._shown is None:
            self._shown = display(content, raw=True, display_id=True)
        else:
            self._shown.update(content, raw=True)


# Of what is being done and how many steps that takes.
MakeBar = Callable[[str, int], AbstractContextManager[ProgressBar]]


def training_report(bar: ProgressBar) -> Callable[[int, int, dict[str, float]], None]:
    """A report for the training loop that moves `bar` and shows losses and accuracies."""

    def report(step: int, steps: int, figures: dict[str, float]) -> None:
        measured = {
            name.removeprefix(_HELD_OUT): value
            for name, value in figures.items()
            if name.startswith(_HELD_OUT)
        }
        for name, value in measured.items():
            bar.say(f"step {step}: {name.replace('_', ' ')} on held-out rows {value:.4f}")
        if not measured:
            losses = {name: value for name, value in figures.items() if name != "learning_rate"}
            bar.update(
                step, " ".join(f"{name} {value:.3f}" for name, value in losses.items() if value)
            )

    return report
