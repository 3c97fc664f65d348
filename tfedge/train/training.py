"""The training loop that all commands share: batches, schedule, resuming."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.data.batches import Batch, grouped_by_length
from tfedge.errors import InputError
from tfedge.notes import note
from tfedge.train.cache import TeacherCache
from tfedge.train.course import Course
from tfedge.train.distribute import (
    checkpoints_of,
    distributed,
    wait_for_all,
    workers_of_cluster,
)
from tfedge.train.examples import Examples
from tfedge.train.logs import Report, writes_to

_STEPS_PER_REPORT, _SECONDS_PER_REPORT = 20, 5.0
_SECONDS_PER_CHECKPOINT = 60.0


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast to train."""

    epochs: int = 3
    batch_size: int = 32
    # The peak, reached after `warmup`, falling linearly to 0 at the end.
    learning_rate: float = 5e-5
    warmup: float = 0.1  # share of all steps, 0..1
    max_length: int = 64  # tokens of a text; longer ones are cut
    seed: int = 0  # of the order of the data, of augmentation and of fresh weights
    steps_per_checkpoint: int = 500  # at most; one is written every minute, too
    steps: int | None = None  # batches in all, in place of `epochs`
    # How many measurements in a row of the accuracy on held-out texts may be no better than the best;
    # then training ends with the best weights. None trains to the end.
    patience: int | None = None
    # Whether layers compute in bfloat16; weights, losses stay float32.
    mixed_precision: bool = False
    xla: bool = False  # whether XLA compiles the step, once for each shape of a batch

    def __post_init__(self) -> None:
        counts = ("steps", "patience", "epochs", "batch_size", "steps_per_checkpoint")
        for name in (*counts, "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} is {value}; it must be positive")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it is a share of all steps, 0 to 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be from 0 to 4294967295")


@keras.saving.register_keras_serializable("tfedge")
@dataclasses.dataclass(eq=False)
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then linear decay to zero (Devlin et al. 2019, appendix A.2)."""

    peak: float
    warmup_steps: int
    total_steps: int

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rising = (step + 1) / max(self.warmup_steps, 1)
        falling = (self.total_steps - step) / max(self.total_steps - self.warmup_steps, 1)
        return self.peak * tf.clip_by_value(tf.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def check_length(options: TrainingOptions, config: EncoderConfig) -> None:
    """Raises InputError where the encoder reads no texts, or texts may be longer than it takes."""
    config.architecture.check_reads_texts("this stage")
    if options.max_length > config.max_position_embeddings:
        raise InputError(
            f"max_length is {options.max_length}; this encoder takes at most "
            f"{config.max_position_embeddings} tokens"
        )


def check_stopping(options: TrainingOptions, evaluation: object | None) -> None:
    """Raises InputError where early stopping has nothing to judge by."""
    if options.patience is not None and evaluation is None:
        raise InputError(
            f"patience is {options.patience}, but there are no held-out texts to judge by; give "
            "some with --eval"
        )


def total_steps(examples: Examples, options: TrainingOptions) -> int:
    """Batches in all epochs, unless their number is given; the last of an epoch may be small."""
    return options.steps or options.epochs * -(-len(examples) // options.batch_size)


def compile_adam(trainer: keras.Model, options: TrainingOptions, steps: int) -> None:
    """Compiles `trainer` with Adam, warm-up and linear decay, and clipped gradients."""
    schedule = WarmupLinearDecay(options.learning_rate, int(options.warmup * steps), steps)
    # The legacy optimizer takes less than half the time of the new one on a CPU.
    adam = keras.optimizers.legacy.Adam(schedule, epsilon=1e-6, global_clipnorm=1.0)
    trainer.compile(optimizer=adam)


# Changes a batch before it is trained on: (batch, generator) -> batch, the same object if unchanged.
Augment = Callable[[Batch, np.random.Generator], Batch]


@dataclasses.dataclass(frozen=True)
class Feed:
    """The batches of a run, inputs by `names`; what is `stored` of a teacher comes along with each."""

    examples: Examples
    names: tuple[str, ...]
    options: TrainingOptions
    augment: Augment | None = None
    stored: TeacherCache | None = None

    @property
    def steps(self) -> int:
        """Batches in all."""
        return total_steps(self.examples, self.options)

    @property
    def signature(self) -> tuple[Any, ...]:
        """Of what `batches` yields."""
        inputs = self.examples.input_signature(self.names)
        along = self.stored.signature if self.stored else ()
        return (inputs, self.examples.signature, *along)

    def batches(self, first_step: int = 0) -> Iterator[tuple[Any, ...]]:
        """Inputs, labels and what is stored of all epochs' batches, from `first_step` on.

        They are the same whenever they are asked for; of texts that `augment` changes nothing is
        stored.
        """
        step, last_step, options = 0, self.steps, self.options
        for epoch in itertools.count():
            generator = np.random.default_rng((options.seed, epoch))
            lengths = self.examples.lengths
            for indices in grouped_by_length(lengths, options.batch_size, generator):
                if step == last_step:
                    return
                step += 1
                if step > first_step:
                    seed = (options.seed, epoch, step)
                    yield self._batch(indices, np.random.default_rng(seed))

    def _batch(self, indices: np.ndarray, generator: np.random.Generator) -> tuple[Any, ...]:
        plain = batch = self.examples.inputs(indices, self.names, self.options.max_length)
        length = batch[self.names[0]].shape[1]
        if self.augment:
            batch = self.augment(batch, generator)
        along: tuple[np.ndarray, ...] = ()
        if stored := self.stored:
            along = stored.batch(indices, length) if batch is plain else stored.nothing()
        return batch, self.examples.aims(indices, length), *along


@dataclasses.dataclass(frozen=True)
class Measured:
    """Measures a model on held-out texts, 0..1 for accuracy or another figure of that `name`, which
    counts for early stopping from a step on."""

    measure: Callable[[], float]
    counts_from: int = 0
    name: str = "accuracy"


class EarlyStopping(tf.Module):
    """Keeps the weights that were best on held-out texts, and says when to wait no longer.

    Of those that are equally good it keeps the last, which have learnt more: few held-out texts tell
    weights apart that others would.

    What it knows is in variables, so that it goes into the checkpoints and is resumed with them.
    Measurements before `first_step` are not counted: of weights that are yet to be pruned, say.
    """

    def __init__(self, weights: Sequence[tf.Variable], patience: int, first_step: int) -> None:
        super().__init__()
        self._weights = list(weights)
        self._patience = patience
        self._first_step = first_step
        self.best = [tf.Variable(weight, trainable=False) for weight in weights]
        self.accuracy = tf.Variable(-1.0, trainable=False, dtype=tf.float64)
        self.waited = tf.Variable(0, trainable=False, dtype=tf.int64)

    def is_over(self, accuracy: float, step: int) -> bool:
        """Notes an accuracy, 0..1, and tells whether training is to end."""
        if step < self._first_step:
            return False
        best = float(self.accuracy)
        if accuracy >= best:
            self.accuracy.assign(accuracy)
            _assign(self.best, self._weights)
        self.waited.assign(0 if accuracy > best else self.waited + 1)
        return int(self.waited) >= self._patience

    def keep_best(self, last: float | None) -> float | None:
        """Gives the model its best weights back, if any were counted; the accuracy of those that it
        has then, `last` being that of the last ones."""
        if float(self.accuracy) < 0:
            return last
        _assign(self._weights, self.best)
        return float(self.accuracy)


def _assign(targets: Sequence[tf.Variable], sources: Sequence[tf.Variable]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.assign(source)


class _Due:
    """Says when something is due, every so many steps and seconds.

    Workers that train together must do it together, so that their clocks do not count.
    """

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._seconds = seconds if workers_of_cluster() == 1 else math.inf
        self._done = time.monotonic()

    def __call__(self, step: int) -> bool:
        is_due = step % self._steps == 0 or time.monotonic() - self._done >= self._seconds
        if is_due:
            self._done = time.monotonic()
        return is_due


def fit(
    trainer: keras.Model,
    feed: Feed,
    folder: Path,
    report: Report,
    measured: Measured | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> float | None:
    """Runs a compiled model's `train_step` over all epochs, resuming where a killed run stopped.

    Returns the accuracy on the held-out texts of the weights that it ends with, where it has measured
    that. A note tells where there was more to learn.

    A resumed run ends with the weights of an uninterrupted one, unless the model has dropout, or
    its trainer changes images at random: these masks and changes are then others.

    Args:
        folder: where checkpoints are kept; the same folder resumes.
        strategy: in whose scope the trainer was made, if it is trained on several devices.
    """
    options, steps = feed.options, feed.steps
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        # Adam's moments would else be made while the step is traced, which is then traced again.
        trainer.optimizer._create_all_weights(trainer.trainable_variables)
    checkpoint, stopping = _restored(trainer, options, folder, measured)
    step = int(trainer.optimizer.iterations.numpy())
    wait_for_all(strategy, step)
    dataset, train_step = _compiled(trainer, strategy, feed, step)
    with checkpoints_of(strategy, folder) as kept:
        manager = tf.train.CheckpointManager(checkpoint, str(kept), max_to_keep=1)
        rate = trainer.optimizer.learning_rate
        tells = _Due(_STEPS_PER_REPORT, _SECONDS_PER_REPORT)
        keeps = _Due(options.steps_per_checkpoint, _SECONDS_PER_CHECKPOINT)
        accuracy, course = None, Course(steps)
        for batch in dataset:
            train_step(batch)
            step, accuracy = step + 1, None
            if tells(step) or step == steps:
                figures = {metric.name: float(metric.result()) for metric in trainer.metrics}
                report(step, steps, {**figures, "learning_rate": float(rate(step - 1))})
                course.add(step, figures)
                trainer.reset_metrics()
            if measured and step % max(1, steps // options.epochs) == 0:
                accuracy = measured.measure()
                report(step, steps, {f"eval_{measured.name}": accuracy})
                if stopping and stopping.is_over(accuracy, step):
                    break
            if keeps(step):
                with writes_to(kept):
                    manager.save(step)
    if step == steps and (signs := course.undertrained()):
        longer = f"--steps {2 * steps}" if options.steps else f"--epochs {2 * options.epochs}"
        note(
            f"{signs}; {longer} or a --learning-rate above {options.learning_rate:g} may learn more"
        )
    return stopping.keep_best(accuracy) if stopping else accuracy


def _restored(
    trainer: keras.Model, options: TrainingOptions, folder: Path, measured: Measured | None
) -> tuple[tf.train.Checkpoint, EarlyStopping | None]:
    """What is kept of a training, as the last checkpoint has it, and what stops it early."""
    # Model and optimizer, so that Adam's moments and the schedule go on too.
    parts = {"model": trainer, "optimizer": trainer.optimizer}
    stopping = None
    if measured and options.patience is not None:
        weights = trainer.trainable_variables
        stopping = EarlyStopping(weights, options.patience, measured.counts_from)
        parts["stopping"] = stopping
    checkpoint = tf.train.Checkpoint(**parts)
    if latest := tf.train.latest_checkpoint(str(folder)):
        checkpoint.restore(latest).expect_partial()
    return checkpoint, stopping


def _compiled(
    trainer: keras.Model, strategy: tf.distribute.Strategy, feed: Feed, first_step: int
) -> tuple[Any, Callable[[Any], Any]]:
    """The batches, and the function that trains on one of them.

    It is one graph for all shapes: those made for single shapes round otherwise, and which batch
    gets which would depend on where a run resumed.
    """
    step, signature = trainer.train_step, feed.signature
    batches = functools.partial(feed.batches, first_step)
    if feed.options.xla:
        step = tf.function(step, jit_compile=True, autograph=False)
    if strategy.num_replicas_in_sync == 1:
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(4)
        return dataset, tf.function(step, input_signature=[signature], autograph=False)
    dataset = distributed(strategy, batches, signature)
    run = tf.function(
        lambda batch: strategy.run(step, args=(batch,)),
        input_signature=[dataset.element_spec],
        autograph=False,
    )
    return dataset, run
