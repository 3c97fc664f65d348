"""Images to train on, and what their encoder makes of them, in the place of tokenised texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import PIXELS, Batch, as_inputs
from tfedge.errors import InputError
from tfedge.models.preprocessor import read_preprocessor
from tfedge.tasks.base import Figures, Rows
from tfedge.tasks.classification import Classifier
from tfedge.train.examples import Examples, run_over
from tfedge.train.run import TrainingRun


@dataclasses.dataclass(frozen=True)
class Pictures(Examples):
    """Images, uint8 (height, width, 3) each in `sequences`, and the labels of each."""

    def inputs(self, indices: np.ndarray, names: Sequence[str], limit: int | None) -> Batch:
        """`pixel_values`, float32 (B, height, width, 3), from 0 to 255."""
        return as_inputs([self.sequences[index] for index in indices], 0, names)

    def input_signature(self, names: Sequence[str]) -> dict[str, tf.TensorSpec]:
        return {PIXELS: tf.TensorSpec((None, *self.sequences[0].shape), tf.float32)}


@dataclasses.dataclass(frozen=True)
class Features(Examples):
    """What each of a model's K classifiers reads of an image, float32 (K, C) each in `sequences`, and
    the labels of each."""

    def inputs(self, indices: np.ndarray, names: Sequence[str], limit: int | None) -> Batch:
        """What each classifier reads by its place among `names`, float32 (B, C) each."""
        found = np.stack([self.sequences[index] for index in indices])
        return {name: found[:, place] for place, name in enumerate(names)}

    def input_signature(self, names: Sequence[str]) -> dict[str, tf.TensorSpec]:
        channels = self.sequences[0].shape[1]
        return dict.fromkeys(names, tf.TensorSpec((None, channels), tf.float32))


class ImageRun(TrainingRun):
    """As `TrainingRun`, of a classifier of images; the items of rows are pixels, see
    `tfedge.data.images.decoded`.

    Attributes:
        settings: how the checkpoint's images are made.
    """

    def _check_reads(self) -> None:
        if self.config.architecture.reads != "images":
            raise InputError(
                f"a {self.config.model_type} reads texts; take a checkpoint that reads images"
            )
        self.settings = read_preprocessor(self.checkpoint.folder, self.config)

    def _examples(self, rows: Rows, with_labels: bool) -> Examples:
        assert isinstance(self.task, Classifier)
        truth = self.task.truth(self.task.with_truth(rows), self.labels)
        return Pictures(list(rows.items), self.task.aims(truth or (), self.labels))

    def _judge(self, model: keras.Model) -> Callable[[], Figures]:
        """What the metric says of the held-out images, from pixels or features."""
        truth, held_out = self.task.truth(self._held_out, self.labels), self.held_out
        assert truth is not None and held_out is not None  # they were read with their labels
        compute = run_over(held_out, model, lambda inputs: _logits(model, inputs))

        def figures() -> Figures:
            answers = [
                self.task.answer({"logits": row[np.newaxis]}, None, None, self.labels)
                for row in compute()
            ]
            return self.task.metric(answers, truth, self.labels)

        return figures

    def compute_features(self, model: keras.Model) -> None:
        """Puts in the place of all images what the classifiers of `model` read of them."""
        classifiers = self.config.classifiers
        reads = [model.get_layer(name).input for name in classifiers]
        trunk = keras.Model(model.input, reads)

        def read(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            found = tf.nest.flatten(trunk(inputs, training=False))
            return tf.stack([tf.cast(tensor, tf.float32) for tensor in found], axis=1)

        count = len(self.examples) + (len(self.held_out) if self.held_out else 0)
        with self.request.make_bar("computing features, which are kept", count) as bar:

            def featured(images: Examples) -> Features:
                found = run_over(images, trunk, read, bar.advance)()
                return Features(list(found), images.labels)

            self.examples = featured(self.examples)
            if self.held_out:
                self.held_out = featured(self.held_out)
        self.names = tuple(f"{name}.read" for name in classifiers)


def _logits(model: keras.Model, inputs: Any) -> tf.Tensor:
    return tf.cast(model(inputs, training=False)["logits"], tf.float32)
