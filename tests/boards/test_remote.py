"""A board at the other end of a real sshd: what it is asked, what goes wrong on the way and there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bars import Bar, Bars
from server import ROOT, Server

from tfedge.boards import errors
from tfedge.boards.agent import FOLDER, MODELS
from tfedge.boards.book import book_path
from tfedge.boards.remote import Remote, described
from tfedge.errors import InputError, MissingPackageError, TfedgeError

Board = Callable[[str], Remote]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Some MB, which no disk holds that has a limit of one."""
    path = tmp_path / "a model.tflite"
    path.write_bytes(os.urandom(3 << 20))
    return path


def write_book(**settings: object) -> None:
    book_path().parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    book_path().write_text("\n".join(["[shed]", *lines]).replace("'", '"'))


def left(home: Path) -> list[str]:
    """What files a board's folder has, but for locks and its environment."""
    root = home / FOLDER
    # os.walk() bears what is taken away meanwhile.
    found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sorted(str(path.relative_to(root)) for path in found if path.name != ".lock")


def test_what_there_is(ready: Server, remote: Board) -> None:
    shed = remote("shed")
    assert shed.facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shed.facts["program"].endswith("/env/bin/python")
    assert shed.facts["runtimes"] == ["tflite-runtime"][: sys.version_info < (3, 12)] or ["litert"]
    assert shed.facts["libc"][0] == "glibc"
    shed.check(shed.facts["runtimes"][0])
    with pytest.raises(MissingPackageError, match=r"^shed has not onnx, but .*--runtime onnx"):
        shed.check("onnx")


def test_files_are_there_while_they_are_needed(ready: Server, remote: Board, model: Path) -> None:
    home = ready.homes["shed"]
    empty = model.with_name("no bytes")
    empty.write_bytes(b"")
    with remote("shed").holding([model, empty, model]) as places:
        found = [Path(place) for place in places]
        assert [path.name for path in found] == ["a model.tflite", "no bytes", "a model.tflite"]
        assert [path.read_bytes() for path in found] == [
            model.read_bytes(),
            b"",
            model.read_bytes(),
        ]
        # A second program needs the same: nothing is sent again, and the first one's end takes nothing.
        with remote("shed").holding([model]) as others:
            pass
        assert not Path(others[0]).exists()
        assert found[0].exists()
    wait_until(lambda: not left(home))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_there_is_not_sent_again(ready: Server, remote: Board, model: Path) -> None:
    shed = remote("shed")
    shed.push([model])
    shed.push([model])
    assert [bar.description for bar in shed.make_bar] == [  # type: ignore[attr-defined]
        "sending a model.tflite to shed, in MB"
    ]


def test_the_same_content_is_sent_and_kept_once(ready: Server, remote: Board, model: Path) -> None:
    shed, kept = remote("shed"), ready.homes["shed"] / MODELS
    other = model.with_name("b.tflite")
    other.write_bytes(model.read_bytes())
    rows = shed.push([model, other])
    assert [bar.total for bar in shed.make_bar] == [3]  # type: ignore[attr-defined]
    assert [row["sha256"] for row in rows] == [described(model)["sha256"]] * 2
    assert len({(kept / row["name"]).stat().st_ino for row in rows}) == 1


def test_content_that_has_changed_is_sent_again(ready: Server, remote: Board, model: Path) -> None:
    """As a card may change it: the size is what it was."""
    shed, kept = remote("shed"), ready.homes["shed"] / MODELS / model.name
    (row,) = shed.push([model])
    with open(kept, "r+b") as file:
        file.write(b"lost")
    assert shed.push([model]) == [row]
    assert kept.read_bytes() == model.read_bytes()


def test_what_no_push_made(ready: Server, remote: Board, model: Path) -> None:
    """It is in nobody's way."""
    shed, kept = remote("shed"), ready.homes["shed"] / MODELS
    shed.push([model])
    (kept / "dangling.tflite").symlink_to("nowhere")
    (kept / "folder").mkdir()
    assert [row["name"] for row in shed.models()] == [model.name]
    with pytest.raises(errors.BoardError, match="'folder' is a folder, which no push made"):
        shed.remove(["folder"])
    assert shed.remove(["dangling.tflite", model.name]) == ["dangling.tflite", model.name]


def test_two_pushes_at_once(ready: Server, remote: Board, model: Path) -> None:
    """The second begins and ends while the first is sending."""
    kept = ready.homes["shed"] / MODELS
    other = model.with_name("b.tflite")
    other.write_bytes(model.read_bytes())

    class Between(Bars):
        def __call__(self, description: str, total: int) -> Bar:
            remote("shed").push([other])
            return super().__call__(description, total)

    rows = Remote(remote("shed").entry, Between()).push([model])
    assert [row["sha256"] for row in rows] == [described(model)["sha256"]] * 2
    assert len({(kept / row["name"]).stat().st_ino for row in rows}) == 1


def test_named_models(ready: Server, remote: Board, model: Path) -> None:
    shed, home = remote("shed"), ready.homes["shed"]
    assert shed.models() == []
    (found,) = shed.push([model])
    assert (found["name"], found["size"]) == ("a model.tflite", 3 << 20)
    kept = home / MODELS / "a model.tflite"
    assert kept.read_bytes() == model.read_bytes()
    other = model.with_name("other.tflite")
    other.write_bytes(model.read_bytes())
    assert [row["sha256"] for row in shed.push([other])] == [found["sha256"]] * 2
    assert len(left(home)) == 3  # one content with two names
    model.write_bytes(b"new")
    assert [row["size"] for row in shed.push([model])] == [3, 3 << 20]
    assert shed.remove(["other.tflite", "never.tflite"]) == ["other.tflite"]
    assert shed.remove(["other.tflite"]) == []
    assert [row["name"] for row in shed.models()] == ["a model.tflite"]
    assert len(left(home)) == 2
    with pytest.raises(errors.BoardError, match="is no name of a file"):
        shed.remove(["../env"])


def test_what_cannot_be_read_here(ready: Server, remote: Board, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such\.tflite cannot be read: No such file"):
        remote("shed").push([tmp_path / "no such.tflite"])
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        remote("shed").push([tmp_path])


def test_what_a_shell_prints_is_no_answer(ready: Server, remote: Board) -> None:
    (ready.homes["shed"] / "greeting").write_text("Welcome!\n{}\n")
    assert remote("shed").models() == []


def _unknown(boards: Server) -> None:
    write_book(host="no-such-host.invalid")


def _closed(boards: Server) -> None:
    write_book(host="nobody-listens")


def _stranger(boards: Server) -> None:
    write_book(host="stranger")


def _unknown_key(boards: Server) -> None:
    write_book(host="unknown-key")


def _no_python(boards: Server) -> None:
    write_book(host="shed", python="no/such/python")


def _no_program(boards: Server) -> None:
    write_book(host="shed", python="cat")


def _old_python(boards: Server) -> None:
    path = boards.homes["shed"] / "old"
    path.write_text("#!/bin/sh\necho 'tfedge needs Python 3.9 or later, this is 3.7' >&2\nexit 1\n")
    path.chmod(0o755)
    write_book(host="shed", python="./old")


def _not_set_up(boards: Server) -> None:
    write_book(host="shed")


def _no_tfedge(boards: Server) -> None:
    write_book(host="shed", python=f"{sys.executable} -S")


def _another_tfedge(boards: Server) -> None:
    package = boards.homes["shed"] / "other" / "tfedge"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    write_book(host="shed", python=f"env PYTHONPATH=other {sys.executable}")


def _full(boards: Server) -> None:
    write_book(host="shed", python=sys.executable)
    (boards.homes["shed"] / "limit").write_text("2048")


# How a board is spoilt -> the class of error, its exit code, and words of its one line.
SPOILT: list[tuple[Callable[[Server], None], type[TfedgeError], int, str]] = [
    (_unknown, errors.UnknownHostError, 11, "Could not resolve hostname .*; check the name"),
    (_closed, errors.UnreachableError, 12, "Connection refused; check that it is switched on"),
    (_stranger, errors.AccessError, 13, r"Permission denied \(publickey\); let it know your key"),
    (_unknown_key, errors.HostKeyError, 14, "Host key verification failed; log in once"),
    (_no_python, errors.BoardPythonError, 15, "no Python 'no/such/python' that starts"),
    (_no_program, errors.BoardPythonError, 15, "'cat' is no Python for tfedge"),
    (_old_python, errors.BoardPythonError, 15, "needs Python 3.9 or later, this is 3.7"),
    (_not_set_up, errors.BoardVersionError, 16, "has no tfedge; `tfedge board setup` brings it"),
    (_no_tfedge, errors.BoardVersionError, 16, "has no tfedge; `tfedge board setup` brings it"),
    (_another_tfedge, errors.BoardVersionError, 16, "its tfedge is another one than here"),
    (_full, errors.BoardFullError, 18, "File too large; free some room there"),
]


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda one: one[0].__name__)
def test_each_failure_has_its_line_and_exit_code(
    boards: Server,
    remote: Board,
    model: Path,
    spoil: tuple[Callable[[Server], None], type[TfedgeError], int, str],
) -> None:
    prepare, kind, code, words = spoil
    prepare(boards)
    shed = remote("shed")
    with pytest.raises(TfedgeError, match=rf"^shed: .*{words}") as raised:
        if kind is not errors.BoardFullError:
            shed.check()
        shed.push([model])
    assert (type(raised.value), raised.value.exit_code) == (kind, code)
    assert "\n" not in str(raised.value)
    assert not [name for name in left(boards.homes["shed"]) if not name.startswith("held")]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Connection to shed closed by remote host.", 17),
        ("client_loop: send disconnect: Broken pipe", 17),
        ("Timeout, server 10.0.0.7 not responding.", 17),
        ("Read from remote host shed: Connection reset by peer", 17),
        ("kex_exchange_identification: Connection closed by remote host", 12),
        ("Connection closed by 10.0.0.7 port 22", 12),
        ("", 12),
    ],
)
def test_a_connection_that_broke_before_an_answer(said: str, code: int) -> None:
    assert errors.ssh_failure("shed", said, was_reached=False).exit_code == code


def test_each_kind_has_an_exit_code_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = [kind.exit_code for kind in kinds if issubclass(kind, errors.BoardError)]
    assert sorted(set(codes)) == [1, *range(11, 20)]
    assert len(codes) == len(set(codes))


@pytest.fixture
def cutting(ready: Server) -> Iterator[Callable[[float], None]]:
    """Kills all connections after some seconds."""
    timers = []

    def cut(seconds: float) -> None:
        timers.append(threading.Timer(seconds, ready.cut))
        timers[-1].start()

    yield cut
    for timer in timers:
        timer.cancel()


def test_a_connection_that_is_killed(
    ready: Server, remote: Board, model: Path, cutting: Callable[[float], None]
) -> None:
    shed = remote("shed")
    assert shed.facts

    class Cut(list):  # type: ignore[type-arg]
        """A bar that pulls the plug where it is to show something."""

        def __call__(self, description: str, total: int) -> Cut:
            ready.cut()
            return self

        def __enter__(self) -> Cut:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, done: int) -> None:
            pass

    with pytest.raises(errors.ConnectionLostError, match="the connection broke") as raised:
        Remote(shed.entry, Cut()).push([model])
    assert raised.value.exit_code == 17
    wait_until(lambda: not left(ready.homes["shed"]))
    assert [row["name"] for row in shed.push([model])] == ["a model.tflite"]


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_of_a_push(ready: Server, remote: Board, model: Path, kills: int) -> None:
    """At random moments: either all of a file is there, or nothing, and the last push ends well."""
    home, moments, killed = ready.homes["shed"], random.Random(4711), 0
    begun = time.monotonic()
    remote("shed").push([model])
    usual = time.monotonic() - begun
    for number in range(kills):
        model.write_bytes(os.urandom(3 << 20))
        remote("shed").remove([model.name])
        assert left(home) == []
        timer = threading.Timer(moments.uniform(0, usual), ready.cut)
        timer.start()
        try:
            remote("shed").push([model])
        except errors.BoardError as error:
            assert error.exit_code in (12, 17), (number, error)
            killed += 1
        timer.cancel()
        wait_until(lambda: all(map(whole(home, model), left(home))))
    assert killed > kills // 4
    remote("shed").push([model])
    assert [row["name"] for row in remote("shed").models()] == [model.name]
    assert all(map(whole(home, model), left(home)))


def whole(home: Path, model: Path) -> Callable[[str], bool]:
    """Whether a file of a board's is all of a model, or what tells its name."""
    return lambda name: (
        name.endswith(".json") or (home / FOLDER / name).read_bytes() == model.read_bytes()
    )


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tfedge.cli", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_command_ends_with_one_line_and_that_code(boards: Server, toys: Path) -> None:
    data = ROOT / "tfedge/data/sentences.tsv"
    words = ("eval", "--model", toys / "classifier.tflite", "--data", data, "--board")
    for board, code in (("nobody-listens", 12), ("shed", 16), ("no board", 3)):
        done = run(*words, board)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    done = run(*words, "shed", "--python", "x")
    assert done.returncode == 2
