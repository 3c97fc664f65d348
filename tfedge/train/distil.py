"""Knowledge distillation: a student learns a teacher's logits and hidden states.

Losses: soft cross-entropy of the logits at a temperature (Hinton et al. 2015, section 2), the
distance of paired hidden states (TinyBERT, Jiao et al. 2020, equation 8), and the relations of
queries, keys and values (MiniLMv2, Wang et al. 2021, section 3.1; see `relations`).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge import __version__
from tfedge.architectures.base import EncoderConfig
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer, vocabulary
from tfedge.errors import InputError
from tfedge.models.build import Encoder, build, input_names
from tfedge.models.checkpoint import Checkpoint, assign, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.models.folder import copy_inputs
from tfedge.train.augment import neighbours, whole_words, word_substitution
from tfedge.train.cache import Outputs, open_cache
from tfedge.train.cut import Cut, cut_tensors, plan, tensors_of
from tfedge.train.distribute import (
    across_replicas,
    batch_mean,
    is_chief,
    replicas,
    training_strategy,
    wait_for_all,
)
from tfedge.train.precision import precision
from tfedge.train.relations import (
    attention_vectors,
    relation_distance,
    relation_heads,
    relation_layer,
)
from tfedge.train.training import (
    Augment,
    Examples,
    Report,
    TrainingOptions,
    accuracy_on,
    check_length,
    check_stopping,
    claim_training_folder,
    compile_adam,
    tokenize,
    total_steps,
    train,
)

TASK = "text-classification"


@dataclasses.dataclass(frozen=True)
class DistillationLosses:
    """Weights of the losses; a loss of weight 0 is not computed.

    Attributes:
        temperature: divides both models' logits.
        logits: weight of the soft cross-entropy.
        hidden: weight of the hidden states' relative squared distance.
        labels: weight of the cross-entropy with the data's own labels.
        relations: weight of the self-attention relations, for `distil` alone.
        relation_heads: see `relations.relation_heads`.
        relation_layer: the teacher's, counted from 1; see `relations.relation_layer`.
    """

    temperature: float = 2.0
    logits: float = 1.0
    hidden: float = 1.0
    labels: float = 0.0
    relations: float = 0.0
    relation_heads: int | None = None
    relation_layer: int | None = None

    @property
    def lists(self) -> list[str]:
        """Which lists of a teacher's outputs the losses read."""
        weights = {"hidden_states": self.hidden, "relations": self.relations}
        return [name for name, weight in weights.items() if weight]

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; it must be positive")
        names = ("logits", "hidden", "labels", "relations")
        weights = {name: getattr(self, name) for name in names}
        for name, value in weights.items():
            if not value >= 0:
                raise InputError(f"the weight of {name} is {value}; it must not be negative")
        if not any(weights.values()):
            raise InputError("no loss has a weight; at least one must be above 0")


class Distiller(keras.Model):
    """Trains `student` to reproduce `teacher`.

    Args:
        student, teacher: functional models from token inputs to a dict with `logits` (B, L) and
            `hidden_states`, a list of (B, S, C) in corresponding order, or `relations`, the queries,
            keys and values of one layer, where the losses need them. The teacher's hidden states
            already have the student's channels.

    Attributes:
        cached: how the teacher's outputs come along with a batch; None where they do not.
    """

    terms: tuple[str, ...] = ("logits", "hidden", "labels", "relations")

    def __init__(
        self, student: keras.Model, teacher: keras.Model, losses: DistillationLosses
    ) -> None:
        super().__init__()
        self.cached: Outputs | None = None
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.losses_used = losses
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
        """What of the gradients of the student's trainable variables is followed: all of it."""
        return gradients

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
        weights = self.losses_used
        losses = {}
        if weights.logits:
            losses["logits"] = weights.logits * soft_cross_entropy(
                output["logits"], target["logits"], weights.temperature
            )
        if weights.hidden:
            mask = tf.cast(inputs["attention_mask"], tf.float32)
            pairs = zip(output["hidden_states"], target["hidden_states"], strict=True)
            distances = [relative_distance(student, teacher, mask) for student, teacher in pairs]
            losses["hidden"] = weights.hidden * tf.add_n(distances) / len(distances)
        if weights.relations:
            mask = tf.cast(inputs["attention_mask"], tf.float32)
            heads = weights.relation_heads
            assert heads is not None  # `distil` has settled them
            distance = relation_distance(output["relations"], target["relations"], mask, heads)
            losses["relations"] = weights.relations * distance
        if weights.labels:
            losses["labels"] = weights.labels * batch_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, output["logits"])
            )
        return losses


def _in_float32(outputs: dict[str, Any]) -> dict[str, Any]:
    """What a model of mixed precision puts out, for losses."""
    found: dict[str, Any] = tf.nest.map_structure(lambda x: tf.cast(x, tf.float32), outputs)
    return found


def soft_cross_entropy(student: tf.Tensor, teacher: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 KL(teacher || student) of logits (B, L) at temperature T, mean over the batch."""
    target = tf.nn.softmax(teacher / temperature)
    log_ratio = tf.nn.log_softmax(teacher / temperature) - tf.nn.log_softmax(student / temperature)
    return temperature**2 * batch_mean(tf.reduce_sum(target * log_ratio, axis=-1))


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
    teacher: str | Path,
    student_config: Mapping[str, Any],
    texts: Texts,
    output: str | Path,
    options: TrainingOptions,
    losses: DistillationLosses,
    report: Report,
    evaluation: Texts | None = None,
    augmentation: float = 0.5,
    force: bool = False,
    cache: Path | None = None,
) -> float | None:
    """Cuts a student out of a teacher, trains it on the teacher's outputs, writes an HF folder.

    Args:
        teacher: HF folder of a text classifier of the BERT family.
        student_config: the `config.json` of the student.
        texts: what both read; labels are needed only where `losses` uses them.
        evaluation: held-out texts, on which the accuracy after each epoch is reported.
        augmentation: share of the batches in which words are replaced, 0..1.
        cache: folder for the teacher's outputs, see `tfedge.train.cache`; batches with replaced
            words are not in it. How far making it is, 0..1, is reported as `teacher_cached` of step 0.

    Returns:
        The accuracy on `evaluation` of what was written, 0..1.

    Raises:
        InputError: teacher, student and texts do not fit together, or the output exists.
    """
    output = Path(output)
    check_stopping(options, evaluation)
    strategy = training_strategy()
    keras.utils.set_random_seed(options.seed)
    checkpoint = Checkpoint(teacher)
    check_length(options, checkpoint.config)
    labels = checkpoint.config.labels
    if not labels:
        raise InputError(f"{teacher} names no labels (id2label in config.json); fine-tune it first")
    config = parse_config(student_config)
    check_length(options, config)
    losses = _settled(losses, config, checkpoint.config)
    if cache and augmentation == 1:
        raise InputError("augmentation 1 changes every batch, so that no cache would ever be read")
    tokenizer = load_tokenizer(teacher, checkpoint.config.vocab_size)
    examples = tokenize(texts, tokenizer, labels if losses.labels else None, options)
    held_out = tokenize(evaluation, tokenizer, labels, options) if evaluation else None
    settings = {
        "teacher": checkpoint.sha256,
        "student": dict(student_config),
        "texts": examples.sha256,
        "held_out": held_out.sha256 if held_out else None,
        "augmentation": augmentation,
        "cached": cache is not None,
        **dataclasses.asdict(losses),
        **dataclasses.asdict(options),
    }
    folder = claim_training_folder(output, settings, force, strategy)
    steps = total_steps(examples, options)
    with strategy.scope(), precision(options):
        trainer, student = _student_and_teacher(checkpoint, config, len(labels), losses)
        compile_adam(trainer, options, steps)
    stored = None
    if cache:
        key = {name: settings[name] for name in ("teacher", "student", "relation_layer")}
        key |= {"max_length": options.max_length, "tfedge": __version__}
        key |= {"mixed_precision": options.mixed_precision}
        trainer.cached = Outputs.of(trainer.teacher, losses.lists)
        if not is_chief(strategy):
            wait_for_all(strategy)  # the chief makes what the others then find
        stored = open_cache(cache, key, trainer.cached, examples, _cache_progress(report, steps))
        if is_chief(strategy):
            wait_for_all(strategy)
    measure = accuracy_on(student.model, held_out) if held_out else None
    augment = make_augment(trainer.teacher, tokenizer, examples, augmentation)
    names = input_names(config)
    train(
        *(trainer, examples, names, options, folder, report, measure, augment),
        stored=stored,
        strategy=strategy,
    )
    if is_chief(strategy):
        save_checkpoint(student.model, config, TASK, output, labels, dtype="float16")
        copy_inputs(Path(teacher), output)
        shutil.rmtree(folder)
    return measure() if measure else None


def _cache_progress(report: Report, steps: int) -> Callable[[float], None]:
    return lambda share: report(0, steps, {"teacher_cached": share})


def _settled(
    losses: DistillationLosses, student: EncoderConfig, teacher: EncoderConfig
) -> DistillationLosses:
    """`losses` with heads and layer of the relations, if these have a weight."""
    if not losses.relations:
        return losses
    return dataclasses.replace(
        losses,
        relation_heads=relation_heads(losses.relation_heads, student, teacher),
        relation_layer=relation_layer(losses.relation_layer, teacher),
    )


def _student_and_teacher(
    checkpoint: Checkpoint, config: EncoderConfig, num_labels: int, losses: DistillationLosses
) -> tuple[Distiller, Encoder]:
    teacher = build(checkpoint.config, TASK, num_labels)
    load_weights(teacher.model, checkpoint, TASK)
    tensors = tensors_of(teacher.model)
    kept = plan(checkpoint.config, config, tensors)
    student = build(config, TASK, num_labels)
    assign(student.model, cut_tensors(checkpoint.config, tensors, kept))
    models = with_hidden(student), targets(teacher, kept)
    if losses.relations:
        last = config.num_hidden_layers
        models = (
            _with_relations(models[0], student, last),
            _with_relations(models[1], teacher, losses.relation_layer or last),
        )
    return Distiller(*models, losses), student


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


def make_augment(
    teacher: keras.Model, tokenizer: Tokenizer, examples: Examples, share: float
) -> Augment | None:
    """What replaces words in a share of the batches by those nearest in the teacher's table."""
    if share == 0:
        return None
    embeddings = teacher.get_layer("embeddings.word_embeddings").get_weights()[0]
    tokens = vocabulary(tokenizer)
    # A table may have more rows than there are tokens.
    words = whole_words(tokens + [""] * (len(embeddings) - len(tokens)))
    used = np.unique(np.concatenate(examples.sequences))
    table = neighbours(embeddings, used[words[used]], words)
    return word_substitution(table, words, share, probability=0.25)
