"""Fine-tunes an encoder on labelled texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.notes import note
from tfedge.tasks import columns
from tfedge.train.distribute import batch_mean, replicas
from tfedge.train.run import Request, TrainingRun, freeze_words

TASK = "text-classification"
_PROBLEM = "problem_type"  # what config.json says of a head of another task
_NAMED = 5  # labels, in a message


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

    Where the checkpoint has a head for the same labels, in any order, that is trained on, and they stay
    in its order; where it has one for others, a note tells that a new head begins.

    Returns its accuracy on the held-out texts, 0..1, None without any. Raises InputError for labels
    that do not fit, an existing output, or a checkpoint that does not load.
    """
    run = TrainingRun(request, TASK, labels, distributed=True)
    dropped, told = _settle_head(run)
    run.read(labelled=True)
    if told:
        note(told)
    with run.claimed():
        with run.scope():
            encoder = build(run.config, TASK, len(run.labels), GraphOptions(dropout=True))
            load_weights(encoder.model, run.checkpoint, TASK, new_head=True, dropped=dropped)
            freeze_words(encoder)
            trainer = Classifier(encoder.model)
        measure = run.measure_of(encoder.model)
        accuracy = run.fit(trainer, f"fine-tuning {request.name}", measure)
        # Of another head, as what pools a sentence-transformers encoder is.
        source = {key: run.config.source[key] for key in run.config.source if key != _PROBLEM}
        run.write(encoder.model, dataclasses.replace(run.config, source=source), pooling=False)
        return accuracy


def _settle_head(run: TrainingRun) -> tuple[tuple[str, ...], str]:
    """The modules of the checkpoint that a new head takes the place of, and what to tell of it; none
    where there is no head, or one for the run's labels, which then are in its order."""
    modules, checkpoint = run.task.logits_modules(run.config), run.checkpoint
    if f"{modules[0]}.weight" not in checkpoint.names:
        return (), ""
    known = run.task.labels(checkpoint)
    fits = [task.fit(checkpoint) for task in tasks.every()]
    if run.task.fit(checkpoint) == max(fits) and _keys(known) == _keys(run.labels):
        run.labels = known
        return (), ""
    numbers = set(map(str, range(len(known))))
    hint = f"; if they number those, give --labels {','.join(known)}"
    return modules, (
        f"{checkpoint.folder} has a head for {_listed(known)}, the texts have {_listed(run.labels)}: a "
        f"new head is trained{hint if numbers.issuperset(run.labels) else ''}"
    )


def _keys(labels: Sequence[str]) -> list[str]:
    return sorted(map(columns.key, labels))


def _listed(labels: Sequence[str]) -> str:
    named = ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
    return f"{len(labels)} labels ({named})"
