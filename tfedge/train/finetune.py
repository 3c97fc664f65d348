"""Fine-tunes an encoder on labelled texts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.train.distribute import batch_mean, replicas
from tfedge.train.run import Request, TrainingRun, freeze_words

TASK = "text-classification"


class Classifier(keras.Model):
    """Trains a functional model with `logits` (B, L) on integer labels (B,) by cross-entropy."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.loss_mean = keras.metrics.Mean("loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")

    def train_step(self, batch: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, labels = batch
        with tf.GradientTape() as tape:
            logits = tf.cast(self.model(inputs, training=True)["logits"], tf.float32)
            loss = batch_mean(tasks.find(TASK).label_losses({"logits": logits}, labels))
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.loss_mean.update_state(replicas() * loss)
        self.accuracy.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self.metrics}


def finetune(request: Request, labels: Sequence[str]) -> float | None:
    """Trains a text classifier from an encoder and writes it as an HF folder.

    Returns its accuracy on the held-out texts, 0..1, None without any. Raises InputError for labels
    that do not fit, an existing output, or a checkpoint that does not load.
    """
    run = TrainingRun(request, TASK, labels, distributed=True)
    run.read(labelled=True)
    with run.claimed():
        with run.scope():
            encoder = build(run.config, TASK, len(labels), GraphOptions(dropout=True))
            load_weights(encoder.model, run.checkpoint, TASK, new_head=True)
            freeze_words(encoder)
            trainer = Classifier(encoder.model)
        measure = run.measure_of(encoder.model)
        run.fit(trainer, f"fine-tuning {request.name}", measure)
        # What pools a sentence-transformers encoder is no part of a classifier.
        run.write(encoder.model, pooling=False)
        return measure() if measure else None
