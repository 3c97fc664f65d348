"""The `tfedge` program: parses, calls one function, prints."""

from __future__ import annotations

import contextlib
import io
import sys
import traceback

import click

from tfedge import __version__
from tfedge.cli.conversion import convert, export, init, models
from tfedge.cli.inspection import edgetpu, inspect_model
from tfedge.cli.measurement import bench, evaluate, report
from tfedge.cli.options import verbosity
from tfedge.cli.recipe import run_recipe
from tfedge.cli.training import distil, finetune, prune, qad, shrink
from tfedge.errors import MissingPackageError, TfedgeError, host_extra
from tfedge.notes import is_verbose
from tfedge.runtime.terminal import complain
from tfedge.runtime.unexpected import EXIT_UNEXPECTED, describe

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
    tfedge eval --model X.tflite --data dev.tsv
    tfedge bench X.tflite Y.tflite --data dev.tsv
    tfedge export tinybert --format onnx --output X     float, for TensorRT and others
    tfedge inspect X.tflite             what a file holds, costs and loses
    tfedge report bench.json inspect.json      what these measured, as one page
    tfedge edgetpu check X.tflite       what of it a Coral Edge TPU would run
    tfedge-infer --model X.tflite "a fine film"      on the board

    MODEL is a preset (one of the names that `tfedge models` lists), a folder with a Hugging Face
    checkpoint (./NAME if a preset has the same name), or the id of one on the hub. Exit codes:
    0 done, 1 error, 2 usage, 3 unusable input, 4 a package or runtime is missing, 5 the converted
    model was rejected, 70 a fault of tfedge itself, with the file to report it with.
    """


COMMANDS = [finetune, distil, prune, shrink, qad, convert, export, evaluate, run_recipe]
COMMANDS += [inspect_model, edgetpu, bench, report, models, init]
for command in COMMANDS:
    main.add_command(command)
for command in [main, *COMMANDS, *edgetpu.commands.values()]:
    command.params += verbosity


def run(command: click.Command = main, name: str = "tfedge") -> None:
    """The console entry point: an expected error is one line and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names of files may be no UTF-8
    try:
        command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("tfedge: interrupted; the same command resumes or starts again", err=True)
        sys.exit(130)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else name
        message = error.format_message().rstrip(".").replace("\n", " ")
        click.echo(f"tfedge: {message} (see {path} --help)", err=True)
        sys.exit(error.exit_code)
    except (SystemExit, GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # the panics of tokenizers are no Exceptions
        if isinstance(error, OSError):
            # Or Python would try again at its end, and from 3.13 on report that with another code.
            with contextlib.suppress(OSError):
                sys.stdout.close()
        if is_verbose():
            traceback.print_exc()
        message, code = _told(error, name)
        complain(message, "tfedge")
        sys.exit(code)


def _told(error: BaseException, name: str) -> tuple[str, int]:
    """What the user is told of an error that ended the program `name`, and the exit code."""
    if isinstance(error, (TfedgeError, OSError)):  # the latter of a full disk, say
        return str(error), getattr(error, "exit_code", TfedgeError.exit_code)
    is_foreign = not (getattr(error, "name", None) or "").startswith("tfedge")
    if isinstance(error, ModuleNotFoundError) and is_foreign:
        return f"this needs more ({error}): {host_extra()}", MissingPackageError.exit_code
    return describe(error, name), EXIT_UNEXPECTED
