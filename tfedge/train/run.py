"""One run of a command that trains: what goes in, where it keeps its state, what comes out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge import tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import answering_encoder, load_tokenizer
from tfedge.errors import InputError, TfedgeError
from tfedge.models.build import Encoder, build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import of_pairs
from tfedge.models.folder import copy_inputs, copy_rest
from tfedge.progress import MakeBar, ProgressBar
from tfedge.tasks import task_and_labels
from tfedge.tasks.base import Figures, Rows
from tfedge.train.cache import TeacherCache
from tfedge.train.distribute import is_chief, training_strategy, workers_of_cluster
from tfedge.train.examples import Examples, tokenize
from tfedge.train.folder import RunFolder
from tfedge.train.judge import judge
from tfedge.train.logs import Report
from tfedge.train.training import (
    Augment,
    Feed,
    Measured,
    TrainingOptions,
    check_length,
    check_stopping,
    compile_adam,
    fit,
    total_steps,
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What every command that trains is given."""

    source: str | Path  # HF folder of the model to start from; of `distil` the teacher's
    texts: Texts | Rows  # the latter where the truth is more than a label a text
    output: Path  # the HF folder to write
    options: TrainingOptions
    make_bar: MakeBar
    make_report: Callable[
        [ProgressBar], Report
    ]  # turns the bar of the training into a report of it
    evaluation: Texts | Rows | None = (
        None  # held out; the model is measured on them after each epoch
    )
    task: str | None = None  # what `source` is for; by default what it has a head for
    force: bool = False  # whether an existing `output` is replaced
    name: str = "the model"


class TrainingRun:
    """What the commands that train have in common; `claimed` must be around what takes long.

    Raises InputError for options that contradict each other or the checkpoint, or where TF_CONFIG
    names several workers and the command trains in one process.

    Attributes:
        checkpoint: of the model to start from; `config` is its configuration.
        labels: names of the logits, in their order.
        names: of the inputs of what is trained.
        rows, examples, held_out: the texts, and these tokenised, set by `read`.
        figures: what the task's metric said of the held-out texts the last time, if it did.

    Args:
        task, labels: in place of those of the checkpoint.
        distributed: whether the command trains on all devices and workers at once.
    """

    def __init__(
        self,
        request: Request,
        task: str | None = None,
        labels: Sequence[str] | None = None,
        distributed: bool = False,
    ) -> None:
        self.request, self.options = request, request.options
        check_stopping(self.options, request.evaluation)
        if not distributed and workers_of_cluster() > 1:
            raise InputError(
                "TF_CONFIG names several workers, but this command trains in one process; unset it"
            )
        # Before anything is computed.
        self.strategy = training_strategy() if distributed else tf.distribute.get_strategy()
        keras.utils.set_random_seed(self.options.seed)
        self.checkpoint = Checkpoint(request.source)
        self.config = self.checkpoint.config
        if not self.config.num_hidden_layers:
            raise InputError(
                f"a {self.config.model_type} has no layers that could be trained or teach others; "
                "train the encoder that it was made of, and tfedge distil --student static again"
            )
        self._check_reads()
        task = task or request.task
        if task is None or labels is None:
            task, labels = task_and_labels(self.checkpoint, task)
        self.task, self.labels = tasks.find(task), list(labels)
        self.folder = RunFolder(request.output, self.strategy)
        self.names = input_names(self.config)
        self.rows: Rows
        self.examples: Examples
        self.held_out: Examples | None = None
        self.figures: Figures | None = None

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's; raises CheckpointError where it has none, or another model's."""
        folder, size = self.checkpoint.folder, self.config.vocab_size
        return load_tokenizer(folder, size, self.task.is_embedding)

    @property
    def goal(self) -> str:
        """The figure that the model is trained for."""
        return self.task.goal(self.rows if self.held_out is None else self._held_out)

    @property
    def steps(self) -> int:
        """Batches in all."""
        return total_steps(self.examples, self.options)

    def read(self, labelled: bool, judged: bool = True) -> None:
        """Tokenises all texts, and reads labels of those to train on and of those held out as asked.

        Raises InputError where these are missing, unknown to the model, or all the same to train on,
        and as `Task.as_read`.
        """
        self.rows = self._rows(self.request.texts)
        self.examples = self._examples(self.rows, labelled)
        if labelled and (alike := self.task.alike(self.examples.labels, self.labels)):
            raise InputError(
                f"all rows of {self.request.texts.source} have {alike}; a model learns to tell "
                f"{self.task.units} apart: add rows of another"
            )
        if self.request.evaluation:
            self._held_out = self._rows(self.request.evaluation)
            self.held_out = self._examples(self._held_out, judged)

    def _check_reads(self) -> None:
        """Raises InputError where the checkpoint reads something else, or too little of it."""
        check_length(self.options, self.config)

    def _examples(self, rows: Rows, with_labels: bool) -> Examples:
        labels = self.labels if with_labels else None
        return tokenize(rows, self.task, self.tokenizer, labels, self.options.max_length)

    def _rows(self, texts: Texts | Rows) -> Rows:
        return texts if isinstance(texts, Rows) else self.task.rows(texts)

    @contextlib.contextmanager
    def claimed(self, **settings: Any) -> Iterator[None]:
        """Within it the run's folder is this run's, and what was written there becomes the output.

        An error before the first step leaves no folder, nor does Ctrl-C before anything is made. An
        interrupted run is resumed only by the same `settings`. Raises InputError as `RunFolder.claim`.
        """
        common = {
            "source": self.checkpoint.sha256,
            "task": self.task.name,
            "label_names": self.labels,
            "texts": self.examples.sha256,
            "held_out": self.held_out.sha256 if self.held_out else None,
        }
        settings = {**common, **settings, **dataclasses.asdict(self.options)}
        self.folder.claim(settings, self.request.force)
        try:
            yield
        except (TfedgeError, KeyboardInterrupt) as error:
            self.folder.leave(failed=isinstance(error, TfedgeError))
            raise
        self.folder.publish()

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within it models are made that compute as the options say, on all devices."""
        before = keras.mixed_precision.global_policy()
        with self.strategy.scope():
            if self.options.mixed_precision:
                # bfloat16 has the exponents of float32, so that no loss need be scaled.
                keras.mixed_precision.set_global_policy("mixed_bfloat16")
            try:
                yield
            finally:
                keras.mixed_precision.set_global_policy(before)

    def build_source(self) -> Encoder:
        """The model to start from, with its weights."""
        return build_loaded(self.checkpoint, self.task.name, len(self.labels))

    def measure_of(self, model: keras.Model) -> Callable[[], float] | None:
        """What measures the figure that `model` is trained for on the held-out texts, 0..1, if there
        are any; all figures are then in `figures`."""
        if self.held_out is None:
            return None
        metric = self._judge(model)

        def measure() -> float:
            self.figures = metric()
            return float(self.figures[self.goal])

        return measure

    def _judge(self, model: keras.Model) -> Callable[[], Figures]:
        """See `judge`, of the held-out texts."""
        encoder = answering_encoder(
            self.tokenizer, self.options.max_length, self.task.input.is_pair
        )
        return judge(model, self._held_out, encoder, self.task, self.labels)

    def fit(
        self,
        trainer: keras.Model,
        doing: str,
        measure: Callable[[], float] | None = None,
        augment: Augment | None = None,
        cached: Callable[[Report], TeacherCache] | None = None,
        counts_from: int = 0,
    ) -> float | None:
        """Trains, from the last checkpoint if there is one, under a bar called `doing`; what `measure`
        gives of the weights that it ends with.

        `cached` makes or finds what `trainer` learns from, and reports how far it is.
        """
        with self.request.make_bar(doing, self.steps) as bar:
            report = self.request.make_report(bar)
            stored = cached(report) if cached else None
            feed = Feed(self.examples, self.names, self.options, augment, stored)
            with self.strategy.scope():
                compile_adam(trainer, self.options, feed.steps)
            measured = Measured(measure, counts_from, self.goal) if measure else None
            accuracy = fit(trainer, feed, self.folder.steps, report, measured, self.strategy)
            return measure() if accuracy is None and measure else accuracy

    def write(
        self,
        model: keras.Model,
        config: EncoderConfig | None = None,
        dtype: str = "float32",
        pooling: bool = True,
        folder: Path | None = None,
    ) -> None:
        """Writes `model` with all that belongs to a checkpoint; of several workers the chief does.

        Args:
            config: of `model`, by default the source's.
            pooling: whether what the source says of pooling is true of `model`.
            folder: by default the one that becomes the output.
        """
        if not is_chief(self.strategy):
            return
        folder = folder or self.folder.result
        shutil.rmtree(folder, ignore_errors=True)
        config = of_pairs(config or self.config, self.examples.are_pairs)
        save_checkpoint(model, config, self.task.name, folder, self.labels, dtype)
        if pooling:
            copy_rest(self.checkpoint.folder, folder, config.hidden_size)
        else:
            copy_inputs(self.checkpoint.folder, folder)


def build_loaded(checkpoint: Checkpoint, task: str, num_labels: int) -> Encoder:
    """The encoder of a checkpoint with its weights."""
    encoder = build(checkpoint.config, task, num_labels)
    load_weights(encoder.model, checkpoint, task)
    return encoder


def freeze_words(encoder: Encoder) -> None:
    """Leaves the word embeddings, most weights of a small model, as they are.

    Training reads few of their rows, for nearly the cost of the rest of a step.
    """
    encoder.model.get_layer(encoder.config.architecture.embeddings.words).trainable = False


def stored_dtype(checkpoint: Checkpoint) -> str:
    """`float16` where a checkpoint's weights are stored so, else `float32`."""
    source = checkpoint.config.source
    stored = source.get("dtype") or source.get("torch_dtype")
    return "float16" if stored == "float16" else "float32"
