"""What nobody foresaw ends a program in one line, and leaves a file for the report."""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path

import pytest
from program import COMMAND, TIMEOUT_S, each_runtime, environment

from tfedge import cli
from tfedge.runtime import infer
from tfedge.runtime.errors import LONGEST_MESSAGE, BackendError, one_line, shortened
from tfedge.runtime.unexpected import EXIT_UNEXPECTED


class PanicException(BaseException):
    """Like that of pyo3, which is no Exception either."""


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def raising(error: BaseException) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [RuntimeError("a\nb \x1b[31m"), PanicException("a b \x1b[31m")])
def test_the_board_tells_it_in_a_line(
    error: BaseException,
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(infer, "load_model", raising(error))
    assert infer.run(["--model", "x.tflite", "a text"]) == EXIT_UNEXPECTED == 70
    (log,) = logs.iterdir()
    (line,) = capsys.readouterr().err.splitlines()
    kind = type(error).__name__
    assert line == f"tfedge-infer: unexpected {kind}: a b \\x1b[31m; please report it with {log}"
    content = log.read_text()
    assert "Traceback" in content
    assert kind in content
    assert re.match(r"tfedge-infer \d", content)


def test_the_host_tells_it_in_a_line(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.main, "main", raising(KeyError("hidden_size")))
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert ended.value.code == EXIT_UNEXPECTED
    (log,) = logs.iterdir()
    assert capsys.readouterr().err == (
        f"tfedge: unexpected KeyError: 'hidden_size'; please report it with {log}\n"
    )


def test_without_room_for_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.mkstemp", raising(OSError(28, "No space left on device")))
    monkeypatch.setattr(infer, "load_model", raising(RuntimeError("a")))
    assert infer.run(["--model", "x.tflite", "a text"]) == EXIT_UNEXPECTED
    assert capsys.readouterr().err == "tfedge-infer: unexpected RuntimeError: a; please report it\n"


def test_memory_that_does_not_do(
    logs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(infer, "load_model", raising(MemoryError()))
    assert infer.run(["--model", "x.tflite", "a text"]) == BackendError.exit_code == 4
    assert "is not enough for this" in capsys.readouterr().err
    assert list(logs.iterdir()) == []


def test_files_that_may_not_be_opened(toys: Path) -> None:
    model = str(toys / "int8.tflite")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 6; exec "$@"', "sh", *COMMAND, "--model", model, "--trust", "good"],
        capture_output=True,
        env=environment(),
        timeout=TIMEOUT_S,
        check=False,
    )
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, line[:33]) == (4, "tfedge-infer: Too many open files")


@each_runtime
@pytest.mark.parametrize("megabytes", range(40, 180, 20))
def test_in_an_address_space_that_does_not_do(toys: Path, runtime: str, megabytes: int) -> None:
    """However far it comes, it says so in a line, and does not wait for ever, as OpenBLAS would."""
    size = megabytes << 20
    done = subprocess.run(
        [*COMMAND, "--model", str(toys / "int8.tflite"), "--runtime", runtime, "--trust", "good"],
        capture_output=True,
        env={**environment(), "OMP_NUM_THREADS": "4"},
        timeout=TIMEOUT_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )
    assert done.returncode in (0, 4)
    if done.returncode:
        (line,) = done.stderr.decode().splitlines()
        assert "is not enough for this" in line or "threads cannot be started here" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_answers_go_on_without_standard_error(toys: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "--model", str(toys / "classifier.tflite")],
            input=b"good\n\nbad\n",
            stdout=subprocess.PIPE,
            stderr=full,
            env=environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
    assert done.returncode == 1  # of the empty line
    first = [line.split(b"\t")[0] for line in done.stdout.splitlines()]
    assert first == [b"positive", b"error", b"negative"]


def test_messages_are_short_lines_without_controls() -> None:
    assert (
        one_line("a\r\n b\x00\x1b[2J\x9b\x7f é日\u200d") == r"a b\x00\x1b[2J\x9b\x7f é日" + "\u200d"
    )
    assert one_line("\ud800") == r"\ud800"
    line = shortened("x" * 300_000)
    assert len(line) < LONGEST_MESSAGE + 50
    assert line.endswith(f"x [... {300_000 - LONGEST_MESSAGE} characters ...] " + "x" * 500)
    assert shortened("x" * LONGEST_MESSAGE) == "x" * LONGEST_MESSAGE
