"""Finds the objects in an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.errors import InputError
from tfedge.runtime.tasks import object_detection as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import boxes, columns, losses
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint

_CLASSES, _BOXES = "class_labels_classifier", "bbox_predictor"
_DEPTH = 3  # dense layers of either network
_ALL = {"threshold": 0.0}  # what is asked of answers that are measured


class ObjectDetection(board.ObjectDetection, Task):
    """`logits` (B, objects, L + 1) and `pred_boxes` (B, objects, 4), by two networks of three layers
    each (Carion et al. 2020, arXiv:2005.12872, section 3.2)."""

    kind = "ForObjectDetection"
    wanted = "a .json file as COCO's, beside the images that it names"
    score = "average_precision_50"
    example = "photo.jpg"
    max_drop = 3.0
    calibrates_itself = False
    trains = False
    default_labels = 91  # COCO's
    more_logits: ClassVar = 1  # of no object
    head_advice = "with transformers: take a checkpoint that is trained to find objects"

    def logits_modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return (f"{_CLASSES}.layers.{_DEPTH - 1}",)

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return tuple(f"{head}.layers.{n}" for head in (_CLASSES, _BOXES) for n in range(_DEPTH))

    def labels(self, checkpoint: Checkpoint) -> list[str]:
        """Those that others are equal to have their number behind them, as COCO's "N/A"."""
        return columns.told_apart(super().labels(checkpoint))

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        """Those that find objects, which stand first."""
        return True

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        states = blocks.config.architecture.token_summary(blocks, hidden)
        logits = blocks.dense(*_last(blocks, _CLASSES, num_labels + self.more_logits, states))
        found = blocks.sigmoid_dense(*_last(blocks, _BOXES, 4, states))
        return {
            "logits": blocks.per_token(logits),
            "pred_boxes": blocks.per_token(found, "per_token.boxes"),
        }

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Soft cross-entropy of what tokens find, and how far boxes are apart, means over both."""
        import tensorflow as tf

        classes = losses.soft_cross_entropies(output["logits"], target["logits"], temperature)
        apart = tf.abs(output["pred_boxes"] - target["pred_boxes"])
        return tf.reduce_mean(classes, axis=1) + tf.reduce_mean(apart, axis=(1, 2))

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """The share of tokens that find something else."""
        import tensorflow as tf

        return tf.reduce_mean(losses.others(output["logits"], target["logits"]), axis=1)

    def rows(self, texts: Texts) -> Rows:
        texts = self.as_read(texts)
        return Rows(texts.texts, None, texts.source, asked=_ALL)

    def texts(self, data: Data) -> Texts:
        """The images, without labels of whole ones."""
        return dataclasses.replace(data.texts(), labels=None)

    def read(self, data: Data) -> Rows:
        """Images, and what is to be found in them where the data are a file as COCO's."""
        rows = self.rows(self.texts(data))
        return rows if data.boxes is None else dataclasses.replace(rows, truth=data.boxes.objects)

    def truth(self, rows: Rows, labels: Labels) -> Truth | None:
        """The same; raises InputError for an object that the model has no label for."""
        if rows.truth is None:
            return None
        names = {item["label"] for found in rows.truth for item in found}
        if unknown := sorted(names - set(labels)):
            raise InputError(
                f"{rows.source} has the categories {columns.quoted(unknown)}, which the model does not "
                f"know; its labels are {columns.quoted(labels)}: give categories these names"
            )
        return rows.truth

    def goal(self, rows: Rows) -> str:
        """COCO's figure, where there are boxes to be found."""
        return "average_precision"

    def believed(self, answers: Answers) -> Truth | None:
        found = _likely(answers)
        return found if any(found) else None

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """See `tfedge.tasks.boxes.precisions`."""
        return boxes.precisions(answers, truth)

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        mean, half = (100 * figures[name] for name in ("average_precision", self.score))
        return [
            f"average precision {mean:.2f} % at overlaps of 0.5 to 0.95   {half:.2f} % at 0.5",
            f"{figures['objects']:,} objects of {figures['categories']} labels in "
            f"{figures['images']:,} images",
        ]

    def difference(self, answer: Answer, other: Answer) -> float:
        """1 less the share of what both find, of the scores that a pipeline gives: of one label, and
        with boxes that overlap by half."""
        return 1.0 - boxes.shared(*_likely((answer, other)))

    def comparison(
        self, answers: Answers, others: Answers, truth: Truth | None, labels: Labels
    ) -> Figures:
        """Where there is no truth, what the answers are worth by what the others find."""
        theirs = self.believed(others) if truth is None else None
        return {} if theirs is None else self.metric(answers, theirs, labels)

    def comparison_lines(self, figures: Mapping[str, Any], other: str) -> list[str]:
        if not figures:
            return []
        first, second = self.summary(figures)
        return [first, f"by what {other} finds, as there are no boxes to compare with: {second}"]


def _likely(answers: Answers) -> list[list[Mapping[str, Any]]]:
    """What is found in each image with scores that a pipeline gives."""
    return [
        [item for item in answer.get("objects", ()) if item["score"] > board.THRESHOLD]
        for answer in answers
    ]


def _last(blocks: Blocks, head: str, units: int, states: Symbolic) -> tuple[str, int, Symbolic]:
    """Name, units and input of the last layer of a network, whose others are built here."""
    for index in range(_DEPTH - 1):
        name = f"{head}.layers.{index}"
        states = blocks.activated_dense(name, "relu", blocks.config.hidden_size, states)
    return f"{head}.layers.{_DEPTH - 1}", units, states


TASK = ObjectDetection()
