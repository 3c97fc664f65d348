"""What one conversion is asked for, and what follows from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge import tasks
from tfedge.boards.remote import Remote
from tfedge.data.hub import KINDS
from tfedge.data.reader import TextReader, open_reader
from tfedge.data.texts import AS_FOUND, package_texts
from tfedge.errors import CheckpointError, InputError
from tfedge.measure.board import Board, check_runtime, wanted_runtime
from tfedge.models.build import input_names
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import (
    cross_encoder_activation,
    is_of_pairs,
    normalizes_embeddings,
    text_length,
)
from tfedge.models.hub import Source, resolve
from tfedge.models.labels import TEMPLATE, LabelledCheckpoint
from tfedge.notes import note
from tfedge.progress import MakeBar
from tfedge.quantize.coarsen import LEAST_BITS, MOST_BITS
from tfedge.quantize.costs import Costs, read_costs
from tfedge.quantize.mixed import Precision
from tfedge.quantize.prepare import Shape
from tfedge.runtime.runtimes import RUNTIMES
from tfedge.targets import INTEGER, Target, load_target
from tfedge.tasks import columns, task_and_labels
from tfedge.tasks.base import Rows
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.zero_shot_image_classification import TASK as _ZERO_SHOT
from tfedge.tflite.mediapipe import check_mediapipe
from tfedge.tflite.tflite import INTEGER_QUANTIZATIONS, MIXED_QUANTIZATIONS, QUANTIZATIONS

ZERO_SHOT = _ZERO_SHOT.name
# Graphs of deeper and wider encoders take much memory, and time to convert.
_BUCKETS = (16, 24, 32, 48, 64)
_SMALL_BUCKETS = (12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64)
_SMALL = (6, 384)  # layers and channels that have these
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


class Job:
    """What the stages of one conversion share.

    What options leave open, the target settles, then the preset, then the checkpoint.

    Args:
        model: a preset's name, a folder or a hub id.
        make_bar: makes a progress bar from a description and a number of steps.

    Attributes:
        remote: the board on which it is judged; None where that is this machine.
        runtime: what the file is made for.
        costs: instructions, by which the quantization `auto` chooses where no time can be estimated.
        max_drop: largest loss in points against float.
        calibration: texts, pairs of texts, or images; of a file drawn as `Rows.drawn` has it, of the
            package's sentences the first.
        rows: what is asked of the models; of one file some of what `calibration` does not have.
        available: how many texts, or images, there were to draw those from.
        truth: what the answers are compared with; None where the texts have no labels that the model
            knows.
        goal: the figure that counts where there is a truth.
        lists: of each row what those have alike over which it is figured, as a query's candidates;
            None where that is all of them.

    Raises:
        InputError: an option, the checkpoint, or a file of texts or images cannot be used.
        MissingPackageError: the runtime is not installed.
    """

    def __init__(self, model: str, options: ConvertOptions, make_bar: MakeBar) -> None:
        self.options = options
        self.make_bar = make_bar
        self.source = resolve(model)
        preset = self.source.preset
        self._target = target = load_target(options.target) if options.target else None
        chosen = target or preset
        self.remote = Remote.named(options.board, make_bar)
        self.runtime = wanted_runtime(options.runtime, target, self.remote)
        self.quantization: str = _first(
            options.quantization, chosen and chosen.quantization, "int8"
        )
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
        self.max_drop: float = _first(options.max_drop, self.task.max_drop)
        self.labels = labels
        self.reader = open_reader(self.source.folder, config, self.task)
        self._tell_activation()
        self._check_target()
        self.shape = dataclasses.replace(self._shape(), pixels=self.reader.pixels)
        if target is not None and target.reader == "mediapipe":
            assert isinstance(self.reader, TextReader)  # `_check_target` has refused images
            inputs, tokenizer = input_names(config), self.reader.tokenizer
            check_mediapipe(self.shape, self.quantization, inputs, tokenizer)
        self.costs: Costs | None = None
        if self.quantization == "auto":
            self.costs = read_costs(self.runtime, target.costs if target else None)
        self._check_head()
        self.calibration, self.rows = self._data()
        self.truth = self._truth()
        self.goal = self.task.goal(self.rows) if self.truth is not None else self.task.score
        self.lists = self.task.together(self.rows) if self.goal != self.task.score else None
        self.reader.check(self.rows.items, self.rows.source, self.shape.sequence_length)

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
        there = self.remote.facts["runtimes"] if self.remote else []
        has_both = "litert" in there if self.remote else RUNTIMES["litert"].installed()
        return [
            self.runtime,
            *(["litert"] if self.runtime == "tflite-runtime" and has_both else []),
        ]

    def board(self, runtime: str | None = None) -> Board:
        """Where the models of this conversion are tried, in the runtime that they are made for or in
        another one."""
        return Board.on(self.remote, runtime or self.runtime)

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

    def _tell_activation(self) -> None:
        """Notes where scores are transformers' and not those of sentence-transformers."""
        named = cross_encoder_activation(self.source.folder, self.checkpoint.config)
        if self.task.is_score and named and not named.endswith("Sigmoid"):
            note(
                f"{self.source.name} gets the scores of transformers' pipeline, 0 to 1 by a sigmoid; "
                f"the CrossEncoder of sentence-transformers has {named.split('.')[-1]} there: --task "
                "text-regression gives numbers without a sigmoid, in the same order"
            )

    def _check_target(self) -> None:
        """Refuses what is for models of texts alone."""
        config, options, target = self.checkpoint.config, self.options, self._target
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

    def _shape(self) -> Shape:
        """The graphs to build: options come before the target, that before the preset."""
        config, options, target = self.checkpoint.config, self.options, self._target
        task, count, preset = self.task.name, len(self.labels), self.source.preset
        least, most = config.architecture.lengths(config)
        if least == most:
            return Shape(task, count, most)
        length = options.sequence_length or min(default_length(self.source, task, target), most)
        normalize = _first(options.normalize, normalizes_embeddings(self.source.folder))
        small = config.num_hidden_layers <= _SMALL[0] and config.hidden_size <= _SMALL[1]
        usual = _SMALL_BUCKETS if small else _BUCKETS
        buckets = _first(
            options.buckets, target and target.buckets, preset and preset.buckets, usual
        )
        shorter = tuple(sorted({bucket for bucket in buckets if bucket < length}))
        return Shape(task, count, length, normalize, shorter, target.graph if target else INTEGER)

    def _data(self) -> tuple[Sequence[Any], Rows]:
        options = self.options
        if options.calibration:
            # Labels of what calibrates are not needed beside others.
            unlabelled = dataclasses.replace(options.columns, label_column=None)
            columns = unlabelled if options.evaluation else options.columns
            data = self._read(options.calibration, "train", columns)
        elif self.task.calibrates_itself:
            data = self._own_rows()
        elif options.evaluation and self.quantization in _UNCALIBRATED:
            data = self._read(options.evaluation, "validation", options.columns)
        else:
            raise InputError(self._images_needed())
        count = -(-self.reader.calibrates_with // data.items_a_row)
        is_own = bool(options.calibration or options.evaluation)
        chosen = data.drawn(count) if options.calibration else list(range(len(data)))[:count]
        measured = data
        if options.evaluation:
            measured = self._read(options.evaluation, "validation", options.columns)
        elif len(data) > 2 * count:
            measured = data.part(sorted(set(range(len(data))) - set(chosen)))
        self.available = len(measured.items)
        limit = options.evaluation_limit or len(measured)
        if is_own or limit < len(measured):
            measured = measured.part(measured.drawn(limit, self.task.together(measured)))
        return data.part(chosen).items, measured

    def _images_needed(self) -> str:
        """What to give where there is nothing to ask the models."""
        kind = self.checkpoint.config.model_type
        forms = (
            "a folder with one sub-folder per label, or a table with the columns image and label"
        )
        if self.quantization in _UNCALIBRATED:
            return (
                f"a {kind} in {self.quantization} needs no images for ranges, but some to be compared "
                f"with float on: give --eval {forms}"
            )
        count = 2 * self.reader.calibrates_with
        return (
            f"a {kind} needs images like those that it will see, at best {count} of all labels: give "
            f"--calibration {forms}"
        )

    def _read(self, name: str, split: str, columns: ColumnNames) -> Rows:
        """As `tfedge eval` reads it."""
        return self.task.read(KINDS[self.task.units](name, split, columns))

    def _own_rows(self) -> Rows:
        """The package's sentences, in pairs for a model that most likely reads pairs."""
        preset = self.source.preset
        texts = package_texts(preset.calibration) if preset else package_texts()
        learned = self.task.input.second and is_of_pairs(self.checkpoint.config)
        found = texts.paired() if learned else self.task.usual(texts, self.labels)
        if found is not texts:
            note(
                f"{self.name} most likely reads two texts, and is calibrated and compared on pairs of "
                "sentences that come with tfedge; give --calibration texts like those it will see"
            )
        return self.task.rows(found)

    def _truth(self) -> Sequence[Any] | None:
        words, known = self.rows.truth, set(map(columns.key, self.labels))
        if words is None or self.options.evaluation:
            return self.task.truth(self.rows, self.labels)
        # Labels of texts that only calibrate may be another model's.
        theirs = len(known) == len(self.labels) and all(
            isinstance(word, str) and columns.key(word) in known for word in words
        )
        return self.task.truth(self.rows, self.labels) if theirs else None


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def default_length(source: Source, task: str, target: Target | None = None) -> int:
    """Tokens of the longest graph, where nobody asks for another number; raises CheckpointError
    where what says where a text is cut cannot be understood."""
    preset = source.preset
    length: int = _first(
        target and target.sequence_length, preset and preset.sequence_length, _LENGTH
    )
    return min(length, text_length(source.folder, tasks.find(task).is_embedding) or length)
