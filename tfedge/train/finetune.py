"""Fine-tunes an encoder on labelled texts, for every task that has labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.base import is_within
from tfedge.errors import InputError
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.notes import note
from tfedge.tasks import columns, scope
from tfedge.tasks.base import Task
from tfedge.tasks.guess import OF_IMAGES
from tfedge.tasks.guess import USUAL as TASK
from tfedge.train.distribute import batch_mean, replicas
from tfedge.train.result import Trained
from tfedge.train.run import Request, TrainingRun, freeze_words
from tfedge.train.thresholds import head, logits_of_held_out, thresholds_of

_NAMED = 5  # labels, in a message


@dataclasses.dataclass(frozen=True)
class LabelOptions:
    """What is made of labels besides learning them, of those that exclude each other."""

    # The one of texts that have none of the others.
    out_of_scope: str | None = None
    # Whether each label counts alike in the loss, however many texts have it.
    class_weights: bool = False

    def check(self, run: TrainingRun) -> None:
        """Raises InputError where the run's task or texts do not allow it; its texts are read."""
        given = {
            "--out-of-scope": self.out_of_scope and (TASK,),
            "--class-weights balanced": self.class_weights and (TASK, OF_IMAGES),
        }
        for option, able in given.items():
            if able and run.task.name not in able:
                raise InputError(
                    f"{option} is for {' and '.join(able)}, and this trains {run.task.name}"
                )
        if self.out_of_scope is None:
            return
        index = scope.place(self.out_of_scope, run.labels)
        if run.held_out is None or not (run.held_out.labels == index).any():
            raise InputError(
                f"--out-of-scope {self.out_of_scope} needs --eval with texts of that label, by which "
                "its threshold is chosen"
            )


class LabelTrainer(keras.Model):
    """Trains a functional model on what `Task.lessons` gives, by `Task.label_losses`; of one label a
    text those losses may have weights, float32 (L,)."""

    def __init__(self, model: keras.Model, task: Task, weights: np.ndarray | None = None) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self._weights = None if weights is None else tf.constant(weights)
        self.loss_mean = keras.metrics.Mean("loss")
        # Of tasks whose answers are right or wrong.
        counts_rights = type(task).rights is not Task.rights
        self.accuracy = keras.metrics.Mean("accuracy") if counts_rights else None

    def train_step(self, batch: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, aims = batch
        with tf.GradientTape() as tape:
            found = self.model(inputs, training=True)
            output = {name: tf.cast(value, tf.float32) for name, value in found.items()}
            losses = self.task.label_losses(output, aims)
            if self._weights is not None:
                losses *= tf.gather(self._weights, aims)
            loss = batch_mean(losses)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.loss_mean.update_state(replicas() * loss)
        if self.accuracy is not None:
            self.accuracy.update_state(self.task.rights(output, aims))
        return {metric.name: metric.result() for metric in self.metrics}


def finetune(
    request: Request, labels: Sequence[str], of_labels: LabelOptions | None = None
) -> Trained:
    """Trains the encoder for the request's task (default: one label a text), and writes it as an HF
    folder.

    Where the checkpoint has a head for the same labels, in any order, that is trained on, and they stay
    in its order; where it has one for others, a note tells that a new head begins.

    Raises InputError for labels and options of them that do not fit, an existing output, or a
    checkpoint that does not load.
    """
    of_labels = of_labels or LabelOptions()
    run = TrainingRun(request, request.task or TASK, labels, distributed=True)
    if not run.task.trains_on_labels:
        able = [task.name for task in tasks.every() if task.trains_on_labels]
        raise InputError(f"models for {run.task.name} are not fine-tuned; tasks are {able}")
    dropped, told = settle_head(run)
    run.read(labelled=True)
    of_labels.check(run)
    if told:
        note(told)
    with run.claimed(**dataclasses.asdict(of_labels)):
        with run.scope():
            encoder = build(run.config, run.task.name, len(run.labels), GraphOptions(dropout=True))
            fresh = load_weights(
                encoder.model, run.checkpoint, run.task.name, new_head=True, dropped=dropped
            )
            freeze_words(encoder)
            trainer = LabelTrainer(encoder.model, run.task, label_weights(run, of_labels))
            _begin(run, encoder.model, fresh)
            scaled = _Scaled.of(run, encoder.model, fresh)
        measure = run.measure_of(scaled.model)
        thresholds = thresholds_of(run, encoder.model)
        judged = thresholds.within(measure) if thresholds and measure else measure
        run.fit(trainer, f"fine-tuning {request.name}", judged)
        scaled.fold()
        if measure and thresholds:
            thresholds.set()
            measure()
        if measure and of_labels.out_of_scope is not None:
            index = scope.place(of_labels.out_of_scope, run.labels)
            _set_scope(run, encoder.model, index)
            measure()
            assert run.figures is not None
            run.figures |= scope.figures(run.figures["confusion"], index)
        # Of another head, as what pools a sentence-transformers encoder is.
        source = run.task.exported(run.config.source)
        run.write(encoder.model, dataclasses.replace(run.config, source=source), pooling=False)
        return Trained.measured(str(request.output), run.task, run.goal, run.figures)


def label_weights(run: TrainingRun, of_labels: LabelOptions) -> np.ndarray | None:
    """What each label counts in the loss, float32 (L,), 1 on average over the texts; None where all
    texts count alike."""
    if not of_labels.class_weights:
        return None
    counts = np.bincount(run.examples.labels, minlength=len(run.labels))
    shares = len(run.examples) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.asarray(shares, np.float32)


def _begin(run: TrainingRun, model: keras.Model, fresh: Sequence[str]) -> None:
    """Has a new head begin with how often the texts have each label: found from 0 on, that would take
    hundreds of steps, in which the encoder learns it too (Lin et al. 2017, section 4.1)."""
    prior = run.task.prior(run.examples.labels, len(run.labels))
    modules = run.task.logits_modules(run.config)
    if prior is not None and any(is_within(name, modules) for name in fresh):
        for layer in head(run, model):
            layer.bias.assign(prior)


def _set_scope(run: TrainingRun, model: keras.Model, index: int) -> None:
    """Moves the bias of the label `index` to the best threshold on the held-out texts; where none of
    the texts trained on has it, that is all that it is given by."""
    assert run.held_out is not None
    is_learned = (run.examples.labels == index).any()
    keeps = np.arange(len(run.labels)) != index
    for layer in [] if is_learned else head(run, model):
        layer.kernel.assign(layer.kernel * keeps)
        layer.bias.assign(layer.bias * keeps)
    moved = scope.shift(logits_of_held_out(run, model)(), run.held_out.labels, index)
    for layer in head(run, model):
        layer.bias.assign_add(moved * ~keeps)


class _Scaled:
    """A model of which a head learns numbers in their own units: as deviations from their mean.

    A head whose numbers are in the hundreds would take as many times as long to learn them.

    Attributes:
        model: gives what `trained` gives, numbers as the data have them.
    """

    def __init__(self, trained: keras.Model, head: Sequence[keras.layers.Layer], unit: Any) -> None:
        self._head, (self._mean, self._deviation) = head, unit
        self.model = trained
        if head:
            logits = trained.output["logits"] * self._deviation + self._mean
            self.model = keras.Model(trained.input, {**trained.output, "logits": logits})

    @classmethod
    def of(cls, run: TrainingRun, model: keras.Model, fresh: Sequence[str]) -> _Scaled:
        """Puts the run's numbers into the unit, and a head that knows some, not one of the tensors
        `fresh`."""
        unit = run.task.unit(run.examples.labels)
        if unit is None:
            return cls(model, [], (0.0, 1.0))
        mean, deviation = unit
        run.examples = dataclasses.replace(
            run.examples, labels=(run.examples.labels - mean) / deviation
        )
        modules = run.task.logits_modules(run.config)
        layers = head(run, model)
        known = [] if any(is_within(name, modules) for name in fresh) else layers
        for layer in known:
            layer.kernel.assign(layer.kernel / deviation)
            layer.bias.assign((layer.bias - mean) / deviation)
        return cls(model, layers, unit)

    def fold(self) -> None:
        """Makes the trained model give the numbers as the data have them."""
        for layer in self._head:
            layer.kernel.assign(layer.kernel * self._deviation)
            layer.bias.assign(layer.bias * self._deviation + self._mean)


def settle_head(run: TrainingRun) -> tuple[tuple[str, ...], str]:
    """The modules of the checkpoint that a new head takes the place of, and what to tell of it; none
    where there is no head, or one for the run's labels, which then are in its order.

    Raises InputError for a label that is none, see `columns.check_labels`.
    """
    columns.check_labels(run.labels, run.request.texts.source)
    modules, checkpoint = run.task.logits_modules(run.config), run.checkpoint
    if not modules or f"{modules[0]}.weight" not in checkpoint.names:
        return (), ""
    known = run.task.labels(checkpoint)
    fits = [task.fit(checkpoint) for task in tasks.every()]
    if run.task.fit(checkpoint) == max(fits) and _keys(known) == _keys(run.labels):
        run.labels = known
        return (), ""
    numbers = set(map(str, range(len(known))))
    hint = f"; if they number those, give --labels {','.join(known)}"
    return modules, (
        f"{checkpoint.folder} has a head for {_listed(known)}, the {run.task.units} have "
        f"{_listed(run.labels)}: a new head is trained{hint if numbers.issuperset(run.labels) else ''}"
    )


def _keys(labels: Sequence[str]) -> list[str]:
    return sorted(map(columns.key, labels))


def _listed(labels: Sequence[str]) -> str:
    named = ", ".join(labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
    return f"{len(labels)} labels ({named})"
