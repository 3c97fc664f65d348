"""`tfedge board`: what it prints of one board and of several, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from server import Server, give_environment

from tfedge import cli
from tfedge.boards.agent import MODELS
from tfedge.boards.book import book_path, find_board
from tfedge.boards.remote import Remote
from tfedge.boards.service import Served
from tfedge.boards.setup import Ready
from tfedge.boards.ssh import Done
from tfedge.boards.wheels import Place
from tfedge.errors import InputError
from tfedge.progress import ProgressBar
from tfedge.runtime.doctor import examine


def board(*words: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["board", *map(str, words)], input=given)


def write_book(**hosts: str) -> None:
    book_path().parent.mkdir(parents=True, exist_ok=True)
    lines = [f'[{name}]\nhost = "{host}"\n' for name, host in hosts.items()]
    book_path().write_text("".join(lines))


def test_push_list_run_remove(ready: Server, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toys)
    done = board("push", "classifier.tflite", "embedder.tflite", "--board", "shed")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [["shed", "classifier.tflite"], ["shed", "embedder.tflite"]]
    again = board("push", "classifier.tflite", "--board", "shed")
    assert again.stdout.splitlines() == done.stdout.splitlines()[:1]
    assert board("list", "shed").stdout == done.stdout
    answered = board("run", "classifier.tflite", "--board", "shed", "a good film", "")
    lines = [line.split(maxsplit=1)[1] for line in answered.stdout.splitlines()]
    assert lines[0].startswith("positive\t")
    assert lines[1] == "error\tthe text is empty"
    again = board("run", "classifier.tflite", "--board", "shed", given="a good film\n\n")
    assert again.stdout == answered.stdout
    assert (answered.exit_code, again.exit_code) == (1, 1)  # as of tfedge-infer
    assert board("run", "classifier.tflite", "--board", "shed", "dull").exit_code == 0
    removed = board("remove", "classifier.tflite", "none.tflite", "--board", "shed")
    assert removed.stdout == "shed  classifier.tflite: removed\nshed  none.tflite: was not there\n"
    assert [path.name for path in (ready.homes["shed"] / MODELS).iterdir()] == ["embedder.tflite"]
    board("remove", "embedder.tflite", "--board", "shed")
    assert board("list", "shed").stdout == "shed  no models\n"


def test_standard_input_that_cannot_be_sent(
    ready: Server, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is all given to each board."""
    monkeypatch.setattr("tfedge.boards.models._LONGEST_INPUT", 20)
    words = ("run", "classifier.tflite", "--board", "shed")
    for given, told in (
        (b"x" * 21, "standard input has more than 20 bytes; give it in parts"),
        (b"good\nb\xe4d\n", "line 2 of standard input is no UTF-8"),
    ):
        done = CliRunner().invoke(cli.main, ["board", *words], input=given)
        assert isinstance(done.exception, InputError)
        assert str(done.exception).startswith(told)


def test_a_model_that_is_on_one_side_only(ready: Server, toys: Path, tmp_path: Path) -> None:
    board("push", toys / "embedder.tflite", "--board", "shed")
    done = board("run", "classifier.tflite", "--board", "shed", "x")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "tfedge: shed has no model 'classifier.tflite', but has embedder.tflite; `tfedge board push "
        "classifier.tflite --board shed` brings it\n"
    )
    done = board("run", "my models/a b.tflite", "--board", "shed", "x")
    assert (done.exit_code, done.stderr[-34:]) == (3, "give the name alone: 'a b.tflite'\n")
    told = board("remove", "./a b.tflite", "--board", "shed").exception
    assert str(told).endswith("give the name alone: 'a b.tflite'")
    hidden = tmp_path / ".hid.tflite"
    hidden.write_bytes((toys / "embedder.tflite").read_bytes())
    refused = board("push", hidden, "--board", "nobody-listens").exception
    assert "name begins with a dot; rename the file" in str(refused)
    for words in (("push", tmp_path / "no.tflite"), ("push", tmp_path), ("push", hidden)):
        assert board(*words, "--board", "shed").exception.exit_code == 3  # type: ignore[union-attr]


def test_a_runtime_that_a_model_lacks(
    ready: Server, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the program there says is not how such an environment gets it."""
    board("push", toys / "classifier.tflite", "--board", "shed")
    told = "tfedge: litert is not installed: `pip install ai-edge-litert`"
    monkeypatch.setattr("tfedge.boards.ssh.completed", lambda *_, **__: Done(4, [], told))
    facts = Remote(find_board("shed"), ProgressBar).facts
    monkeypatch.setattr(Remote, "facts", {**facts, "runtimes": ["tflite-runtime"]})
    done = board("run", "classifier.tflite", "--board", "shed", "x")
    assert done.exit_code == 4
    assert done.stderr.endswith("`tfedge board setup shed --runtime litert` brings it\n")


def test_several(ready: Server, toys: Path) -> None:
    """Each has its line, in the order in which they are given; failures are told apart."""
    names = ("attic", "nobody-listens", "shed", "stranger")
    words = [word for name in names for word in ("--board", name)]
    done = board("push", toys / "classifier.tflite", *words)
    assert done.exit_code == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["attic", "classifier.tflite"],
        ["shed", "classifier.tflite"],
    ]
    told = [line for line in done.stderr.splitlines() if line.startswith("tfedge: ")]
    assert [line.split(": ")[1] for line in told] == ["nobody-listens", "stranger"]
    found = [json.loads(line) for line in board("list", *names, "--json").stdout.splitlines()]
    assert [(row["board"], row["done"], row.get("exit_code")) for row in found] == [
        ("attic", True, None),
        ("nobody-listens", False, 12),
        ("shed", True, None),
        ("stranger", False, 13),
    ]
    assert found[0]["found"] == found[2]["found"]
    assert board("list", "attic", "nobody-listens").exit_code == 12
    assert board("list", "attic", "attic").stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("bench", "x.tflite", "--data", "x.tsv"), "--board"),
        (("bench", "x.tflite", "--estimate"), "--board"),
        (("eval", "--model", ".", "--data", "x.tsv"), "--board"),
        (("eval", "--model", ".", "--data", "x.tsv"), "--runtime"),
        (("eval", "--model", ".", "--data", "x.tsv"), "--threads"),
        (("inspect", "x.tflite", "--time"), "--board"),
        (("convert", "x"), "--board"),
        (("board", "setup", "shed"), "--runtime"),
        (("board", "setup", "shed"), "--service"),
    ],
)
def test_none_of_two_values_is_dropped(words: tuple[str, ...], name: str) -> None:
    """Of options that other commands take several times."""
    values = {"--runtime": ("litert", "tflite-runtime"), "--threads": ("1", "2")}
    first, second = values.get(name, ("rpi4", "rpi5"))
    done = CliRunner().invoke(cli.main, [*words, name, first, name, second])
    assert done.exit_code == 2
    assert f"{name} takes one value, and was given {first}, {second}" in done.stderr


def test_which_board(ready: Server, toys: Path) -> None:
    done = board("push", toys / "classifier.tflite")
    assert (done.exit_code, "name one with --board" in done.stderr) == (2, True)
    assert "name a BOARD" in board("list").stderr
    write_book(hut="shed")
    assert board("push", toys / "classifier.tflite").stdout.startswith("hut  classifier.tflite")
    write_book(hut="shed", tent="attic")
    assert "boards.toml has hut, tent" in board("remove", "x.tflite").stderr
    assert [line.split()[0] for line in board("list").stdout.splitlines()] == ["hut", "tent"]


def test_setup(
    boards: Server, environment: Path, monkeypatch: pytest.MonkeyPatch, toys: Path
) -> None:
    """Of one board all that its doctor says, of several a line; where a service listens."""
    doctor: dict[str, Any] = json.loads(board_doctor())

    def set_up(remote: Remote, python: str, runtime: str | None, service: Any) -> Ready:
        give_environment(boards.homes[remote.name], environment)
        place = f"/run/tfedge/{service.name}.sock" if service else ""
        served = Served(remote.name, service.name, place, True, "by hand") if service else None
        return Ready(remote.name, True, 11, doctor, served)

    monkeypatch.setattr("tfedge.boards.setup.set_up", set_up)
    one = board("setup", "shed", "--python", sys.executable)
    first, *rest = one.stdout.splitlines()
    assert first.startswith("shed  set up, ")
    assert f"Python {doctor['python']}, {doctor['runtime']}, " in first
    assert any(line.startswith("shed  installed  tfedge ") for line in rest)
    done = board("setup", "attic", "cellar", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["found"]["installed"] for row in found] == [True, True]
    assert found[0]["found"]["doctor"] == doctor
    service = f"answer={toys / 'classifier.tflite'}"
    served = board("setup", "raspberrypi", "--service", service).stdout.splitlines()
    assert served[-2].endswith("answer answers at /run/tfedge/answer.sock")
    assert served[-1].endswith("by hand")
    assert board("setup", "shed", "--memory", "100").exit_code == 2
    refused = board("setup", "shed", "--service", "x").exception
    assert "is no service" in str(refused)


def test_wheels(boards: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and others, into a folder that may have more."""
    (tmp_path / "some.whl").write_bytes(b"wheel")

    def wheels_for(place: Place, runtimes: list[str], own: Path) -> list[Path]:
        assert (place.python, runtimes) == ("{}.{}".format(*sys.version_info[:2]), ["litert"])
        return [own, tmp_path / "some.whl"]

    monkeypatch.setattr("tfedge.boards.wheels.wheels_for", wheels_for)
    output = tmp_path / "a folder"
    words = ["--python", sys.executable, "--runtime", "litert", "--output", output]
    for _ in range(2):
        done = board("wheels", "shed", *words)
        names = sorted(path.name for path in output.iterdir())
        assert [name.split("-")[0] for name in names] == ["some.whl", "tfedge"]
        assert done.stdout == "".join(f"shed  {output / name}\n" for name in names)


def board_doctor() -> str:
    from tfedge.runtime.render import report_as_json

    return report_as_json(examine())


def test_every_command_teaches() -> None:
    for name, command in cli.board.commands.items():
        text = CliRunner().invoke(cli.main, ["board", name, "--help"]).stdout
        assert f"tfedge board {name} " in text.split("Options:")[0].split("\n", 2)[2], command
