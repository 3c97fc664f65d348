"""What ends a program from outside: nothing temporary is left, and a line says what happened."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from program import environment

from tfedge import cli

# A command that works on something temporary, as a conversion does.
WORK = """
import tempfile, time, click
from tfedge import cli
@click.command()
def work():
    with tempfile.TemporaryDirectory():
        print("ready", flush=True)
        time.sleep(60)
cli.run(work)
"""


def _working(folder: Path, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", WORK],
        env={**environment(), "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert list(folder.iterdir())
    return process


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (
            signal.SIGTERM,
            143,
            "tfedge: ended by SIGTERM; the same command resumes or starts again\n",
        ),
        (signal.SIGHUP, 129, "tfedge: ended by SIGHUP; the same command resumes or starts again\n"),
        (signal.SIGINT, 130, "tfedge: interrupted; the same command resumes or starts again\n"),
    ],
)
def test_a_signal_takes_away_what_is_temporary(
    tmp_path: Path, number: int, code: int, message: str
) -> None:
    process = _working(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # click begins a new line behind what a terminal shows of Ctrl-C.
    assert (process.returncode, errors.lstrip("\n")) == (code, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_of_which_native_code_makes_another_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """As CPython does within TensorFlow: "bad argument to internal function"."""
    lost = """        try:
            time.sleep(60)
        except BaseException:
            raise SystemError("bad argument") from None
"""
    monkeypatch.setitem(globals(), "WORK", WORK.replace("        time.sleep(60)\n", lost))
    process = _working(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.strip().endswith("; the same command resumes or starts again")
    assert not list(tmp_path.iterdir())


def test_nohup_is_kept(tmp_path: Path) -> None:
    process = _working(tmp_path, ("nohup",))
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("entry", "arguments"), [("main", ["--model", "int8.tflite"]), ("host", ["run", "nope.toml"])]
)
def test_an_interrupt_while_it_loads_has_no_traceback(
    toys: Path, entry: str, arguments: list[str]
) -> None:
    """Python's own start, before any of tfedge runs, is left out: it prints one by itself."""
    program = f"""
import os, signal, sys, threading, time
from tfedge.start import {entry} as main
def interrupt(seconds=float(sys.argv.pop(1))):
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
main()
"""
    for step in range(12):
        done = subprocess.run(
            [sys.executable, "-c", program, str(step * 0.04), *arguments],
            cwd=toys,
            env=environment(),
            stdin=subprocess.PIPE,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert b"Traceback" not in done.stderr
        said = [line for line in done.stderr.splitlines() if line]  # click begins a new line
        assert len(said) == (0 if entry == "main" else done.returncode in (130, 3))
        assert done.returncode in (-signal.SIGINT, 130, 0 if entry == "main" else 3)


def test_nothing_is_imported_before_interrupts_are_seen_to() -> None:
    """What takes time there is time in which Python tells an interrupt by a traceback."""
    program = "import sys; had = {*sys.modules}; import tfedge.start; print(*{*sys.modules} - had)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"__future__", "tfedge", "tfedge.start"}


def test_an_interrupt_that_is_ignored_stays_so(toys: Path) -> None:
    """A shell has what it starts in the background ignore interrupts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tfedge.runtime", "--model", str(toys / "classifier.tflite")],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    os.kill(process.pid, signal.SIGINT)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"good\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"positive")
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(b"bad\n", timeout=60)
    assert output.startswith(b"negative")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x/in.npz"),
        tf.errors.ResourceExhaustedError(
            None, None, "{{node}} /tmp/x/in.npz; No space left on device [Op:SaveV2]"
        ),
        tf.errors.OutOfRangeError(None, None, "/tmp/x/in.npz; File too large"),
    ],
    ids=str,
)
def test_a_full_disk(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.main, "main", fail)
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert ended.value.code == 3
    reason = "File too large" if "large" in str(error) else "No space left on device"
    assert re.fullmatch(
        f"tfedge: cannot write /tmp/x(/in.npz)?: {reason}; free some room there, or name another "
        "folder in TMPDIR\n",
        capsys.readouterr().err,
    )


def test_no_room_for_anything_temporary(tmp_path: Path) -> None:
    """Python then looks in vain for another place."""
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=tmp_path,
        env={**environment(), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert (done.returncode, done.stderr) == (
        3,
        "tfedge: there is no room for temporary files; free some, or name a folder with room in "
        "TMPDIR\n",
    )


def test_a_full_disk_below_the_working_directory() -> None:
    """As TensorFlow tells of it."""
    error = tf.errors.ResourceExhaustedError(
        None, None, "out/.e/variables/part; No space left on device [Op:SaveV2]"
    )
    assert cli._full_place(error) == "out/.e/variables: No space left on device"


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """TensorFlow has no class of its own for that."""
    program = (
        "import sys, tensorflow as tf\n"
        "from tfedge import cli\n"
        "cli.main.main = lambda **_: tf.io.write_file(sys.argv[1], bytes(9000))\n"
        "cli.run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "y")],
        env={**environment(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(
        f"tfedge: cannot write {tmp_path}: File too large"
    )
