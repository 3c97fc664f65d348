"""tfedge from Python: the host's commands as functions, with the same options, checks and results.

`import tfedge` imports none of this before a function is asked for, and a function imports what it
needs when it is called: a board imports tfedge, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tfedge.api.options import (
    ConvertOptions,
    DistilOptions,
    EvaluateOptions,
    FinetuneOptions,
    Name,
    PruneOptions,
    QadOptions,
    ShrinkOptions,
    TrimOptions,
)
from tfedge.errors import MissingPackageError, host_extra

if TYPE_CHECKING:
    from typing import Unpack

    from tfedge.api.conversion import Conversion
    from tfedge.api.measurement import Evaluation
    from tfedge.api.training import Pruning, Shrinking, Static, Trained, TrainedForInt8
    from tfedge.api.vocabulary import Trimming

Function = TypeVar("Function", bound=Callable[..., Any])


def _with_options(options: type) -> Callable[[Function], Function]:
    """Gives a function a signature with each of its options, which notebooks complete and show."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        named = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        kinds = {  # as they are written
            name: getattr(kind, "__forward_arg__", kind)
            for name, kind in options.__annotations__.items()
        }
        named += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in kinds.items()
        ]
        function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
        return function

    return decorate


@_with_options(ConvertOptions)
def convert(model: Name, **options: Unpack[ConvertOptions]) -> Conversion:
    """Converts a checkpoint to one .tflite that holds all a board needs, and measures it.

    tfedge.load(tfedge.convert("tinybert", quant="int8"))

    Args:
        model: a preset, a folder with a Hugging Face checkpoint, or the id of one on the hub.
        options: those of `tfedge convert --help`, with _ for -; None is the default named there.

    Returns:
        What `tfedge convert --json` prints; `path` is the .tflite.

    Raises:
        InputError: model, data or an option cannot be used.
        MissingPackageError: a package, a runtime, or the compiler of an Edge TPU is missing; without
            the latter the file is there, uncompiled.
        RejectedModelError: the converted model crashed, or lost more than `max_drop`; it is kept with
            the suffix .rejected.
        TypeError: there is no such option, or a value is of a kind that it cannot be.
    """
    report = _call("convert", {"model": model, **options})
    from tfedge.api.conversion import Conversion  # by now TensorFlow is loaded

    return Conversion.of(report)


@_with_options(EvaluateOptions)
def evaluate(model: Name, data: Name, **options: Unpack[EvaluateOptions]) -> Evaluation:
    """Measures a model on labelled data, and how its answers differ from another's.

    tfedge.evaluate("saved_models/tinybert/tinybert_int8.tflite", "dev.tsv").figures["accuracy"]

    Args:
        model: a converted .tflite, which runs in processes of its own, or a folder with a checkpoint.
        data: a file with the columns that the task needs, or the id of a data set on the hub.
        options: those of `tfedge eval --help`, with _ for -; None is the default named there.

    Returns:
        What `tfedge eval --json` prints; `figures` is by the name of the figure.

    Raises:
        InputError, MissingPackageError, TypeError: as `convert`.
        RejectedModelError: the model crashed.
    """
    report = _call("eval", {"model": model, "data": data, **options})
    from tfedge.api.measurement import Evaluation

    return Evaluation.of(report)


@_with_options(FinetuneOptions)
def finetune(model: Name, data: Name, output: Name, **options: Unpack[FinetuneOptions]) -> Trained:
    """Trains a text classifier, with one label a text, from an encoder.

    tfedge.finetune("minilm", "train.csv", "mine", text_column="review", label_column="stars")

    Args:
        model: as that of `convert`.
        data: training texts: a TSV, CSV or JSONL file, or the id of a data set on the hub.
        output: the folder to write. An interrupted run resumes when it is called again in the same way.
        options: those of `tfedge finetune --help`, with _ for -; None is the default named there.

    Returns:
        The folder, and the accuracy on `eval`, 0..1.

    Raises:
        InputError, MissingPackageError, TypeError: as `convert`.
    """
    report = _call("finetune", {"model": model, "data": data, "output": output, **options})
    from tfedge.api.training import Trained

    return Trained.of(report)


@_with_options(DistilOptions)
def distil(
    preset: str | None,
    teacher: Name,
    data: Name | None,
    output: Name,
    **options: Unpack[DistilOptions],
) -> Trained | Static:
    """Trains the small model of a preset on the answers of a larger teacher, or makes a table of it.

    tfedge.distil(None, "minilm", None, "table", student="static")

    Args:
        preset: one of `tfedge models`; None with student="static".
        teacher: the folder of a fine-tuned text classifier, or of an embedder.
        data, output: as those of `finetune`; student="static" has no data, None.
        options: those of `tfedge distil --help`, with _ for -; None is the default named there.

    Returns:
        As `finetune`; of student="static" the folder, and the size of the table.

    Raises: as `finetune`.
    """
    given = {"preset": preset, "teacher": teacher, "data": data, "output": output}
    report = _call("distil", {**given, **options})
    from tfedge.api.training import Static, Trained

    return Static.of(report) if options.get("student") else Trained.of(report)


@_with_options(PruneOptions)
def prune(model: Name, data: Name, output: Name, **options: Unpack[PruneOptions]) -> Pruning:
    """Makes the smallest weights of a model zero, so that its file compresses better.

    Args:
        model, data, output: as those of `finetune`; labels need not be there.
        options: those of `tfedge prune --help`, with _ for -; None is the default named there.

    Returns:
        What `tfedge prune --json` prints.

    Raises: as `finetune`.
    """
    report = _call("prune", {"model": model, "data": data, "output": output, **options})
    from tfedge.api.training import Pruning

    return Pruning.of(report)


@_with_options(ShrinkOptions)
def shrink(model: Name, data: Name, output: Name, **options: Unpack[ShrinkOptions]) -> Shrinking:
    """Removes the least important parts of a model, so that it gets faster everywhere.

    Args:
        model, data, output: as those of `finetune`; labels need not be there.
        options: those of `tfedge shrink --help`, with _ for -; None is the default named there. One of
            `target_flops` and `target_latency` must be given.

    Returns:
        What `tfedge shrink --json` prints.

    Raises: as `finetune`.
    """
    report = _call("shrink", {"model": model, "data": data, "output": output, **options})
    from tfedge.api.training import Shrinking

    return Shrinking.of(report)


@_with_options(TrimOptions)
def trim(model: Name, output: Name, **options: Unpack[TrimOptions]) -> Trimming:
    """Removes rows of a model's word table that texts or languages do not need.

    tfedge.trim("minilm", "small", keep_texts="texts.txt", vocab_size=8000)

    Args:
        model: as that of `convert`.
        output: the folder to write.
        options: those of `tfedge trim --help`, with _ for -; None is the default named there. One of
            `keep_texts` and `languages` must be given.

    Returns:
        What `tfedge trim --json` prints.

    Raises: as `finetune`.
    """
    report = _call("trim", {"model": model, "output": output, **options})
    from tfedge.api.vocabulary import Trimming

    return Trimming.of(report)


@_with_options(QadOptions)
def qad(model: Name, data: Name, output: Name, **options: Unpack[QadOptions]) -> TrainedForInt8:
    """Trains a model for int8, for when calibration alone loses too much.

    Args:
        model, data, output: as those of `finetune`; labels are not read.
        options: those of `tfedge qad --help`, with _ for -; None is the default named there.

    Returns:
        What `tfedge qad --json` prints.

    Raises: as `finetune`.
    """
    report = _call("qad", {"model": model, "data": data, "output": output, **options})
    from tfedge.api.training import TrainedForInt8

    return TrainedForInt8.of(report)


def _call(command: str, given: dict[str, Any]) -> Any:
    """Calls a command of the host; raises MissingPackageError where one of its packages is missing."""
    try:
        from tfedge.api.call import call

        return call(command, given)
    except ModuleNotFoundError as error:
        if isinstance(error, MissingPackageError) or (error.name or "").startswith("tfedge"):
            raise
        raise MissingPackageError(f"this needs more ({error}): {host_extra()}") from error
