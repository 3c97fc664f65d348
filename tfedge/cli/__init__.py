"""The `tfedge` program: parses, calls one function, prints."""

from __future__ import annotations

import contextlib
import io
import sys

import click

from tfedge import __version__
from tfedge.cli.conversion import convert, export, init, models
from tfedge.cli.inspection import edgetpu, inspect_model
from tfedge.cli.measurement import bench, evaluate, report
from tfedge.cli.recipe import run_recipe
from tfedge.cli.training import distil, finetune, prune, qad, shrink
from tfedge.errors import MissingPackageError, TfedgeError, host_extra

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="tfedge")
def main() -> None:
    """Turns checkpoints of BERT, ViT and their kin into TFLite models for small boards.

    \b
    tfedge models                       the presets
    tfedge convert tinybert             checkpoint -> one .tflite, measured
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
    model was rejected.
    """


COMMANDS = [finetune, distil, prune, shrink, qad, convert, export, evaluate, run_recipe]
COMMANDS += [inspect_model, edgetpu, bench, report, models, init]
for command in COMMANDS:
    main.add_command(command)


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
        error.show()
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tfedge"):
            raise
        click.echo(f"tfedge: this needs more ({error}): {host_extra()}", err=True)
        sys.exit(MissingPackageError.exit_code)
    except (TfedgeError, OSError) as error:  # the latter of a full disk behind standard output, say
        if not isinstance(error, TfedgeError):
            # Or Python would try again at its end, and from 3.13 on report that with another code.
            with contextlib.suppress(OSError):
                sys.stdout.close()
        click.echo(f"tfedge: {error}", err=True)
        sys.exit(getattr(error, "exit_code", TfedgeError.exit_code))
