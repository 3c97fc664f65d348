"""What one conversion is asked for, and what follows from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.data.reader import Reader, TextReader, open_reader
from tfedge.data.texts import Texts, package_texts
from tfedge.errors import InputError, MissingPackageError
from tfedge.models.build import input_names
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import embedding_length, normalizes_embeddings
from tfedge.models.hub import Source, resolve
from tfedge.progress import MakeBar
from tfedge.quantize.coarsen import LEAST_BITS, MOST_BITS
from tfedge.quantize.costs import Costs, read_costs
from tfedge.quantize.mixed import Precision
from tfedge.quantize.prepare import Shape
from tfedge.runtime.runtimes import RUNTIMES
from tfedge.targets import INTEGER, Target, load_target
from tfedge.tasks import task_and_labels
from tfedge.tasks.base import Rows, Task
from tfedge.tflite.mediapipe import check_mediapipe
from tfedge.tflite.tflite import INTEGER_QUANTIZATIONS, MIXED_QUANTIZATIONS, QUANTIZATIONS

_BUCKETS = (16, 24, 32, 48, 64)
_LENGTH = 128
_MAX_DROP = 1.0
# Modes that look at no calibration data.
_UNCALIBRATED = ("dynamic", "float16", "float32")


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What `tfedge convert` is asked for; None takes what the preset or the checkpoint says.

    Attributes:
        buckets: lengths of shorter graphs in the same file; those not below the sequence length
            are left out.
        calibration: file with texts (labels are used for evaluation if they fit), the package's
            own sentences by default; or folder or table of images, which has no default.
        evaluation: labelled file to measure the loss of accuracy on; the rest of the calibration
            texts by default.
        normalize: whether sentence embeddings come out with length 1; as the checkpoint's
            sentence-transformers modules say by default.
        target: name of a board, see `tfedge.targets`, which decides what is left open here.
        precisions: with the quantization `mixed`, by kind or pattern of operations.
        max_drop: largest loss in points: accuracy x 100, or disagreement x 100 without labels; 1 where
            the preset names no other.
        keep_reference: whether the same graph in float is written too, for `tfedge inspect`.
        weight_bits: of the values that weights take in modes of integers, see
            `tfedge.quantize.coarsen`.
    """

    quantization: str | None = None
    sequence_length: int | None = None
    buckets: tuple[int, ...] | None = None
    task: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    runtime: str | None = None
    target: str | None = None
    precisions: Mapping[str, Precision] | None = None
    normalize: bool | None = None
    max_drop: float | None = None
    output: Path = Path("saved_models")
    keep_reference: bool = False
    weight_bits: float = MOST_BITS


@dataclasses.dataclass(frozen=True)
class Job:
    """What the stages of one conversion share.

    Attributes:
        runtime: what the file is made for.
        costs: by which the quantization `auto` chooses.
        max_drop: largest loss in points against float.
        calibration, evaluation: texts, or images.
        rows: what is asked of the models, from `evaluation`.
        truth: what the answers are compared with; None where the texts have no labels that the model
            knows.
    """

    source: Source
    checkpoint: Checkpoint
    reader: Reader
    options: ConvertOptions
    quantization: str
    runtime: str
    costs: Costs | None
    shape: Shape
    labels: list[str]
    max_drop: float
    make_bar: MakeBar
    calibration: Texts
    evaluation: Texts
    rows: Rows
    truth: Sequence[Any] | None

    @property
    def name(self) -> str:
        """What the files of this conversion are called, without their suffixes."""
        graph = "" if self.shape.graph == INTEGER else f"_{self.shape.graph}"
        return f"{self.source.name}{graph}_{self.quantization}"

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.options.output / self.source.name

    @property
    def runtimes(self) -> list[str]:
        """Runtimes that the file may run on, the one it is made for first.

        What is made for tflite-runtime suits LiteRT too; the other way round it may crash.
        """
        wanted = self.runtime
        others = ["litert"] if wanted == "tflite-runtime" and RUNTIMES["litert"].installed() else []
        return [wanted, *others]


def make_job(model: str, options: ConvertOptions, make_bar: MakeBar) -> Job:
    """Settles what options leave open, by the target, the preset, and the checkpoint.

    Raises:
        InputError: an option, the checkpoint, or a file of texts or images cannot be used.
        MissingPackageError: the runtime is not installed.
    """
    source = resolve(model)
    preset = source.preset
    target = load_target(options.target) if options.target else None
    runtime = _first(options.runtime, target and target.runtime, "tflite-runtime")
    _check_runtime(runtime)
    chosen = target or preset
    quantization = _first(options.quantization, chosen and chosen.quantization, "int8")
    _check_quantization(quantization, options)
    checkpoint = Checkpoint(source.folder)
    config = checkpoint.config
    _check_kernels(quantization, runtime, checkpoint)
    task, labels = task_and_labels(checkpoint, options.task or source.task)
    if preset and preset.labels and not config.labels:
        labels = list(preset.labels)
    if target is not None and target.graph != INTEGER and quantization != "int8":
        raise InputError(
            f"the target {options.target} computes in int8 only, not {quantization}; leave out --quant"
        )
    reader = open_reader(source.folder, config)
    shape = _shape(source, options, target, task, len(labels), config)
    shape = dataclasses.replace(shape, pixels=reader.pixels)
    if target is not None and target.reader == "mediapipe":
        assert isinstance(reader, TextReader)  # `_check_target` has refused what reads images
        check_mediapipe(shape, quantization, input_names(config), reader.tokenizer)
    costs = None
    if quantization == "auto":
        costs = read_costs(runtime, target.costs if target else None)
    calibration, evaluation = _texts(source, options, reader, config, task, quantization)
    rows = tasks.find(task).rows(evaluation)
    reader.check(rows.items, rows.source, shape.sequence_length)
    return Job(
        source=source,
        checkpoint=checkpoint,
        reader=reader,
        options=options,
        quantization=quantization,
        runtime=runtime,
        costs=costs,
        shape=shape,
        labels=labels,
        max_drop=_first(options.max_drop, preset and preset.max_drop, _MAX_DROP),
        make_bar=make_bar,
        calibration=calibration,
        evaluation=evaluation,
        rows=rows,
        truth=_truth(tasks.find(task), rows, labels, options),
    )


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def _shape(
    source: Source,
    options: ConvertOptions,
    target: Target | None,
    task: str,
    num_labels: int,
    config: EncoderConfig,
) -> Shape:
    """The graphs to build: options come before the target, that before the preset."""
    tasks.find(task).check(config)
    _check_target(options, target, config, task)
    least, most = config.architecture.lengths(config)
    if least == most:
        return Shape(task, num_labels, most)
    length = options.sequence_length or default_length(source, task, target)
    normalize = _first(options.normalize, normalizes_embeddings(source.folder))
    preset = source.preset
    buckets = _first(
        options.buckets, target and target.buckets, preset and preset.buckets, _BUCKETS
    )
    shorter = tuple(sorted({bucket for bucket in buckets if bucket < length}))
    return Shape(task, num_labels, length, normalize, shorter, target.graph if target else INTEGER)


def _check_target(
    options: ConvertOptions, target: Target | None, config: EncoderConfig, task: str
) -> None:
    """Refuses what is for models of texts alone."""
    config.architecture.check_length(config, options.sequence_length or options.buckets)
    if tasks.find(task).input.has_tokenizer or target is None:
        return
    if target.graph != INTEGER or target.reader != "tfedge":
        raise InputError(
            f"the target {target.name} is for models of texts, and a {config.model_type} reads "
            "images; give another one, jetson-nano, rpi4 or rpi5"
        )


def default_length(source: Source, task: str, target: Target | None = None) -> int:
    """Tokens of the longest graph, where nobody asks for another number.

    Raises:
        CheckpointError: what says where embeddings cut a text cannot be understood.
    """
    preset = source.preset
    length = _first(target and target.sequence_length, preset and preset.sequence_length, _LENGTH)
    if tasks.find(task).is_embedding:
        length = min(length, embedding_length(source.folder) or length)
    return length


def _check_runtime(runtime: str) -> None:
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}; known are {', '.join(RUNTIMES)}")
    if not RUNTIMES[runtime].installed():
        raise MissingPackageError(
            f"{runtime} is not installed, so the model could not be tried in it: "
            f"pip install {RUNTIMES[runtime].package}"
        )


def _check_quantization(quantization: str, options: ConvertOptions) -> None:
    if quantization not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise InputError(f"unknown quantization {quantization!r}; known are {known}")
    if options.precisions and quantization != "mixed":
        raise InputError(
            f"precisions of operations are chosen by hand with the quantization mixed, not "
            f"{quantization}"
        )
    if not LEAST_BITS <= options.weight_bits <= MOST_BITS:
        raise InputError(
            f"weights have {LEAST_BITS:g} to {MOST_BITS:g} bits, not {options.weight_bits:g}"
        )
    modes = (*INTEGER_QUANTIZATIONS, *MIXED_QUANTIZATIONS)
    if options.weight_bits != MOST_BITS and quantization not in modes:
        raise InputError(
            f"fewer bits for weights are of use in modes of integers ({', '.join(modes)}), not in "
            f"{quantization}"
        )


def _check_kernels(quantization: str, runtime: str, checkpoint: Checkpoint) -> None:
    """Refuses at once what the runtime would refuse after minutes."""
    has_layer_norms = checkpoint.config.normalization_type == "layer_norm"
    if quantization == "int16x8" and runtime == "tflite-runtime" and has_layer_norms:
        raise InputError(
            "tflite-runtime 2.14 cannot compute RSQRT (version 2) of int16, which layer norms need; "
            "give --runtime litert, or int8"
        )


def _texts(
    source: Source,
    options: ConvertOptions,
    reader: Reader,
    config: EncoderConfig,
    task: str,
    quantization: str,
) -> tuple[Texts, Texts]:
    """Calibration and evaluation texts, or images; of one file, the first and the later ones."""
    count = reader.calibrates_with
    if options.calibration:
        data: Texts = reader.read(options.calibration)
    elif tasks.find(task).calibrates_itself:
        data = package_texts(source.preset.calibration) if source.preset else package_texts()
    elif options.evaluation and quantization in _UNCALIBRATED:
        data = reader.read(options.evaluation)
    else:
        raise InputError(
            f"a {config.model_type} needs images like those that it will see, at best "
            f"{2 * count} of all labels: give --calibration a folder with a sub-folder a "
            "label, or a table with the columns image and label"
        )
    if options.evaluation:
        return data.head(count), reader.read(options.evaluation)
    return data.head(count), data.tail(len(data) - count) if len(data) > 2 * count else data


def _truth(
    task: Task, rows: Rows, labels: Sequence[str], options: ConvertOptions
) -> Sequence[Any] | None:
    """What the answers are compared with; labels of calibration texts may be of another model."""
    known = {label.lower() for label in labels}
    if rows.truth is None or options.evaluation or {word.lower() for word in rows.truth} <= known:
        return task.truth(rows, labels)
    return None
