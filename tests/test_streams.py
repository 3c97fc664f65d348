"""Standard streams that fail: what can be written is, and what cannot be said stops nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import toy_folders
from kills import COMMANDS, INFER, TFEDGE, furnish
from program import environment

from tfedge.progress import ProgressBar

TIMEOUT_S = 300
NO_ROOM = "the answers cannot be written: No space left on device"
_EVAL = ("eval", "--model", "embedder.tflite", "--data", "a.tsv")
# Commands whose progress or notes come on standard error, and whose results on standard output.
SHORT: dict[str, Sequence[str]] = {
    "eval": (*TFEDGE, *_EVAL[:2], "classifier.tflite", *_EVAL[3:]),
    "eval --gallery": (*TFEDGE, *_EVAL, "--gallery", "a.tsv"),
    "inspect": (*TFEDGE, "inspect", "int8.tflite", "--texts", "2"),
    "board list": (*TFEDGE, "board", "list", "nobody@127.0.0.1", "--json"),
    "--help": (*TFEDGE, "--help"),
    "infer --help": (*INFER, "--help"),
    "infer --version": (*INFER, "--version"),
    "search --help": (*INFER, "search", "--help"),
    "search": (*INFER, "search", "--model", "embedder.tflite", "--index", "i.npz", "good"),
    "--doctor": (*INFER, "--model", "int8.tflite", "--doctor"),
}
_INDEX = (*INFER, "index", "--model", "embedder.tflite", "--index", "i.npz", "--by", "line")


@pytest.fixture(scope="module")
def place(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, texts and their index."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("classifier", "embedder", "int8"):
        (folder / f"{name}.tflite").symlink_to(toys / f"{name}.tflite")
    toy_folders.write_sentences(folder / "a.tsv", 12)
    assert _ended(folder, [*_INDEX, "a.tsv"], "").returncode == 0
    return folder


def _ended(
    folder: Path, command: Sequence[str], streams: str
) -> subprocess.CompletedProcess[bytes]:
    """What came of a command, with the shell's words for its streams."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {streams}', "bash", sys.executable, *command],
        cwd=folder,
        env={**environment(), "TMPDIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("streams", ["2>/dev/full", "2> >(true)", "2>&-", "<&-"])
@pytest.mark.parametrize("name", ["eval", "eval --gallery", "search"])
def test_results_come_all_the_same(place: Path, name: str, streams: str) -> None:
    usual = _ended(place, SHORT[name], "")
    done = _ended(place, SHORT[name], streams)
    assert (usual.returncode, done.returncode) == (0, 0)
    assert usual.stdout == done.stdout != b""
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", SHORT)
def test_results_that_cannot_be_printed(place: Path, name: str) -> None:
    done = _ended(place, SHORT[name], ">/dev/full")
    program = "tfedge-infer" if SHORT[name][: len(INFER)] == INFER else "tfedge"
    assert (done.returncode, done.stderr.decode().splitlines()[-1]) == (1, f"{program}: {NO_ROOM}")
    assert b"Traceback" not in done.stderr
    assert not [*place.glob("*.log")]
    # Nor does it end in another way where this cannot be said either.
    assert _ended(place, SHORT[name], ">/dev/full 2>/dev/full").returncode == 1


@pytest.mark.parametrize("name", ["eval", "board list", "--help", "infer --help", "--doctor"])
def test_results_that_have_nowhere_to_go(place: Path, name: str) -> None:
    done = _ended(place, SHORT[name], ">&-")
    said = done.stderr.decode().splitlines()[-1].partition(": ")[2]
    assert (done.returncode, said) == (
        1,
        "the answers cannot be written: standard output is closed",
    )
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("eval",), ("no-such-command",)])
def test_usage_that_cannot_be_told(place: Path, arguments: tuple[str, ...]) -> None:
    assert _ended(place, (*TFEDGE, *arguments), "2>/dev/full").returncode == 2


def test_a_bar_on_a_terminal_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a session which has ended, behind `disown`."""
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with ProgressBar("training", 10) as bar:
            assert bar._bar is not None
            bar.update(1)
            os.close(ours)
            with pytest.raises(OSError, match="Input/output error"):
                os.write(theirs, b"x")
            bar.say("step 1")
            bar.update(10)


def test_a_program_of_ones_own_without_standard_error(tmp_path: Path) -> None:
    """Python then has None in its place."""
    program = (
        "from tfedge import notes, progress, quiet\n"
        "quiet.load_tensorflow()\n"
        "notes.note('a')\n"
        "with progress.ProgressBar('training', 10) as bar: bar.say('step 1')\n"
        "print('done')"
    )
    done = _ended(tmp_path, ("-c", program), "2>&-")
    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["2>/dev/full", "2> >(true)", ">&-", "<&- >/dev/null 2>&-"])
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_written_is_written(name: str, streams: str, toys: Path, tmp_path: Path) -> None:
    """By commands that take long, whose results are files."""
    furnish(tmp_path, toys)
    for part in ("out", "tmp"):
        (tmp_path / part).mkdir()
    done = _ended(tmp_path, COMMANDS[name], streams)
    assert done.returncode == (1 if ">&-" in streams[:4] else 0)
    assert b"Traceback" not in done.stderr
    assert [*(tmp_path / "out").iterdir()]
