"""What one conversion is asked for, and what follows from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfedge.conversion.asked import Asked, ConvertOptions, first
from tfedge.data.hub import KINDS
from tfedge.data.reader import TextReader
from tfedge.data.texts import package_texts
from tfedge.measure.board import Board
from tfedge.models.build import input_names
from tfedge.models.config import (
    cross_encoder_activation,
    is_of_pairs,
)
from tfedge.notes import note
from tfedge.progress import MakeBar
from tfedge.quantize.costs import Costs, read_costs
from tfedge.quantize.mixed import MIXED_RULES, Precision, match_sites
from tfedge.quantize.prepare import Shape
from tfedge.runtime.runtimes import RUNTIMES
from tfedge.targets import INTEGER
from tfedge.tasks import columns
from tfedge.tasks.base import Rows
from tfedge.tasks.columns import ColumnNames
from tfedge.tflite.mediapipe import check_mediapipe

__all__ = ["ConvertOptions", "Job"]
# Graphs of deeper and wider encoders take much memory, and time to convert.
_BUCKETS = (16, 24, 32, 48, 64)
_SMALL_BUCKETS = (12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64)
_SMALL = (6, 384)  # layers and channels that have these


class Job(Asked):
    """What the stages of one conversion share; see `Asked` for its arguments.

    Attributes:
        costs: instructions, by which the quantization `auto` chooses where no time can be estimated.
        timed: the board whose estimated time it goes by.
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
        InputError: a file of texts or images cannot be used, and as `Asked`.
        MissingPackageError: as `Asked`.
    """

    def __init__(self, model: str, options: ConvertOptions, make_bar: MakeBar) -> None:
        super().__init__(model, options, make_bar)
        config, target = self.checkpoint.config, self.target
        self.max_drop: float = first(options.max_drop, self.task.max_drop)
        self._tell_activation()
        self.shape = dataclasses.replace(self._shape(), pixels=self.reader.pixels)
        if target is not None and target.reader == "mediapipe":
            assert isinstance(self.reader, TextReader)  # `_check_target` has refused images
            inputs, tokenizer = input_names(config), self.reader.tokenizer
            check_mediapipe(self.shape, self.quantization, inputs, tokenizer)
        self.costs: Costs | None = None
        self.timed = target and target.times
        if self.quantization == "auto":
            self.costs = read_costs(self.runtime, target.costs if target else None)
            self.timed = self.timed or self.costs.board
        if self.quantization == "mixed":
            match_sites(self.rules, self.shape.sites(config))
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
    def rules(self) -> Mapping[str, Precision]:
        """The precisions of the quantization `mixed`, by kind or pattern of operations."""
        return self.options.precisions or MIXED_RULES

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

    def _tell_activation(self) -> None:
        """Notes where scores are transformers' and not those of sentence-transformers."""
        named = cross_encoder_activation(self.source.folder, self.checkpoint.config)
        if self.task.is_score and named and not named.endswith("Sigmoid"):
            note(
                f"{self.source.name} gets the scores of transformers' pipeline, 0 to 1 by a sigmoid; "
                f"the CrossEncoder of sentence-transformers has {named.split('.')[-1]} there: --task "
                "text-regression gives numbers without a sigmoid, in the same order"
            )

    def _shape(self) -> Shape:
        """The graphs to build: options come before the target, that before the preset."""
        config, options, target = self.checkpoint.config, self.options, self.target
        preset, made = self.source.preset, (self.task.name, len(self.labels))
        if not self.has_lengths:
            return Shape(*made, self.sequence_length)
        small = config.num_hidden_layers <= _SMALL[0] and config.hidden_size <= _SMALL[1]
        usual = _SMALL_BUCKETS if small else _BUCKETS
        buckets = first(
            options.buckets, target and target.buckets, preset and preset.buckets, usual
        )
        shorter = tuple(sorted({bucket for bucket in buckets if bucket < self.sequence_length}))
        return Shape(
            *made,
            self.sequence_length,
            self.normalize,
            shorter,
            target.graph if target else INTEGER,
        )

    def _data(self) -> tuple[Sequence[Any], Rows]:
        options = self.options
        if options.calibration:
            # Labels of what calibrates are not needed beside others.
            unlabelled = dataclasses.replace(options.columns, label_column=None)
            columns = unlabelled if options.evaluation else options.columns
            data = self._read(options.calibration, "train", columns)
        elif self.task.calibrates_itself:
            data = self._own_rows()
        else:  # the model has been refused where there is none
            assert options.evaluation
            data = self._read(options.evaluation, "validation", options.columns)
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
