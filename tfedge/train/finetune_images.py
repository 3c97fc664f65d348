"""Fine-tunes a classifier of images: its head on features that are computed once, or all of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import is_within
from tfedge.data.batches import PIXELS
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.models.preprocessor import pixels
from tfedge.notes import note
from tfedge.tasks.base import Task
from tfedge.tasks.guess import OF_IMAGES
from tfedge.train.examples import Examples
from tfedge.train.finetune import LabelOptions, LabelTrainer, label_weights, settle_head
from tfedge.train.image_options import ImageOptions
from tfedge.train.images import ImageRun
from tfedge.train.result import Trained
from tfedge.train.run import Request

# How far images are changed: shares of their sides, of a full turn and of 255, each way.
_ZOOM, _TURN, _BRIGHTNESS, _CONTRAST = 0.15, 0.04, 0.15, 0.2
_LEAST_DEVIATION = 1e-6  # of a feature, as a share of the largest; below it is no feature


class ImageTrainer(LabelTrainer):
    """Trains on images that `augmenter` has changed, (B, height, width, 3) from 0 to 255."""

    def __init__(
        self, model: keras.Model, task: Task, weights: np.ndarray | None, augmenter: keras.Model
    ) -> None:
        super().__init__(model, task, weights)
        self.augmenter = augmenter

    def train_step(self, batch: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, aims = batch
        changed = {PIXELS: self.augmenter(inputs[PIXELS], training=True)}
        return super().train_step((changed, aims))


def augmenter(changes: Sequence[str], shape: tuple[int, ...], seed: int) -> keras.Model:
    """Layers of Keras that change images of a shape (height, width, 3), from 0 to 255, at random in
    training, see `CHANGES`; for no changes they stay as they are."""
    value_range = {"value_range": (0, 255), "seed": seed}
    known = {
        "flip": [keras.layers.RandomFlip("horizontal", seed=seed)],
        # Of both sides alike; a negative share is nearer.
        "zoom": [
            keras.layers.RandomZoom((-_ZOOM, _ZOOM), seed=seed),
            keras.layers.RandomTranslation(_ZOOM / 2, _ZOOM / 2, seed=seed),
        ],
        "rotation": [keras.layers.RandomRotation(_TURN, seed=seed)],
        "colour": [
            keras.layers.RandomBrightness(_BRIGHTNESS, **value_range),
            keras.layers.RandomContrast(_CONTRAST, seed=seed),
        ],
    }
    layers = (layer for name in changes for layer in known[name])
    return keras.Sequential([keras.Input(shape), *layers])


def finetune_images(
    request: Request, labels: Sequence[str], of_labels: LabelOptions, options: ImageOptions
) -> Trained:
    """Trains a classifier of images, and writes it as an HF folder.

    By default only the head is trained, on what the encoder makes of each image, which is computed
    once. The head of the checkpoint is kept or takes the place of another as
    `tfedge.train.finetune.finetune` has it; the request's rows are pixels.

    Raises InputError for labels and options that do not fit, an existing output, or a checkpoint that
    does not load or reads no images.
    """
    run = ImageRun(request, request.task or OF_IMAGES, labels)
    dropped, told = settle_head(run)
    run.read(labelled=True)
    of_labels.check(run)
    if told:
        note(told)
    with run.claimed(**dataclasses.asdict(of_labels), **dataclasses.asdict(options)):
        with run.scope():
            made_of = GraphOptions(dropout=options.trains_trunk, pixels=pixels(run.settings))
            model = build(run.config, run.task.name, len(run.labels), made_of).model
            fresh = load_weights(
                model, run.checkpoint, run.task.name, new_head=True, dropped=dropped
            )
        weights = label_weights(run, of_labels)
        if options.trains_trunk:
            _train_all(run, model, weights, options)
        else:
            _train_head(run, model, weights, fresh)
        source = run.task.exported(run.config.source)
        run.write(model, dataclasses.replace(run.config, source=source), pooling=False)
        return Trained.measured(str(request.output), run.task, run.goal, run.figures)


def _train_all(
    run: ImageRun, model: keras.Model, weights: np.ndarray | None, options: ImageOptions
) -> None:
    with run.scope():
        changes = augmenter(options.augment, run.settings.shape, run.options.seed)
        trainer = ImageTrainer(model, run.task, weights, changes)
    run.fit(trainer, f"fine-tuning all of {run.request.name}", run.measure_of(model))


def _train_head(
    run: ImageRun, model: keras.Model, weights: np.ndarray | None, fresh: Sequence[str]
) -> None:
    run.compute_features(model)
    head = _Standardised(run, model)
    if not any(is_within(name, run.config.classifiers) for name in fresh):
        head.enter()
    trainer = LabelTrainer(head.model, run.task, weights)
    run.fit(trainer, f"training the head of {run.request.name}", run.measure_of(head.model))
    head.leave()


class _Standardised:
    """The classifiers of a model, which learn from features of mean 0 and deviation 1.

    Features of large and of small deviations would else want learning rates of their own.

    Attributes:
        model: gives the logits of features, by the names that the run has for them.
    """

    def __init__(self, run: ImageRun, whole: keras.Model) -> None:
        """Puts the run's features into that unit."""
        self._layers = [whole.get_layer(name) for name in run.config.classifiers]
        found = np.stack(run.examples.sequences)
        self._mean, deviation = found.mean(0), found.std(0)
        is_none = deviation <= _LEAST_DEVIATION * deviation.max()
        self._deviation = np.where(is_none, 1, deviation)
        run.examples = self._of(run.examples)
        if run.held_out is not None:
            run.held_out = self._of(run.held_out)
        inputs = {name: keras.Input(found.shape[2:], name=name) for name in run.names}
        logits = [layer(x) for layer, x in zip(self._layers, inputs.values(), strict=True)]
        mean = logits[0] if len(logits) == 1 else keras.layers.average(logits)
        self.model = keras.Model(inputs, {"logits": mean})

    def _of(self, features: Examples) -> Examples:
        found = [(one - self._mean) / self._deviation for one in features.sequences]
        return dataclasses.replace(features, sequences=found)

    def enter(self) -> None:
        """Makes layers that were trained on features as they are give the same of these."""
        for layer, mean, deviation in zip(self._layers, self._mean, self._deviation, strict=True):
            layer.bias.assign_add(mean @ layer.kernel.numpy())
            layer.kernel.assign(layer.kernel * deviation[:, np.newaxis])

    def leave(self) -> None:
        """Makes the layers give of features as they are what they give of these."""
        for layer, mean, deviation in zip(self._layers, self._mean, self._deviation, strict=True):
            layer.kernel.assign(layer.kernel / deviation[:, np.newaxis])
            layer.bias.assign_sub(mean @ layer.kernel.numpy())
