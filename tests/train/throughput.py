"""Times distillation beside a plain `model.fit` of the same student and the teacher's forward pass.

`make bench-training` runs it. Both train on the same batches, in turn, in one process; what is given
is the ratio of their times, and its range over the rounds.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import tensorflow as tf
import tf_keras as keras

from tfedge.data.texts import package_texts, read_texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.models.build import input_names
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.tasks.text_classification import TASK
from tfedge.train import distil, training
from tfedge.train.examples import Examples, tokenize
from tfedge.train.training import TrainingOptions

_UNTIMED = 20  # steps in which functions are traced; the training loop reports every 20


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all contestants have in common."""

    teacher: Path
    preset: str
    examples: Examples
    options: TrainingOptions
    names: tuple[str, ...]

    def models(self) -> tuple[distil.Distiller, keras.Model]:
        """A fresh trainer, compiled, and its student."""
        checkpoint = Checkpoint(self.teacher)
        config = parse_config(load_preset(self.preset).config)
        losses = distil.DistillationLosses()
        trainer, student = distil.student_and_teacher(checkpoint, TASK, config, losses)
        training.compile_adam(trainer, self.options, self.options.steps or 1)
        return trainer, student.model

    @property
    def feed(self) -> training.Feed:
        """The batches of all of them."""
        return training.Feed(self.examples, self.names, self.options)

    def dataset(self) -> tf.data.Dataset:
        """The batches that the training loop reads, read as it does."""
        made = tf.data.Dataset.from_generator(
            self.feed.batches, output_signature=self.feed.signature
        )
        return made.prefetch(4)


class Watch:
    """Notes when which step ended."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}

    def __call__(self, step: int, *_: Any) -> None:
        self.at[step] = time.perf_counter()

    def seconds(self, steps: int) -> float:
        """Of the steps after the untimed ones."""
        return self.at[steps] - self.at[_UNTIMED]


def time_ours(setup: Setup, steps: int) -> float:
    """Seconds of the training loop."""
    trainer, _ = setup.models()
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        training.fit(trainer, setup.feed, Path(folder), watch)
    return watch.seconds(steps)


def time_plain(setup: Setup, steps: int) -> float:
    """Seconds of `model.fit` on labels and of the teacher's forward passes."""
    trainer, student = setup.models()
    student.compile(
        optimizer=trainer.optimizer,
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    )
    watch = Watch()
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, _: watch(batch + 1))
    labelled = setup.dataset().map(lambda inputs, labels: (inputs, {"logits": labels}))
    student.fit(labelled, epochs=1, steps_per_epoch=steps, verbose=0, callbacks=[note])
    forward = tf.function(trainer.teacher, reduce_retracing=True, autograph=False)
    passes = Watch()
    for step, (inputs, _) in zip(itertools.count(1), setup.dataset(), strict=False):
        forward(inputs)
        passes(step)
    return watch.seconds(steps) + passes.seconds(steps)


@click.command(help=__doc__)
@click.option("--teacher", default="saved_models/tinybert", type=click.Path(path_type=Path))
@click.option("--preset", default="tinybert", help="The student's.")
@click.option("--data", help="Texts with labels; the package's own by default.")
@click.option("--steps", default=120, help="Batches of 32, the first 20 not timed.")
@click.option("--rounds", default=5)
@click.option("--json", "as_json", is_flag=True)
def main(
    teacher: Path, preset: str, data: str | None, steps: int, rounds: int, as_json: bool
) -> None:
    texts = read_texts(data) if data else package_texts()
    checkpoint = Checkpoint(teacher)
    options = TrainingOptions(steps=steps, steps_per_checkpoint=10 * steps)
    tokenizer = load_tokenizer(teacher, checkpoint.config.vocab_size)
    examples = tokenize(
        TASK.rows(texts), TASK, tokenizer, checkpoint.config.labels, options.max_length
    )
    setup = Setup(teacher, preset, examples, options, input_names(checkpoint.config))
    contestants: list[Callable[[Setup, int], float]] = [time_plain, time_ours]
    seconds = [[contestant(setup, steps) for contestant in contestants] for _ in range(rounds)]
    ratios = sorted(plain / ours for plain, ours in seconds)
    result = {"ratio": ratios[len(ratios) // 2], "least": ratios[0], "most": ratios[-1]}
    result |= {"steps": steps - _UNTIMED, "seconds": seconds}
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(
        f"model.fit and the teacher take {result['ratio']:.2f} ({result['least']:.2f}-"
        f"{result['most']:.2f}) of the time of distillation, {rounds} rounds of "
        f"{steps - _UNTIMED} steps"
    )


if __name__ == "__main__":
    main()
