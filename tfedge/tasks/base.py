"""What every task tells the host."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime.tasks import base
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint
    from tfedge.runtime.tokenizer import TextEncoder

Outputs = Mapping[str, Any]
Answers = Sequence[Answer]
Truth = Sequence[Any]  # of items, as a task reads it
Figures = dict[str, Any]  # a JSON object
PROBLEM = "problem_type"  # what config.json says of a text classifier's head


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a model is measured on."""

    items: Sequence[Any]  # what it is asked, as `tfedge.runtime.pipeline.Pipeline` takes it
    truth: Truth | None  # None where the data have none
    source: str
    items_a_row: int = 1  # how many items have one truth together
    # Where in each item what is true of it begins, in characters, where the data tell that.
    places: Sequence[int | None] | None = None
    columns: tuple[str, ...] = ()  # of the data, where the truth is in none of them
    # What is asked of the answers, see `tfedge.runtime.wanted`.
    asked: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def are_pairs(self) -> bool:
        """Whether each item has two texts."""
        return any(isinstance(item, tuple) for item in self.items[:1])

    def head(self, count: int | None) -> Rows:
        """The first `count` rows, None for all."""
        if count is None:
            return self
        return self.part(range(min(count, len(self))))

    def part(self, indices: Sequence[int]) -> Rows:
        """The rows of the indices, in that order."""
        each = range(self.items_a_row)
        items = [self.items[index * len(each) + place] for index in indices for place in each]
        truth = None if self.truth is None else [self.truth[index] for index in indices]
        return dataclasses.replace(self, items=items, truth=truth)

    def drawn(self, count: int, together: Sequence[Hashable] | None = None) -> list[int]:
        """The indices of `count` rows, see `tfedge.tasks.columns.drawn`; with what some have alike that
        stay `together`, of as many whole lists of them as have about so many rows."""
        if together is not None:
            return columns.drawn_together(together, count)
        are_words = all(isinstance(label, str) for label in self.truth or ())
        return columns.drawn(len(self), self.truth if are_words else None, count)

    def __len__(self) -> int:
        return len(self.items) // self.items_a_row


class Task(base.Task):
    """The host's half of a task; the board's half is inherited beside it."""

    kind: ClassVar[str]  # how the names of transformers' classes end: `ForSequenceClassification`
    wanted: ClassVar[str]  # the columns that `read` reads, for messages
    # Points that a conversion may lose, where nobody asks otherwise.
    max_drop: ClassVar[float] = 1.0
    score: ClassVar[str] = "accuracy"  # the figure of `metric` that counts, 0 to 1, see `goal`
    example: ClassVar[str] = '"a text"'  # what a user tries a model with on a command line
    # Whether sentence-transformers' modules are about its models: length, norm.
    is_embedding: ClassVar[bool] = False
    is_score: ClassVar[bool] = False  # whether a sigmoid makes one number a score
    extra_inputs: ClassVar[tuple[str, ...]] = ()  # of the head, int32 (B, S) each
    calibrates_itself: ClassVar[bool] = True  # whether the package's sentences do for calibration
    trains: ClassVar[bool] = True  # whether `tfedge qad` takes its models
    trains_on_labels: ClassVar[bool] = False  # whether `tfedge finetune` takes it
    shrinks: ClassVar[bool] = False  # whether `tfedge shrink` takes its models
    has_thresholds: ClassVar[bool] = False  # whether a label is given from a probability on
    has_aims_of_tokens: ClassVar[bool] = False  # whether `lessons` has an aim for each token
    labels_in_words: ClassVar[bool] = False  # whether `tfedge convert` makes them of --labels
    in_mediapipe: ClassVar[bool] = False  # whether MediaPipe has a task for it
    in_peers: ClassVar[bool] = False  # whether other products answer it in `tfedge bench`
    default_labels: ClassVar[int] = 0  # of a fresh model without names for them
    more_logits: ClassVar[int] = 0  # behind those of the labels
    # What to do where a checkpoint lacks the head.
    head_advice: ClassVar[str] = "(tfedge finetune), or convert it with --task sentence-embedding"

    def goal(self, rows: Rows) -> str:
        """The figure of `metric` that counts of a model that is measured on `rows`."""
        return self.score

    @property
    def units(self) -> str:
        """What its models are asked, to the user: `texts`, `images`."""
        return f"{self.input.unit}s"

    # The checkpoint.

    def check(self, config: EncoderConfig) -> None:
        """Raises InputError or CheckpointError where an encoder cannot be for this task."""
        if config.architecture.reads != self.units:
            raise InputError(f"a {config.model_type} cannot be used for {self.name}")
        only = config.architecture.only_task
        if only not in (None, self.name):
            raise InputError(f"a {config.model_type} is for {only} alone, not for {self.name}")

    def logits_modules(self, config: EncoderConfig) -> tuple[str, ...]:
        """The dense layers that have an output for each label; none of a task without labels."""
        return ()

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        """The modules of the head: trained with the task, so absent from a pretrained checkpoint and
        unused by other tasks."""
        return self.logits_modules(config)

    def fit(self, checkpoint: Checkpoint) -> int:
        """How well a checkpoint's head is this task's; the task with most has it.

        0: it reads something else, or has no such head; 1: no head is needed, or it is that of
        pretraining; 2: it has the weights; 3: and its class is named in config.json.
        """
        config = checkpoint.config
        if config.architecture.reads != self.units:
            return 0
        modules = self.modules(config)
        if not modules:
            return 1
        if f"{modules[-1]}.weight" not in checkpoint.names:
            return 0
        return 2 + self.is_named(checkpoint)

    def is_named(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json names a class of this task."""
        classes = checkpoint.config.source.get("architectures")
        return bool(isinstance(classes, list) and classes and str(classes[0]).endswith(self.kind))

    def labels(self, checkpoint: Checkpoint) -> list[str]:
        """The labels of a checkpoint; without names in config.json `LABEL_0`, `LABEL_1`, ... as
        transformers calls them."""
        modules = self.logits_modules(checkpoint.config)
        if not modules:
            return []
        named = checkpoint.config.labels
        weights = f"{modules[0]}.weight"
        shape = checkpoint.shape(weights) if weights in checkpoint.names else (2, 1)
        count = shape[0] - self.more_logits if shape else 0
        # Nothing so far says that the file holds as many numbers: of (10^9, 0) it holds none.
        if len(shape) != 2 or not 0 < count <= columns.MOST_LABELS or not shape[1]:
            raise CheckpointError(
                f"{checkpoint.folder}: {weights} is of shape {list(shape)}; it must have a row for "
                f"each label, of which there may be {columns.MOST_LABELS:,}"
            )
        if named and weights in checkpoint.names and len(named) != count:
            raise CheckpointError(
                f"{checkpoint.folder}: id2label in config.json names {len(named):,} labels, and "
                f"{weights} has {count:,} rows for them; one of the two is another model's"
            )
        return named or [f"LABEL_{index}" for index in range(count)]

    def exported(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The content of a config.json as it is for a new head of this task."""
        return {name: value for name, value in source.items() if name != PROBLEM}

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        """Whether the head reads no tokens but the first, [CLS]; of a DeiT with two classifiers the
        first two."""
        return False

    # The graph.

    @abc.abstractmethod
    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        """The outputs by name, of the last hidden states (B, S, C)."""

    # Training.

    @abc.abstractmethod
    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """How far a student's outputs are from its teacher's, float32, one value a text or token.

        `mask` is int32 (B, S), 0 for padding.
        """

    @abc.abstractmethod
    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """How much the answers of two models to each text differ, float32 (B,), 0..1."""

    def read_lessons(self, data: Data) -> Rows:
        """What is trained on, where `trains_on_labels`; raises InputError as `read`."""
        return self.read(data)

    def with_truth(self, rows: Rows) -> Rows:
        """The rows; raises InputError where they have none."""
        if rows.truth is None:
            raise InputError(f"{rows.source} has no labels; it needs {self.wanted}")
        return rows

    def together(self, rows: Rows) -> Sequence[Hashable] | None:
        """What rows have alike of which none is measured on while another is trained on; None where
        each is by itself."""
        return None

    def new_labels(self, rows: Rows) -> list[str]:
        """The labels of a head that is to learn what rows have, where `trains_on_labels`; raises
        InputError where they have none."""
        raise NotImplementedError(f"{self.name} cannot be trained by labels")

    def lessons(
        self, rows: Rows, encoder: TextEncoder, labels: Labels
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """What is trained on, where `trains_on_labels`: tokens of texts, as `encode_batch` gives them,
        and the aims of `label_losses`, a row a text: (n,), (n, L) or, of tokens, (n, S).

        Raises InputError where rows have no truth, or one that no model with such labels could answer,
        or the task is not trained so.
        """
        raise InputError(
            f"a model for {self.name} is neither trained nor measured here by what {rows.source} has "
            "beside texts: leave out --label-weight and, where it is not about texts alone, --eval"
        )

    def unit(self, aims: np.ndarray) -> tuple[float, float] | None:
        """Mean and deviation of numbers, in which they are learned; None of what is no number."""
        return None

    def prior(self, aims: np.ndarray, num_labels: int) -> np.ndarray | None:
        """The biases that a new head begins with, (L,), by what `lessons` gives it to learn from; None
        where 0 does as well."""
        return None

    def shift(self, logits: np.ndarray, aims: np.ndarray) -> np.ndarray:
        """What is added to a head's biases, (L,), so that more answers to held-out texts are right, of
        their logits and aims (n, L) each, where it `has_thresholds`."""
        raise NotImplementedError(f"answers of {self.name} have no threshold")

    def alike(self, aims: np.ndarray, labels: Labels) -> str:
        """What all texts have together where `lessons` tells none from another, in words; else ''."""
        return "" if len(np.unique(aims, axis=0)) > 1 else "the same labels"

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """How far outputs are from true labels, see `lessons`, float32 (B,), where
        `trains_on_labels`."""
        raise NotImplementedError(f"{self.name} cannot be trained by labels")

    def rights(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor | None:
        """The share of each text that is labelled rightly, float32 (B,); None of what is not simply
        right or wrong."""
        return None

    def divergence(self, expected: np.ndarray, answers: np.ndarray) -> float:
        """How far outputs (n, L) of a model are from those expected, where it `shrinks`."""
        raise NotImplementedError(f"models for {self.name} cannot be shrunk")

    # Measuring.

    def as_read(self, texts: Texts) -> Texts:
        """Texts, or images, as the task's models read them; a note says what is read of a file.

        Raises InputError where a row has more texts than these models read.
        """
        if texts.second:
            found = columns.quoted((*texts.columns, *texts.second))
            raise InputError(
                f"{texts.source} has the columns {found}, and not all are read; name the one of the "
                "texts with --text-column, and of pairs that of the second text with --pair-column"
            )
        if texts.are_pairs and self.input.second is None:
            raise InputError(
                f"{texts.source} has pairs of texts, {columns.quoted(texts.columns)}, but a model for "
                f"{self.name} reads one text: name it with --text-column, or join both in one column "
                "'text'"
            )
        pair = f"{columns.quoted(texts.columns)} are read as a pair" if texts.are_pairs else ""
        columns.tell(texts.source, pair, texts.left_out)
        return texts

    def usual(self, texts: Texts, labels: Labels) -> Texts:
        """Texts that are nobody's in particular, in pairs where models with such labels read these."""
        return texts

    def rows(self, texts: Texts) -> Rows:
        """What texts, or images, ask; their labels where one label is the truth of each.

        Raises InputError as `as_read`.
        """
        texts = self.as_read(texts)
        return Rows(texts.texts, None, texts.source)

    def texts(self, data: Data) -> Texts:
        """Texts, or images, and their labels where a row has one truth; raises InputError as `read`."""
        return data.texts()

    @abc.abstractmethod
    def read(self, data: Data) -> Rows:
        """What a model is measured on; raises InputError where data cannot be read or lack a column."""

    def truth(self, rows: Rows, labels: Labels) -> Truth | None:
        """The truth of rows as `metric` takes it; raises InputError where no model could answer it."""
        return rows.truth

    @abc.abstractmethod
    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """How well answers fit the truth, with `score` among the figures."""

    @abc.abstractmethod
    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        """What `metric` gives, as lines for people."""

    @abc.abstractmethod
    def difference(self, answer: Answer, other: Answer) -> float:
        """How much two answers to one item differ, 0..1."""

    def believed(self, answers: Answers) -> Truth | None:
        """What a model in float answers, as the truth by which one made of it is measured where data
        have none; None where `difference` tells how alike their answers are."""
        return None

    def comparison(
        self, answers: Answers, others: Answers, truth: Truth | None, labels: Labels
    ) -> Figures:
        """What else is told of two models' answers to the same items; empty for nothing."""
        return {}

    def comparison_lines(self, figures: Mapping[str, Any], other: str) -> list[str]:
        """What `comparison` gives, as lines for people; `other` names the second model."""
        return []

    def shortfalls(self, figures: Mapping[str, Any], max_drop: float) -> list[str]:
        """What a conversion does not keep of `comparison` with float, in words, where `max_drop`
        points may be lost."""
        return []


def differences(task: Task, answers: Answers, others: Answers) -> list[float]:
    """How much two models' answers to each item differ, 0..1.

    An item that only one of the two answers counts as 1.
    """

    def difference(answer: Answer, other: Answer) -> float:
        if "error" in answer or "error" in other:
            return float(("error" in answer) != ("error" in other))
        return task.difference(answer, other)

    return [difference(a, b) for a, b in zip(answers, others, strict=True)]


def disagreement(task: Task, answers: Answers, others: Answers) -> float:
    """The mean of `differences`."""
    return float(np.mean(differences(task, answers, others)))
