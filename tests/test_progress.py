"""What is told of progress where there is no terminal."""

from __future__ import annotations

import io
import sys
import time
import types

import pytest

from tfedge import progress
from tfedge.notes import note
from tfedge.progress import ProgressBar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_by_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long a step takes."""
    assert progress._SECONDS_BETWEEN_LINES < 10
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.02)
    with ProgressBar("training", 10) as bar:
        bar.update(1, "loss 0.700")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training ..."
    assert "training: 1/10 loss 0.700" in lines[1:]
    time.sleep(0.1)
    assert capsys.readouterr().err.count("\n") <= 1  # one may have been on its way


@pytest.mark.parametrize(("steps", "said"), [(2000, ", 95 min left"), (200, ", about 45 s left")])
def test_time_that_is_left(clock: list[float], steps: int, said: str) -> None:
    """By the speed since the first update: a run that resumes begins at 100."""
    bar = ProgressBar("training", 100 + steps)
    assert bar._left() == ""
    bar.update(100)
    assert bar._left() == ""
    clock[0] += 300 if steps == 2000 else 5
    bar.update(200 if steps == 2000 else 120)
    assert bar._left() == said
    # It passes between updates.
    clock[0] += 40
    assert bar._left() != said
    clock[0] += 10**6
    assert bar._left() == ", about 0 s left"


def test_one_line_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It changes, and ends where the work does; with --quiet there is none."""
    shown: list[list[str]] = []  # a list for each line, of all that it was

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown[-1].append(content["text/plain"])

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append([content["text/plain"]])
        return Handle()

    kernel = types.SimpleNamespace(kernel=object())
    modules = {
        "IPython": types.SimpleNamespace(get_ipython=lambda: kernel),
        "IPython.display": types.SimpleNamespace(display=display),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_CHANGES", 0.02)
    with ProgressBar("training", 10) as bar:
        bar.update(1, "loss 0.700")
        time.sleep(0.2)
        bar.update(10, "loss 0.100")
    (line,) = shown
    assert line[0] == "training ..." and line[-1] == "training: 10/10 loss 0.100"
    assert "training: 1/10 loss 0.700" in line
    count = len(line)
    time.sleep(0.1)
    assert len(line) == count
    monkeypatch.setenv("TFEDGE_VERBOSITY", "quiet")
    with ProgressBar("training", 10) as bar:
        bar.say("step 1")
    assert len(shown) == 1
    assert capsys.readouterr() == ("", "")
    modules["IPython"].get_ipython = lambda: None  # no notebook, but a program that has imported it
    monkeypatch.delenv("TFEDGE_VERBOSITY")
    with ProgressBar("training", 10):
        pass
    assert capsys.readouterr().err == "training ...\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_names_of_files_are_escaped_and_no_markup(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(said, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", said)
    with ProgressBar("running a\x1b]0;x\x07[/b].tflite", 2) as bar:
        bar.say("left out: [/i]\x1b[2J.png\nand another" + 3000 * "x")
        bar.update(2, "[/c]")
    note(f"{is_terminal} a\x1b]0;x\x07\nb" + 3000 * "x")
    shown = said.getvalue()
    assert "running a\\x1b]0;x\\x07[/b].tfl" in shown
    assert "left out: [/i]\\x1b[2J.png and another" in "".join(shown.split("\n"))
    assert f"tfedge: note: {is_terminal} a\\x1b]0;x\\x07 bxx" in shown
    assert "\x1b]" not in shown and "\x1b[2J.png" not in shown and "\x07" not in shown
    assert len(shown) < 4000
