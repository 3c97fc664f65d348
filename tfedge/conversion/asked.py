"""What one conversion is asked for, refused without TensorFlow, which takes seconds to load."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfedge import tasks
from tfedge.boards.remote import Remote
from tfedge.data.reader import ImageReader, Reader, open_reader
from tfedge.data.texts import AS_FOUND
from tfedge.errors import CheckpointError, InputError
from tfedge.measure.board import check_runtime, wanted_runtime
from tfedge.models.config import normalizes_embeddings, text_length
from tfedge.models.hub import Source, resolve
from tfedge.models.labels import TEMPLATE, LabelledCheckpoint
from tfedge.models.stored import Checkpoint
from tfedge.progress import MakeBar
from tfedge.quantize.modes import (
    INTEGER_QUANTIZATIONS,
    KINDS,
    LEAST_BITS,
    MIXED_QUANTIZATIONS,
    MOST_BITS,
    QUANTIZATIONS,
)
from tfedge.targets import INTEGER, Target, load_target
from tfedge.tasks import task_and_labels
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.zero_shot_image_classification import TASK as _ZERO_SHOT

if TYPE_CHECKING:
    from tfedge.quantize.mixed import Precision

ZERO_SHOT = _ZERO_SHOT.name
_LENGTH = 128
# Modes that look at no calibration data.
_UNCALIBRATED = ("dynamic", "float16", "float32")


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What `tfedge convert` is asked for; None takes what the preset or the checkpoint says."""

    quantization: str | None = None
    sequence_length: int | None = None
    # Of shorter graphs in the same file; those not below the sequence length are left out.
    buckets: tuple[int, ...] | None = None
    task: str | None = None
    # Of a CLIP or SigLIP, see `tfedge.models.labels`: what images are told apart by, and the words
    # around each.
    labels: tuple[str, ...] = ()
    template: str | None = None
    # A file of texts (labels are used for evaluation if they fit), the package's own sentences by
    # default; or a folder or table of images, which has no default.
    calibration: str | None = None
    evaluation: str | None = None  # a file with labels; by default the other calibration texts
    columns: ColumnNames = AS_FOUND  # of both files
    runtime: str | None = None
    board: str | None = (
        None  # on which it is judged, see `tfedge.boards.book`; None takes this machine
    )
    target: str | None = None  # see `tfedge.targets`; decides what is left open here
    # With the quantization `mixed`, by kind or pattern of operations.
    precisions: Mapping[str, Precision] | None = None
    # Whether embeddings have length 1; by default as sentence-transformers' modules say.
    normalize: bool | None = None
    # The largest loss in points: accuracy x 100, or disagreement x 100 without labels, and what
    # `tfedge.tasks` derives from it; by default the task's.
    max_drop: float | None = None
    output: Path = Path("saved_models")
    keep_reference: bool = False  # whether the graph in float is written too, for `tfedge inspect`
    weight_bits: float = MOST_BITS  # see `tfedge.quantize.coarsen`
    evaluation_limit: int | None = (
        1000  # of more evaluation texts so many are drawn; None takes all
    )


class Asked:
    """What is asked for, and what follows from it without a graph.

    What options leave open, the target settles, then the preset, then the checkpoint.

    Args:
        model: a preset's name, a folder or a hub id.
        make_bar: makes a progress bar from a description and a number of steps.

    Attributes:
        remote: the board on which it is judged; None where that is this machine.
        runtime: what the file is made for.

    Raises:
        InputError: an option, or the checkpoint, cannot be used.
        MissingPackageError: the runtime is not installed.
    """

    def __init__(self, model: str, options: ConvertOptions, make_bar: MakeBar) -> None:
        self.options = options
        self.make_bar = make_bar
        self.source = resolve(model)
        preset = self.source.preset
        self.target = load_target(options.target) if options.target else None
        chosen = self.target or preset
        self.remote = Remote.named(options.board, make_bar)
        self.runtime = wanted_runtime(options.runtime, self.target, self.remote)
        self.quantization: str = first(options.quantization, chosen and chosen.quantization, "int8")
        self._check_options()
        self.checkpoint = self._opened()
        self._check_kernels()
        config = self.checkpoint.config
        wanted = ZERO_SHOT if options.labels else options.task or self.source.task
        task, labels = task_and_labels(self.checkpoint, wanted)
        labels = [*options.labels] or labels
        if preset and preset.labels and not config.labels:
            labels = list(preset.labels)
        self.task = tasks.find(task)
        self.labels = labels
        self._check_target()
        self._check_head()
        self._check_precisions()
        self._check_images()
        # Tokens of the longest graph, and whether embeddings have length 1.
        least, self.sequence_length = config.architecture.lengths(config)
        self.normalize, self.has_lengths = True, least < self.sequence_length
        if self.has_lengths:
            length = default_length(self.source, task, self.target)
            self.sequence_length = options.sequence_length or min(length, self.sequence_length)
            config.architecture.check_tokens(config, self.sequence_length)
            self.normalize = first(options.normalize, normalizes_embeddings(self.source.folder))

    @functools.cached_property
    def reader(self) -> Reader:
        """What texts or images are read with; raises CheckpointError where that cannot be used."""
        return open_reader(self.source.folder, self.checkpoint.config, self.task)

    def _opened(self) -> Checkpoint:
        """The checkpoint, with a layer of labels where such are given."""
        labels, folder = self.options.labels, self.source.folder
        named = self.options.task and tasks.find(self.options.task)
        if named and named.labels_in_words is not bool(labels):
            raise InputError(f"--labels and the task {ZERO_SHOT} go together; give both or neither")
        if not labels:
            if self.options.template is not None:
                raise InputError("--template is for --labels; leave it out")
            return Checkpoint(folder)
        template = TEMPLATE if self.options.template is None else self.options.template
        return LabelledCheckpoint(folder, labels, template)

    def _check_options(self) -> None:
        runtime, quantization, options = self.runtime, self.quantization, self.options
        check_runtime(runtime, self.remote)
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
                f"fewer bits for weights are of use in modes of integers ({', '.join(modes)}), not "
                f"in {quantization}"
            )

    def _check_kernels(self) -> None:
        """Refuses at once what the runtime would refuse after minutes."""
        has_layer_norms = self.checkpoint.config.normalization_type == "layer_norm"
        mode = (self.quantization, self.runtime)
        if mode == ("int16x8", "tflite-runtime") and has_layer_norms:
            raise InputError(
                "tflite-runtime 2.14 cannot compute RSQRT (version 2) of int16, which layer norms "
                "need; give --runtime litert, or int8"
            )

    def _check_head(self) -> None:
        """Refuses what lacks a head before images are asked for that would be of no use."""
        modules = self.task.modules(self.checkpoint.config)
        missing = [name for name in modules if f"{name}.weight" not in self.checkpoint.names]
        if missing and not self.task.calibrates_itself:
            raise CheckpointError(
                f"{self.checkpoint.folder} has no {', '.join(missing)}: it is an encoder without a "
                f"head for {self.task.name}; fine-tune it first {self.task.head_advice}"
            )

    def _check_target(self) -> None:
        """Refuses what is for models of texts alone."""
        config, options, target = self.checkpoint.config, self.options, self.target
        if target is not None and target.graph != INTEGER and self.quantization != "int8":
            raise InputError(
                f"the target {target.name} computes in int8 only, not {self.quantization}; leave out "
                "--quant"
            )
        self.task.check(config)
        config.architecture.check_length(config, options.sequence_length or options.buckets)
        if target is not None and target.graph != INTEGER and not config.num_hidden_layers:
            raise InputError(
                f"a {config.model_type} has no layers that an Edge TPU could compute: a table and a "
                "mean are little for the board's processor; give --target rpi4 or rpi5"
            )
        if self.task.input.has_tokenizer or target is None:
            return
        if target.graph != INTEGER or target.reader != "tfedge":
            raise InputError(
                f"the target {target.name} is for models of texts, and a {config.model_type} reads "
                "images; give another one, jetson-nano, rpi4 or rpi5"
            )

    def _check_images(self) -> None:
        """Refuses to begin where there is nothing to ask the models."""
        options = self.options
        if self.task.calibrates_itself or options.calibration:
            return
        if options.evaluation and self.quantization in _UNCALIBRATED:
            return
        kind = self.checkpoint.config.model_type
        forms = (
            "a folder with one sub-folder per label, or a table with the columns image and label"
        )
        if self.quantization in _UNCALIBRATED:
            raise InputError(
                f"a {kind} in {self.quantization} needs no images for ranges, but some to be compared "
                f"with float on: give --eval {forms}"
            )
        count = 2 * ImageReader.calibrates_with
        raise InputError(
            f"a {kind} needs images like those that it will see, at best {count} of all labels: give "
            f"--calibration {forms}"
        )

    def _check_precisions(self) -> None:
        """Refuses words that name no operation; what a pattern fits is seen of the graph."""
        names = {name.partition(".")[0] for name in self.checkpoint.names}
        for what in self.options.precisions or ():
            if what not in KINDS and what not in names and not {*what} & {*"*?[."}:
                raise InputError(
                    f"{what!r} names no operation of this model; give one of {', '.join(KINDS)}, or a "
                    "pattern of names such as '*.output.dense'"
                )


def first(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def default_length(source: Source, task: str, target: Target | None = None) -> int:
    """Tokens of the longest graph, where nobody asks for another number; raises CheckpointError
    where what says where a text is cut cannot be understood."""
    preset = source.preset
    length: int = first(
        target and target.sequence_length, preset and preset.sequence_length, _LENGTH
    )
    return min(length, text_length(source.folder, tasks.find(task).is_embedding) or length)
