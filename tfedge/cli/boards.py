"""Commands about boards that ssh reaches: tfedge board."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge.cli.options import PATH, RUNTIME, Once, together
from tfedge.runtime.terminal import complain

if TYPE_CHECKING:
    from tfedge.boards.fleet import Outcome
    from tfedge.boards.remote import Remote

_HASH = 12  # characters of a SHA-256 that tell files apart to people
_boards = click.argument("boards", nargs=-1, metavar="[BOARD]...")
_on = click.option(
    "--board",
    "boards",
    multiple=True,
    metavar="BOARD",
    help="USER@HOST, or a name in ~/.config/tfedge/boards.toml; may be repeated. Default: the one that "
    "is in boards.toml, where there is only one.",
)
_json = click.option("--json", "prints_json", is_flag=True, help="Print one JSON object a board.")
_named = together(_on, _json)
_base = together(
    click.option(
        "--python",
        default="python3",
        help="The Python there of which an environment is made, 3.9 or later.",
    ),
    click.option(
        "--runtime",
        cls=Once,
        type=RUNTIME,
        help="Have this one too. Default: the one in boards.toml; without, what tfedge takes there: "
        "tflite-runtime up to Python 3.11, then litert.",
    ),
)


@click.group()
def board() -> None:
    """Prepares boards that ssh reaches, and puts models there.

    \b
    tfedge board setup pi@raspberrypi          an environment with this tfedge, and what its doctor says
    tfedge board push X_int8.tflite --board pi@raspberrypi
    tfedge board list pi@raspberrypi
    tfedge board run X_int8.tflite --board pi@raspberrypi "a fine film"
    tfedge board remove X_int8.tflite --board pi@raspberrypi

    BOARD is USER@HOST or a host as ssh knows it, by its own configuration and keys (no password is
    asked for), or a name in ~/.config/tfedge/boards.toml:

    \b
    [shed]
    host = "192.168.1.20"
    user = "pi"              # and, where they differ: port = 2222
    runtime = "litert"       # the one to run models in
    python = "edge/bin/python"      # instead of the environment that setup makes

    Of several boards, all are seen to at once, and each has its line; the exit code is that of what
    went wrong, or 1 where that differs. All can be said again: what is there already stays. Everything
    is below ~/.local/share/tfedge there. `tfedge eval`, `bench`, `inspect --time` and `convert` take
    --board too.
    """


@board.command()
@click.argument("boards", nargs=-1, required=True, metavar="BOARD...")
@_base
@click.option(
    "--service",
    cls=Once,
    metavar="NAME=MODEL.tflite",
    help="Also push the model, and have systemd answer with it behind a socket: the system's where the "
    "user there is root, else the user's own.",
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(16),
    metavar="MB",
    help="What a connection of the service may take; default: twice what the model is thought to need.",
)
@_json
def setup(boards: Sequence[str], prints_json: bool, **settings: Any) -> None:
    """Makes an environment with this tfedge on boards, and has its doctor look.

    \b
    tfedge board setup pi@raspberrypi
    tfedge board setup pi@raspberrypi --runtime litert
    tfedge board setup pi@shed pi@attic pi@cellar
    tfedge board setup pi@raspberrypi --service answer=X_int8.tflite

    The wheels are fetched by this machine's pip, for the board's Python and system, kept in
    ~/.cache/tfedge/wheels, and sent, so the board needs no internet, no pip and no compiler, but Python
    3.9 or later. The environment takes the place of an older one once it is complete.

    With --service, systemd listens: each connection has a program of its own that answers line by line
    in JSON, with a limit of memory, and a crash ends that connection alone. On the board: `socat -
    UNIX-CONNECT:$XDG_RUNTIME_DIR/tfedge/answer.sock`.
    """
    from tfedge.boards.service import read_service
    from tfedge.boards.setup import Ready, set_up

    memory_mb, service = settings.pop("memory_mb"), settings.pop("service")
    if memory_mb is not None and service is None:
        raise click.UsageError("--memory is for --service; give that too")
    wanted = None if service is None else read_service(service, memory_mb)

    def told(ready: Ready) -> list[str]:
        first, *rest = _doctors(ready)
        state = "set up" if ready.installed else "was set up already"
        lines = [f"{state}, {first}", *(rest if len(boards) == 1 else [])]
        if ready.served is not None:
            lines.append(f"{ready.served.name} answers at {ready.served.socket}")
            lines += [ready.served.note] if ready.served.note else []
        return lines

    def work(remote: Remote) -> Ready:
        return set_up(remote, service=wanted, **settings)

    _do(boards, work, "setting up", told, prints_json)


def _doctors(ready: Any) -> list[str]:
    """What a board's doctor said: all in one line, and then all of it."""
    from tfedge.records import read_record
    from tfedge.runtime.doctor import Report
    from tfedge.runtime.render import report_as_text

    report = read_record(ready.doctor, Report, ready.board, "tfedge-infer --doctor --json")
    machine = report.machine
    cores = ", ".join(f"{count} x {name}" for name, count in machine.cores.items())
    found = [machine.board or machine.architecture, cores, f"Python {report.python}"]
    found += [report.runtime or "no runtime", _findings(report)]
    return [", ".join(filter(None, found)), *report_as_text(report).splitlines()]


def _findings(report: Any) -> str:
    if not report.can_answer:
        return "nothing can be answered before something is fixed"
    return f"{len(report.findings)} to fix" if report.findings else "nothing to fix"


@board.command(name="wheels")
@click.argument("like", metavar="BOARD")
@click.option(
    "--output", default=Path("build/wheels"), type=PATH, help="The folder to write them into."
)
@_base
@_json
def write_wheels(like: str, output: Path, prints_json: bool, **settings: Any) -> None:
    """Writes the wheels that boards like BOARD need, this tfedge's and pip's too, into a folder.

    \b
    tfedge board wheels pi@raspberrypi --output build/wheels

    For tools that see to many boards, as the role for Ansible in examples/ansible does.
    """
    from tfedge.boards.setup import write_wheels as run

    def told(names: list[str]) -> list[str]:
        return [str(output / name) for name in names]

    _do([like], lambda remote: run(remote, folder=output, **settings), "asking", told, prints_json)


@board.command()
@click.argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL.tflite...")
@_named
def push(models: Sequence[Path], boards: Sequence[str], prints_json: bool) -> None:
    """Puts models onto boards, by the names that their files have.

    \b
    tfedge board push X_int8.tflite --board pi@raspberrypi
    tfedge board push X.tflite Y.tflite --board pi@shed --board pi@attic

    A file is sent once: its SHA-256 tells whether it is there, under any name. Another of the same name
    is replaced in one step, once the new one has arrived whole.
    """
    from tfedge.boards.remote import check_models

    check_models(models)
    names = {path.name for path in models}

    def told(found: list[dict[str, Any]]) -> list[str]:
        return _rows([row for row in found if row["name"] in names])

    _do(_chosen(boards), lambda remote: remote.push(models), "sending to", told, prints_json)


@board.command(name="list")
@_boards
@_json
def list_models(boards: Sequence[str], prints_json: bool) -> None:
    """Lists the models that were pushed to boards; by default to all in boards.toml.

    \b
    tfedge board list pi@raspberrypi
    """
    from tfedge.boards.book import read_book

    boards = boards or list(read_book())
    if not boards:
        raise click.UsageError("name a BOARD, or write some into ~/.config/tfedge/boards.toml")
    _do(boards, lambda remote: remote.models(), "asking", _rows, prints_json)


def _rows(found: Sequence[dict[str, Any]]) -> list[str]:
    from tfedge.show.numbers import visible

    width = max((len(row["name"]) for row in found), default=0)
    return [
        f"{visible(row['name']):<{width}}  {row['size'] / 1e6:.1f} MB  "
        f"{visible((row['sha256'] or '')[:_HASH])}"
        for row in found
    ] or ["no models"]


@board.command()
@click.argument("names", nargs=-1, metavar="[NAME.tflite]...")
@click.option("--service", "services", multiple=True, metavar="NAME", help="A service to end, too.")
@_named
def remove(
    names: Sequence[str], services: Sequence[str], boards: Sequence[str], prints_json: bool
) -> None:
    """Takes models away that were pushed, and services; one that is not there is no error.

    \b
    tfedge board remove X_int8.tflite --board pi@raspberrypi
    tfedge board remove --service answer X_int8.tflite --board pi@raspberrypi
    """
    from tfedge.boards.models import check_name
    from tfedge.boards.service import take_away

    if not names and not services:
        raise click.UsageError("name a model, or a service with --service")
    for name in names:
        check_name(name)

    def work(remote: Remote) -> list[str]:
        ended = [name for name in services if take_away(remote, name)]
        return ended + (remote.remove(names) if names else [])

    def told(removed: list[str]) -> list[str]:
        all_names = (*services, *names)
        return [
            f"{name}: {'removed' if name in removed else 'was not there'}" for name in all_names
        ]

    _do(_chosen(boards), work, "asking", told, prints_json)


@board.command()
@click.argument("name", metavar="NAME.tflite")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@_named
def run(name: str, texts: Sequence[str], boards: Sequence[str], prints_json: bool) -> None:
    """Has boards answer texts with a model that was pushed, as `tfedge-infer` does there.

    \b
    tfedge board run X_int8.tflite --board pi@raspberrypi "a fine film"
    tfedge board run X_int8.tflite --board pi@raspberrypi < texts.txt

    Without TEXT, the lines of standard input are the texts. As of `tfedge-infer`, the exit code is 1
    where one has no answer.
    """
    from tfedge.boards.models import answers, read_stdin

    chosen = _chosen(boards)
    lines = texts or read_stdin()

    def told(found: list[dict[str, Any]]) -> list[str]:
        return [_answer(one) for one in found]

    def lacks_answers(found: list[dict[str, Any]]) -> bool:
        return any("error" in one for one in found)

    def work(remote: Remote) -> list[dict[str, Any]]:
        return answers(remote, name, lines)

    _do(chosen, work, "asking", told, prints_json, lacks_answers)


def _answer(found: dict[str, Any]) -> str:
    from tfedge.show.numbers import visible

    if "error" in found:
        return f"error\t{visible(str(found['error']))}"
    rest = {key: value for key, value in found.items() if key not in ("text", "scores")}
    return "\t".join(visible(str(value)) for value in rest.values())


def _chosen(boards: Sequence[str]) -> Sequence[str]:
    """The boards that are named, or the only one in the book."""
    from tfedge.boards.book import read_book

    if boards:
        return boards
    book = read_book()
    if len(book) == 1:
        return list(book)
    has = f"; boards.toml has {', '.join(book)}" if book else ""
    raise click.UsageError(f"name one with --board{has}")


def _do(
    boards: Sequence[str],
    work: Callable[[Remote], Any],
    what: str,
    told: Callable[[Any], list[str]],
    prints_json: bool,
    lacks: Callable[[Any], bool] = lambda found: False,
) -> None:
    """Does some work on boards, prints what came of it, and ends with the exit code of what went wrong.

    Args:
        what: is done, for a bar: `sending to`.
        told: the lines of a board, for people.
        lacks: whether something of what was found is an error, whose exit code is 1.
    """
    from tfedge.boards.fleet import exit_code, on_each
    from tfedge.errors import TfedgeError
    from tfedge.progress import ProgressBar
    from tfedge.show.numbers import harmless, visible

    outcomes = list(on_each(boards, work, what, ProgressBar))
    names = [visible(one.board) for one in outcomes]
    width = max(map(len, names))
    for name, one in zip(names, outcomes, strict=True):
        if prints_json:
            click.echo(json.dumps(_json_of(one)))
        elif one.error is not None:
            complain(str(one.error), "tfedge")
        else:
            for line in told(one.found):
                click.echo(f"{name:<{width}}  {harmless(line)}")
    is_lacking = any(one.error is None and lacks(one.found) for one in outcomes)
    sys.exit(TfedgeError.exit_code if is_lacking else exit_code(outcomes))


def _json_of(outcome: Outcome[Any]) -> dict[str, Any]:
    from tfedge.records import as_json

    if outcome.error is not None:
        failed = {"exit_code": outcome.error.exit_code, "error": str(outcome.error)}
        return {"board": outcome.board, "done": False, **failed}
    return {"board": outcome.board, "done": True, "found": as_json(outcome.found)}
