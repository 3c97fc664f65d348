"""The `tfedge` program: parses, calls one function, prints."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from tfedge import __version__
from tfedge.cli.boards import board
from tfedge.cli.compression import prune, qad, shrink
from tfedge.cli.conversion import convert, export, init, models
from tfedge.cli.inspection import edgetpu, inspect_model
from tfedge.cli.measurement import bench, evaluate, report
from tfedge.cli.options import refuse_endless, verbosity
from tfedge.cli.recipe import run_recipe
from tfedge.cli.training import distil, finetune
from tfedge.cli.vocabulary import trim
from tfedge.errors import InputError, MissingPackageError, TfedgeError, host_extra
from tfedge.notes import is_verbose
from tfedge.runtime.errors import NO_MEMORY, lacks_memory, pathless, shortened
from tfedge.runtime.kept import drop_relative_places
from tfedge.runtime.terminal import complain, fill_closed, put, say, unprinted
from tfedge.runtime.unexpected import EXIT_UNEXPECTED, describe
from tfedge.show.numbers import harmless

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="tfedge")
def main() -> None:
    """Turns checkpoints of BERT, ViT and their kin into TFLite models for small boards.

    \b
    tfedge models                       the presets
    tfedge convert tinybert             checkpoint -> one .tflite, measured
    tfedge finetune minilm --data train.tsv --output Y      texts with labels -> a checkpoint
    tfedge run recipe.toml              texts -> trained, converted, measured, in one command
    tfedge shrink X --target-flops 0.5 --data texts.txt --output Y      checkpoint -> a faster one
    tfedge trim X --keep-texts texts.txt --output Y      a smaller vocabulary: a smaller file
    tfedge eval --model X.tflite --data dev.tsv
    tfedge bench X.tflite Y.tflite --data dev.tsv --board pi@raspberrypi
    tfedge export tinybert --format onnx --output X     float, for TensorRT and others
    tfedge inspect X.tflite             what a file holds, costs and loses
    tfedge board setup pi@raspberrypi   makes a board ready for --board
    tfedge report bench.json inspect.json      what these measured, as one page
    tfedge edgetpu check X.tflite       what of it a Coral Edge TPU would run
    tfedge-infer --model X.tflite "a fine film"      on the board

    MODEL is a preset (one of the names that `tfedge models` lists), a folder with a Hugging Face
    checkpoint (./NAME if a preset has the same name), or the id of one on the hub. Exit codes:
    0 done, 1 error, 2 usage, 3 unusable input, 4 a package or runtime is missing, 5 the converted
    model was rejected, 70 a fault of tfedge itself, with the file to report it with; of boards 11 no
    such host, 12 it cannot be reached, 13 it takes no key of yours, 14 its own key is not known,
    15 its Python does not do, 16 tfedge is missing there or another one, 17 the connection broke,
    18 it has no room, 19 it takes the connection and says nothing.
    """


_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
# What Python's tempfile says where no folder that it knows takes a file, be it that disks are full.
_NO_TEMPORARY = "No usable temporary directory"
COMMANDS = [finetune, distil, prune, shrink, trim, qad, convert, export, evaluate, run_recipe]
COMMANDS += [inspect_model, edgetpu, bench, report, models, init, board]
for command in COMMANDS:
    main.add_command(command)
for command in [main, *COMMANDS, *edgetpu.commands.values(), *board.commands.values()]:
    command.params += verbosity
    for parameter in command.params:
        if isinstance(parameter.type, click.types.FloatParamType):
            assert parameter.callback is None
            parameter.callback = refuse_endless


class Ended(SystemExit):
    """A signal asks the program to end; what it has begun is taken away as the stack unwinds."""


@contextlib.contextmanager
def _ended_by_signals(asked: list[int]) -> Iterator[None]:
    """Turns what ends a process at once, and leaves temporary files, into Ended.

    Args:
        asked: where the signals that came are put, since native code may make another error of what
            they raise.
    """

    def end(number: int, frame: object) -> None:
        asked.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)  # asked twice, it ends at once
        raise Ended(128 + number)

    usual: dict[int, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
    usual[signal.SIGINT] = signal.default_int_handler
    taken = [number for number in usual if signal.getsignal(number) == usual[number]]
    for number in taken:  # nohup ignores SIGHUP
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, usual[number])


def _say_ended(number: int) -> NoReturn:
    """Says that a signal ended the program, and ends it."""
    name = signal.Signals(number).name
    how = "interrupted" if number == signal.SIGINT else f"ended by {name}"
    # click begins a new line behind what a terminal shows of Ctrl-C.
    complain(f"{how}; the same command resumes or starts again", "tfedge")
    sys.exit(128 + number)


def run(command: click.Command = main, name: str = "tfedge") -> None:
    """The console entry point: an expected error is one line and its exit code."""
    drop_relative_places()
    fill_closed("stdin", "stdout", "stderr")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names of files may be no UTF-8
    asked: list[int] = []
    try:
        with _ended_by_signals(asked):
            command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        _say_ended(signal.SIGINT)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        say(f"tfedge: {shortened(error.format_message().rstrip('.'))} (see {path} --help)")
        sys.exit(error.exit_code)
    except Ended:
        _say_ended(asked[-1])
    except (SystemExit, GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # the panics of tokenizers are no Exceptions
        if asked:
            _say_ended(asked[-1])
        usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends, and says why
        try:
            if is_verbose():
                put(harmless(traceback.format_exc().rstrip()))
            message, code = _told(error, name)
            complain(message, "tfedge")
        finally:
            signal.signal(signal.SIGINT, usual)
        sys.exit(code)


def _full_place(error: BaseException) -> str:
    """What could not be written since there is no room for it, and why; empty for other errors."""
    if isinstance(error, OSError):
        is_full = error.errno in _FULL and error.filename  # standard output has no name
        return f"{error.filename}: {error.strerror}" if is_full else ""
    # TensorFlow has classes of its own for it, which are not imported here to be compared with. Other
    # messages may have a word of a megabyte out of a file, in which a pattern would look for hours.
    for why in map(os.strerror, _FULL):
        before, found, _ = str(error).partition(f"; {why}")
        if found and (words := before.split()):
            return f"{Path(words[-1]).parent}: {why}"
    return ""


def _told(error: BaseException, name: str) -> tuple[str, int]:
    """What the user is told of an error that ended the program `name`, and the exit code."""
    if full := _full_place(error):
        told = f"cannot write {full}; free some room there, or name another folder in TMPDIR"
        return told, InputError.exit_code
    if said := pathless(error):
        return said, InputError.exit_code
    if isinstance(error, FileNotFoundError) and _NO_TEMPORARY in str(error):
        told = (
            "there is no room for temporary files; free some, or name a folder with room in TMPDIR"
        )
        return told, InputError.exit_code
    if said := unprinted(error):
        return said, TfedgeError.exit_code
    if isinstance(error, (TfedgeError, OSError)):
        return str(error), getattr(error, "exit_code", TfedgeError.exit_code)
    is_foreign = not (getattr(error, "name", None) or "").startswith("tfedge")
    if isinstance(error, ModuleNotFoundError) and is_foreign:
        return f"this needs more ({error}): {host_extra()}", MissingPackageError.exit_code
    if lacks_memory(error):
        return NO_MEMORY, MissingPackageError.exit_code
    return describe(error, name), EXIT_UNEXPECTED
