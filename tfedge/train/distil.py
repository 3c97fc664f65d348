"""Knowledge distillation: a student learns a teacher's logits and hidden states.

Losses: soft cross-entropy of the logits at a temperature (Hinton et al. 2015, section 2), the
distance of paired hidden states (TinyBERT, Jiao et al. 2020, equation 8), and the relations of
queries, keys and values (MiniLMv2, Wang et al. 2021, section 3.1; see `relations`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge import __version__
from tfedge.architectures.base import EncoderConfig
from tfedge.data.tokenizer import vocabulary
from tfedge.errors import InputError
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, assign
from tfedge.models.config import parse_config
from tfedge.tasks.base import Task
from tfedge.train.augment import neighbours, whole_words, word_substitution
from tfedge.train.cache import Outputs, TeacherCache, open_cache
from tfedge.train.cut import Cut, cut_tensors, plan, tensors_of
from tfedge.train.distribute import across_replicas, batch_mean, is_chief, replicas, wait_for_all
from tfedge.train.logs import Report
from tfedge.train.relations import (
    attention_vectors,
    relation_distance,
    relation_heads,
    relation_layer,
)
from tfedge.train.result import Trained
from tfedge.train.run import Request, TrainingRun, build_loaded
from tfedge.train.thresholds import thresholds_of
from tfedge.train.training import Augment, check_length


@dataclasses.dataclass(frozen=True)
class DistillationLosses:
    """Weights of the losses; a loss of weight 0 is not computed."""

    temperature: float = 2.0  # divides both models' logits
    logits: float = 1.0  # of `Task.output_losses`, for logits their soft cross-entropy
    hidden: float = 1.0  # of the hidden states' relative squared distance
    labels: float = 0.0  # of the cross-entropy with the data's own labels
    relations: float = 0.0  # of the self-attention relations, for `distil` alone
    relation_heads: int | None = None  # see `relations.relation_heads`
    relation_layer: int | None = None  # the teacher's, from 1; see `relations.relation_layer`

    @property
    def lists(self) -> list[str]:
        """Which lists of a teacher's outputs the losses read."""
        weights = {"hidden_states": self.hidden, "relations": self.relations}
        return [name for name, weight in weights.items() if weight]

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; it must be positive")
        weights = {name: getattr(self, name) for name in Distiller.terms}
        for name, value in weights.items():
            if not value >= 0:
                raise InputError(f"the weight of {name} is {value}; it must not be negative")
        if not any(weights.values()):
            raise InputError("no loss has a weight; at least one must be above 0")

    def of_task(self, run: TrainingRun) -> DistillationLosses:
        """Those that train the run's task; raises InputError where `labels` should and cannot."""
        # The embeddings of two models may be of other widths.
        if run.task.trains_on_labels and not run.task.is_embedding:
            return self
        if self.labels:
            raise InputError(
                f"labels do not train models for {run.task.name}, as {run.request.source} is one: "
                "leave out --label-weight"
            )
        return dataclasses.replace(self, logits=0.0)


class Distiller(keras.Model):
    """Trains `student` to reproduce `teacher`.

    Args:
        student, teacher: functional models from token inputs to a dict with the outputs of `task` and
            `hidden_states`, a list of (B, S, C) in corresponding order, or `relations`, the queries,
            keys and values of one layer, where the losses need them. The teacher's hidden states
            already have the student's channels.

    Attributes:
        cached: how the teacher's outputs come along with a batch; None where they do not.
    """

    output_term = "logits"  # what the loss of the task's outputs is called
    terms: tuple[str, ...] = ("logits", "hidden", "labels", "relations")

    def __init__(
        self, student: keras.Model, teacher: keras.Model, losses: DistillationLosses, task: Task
    ) -> None:
        super().__init__()
        self.cached: Outputs | None = None
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.losses_used = losses
        self.task = task
        names = ("loss", *(f"{term}_loss" for term in self.terms))
        self.means = {name: keras.metrics.Mean(name) for name in names}

    def train_step(self, batch: tuple[Any, ...]) -> dict[str, tf.Tensor]:
        inputs, labels, *stored = batch
        target = self._target(inputs, *stored)
        with tf.GradientTape() as tape:
            output = _in_float32(self.student(inputs, training=True))
            losses = self.compute_terms(inputs, output, target, labels)
            loss = tf.add_n(list(losses.values()))
        variables = self.student.trainable_variables
        gradients = self.chosen(tape.gradient(loss, variables))
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        for name, value in {"loss": loss, **{f"{k}_loss": v for k, v in losses.items()}}.items():
            self.means[name].update_state(replicas() * value)
        return {metric.name: metric.result() for metric in self.metrics}

    def chosen(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """What of the gradients of the student's trainable variables is followed."""
        return gradients

    def states(self, output: dict[str, Any]) -> list[tf.Tensor]:
        """The student's hidden states, to be compared with the teacher's."""
        return output["hidden_states"]

    def _target(self, inputs: dict[str, tf.Tensor], *stored: tf.Tensor) -> dict[str, Any]:
        """The teacher's outputs: those that came along, unless they are of no text."""
        cached = self.cached
        if cached is None:
            return _in_float32(self.teacher(inputs, training=False))
        logits, rows = stored
        return tf.cond(
            tf.shape(logits)[0] > 0,
            lambda: cached.split(logits, rows),
            lambda: cached.picked(_in_float32(self.teacher(inputs, training=False))),
        )

    def compute_terms(
        self,
        inputs: dict[str, tf.Tensor],
        output: dict[str, tf.Tensor],
        target: dict[str, tf.Tensor],
        labels: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The weighted losses of one batch, scalars by the names in `terms`."""
        weights, mask = self.losses_used, inputs["attention_mask"]
        real = tf.cast(mask, tf.float32)
        losses = {}
        if weights.logits:
            found = self.task.output_losses(output, target, mask, weights.temperature)
            losses[self.output_term] = weights.logits * batch_mean(found)
        if weights.hidden:
            pairs = zip(self.states(output), target["hidden_states"], strict=True)
            distances = [relative_distance(student, teacher, real) for student, teacher in pairs]
            losses["hidden"] = weights.hidden * tf.add_n(distances) / len(distances)
        if weights.relations:
            heads = weights.relation_heads
            assert heads is not None  # `distil` has settled them
            distance = relation_distance(output["relations"], target["relations"], real, heads)
            losses["relations"] = weights.relations * distance
        if weights.labels:
            found = self.task.label_losses(output, labels)
            losses["labels"] = weights.labels * batch_mean(found)
        return losses


def _in_float32(outputs: dict[str, Any]) -> dict[str, Any]:
    """What a model of mixed precision puts out, for losses."""
    return tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), outputs)


def relative_distance(student: tf.Tensor, teacher: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Squared distance of hidden states (B, S, C) over real tokens, relative to each channel's energy.

    Without the division the few outlier channels of a BERT would be all that is learned.
    """
    mask = mask[:, :, tf.newaxis]
    count = across_replicas(tf.reduce_sum(mask))
    error = tf.reduce_sum(mask * tf.square(student - teacher), axis=(0, 1)) / count
    energy = across_replicas(tf.reduce_sum(mask * tf.square(teacher), axis=(0, 1))) / count
    return tf.reduce_mean(error / (energy + 1e-3))


def distil(
    request: Request,
    student: Mapping[str, Any],
    losses: DistillationLosses,
    augmentation: float = 0.5,
    cache: Path | None = None,
) -> Trained:
    """Cuts a student out of a teacher, trains it on the teacher's outputs, writes an HF folder.

    Raises InputError where teacher, student and texts do not fit together, or the output exists.

    Args:
        request: its source is the teacher, of the BERT family and of a task that can be fine-tuned;
            the truth of its texts is needed only where `losses` uses it.
        student: the `config.json` of the student.
        augmentation: share of the batches in which words are replaced, 0..1.
        cache: folder for the teacher's outputs on the other batches, see `tfedge.train.cache`; the
            share that is made, 0..1, is reported as `teacher_cached` of step 0.
    """
    run = TrainingRun(request, distributed=True)
    _check_teacher(run, losses, cache)
    config = dataclasses.replace(parse_config(student), pooling=run.config.pooling)
    check_length(run.options, config)
    if losses.relations:
        losses = dataclasses.replace(
            losses,
            relation_heads=relation_heads(losses.relation_heads, config, run.config),
            relation_layer=relation_layer(losses.relation_layer, run.config),
        )
    if cache and augmentation == 1:
        raise InputError("augmentation 1 changes every batch, so that no cache would ever be read")
    run.read(labelled=bool(losses.labels))
    settings = {"student": dict(student), "augmentation": augmentation, "cached": cache is not None}
    with run.claimed(**settings, **dataclasses.asdict(losses)):
        with run.scope():
            trainer, encoder = student_and_teacher(run.checkpoint, run.task, config, losses)
        measure = run.measure_of(encoder.model)
        thresholds = thresholds_of(run, encoder.model)
        judged = thresholds.within(measure) if thresholds and measure else measure
        augment = make_augment(trainer.teacher, run, augmentation)
        cached = functools.partial(_cached, run, trainer, cache, student) if cache else None
        run.fit(trainer, f"distilling {request.name}", judged, augment, cached)
        if thresholds and measure:
            thresholds.set()
            measure()
        named = dataclasses.replace(config, source=run.task.exported(config.source))
        run.write(encoder.model, named, dtype="float16")
        return Trained.measured(str(request.output), run.task, run.goal, run.figures)


def _check_teacher(run: TrainingRun, losses: DistillationLosses, cache: Path | None) -> None:
    """Raises InputError where a student cannot learn from the source of `run`, or not so."""
    task, source = run.task, run.request.source
    if not task.trains_on_labels:
        raise InputError(
            f"{source} is for {task.name}, and distil takes teachers that tfedge finetune can train: "
            "give one of those, or another model"
        )
    if cache and (task.has_aims_of_tokens or task.is_embedding):
        raise InputError(
            f"none but one label a text is kept of a teacher's outputs, and {source} is for "
            f"{task.name}: leave out --cache"
        )
    if task.is_embedding and losses.labels:
        raise InputError(
            f"{source} is for {task.name}, which has no labels: leave out --label-weight"
        )
    if task.logits_modules(run.config) and not run.config.labels:
        raise InputError(f"{source} names no labels (id2label in config.json); fine-tune it first")


def _cached(
    run: TrainingRun, trainer: Distiller, folder: Path, student: Mapping[str, Any], report: Report
) -> TeacherCache:
    """The teacher's outputs, which come along with the batches of `trainer` from now on."""
    losses, options = trainer.losses_used, run.options
    key = {
        "teacher": run.checkpoint.sha256,
        "student": dict(student),
        "relation_layer": losses.relation_layer,
        "max_length": options.max_length,
        "tfedge": __version__,
        "mixed_precision": options.mixed_precision,
    }
    trainer.cached = Outputs.of(trainer.teacher, losses.lists)
    if not is_chief(run.strategy):
        wait_for_all(run.strategy)  # the chief makes what the others then find

    def progress(share: float) -> None:
        report(0, run.steps, {"teacher_cached": share})

    stored = open_cache(folder, key, trainer.cached, run.examples, progress)
    if is_chief(run.strategy):
        wait_for_all(run.strategy)
    return stored


def student_and_teacher(
    checkpoint: Checkpoint, task: Task, config: EncoderConfig, losses: DistillationLosses
) -> tuple[Distiller, Encoder]:
    """What trains a student of the given sizes cut out of `checkpoint`, and that student."""
    num_labels = len(checkpoint.config.labels or ())
    teacher = build_loaded(checkpoint, task.name, num_labels)
    tensors = tensors_of(teacher.model)
    kept = plan(checkpoint.config, config, tensors)
    student = build(config, task.name, num_labels)
    assign(student.model, cut_tensors(checkpoint.config, tensors, kept))
    models = with_hidden(student), targets(teacher, kept)
    if losses.relations:
        last = config.num_hidden_layers
        layers = (last, losses.relation_layer or last)
        models = tuple(map(_with_relations, models, (student, teacher), layers))
    return Distiller(*models, losses, task), student


def _with_relations(model: keras.Model, encoder: Encoder, layer: int) -> keras.Model:
    """`model` with the `relations` of a layer, counted from 1, among the outputs."""
    relations = attention_vectors(encoder, layer)
    return keras.Model(model.input, {**model.output, "relations": relations})


def with_hidden(encoder: Encoder) -> keras.Model:
    """The model with its `hidden_states` among the outputs."""
    outputs = {**encoder.model.output, "hidden_states": encoder.hidden_states}
    return keras.Model(encoder.model.input, outputs)


def targets(teacher: Encoder, kept: Cut) -> keras.Model:
    """The teacher with the hidden states, and of those the channels, that the student has."""
    states = [0, *(index + 1 for index in kept.layers)]
    channels = tf.constant(kept.channels, tf.int32)
    pick = keras.layers.Lambda(lambda x: tf.gather(x, channels, axis=-1), name="kept_channels")
    hidden = [pick(teacher.hidden_states[index]) for index in states]
    return keras.Model(teacher.model.input, {**teacher.model.output, "hidden_states": hidden})


def make_augment(teacher: keras.Model, run: TrainingRun, share: float) -> Augment | None:
    """What replaces words in a share of the batches by those nearest in the teacher's table."""
    if share == 0:
        return None
    embeddings = teacher.get_layer(run.config.architecture.embeddings.words).get_weights()[0]
    tokens = vocabulary(run.tokenizer)
    # A table may have more rows than there are tokens.
    words = whole_words(tokens + [""] * (len(embeddings) - len(tokens)))
    used = run.examples.token_ids
    table = neighbours(embeddings, used[words[used]], words)
    return word_substitution(table, words, share, probability=0.25)
