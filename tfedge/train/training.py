"""The training loop that fine-tuning and distillation share: batches, schedule, resuming."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge import files
from tfedge.architectures.base import EncoderConfig
from tfedge.data.batches import Batch, grouped_by_length, pad, padded_length
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import encode
from tfedge.errors import InputError
from tfedge.train.distribute import (
    checkpoints_of,
    distributed,
    is_chief,
    wait_for_all,
    workers_of_cluster,
)
from tfedge.train.logs import Report as Report
from tfedge.train.logs import writes_to
from tfedge.train.stopping import EarlyStopping

_STEPS_PER_REPORT = 20


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to train.

    Attributes:
        steps: batches in all, in place of `epochs`.
        learning_rate: the peak, reached after `warmup` and falling linearly to 0 at the end.
        warmup: share of all steps, 0..1.
        max_length: tokens of a text; longer ones are cut.
        seed: of the order of the data, of augmentation and of fresh weights.
        steps_per_checkpoint: a killed run resumes from the last checkpoint.
        patience: so many measurements of the accuracy on held-out texts in a row that are no better
            than the best end the training, whose best weights are kept. None trains to the end and
            keeps the last ones.
        mixed_precision: whether layers compute in bfloat16, weights and losses staying float32.
        xla: whether the step is compiled by XLA, once for each shape of a batch.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    max_length: int = 64
    seed: int = 0
    steps_per_checkpoint: int = 500
    steps: int | None = None
    patience: int | None = None
    mixed_precision: bool = False
    xla: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be positive")
        for name in ("epochs", "batch_size", "learning_rate", "steps_per_checkpoint"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it is a share of all steps, 0 to 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be from 0 to 4294967295")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Tokenised texts, int32 (n,) each, and their labels as indices, int32 (len(sequences),)."""

    sequences: list[np.ndarray]
    labels: np.ndarray

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(sequence) for sequence in self.sequences]

    @property
    def sha256(self) -> str:
        """Hash of tokens and labels, in their order."""
        digest = hashlib.sha256(np.asarray(self.lengths, "<i8").tobytes())
        for values in (*self.sequences, self.labels):
            digest.update(np.asarray(values, "<i4").tobytes())
        return digest.hexdigest()


def tokenize(
    texts: Texts,
    tokenizer: Tokenizer,
    labels: Sequence[str] | None,
    options: TrainingOptions,
) -> Examples:
    """Texts as training examples.

    Args:
        labels: names of the logits; None leaves the texts' labels unread, all are then 0.

    Raises:
        InputError: a label that is not among `labels`, or none at all.
    """
    label_ids = np.zeros(len(texts), np.int32)
    if labels is not None:
        label_ids = np.asarray(texts.label_ids(labels), np.int32)
    return Examples(encode(tokenizer, texts.texts, options.max_length), label_ids)


@keras.saving.register_keras_serializable("tfedge")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then linear decay to zero (Devlin et al. 2019, appendix A.2)."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int) -> None:
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.total_steps - step) / max(self.total_steps - self.warmup_steps, 1)
        return self.peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def check_length(options: TrainingOptions, config: EncoderConfig) -> None:
    """Raises InputError where the encoder reads no texts, or texts may be longer than it takes."""
    config.architecture.check_reads_texts("this stage")
    if options.max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {options.max_length}; this encoder takes at most "
            f"{config.max_position_embeddings} tokens"
        )


def check_stopping(options: TrainingOptions, evaluation: Texts | None) -> None:
    """Raises InputError where early stopping has nothing to judge by."""
    if options.patience is not None and evaluation is None:
        raise InputError(
            f"patience is {options.patience}, but there are no held-out texts to lose it over; give "
            "some with --eval"
        )


def total_steps(examples: Examples, options: TrainingOptions) -> int:
    """Batches in all epochs, unless their number is given; the last of an epoch may be small."""
    return options.steps or options.epochs * -(-len(examples.sequences) // options.batch_size)


def compile_adam(trainer: keras.Model, options: TrainingOptions, steps: int) -> None:
    """Compiles `trainer` with Adam, warm-up and linear decay, and clipped gradients."""
    schedule = WarmupLinearDecay(options.learning_rate, int(options.warmup * steps), steps)
    # The legacy optimizer takes less than half the time of the new one on a CPU.
    adam = keras.optimizers.legacy.Adam(schedule, epsilon=1e-6, global_clipnorm=1.0)
    trainer.compile(optimizer=adam)


# Changes a batch before it is trained on: (batch, generator) -> batch, the same object if unchanged.
Augment = Callable[[Batch, np.random.Generator], Batch]


class Stored(Protocol):
    """Arrays that come along with a batch, see `tfedge.train.cache`."""

    signature: tuple[tf.TensorSpec, ...]

    def batch(self, indices: np.ndarray, length: int) -> tuple[np.ndarray, ...]: ...

    def nothing(self) -> tuple[np.ndarray, ...]: ...


def batches(
    examples: Examples,
    input_names: tuple[str, ...],
    options: TrainingOptions,
    first_step: int = 0,
    augment: Augment | None = None,
    stored: Stored | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Batches of all epochs from `first_step` on, the same ones whenever they are asked for.

    Yields:
        Inputs, labels and, with `stored`, what it has for the texts, or nothing if `augment` has
        changed them.
    """
    step, last_step = 0, total_steps(examples, options)
    for epoch in itertools.count():
        generator = np.random.default_rng((options.seed, epoch))
        for indices in grouped_by_length(examples.lengths, options.batch_size, generator):
            if step == last_step:
                return
            step += 1
            if step <= first_step:
                continue
            sequences = [examples.sequences[index] for index in indices]
            lengths = [len(sequence) for sequence in sequences]
            length = padded_length(lengths, limit=options.max_length)
            plain = batch = pad(sequences, length, input_names)
            if augment:
                batch = augment(batch, np.random.default_rng((options.seed, epoch, step)))
            along: tuple[np.ndarray, ...] = ()
            if stored:
                along = stored.batch(indices, length) if batch is plain else stored.nothing()
            yield batch, examples.labels[indices], *along


def train(
    trainer: keras.Model,
    examples: Examples,
    input_names: tuple[str, ...],
    options: TrainingOptions,
    folder: Path,
    report: Report,
    evaluate: Callable[[], float] | None = None,
    augment: Augment | None = None,
    stop_from: int = 0,
    stored: Stored | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> None:
    """Runs a compiled model's `train_step` over all epochs, resuming where a killed run stopped.

    A resumed run ends with the weights of an uninterrupted one, unless the model has dropout: the
    masks are then others.

    Args:
        trainer: a compiled Keras model.
        folder: where checkpoints are kept; the same folder resumes.
        evaluate: called after each epoch; gives the accuracy on held-out texts, 0..1.
        augment: changes each batch.
        stop_from: the first step whose accuracy counts for early stopping.
        stored: comes along with each batch.
        strategy: in whose scope the trainer was made, if it can be trained on several devices.

    Raises:
        InputError: TF_CONFIG names several workers, but there is no strategy.
    """
    if strategy is None and workers_of_cluster() > 1:
        raise InputError(
            "TF_CONFIG names several workers, but this command trains in one process; unset it"
        )
    strategy = strategy or tf.distribute.get_strategy()
    steps = total_steps(examples, options)
    # Model and optimizer, so that Adam's moments and the schedule go on too.
    parts = {"model": trainer, "optimizer": trainer.optimizer}
    stopping = None
    if evaluate and options.patience is not None:
        stopping = EarlyStopping(trainer.trainable_variables, options.patience, stop_from)
        parts["stopping"] = stopping
    checkpoint = tf.train.Checkpoint(**parts)
    if latest := tf.train.latest_checkpoint(str(folder)):
        checkpoint.restore(latest).expect_partial()
    step = int(trainer.optimizer.iterations.numpy())
    wait_for_all(strategy, step)
    names = dict.fromkeys(input_names, tf.TensorSpec((None, None), tf.int32))
    along = stored.signature if stored else ()
    signature = (names, tf.TensorSpec((None,), tf.int32), *along)
    first = step

    def feed() -> Iterator[Any]:
        return batches(examples, input_names, options, first, augment, stored)

    dataset, train_step = _compiled(trainer, strategy, feed, signature, options.xla)
    with checkpoints_of(strategy, folder) as kept:
        manager = tf.train.CheckpointManager(checkpoint, str(kept), max_to_keep=1)
        rate = trainer.optimizer.learning_rate
        for batch in dataset:
            train_step(batch)
            step += 1
            if step % _STEPS_PER_REPORT == 0:
                figures = {metric.name: float(metric.result()) for metric in trainer.metrics}
                report(step, steps, {**figures, "learning_rate": float(rate(step - 1))})
                trainer.reset_metrics()
            if evaluate and step % max(1, steps // options.epochs) == 0:
                accuracy = evaluate()
                report(step, steps, {"eval_accuracy": accuracy})
                if stopping and stopping.is_over(accuracy, step):
                    break
            if step % options.steps_per_checkpoint == 0:
                with writes_to(kept):
                    manager.save(step)
    if stopping:
        stopping.keep_best()


def _compiled(
    trainer: keras.Model,
    strategy: tf.distribute.Strategy,
    feed: Callable[[], Iterator[Any]],
    signature: tuple[Any, ...],
    xla: bool,
) -> tuple[Any, Callable[[Any], Any]]:
    """The batches, and the function that trains on one of them.

    It is one graph for all shapes: those made for single shapes round otherwise, and which batch
    gets which would depend on where a run resumed.
    """
    step = trainer.train_step
    if xla:
        step = tf.function(step, jit_compile=True, autograph=False)
    if strategy.num_replicas_in_sync == 1:
        dataset = tf.data.Dataset.from_generator(feed, output_signature=signature).prefetch(4)
        return dataset, tf.function(step, input_signature=[signature], autograph=False)
    dataset = distributed(strategy, feed, signature)
    run = tf.function(
        lambda batch: strategy.run(step, args=(batch,)),
        input_signature=[dataset.element_spec],
        autograph=False,
    )
    return dataset, run


def accuracy_on(model: keras.Model, examples: Examples) -> Callable[[], float]:
    """A function that measures the share of `examples` that `model` now labels rightly, 0..1."""
    names = tuple(model.input_names)
    predict = tf.function(
        lambda inputs: tf.argmax(model(inputs, training=False)["logits"], -1),
        reduce_retracing=True,
        autograph=False,
    )
    order = np.argsort(examples.lengths, kind="stable")
    limit = model.get_layer("embeddings.position_embeddings").max_positions

    def measure() -> float:
        right = 0
        for start in range(0, len(order), 32):
            indices = order[start : start + 32]
            sequences = [examples.sequences[index] for index in indices]
            length = padded_length([len(sequence) for sequence in sequences], limit=limit)
            predicted = predict(pad(sequences, length, names)).numpy()
            right += int((predicted == examples.labels[indices]).sum())
        return right / len(order)

    return measure


def claim_training_folder(
    output: Path,
    settings: dict[str, Any],
    force: bool = False,
    strategy: tf.distribute.Strategy | None = None,
) -> Path:
    """The folder beside `output` where a run keeps its checkpoints, made or found for resuming.

    Of several workers the chief makes it, and the others wait for that.

    Raises:
        InputError: `output` exists already, or a run with other settings was interrupted.
    """
    folder = output.with_name(f"{output.name}.training")
    if strategy is not None:
        if is_chief(strategy):
            claim_training_folder(output, settings, force)
        wait_for_all(strategy)
        return folder
    record = folder / "settings.json"
    # Beside an interrupted run `output` is its own, half written.
    if output.exists() and not force and not record.is_file():
        raise InputError(f"{output} exists; choose another --output, or --force to replace it")
    if record.is_file():
        if other := _differences(record, json.loads(json.dumps(settings))):
            raise InputError(
                f"{folder} holds an interrupted run with other settings ({other}); delete that "
                "folder, or repeat the command with its settings to resume"
            )
    else:
        shutil.rmtree(folder, ignore_errors=True)
        files.write_json(record, settings)
    return folder


def _differences(record: Path, settings: dict[str, Any]) -> str:
    """What an interrupted run was given and this one is not, for a message; empty if nothing."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        return "unreadable ones"
    if not isinstance(found, dict):
        return "unreadable ones"
    names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
    return ", ".join(
        f"{name}: {json.dumps(found.get(name))}, now {json.dumps(settings.get(name))}"
        for name in names
    )
