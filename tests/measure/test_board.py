"""The host's side of a board: what it sends, what it makes of answers, crashes and exit codes.

The Python of most boards here is a script, so that it can misbehave as no runtime does on demand.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import each_runtime

from tfedge.boards import errors
from tfedge.errors import InputError, MissingPackageError, RejectedModelError, TfedgeError
from tfedge.inspect.graph import read_model
from tfedge.measure.board import Board
from tfedge.progress import unheard
from tfedge.runtime.npz import write_npz

MODEL = "toy.tflite"
INPUTS = {"input_ids": np.zeros((1, 16), np.int32)}
NAMES = ("input_ids", "attention_mask", "token_type_ids")
MakePython = Callable[[str], Board]


@pytest.fixture
def python(tmp_path: Path) -> MakePython:
    """Makes a board whose `python` is a shell script."""

    def make(script: str, **options: Any) -> Board:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return Board((str(path),), **options)

    return make


@each_runtime
def test_answers_of_a_real_runtime(toys: Path, runtime: str) -> None:
    progress: list[int] = []
    texts = ["good", "", "awful film", "new\nline \u2028 fine"]
    board = Board(runtime=runtime, threads=1)
    answers = board.answers(toys / "classifier.tflite", texts, progress.append)
    assert [answer["text"] for answer in answers] == texts
    assert [answer.get("label") for answer in answers] == ["positive", None, "negative", "positive"]
    assert answers[1] == {"text": "", "error": "the text is empty"}
    assert progress == [1, 1, 1, 1]


def test_answers_of_pairs(toys: Path) -> None:
    pairs = [("Who?", "Bob was born"), ["Who was?", "Ada was"]]
    answers = Board().answers(toys / "reader.tflite", pairs)
    assert [answer["answer"] for answer in answers] == ["Bob", "Ada"]


@each_runtime
def test_outputs_of_a_real_runtime(toys: Path, runtime: str) -> None:
    ids = np.zeros((2, 16), np.int32)
    mask = np.zeros((2, 16), np.int32)
    mask[0, :4] = 1  # 4 of 16 tokens are there, each with a 1 in its third number
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    progress: list[int] = []
    outputs = Board(runtime=runtime).outputs(toys / "embedder.tflite", inputs, progress.append)
    assert list(outputs) == ["embedding"]
    assert outputs["embedding"].dtype == np.float32
    np.testing.assert_allclose(outputs["embedding"][0, :3], [0, 0, 4 / 16])
    np.testing.assert_allclose(outputs["embedding"][1], np.zeros(4))
    assert progress == [1, 1]


@each_runtime
def test_tensors_of_a_real_runtime(toys: Path, runtime: str) -> None:
    """Outputs by their index, in their own dtype."""
    path = toys / "int8_output.tflite"
    index = next(iter(read_model(path).signatures[0].outputs.values()))
    ids = np.zeros((2, 16), np.int32)
    inputs = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids}
    entry, progress = ("serving_default", 0), list[int]()
    board = Board(runtime=runtime)
    (logits,) = board.tensors(path, entry, inputs, [index], progress.append)
    assert (logits.shape, logits.dtype, progress) == ((2, 1, 2), np.int8, [1, 1])
    for bad, words in (
        ({"input_ids": ids}, "its input 'attention_mask' is not among"),
        ({name: array[:, :9] for name, array in inputs.items()}, r"is \(1, 16\), not \(1, 9\)"),
    ):
        with pytest.raises(RejectedModelError, match=words):
            board.tensors(path, entry, bad, [index], unheard)
    with pytest.raises(RejectedModelError, match="cannot run the model"):
        board.tensors(path, ("nothing", 0), inputs, [index], unheard)


def test_what_the_board_is_asked(python: MakePython, toys: Path, tmp_path: Path) -> None:
    board = python(
        f'echo "$@" > {tmp_path}/arguments; cat > {tmp_path}/lines; echo "{{}}"; echo "{{}}"',
        runtime="litert",
        threads=3,
    )
    model = toys / "classifier.tflite"
    assert board.answers(model, ["é\n\ud800", ("a", "b")]) == [{}, {}]
    assert (tmp_path / "arguments").read_text().split() == [
        *("-m", "tfedge.runtime.infer", "--runtime", "litert", "--threads", "3"),
        *("--model", str(model), "--json", "--jsonl", "--trust"),
    ]
    lines = (tmp_path / "lines").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ["é\n\ud800", {"text": "a", "text_pair": "b"}]
    board.answers(toys / "reader.tflite", [("q", "c")] * 2)
    lines = (tmp_path / "lines").read_text().splitlines()
    assert json.loads(lines[0]) == {"question": "q", "context": "c"}


@each_runtime
def test_processes_share_the_texts(toys: Path, runtime: str) -> None:
    """A part each, put together in order, with one thread each."""
    texts = [word for number in range(100) for word in ("good", "awful " * number)]
    board = dataclasses.replace(Board.here(runtime), processes=3)
    progress: list[int] = []
    answers = board.answers(toys / "classifier.tflite", texts, progress.append)
    assert [answer["text"] for answer in answers] == texts
    alone = Board(runtime=runtime, threads=1).answers(toys / "classifier.tflite", texts)
    assert answers == alone
    assert progress == [1] * len(texts)


@pytest.mark.parametrize(
    ("count", "shares"), [(0, [0]), (63, [63]), (64, [32, 32]), (200, [50] * 4)]
)
def test_shares(python: MakePython, tmp_path: Path, count: int, shares: list[int]) -> None:
    """As many processes as get texts enough to be worth their start."""
    script = f'cat > {tmp_path}/lines.$$; sed "s/.*/{{}}/" {tmp_path}/lines.$$'
    board = dataclasses.replace(python(script), processes=4)
    assert board.answers(MODEL, ["good"] * count) == [{}] * count
    found = [path.read_text().count("\n") for path in tmp_path.glob("lines.*")]
    assert sorted(found) == shares


def test_one_of_several_processes_fails(python: MakePython) -> None:
    script = (
        "read -r line; case $line in *bad*) echo no >&2; exit 3;; esac; echo '{}'; sed 's/.*/{}/'"
    )
    board = dataclasses.replace(python(script), processes=2)
    assert len(board.answers(MODEL, ["good"] * 64)) == 64
    with pytest.raises(RejectedModelError, match="does not run it: no"):
        board.answers(MODEL, ["good"] * 32 + ["bad"] * 32)


def test_runtime_of_its_own_choice(python: MakePython, tmp_path: Path) -> None:
    python(f'echo "$@" > {tmp_path}/arguments').answers(MODEL, [])
    arguments = (tmp_path / "arguments").read_text().split()
    assert not {"--runtime", "--threads"} & set(arguments)


def test_board_finds_this_package_from_any_folder(
    python: MakePython, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    python(f'echo "$PYTHONPATH $ARM_PATH" > {tmp_path}/paths').answers(MODEL, [])
    paths, for_emulators = (tmp_path / "paths").read_text().split()
    root = str(Path(__file__).parents[2])
    assert paths.split(os.pathsep) == [root, "/elsewhere"]
    assert for_emulators == root


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("kill -SEGV $$", "SIGSEGV"),
        ("kill -ILL $$", "SIGILL"),
        # A signal without a name of its own.
        ("kill -40 $$", "40"),
        # As a wrapper's shell, an emulator or docker reports it.
        ("exit 139", "SIGSEGV"),
        # Killed after it had answered.
        ("echo '{}'; kill -KILL $$", "SIGKILL"),
    ],
)
def test_crash(python: MakePython, script: str, name: str) -> None:
    board = python(script, runtime="litert")
    for run in (
        lambda: board.answers(MODEL, ["good"]),
        lambda: board.outputs(MODEL, INPUTS),
        lambda: board.tensors(MODEL, ("serve", 0), INPUTS, [1], unheard),
    ):
        with pytest.raises(RejectedModelError) as raised:
            run()
        assert str(raised.value) == f"toy.tflite: litert crashed running it ({name})"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        # tfedge-infer on a damaged file, without an operation of the model, with a wrong option.
        ("echo 'tfedge-infer: cut short' >&2; exit 3", "tfedge-infer: cut short"),
        ("echo 'it lacks the operation DIV' >&2; exit 4", "it lacks the operation DIV"),
        ("echo 'a note' >&2; echo 'no --jsonl' >&2; exit 2", "no --jsonl"),
        # A Python without the base install, which fails before it answers.
        ("echo \"No module named 'tokenizers'\" >&2; exit 1", "No module named 'tokenizers'"),
        # No signal has the number 127, and what a program says at its end need not be ssh's.
        ("echo 'connect to host board' >&2; exit 255", "connect to host"),
        ("exit 3", "it said nothing"),
        (r"printf 'caf\351' >&2; exit 3", "caf\ufffd"),
    ],
)
def test_refusal(python: MakePython, script: str, message: str) -> None:
    with pytest.raises(RejectedModelError) as raised:
        python(script).answers(MODEL, ["good"])
    assert str(raised.value).startswith(f"toy.tflite: the runtime does not run it: {message}")


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (
            "echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255",
            errors.UnreachableError,
            "the board: connect to host x port 22: Connection refused; check",
        ),
        (
            "echo 'pi@x: Permission denied (publickey).' >&2; exit 255",
            errors.AccessError,
            "the board: pi@x: Permission denied (publickey); let it know your key",
        ),
        (
            "echo 'Connection to x closed by remote host.' >&2; exit 255",
            errors.ConnectionLostError,
            "the board: the connection broke (Connection to x closed by remote host.)",
        ),
        (
            "echo 'sh: 1: nopython: not found' >&2; exit 127",
            errors.BoardPythonError,
            "the board: there is no such Python that starts (sh: 1: nopython: not found)",
        ),
        (
            'echo "/usr/bin/python3: No module named tfedge" >&2; exit 1',
            errors.BoardVersionError,
            "the board: its Python has no tfedge",
        ),
    ],
)
def test_ssh_as_the_python(
    python: MakePython, script: str, kind: type[errors.BoardError], message: str
) -> None:
    """`--python "ssh board python3"`: what fails on the way is no fault of the model."""
    with pytest.raises(kind) as raised:
        python(script).answers(MODEL, ["good"])
    assert str(raised.value).startswith(message)


def test_missing_runtime(python: MakePython) -> None:
    line = (
        "tfedge-infer: the model needs litert, which is not installed: `pip install ai-edge-litert`"
    )
    with pytest.raises(MissingPackageError) as raised:
        python(f"echo '{line}' >&2; exit 4").answers(MODEL, ["good"])
    assert str(raised.value) == line


def test_texts_that_were_not_answered_spoil_no_others(python: MakePython) -> None:
    """Exit code 1 of tfedge-infer: the answers say which."""
    board = python("""echo '{"label": "a"}'; echo '{"error": "b"}'; echo oh >&2; exit 1""")
    assert board.answers(MODEL, ["x", ""]) == [{"label": "a"}, {"error": "b"}]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo '{}'", r"answered 1 of 2 texts: it said nothing"),
        # A board that runs out of memory in Python, or a full disk behind its output.
        ("echo '{}'; echo MemoryError >&2; exit 1", "answered 1 of 2 texts: MemoryError"),
        ("echo '{}'; echo '{}'; echo '{}'", "answered 3 of 2 texts"),
        ("true", "answered 0 of 2 texts"),
    ],
)
def test_one_answer_for_each_text(python: MakePython, script: str, message: str) -> None:
    with pytest.raises(RejectedModelError, match=message):
        python(script).answers(MODEL, ["x", "y"])


@pytest.mark.parametrize(
    "script", ["echo Welcome to the board!", r"printf 'caf\351\n'", "echo 1", "echo '[]'", "echo"]
)
def test_command_that_is_no_python(python: MakePython, script: str) -> None:
    """A greeting, or `--python cat`: none of it is an answer."""
    with pytest.raises(TfedgeError, match=r"/python printed .*, which is not an answer"):
        python(script).answers(MODEL, ["x"])


def test_outputs_that_were_not_written(python: MakePython) -> None:
    with pytest.raises(TfedgeError, match=r"/python wrote no outputs \(MemoryError\)"):
        python("echo 1; echo MemoryError >&2; exit 1").outputs(MODEL, INPUTS)
    with pytest.raises(TfedgeError, match=r"/python wrote no outputs \(it said nothing\)"):
        python("true").outputs(MODEL, INPUTS)
    with pytest.raises(TfedgeError, match=r"/python wrote no outputs"):
        python("""echo junk > "$(sed 's/.*"result": "\\([^"]*\\)".*/\\1/')" """).outputs(
            MODEL, INPUTS
        )


# What a board sends for a model's times -> what is said of it.
TIMES: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "nothing": ({}, "KeyError: 'seconds'"),
    "something else": ({"logits": np.zeros(2)}, "KeyError: 'seconds'"),
    "no rounds": ({"seconds": np.zeros((0, 2))}, "shape (0, 2), or below 0"),
    "of one graph": ({"seconds": np.zeros(3)}, "shape (3,), or below 0"),
    "none": ({"seconds": np.full((3, 2), np.nan)}, "shape (3, 2), or below 0"),
    "back in time": ({"seconds": np.full((3, 2), -1.0)}, "shape (3, 2), or below 0"),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_that_are_none(python: MakePython, tmp_path: Path, kind: str) -> None:
    arrays, message = TIMES[kind]
    write_npz(tmp_path / "sent.npz", arrays)
    read = """sed 's/.*"result": "\\([^"]*\\)".*/\\1/'"""
    with pytest.raises(TfedgeError, match="gives answers that tfedge-infer does not") as raised:
        python(f'cp {tmp_path}/sent.npz "$({read})"').seconds(MODEL, ["a", "b"], INPUTS, 3, unheard)
    assert message in str(raised.value)


def test_a_disk_that_is_full(python: MakePython, toys: Path) -> None:
    """Is no fault of the model, neither here nor in the process that runs it."""
    words = 'exec bash -c \'ulimit -f 0; exec "$0" "$@"\' ' + sys.executable + ' "$@"'
    with pytest.raises(InputError, match=r"out\.npz: cannot be written: File too large; free"):
        python(words).outputs(toys / "classifier.tflite", dict.fromkeys(NAMES, INPUTS["input_ids"]))


def test_missing_command(tmp_path: Path) -> None:
    missing = tmp_path / "python9"
    with pytest.raises(TfedgeError) as raised:
        Board((str(missing),)).answers(MODEL, ["good"])
    assert str(raised.value) == f"cannot start {missing}: No such file or directory"
    missing.write_text("")
    with pytest.raises(TfedgeError, match=r"^cannot start .*python9: Permission denied$"):
        Board((str(missing),)).answers(MODEL, ["good"])


def test_board_that_does_not_read(python: MakePython) -> None:
    """More than a pipe holds is sent, and more than one holds is printed on standard error."""
    board = python("head -c 300000 /dev/zero >&2; echo >&2; echo 'enough' >&2; exit 3")
    with pytest.raises(RejectedModelError, match=r"does not run it: enough$"):
        board.answers(MODEL, ["good " * 20_000])


def test_interrupt_ends_the_board(python: MakePython, tmp_path: Path) -> None:
    script = f"echo $$ >> {tmp_path}/pids; echo '{{}}'; exec sleep 60"
    board = dataclasses.replace(python(script), processes=2)

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        board.answers(MODEL, ["good"] * 64, interrupt)
    assert time.monotonic() - begin < 30
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_interrupt_waits_for_nobody(python: MakePython) -> None:
    """A wrapper's own child goes on after it and holds the pipe."""

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        python("echo '{}'; sleep 20; true").answers(MODEL, ["good"], interrupt)
    assert time.monotonic() - begin < 15


def test_command_as_typed() -> None:
    assert Board.command(None) == Board.command("") == Board.command("  ") == (sys.executable,)
    typed = "ssh 'my board' env PYTHONPATH=a\\ b python3"
    assert Board.command(typed) == ("ssh", "my board", "env", "PYTHONPATH=a b", "python3")
    with pytest.raises(InputError, match="No closing quotation"):
        Board.command("ssh 'my board")
