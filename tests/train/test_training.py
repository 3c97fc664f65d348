"""The training loop: the schedule's values, the order of batches, resuming."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from hypothesis import given, settings
from hypothesis import strategies as st
from records import Killed, Record

from tfedge.data.batches import Batch
from tfedge.errors import InputError
from tfedge.train import training
from tfedge.train.examples import Examples
from tfedge.train.folder import RunFolder
from tfedge.train.logs import logged
from tfedge.train.training import (
    Feed,
    Measured,
    TrainingOptions,
    WarmupLinearDecay,
    check_stopping,
    compile_adam,
    fit,
    total_steps,
)

NAMES = ("input_ids", "attention_mask", "token_type_ids")


def examples(lengths: list[int]) -> Examples:
    """Texts that tell themselves apart: number n consists of tokens n + 1."""
    sequences = [np.full(length, index + 1, np.int32) for index, length in enumerate(lengths)]
    return Examples(sequences, np.arange(len(lengths), dtype=np.int32))


def test_schedule_by_hand() -> None:
    rate = WarmupLinearDecay(8.0, warmup_steps=4, total_steps=12)
    values = [float(rate(step)) for step in range(13)]
    assert values == pytest.approx([2, 4, 6, 8, 8, 7, 6, 5, 4, 3, 2, 1, 0])


def test_schedule_without_warmup() -> None:
    rate = WarmupLinearDecay(1.0, warmup_steps=0, total_steps=4)
    assert [float(rate(step)) for step in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    # Nothing grows again beyond the end.
    assert float(rate(9)) == 0


def test_schedule_is_rebuilt_from_its_config() -> None:
    rate = WarmupLinearDecay(3.0, 2, 10)
    again = WarmupLinearDecay.from_config(rate.get_config())
    assert [float(again(step)) for step in range(11)] == [float(rate(step)) for step in range(11)]


@settings(max_examples=50, deadline=None)
@given(
    peak=st.floats(1e-6, 1.0),
    warmup=st.integers(0, 20),
    rest=st.integers(1, 40),
)
def test_schedule_rises_to_its_peak_and_falls_to_zero(peak: float, warmup: int, rest: int) -> None:
    total = warmup + rest
    rate = WarmupLinearDecay(peak, warmup, total)
    values = np.array([float(rate(step)) for step in range(total + 1)])
    assert values.max() == pytest.approx(peak, rel=1e-5)
    assert np.all(np.diff(values[:warmup]) > 0)
    assert np.all(np.diff(values[warmup:]) < 0)
    assert values[0] > 0  # the first step is not wasted
    assert values[-1] == 0


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 20), min_size=1, max_size=60),
    size=st.integers(1, 9),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_batches_resume_at_any_step(
    lengths: list[int], size: int, epochs: int, seed: int, data: st.DataObject
) -> None:
    options = TrainingOptions(epochs=epochs, batch_size=size, seed=seed, max_length=20)
    given_examples = examples(lengths)

    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        return {**batch, "input_ids": batch["input_ids"] + generator.integers(100)}

    def run(first_step: int) -> list[Any]:
        found = Feed(given_examples, NAMES, options, augment).batches(first_step)
        return [
            ({k: v.tolist() for k, v in batch.items()}, labels.tolist()) for batch, labels in found
        ]

    whole = run(0)
    assert len(whole) == total_steps(given_examples, options)
    step = data.draw(st.integers(0, len(whole)))
    assert run(step) == whole[step:]


def test_every_epoch_has_every_text_and_an_order_of_its_own() -> None:
    options = TrainingOptions(epochs=3, batch_size=4, max_length=20)
    found = [labels.tolist() for _, labels in Feed(examples([9] * 20), NAMES, options).batches()]
    epochs = [found[start : start + 5] for start in (0, 5, 10)]
    for epoch in epochs:
        assert sorted(label for labels in epoch for label in labels) == list(range(20))
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_steps_in_place_of_epochs(steps: int) -> None:
    """They end within an epoch, or go on beyond the epochs asked for, with the same batches."""
    given_examples = examples([9] * 20)
    options = TrainingOptions(epochs=3, batch_size=4, max_length=20)
    limited = dataclasses.replace(options, epochs=1, steps=steps)
    found = [labels.tolist() for _, labels in Feed(given_examples, NAMES, limited).batches()]
    whole = [labels.tolist() for _, labels in Feed(given_examples, NAMES, options).batches()]
    assert total_steps(given_examples, limited) == steps
    assert found == whole[:steps]


def test_labels_stay_with_their_texts() -> None:
    options = TrainingOptions(epochs=1, batch_size=4, max_length=20)
    for batch, labels in Feed(examples([3, 5, 9, 9, 12, 4, 4]), NAMES, options).batches():
        assert np.array_equal(batch["input_ids"][:, 0], labels + 1)


def test_batches_are_no_longer_than_the_model_takes() -> None:
    options = TrainingOptions(epochs=1, batch_size=4, max_length=20)
    (batch, _), *_ = Feed(examples([19]), NAMES, options).batches()
    assert batch["input_ids"].shape == (1, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"steps_per_checkpoint": 0}, "steps_per_checkpoint is 0"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"warmup": -0.1}, "warmup is -0.1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
    ],
)
def test_options_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingOptions(**changes)


# --- early stopping and logs, on a model of one table


class Sum(keras.Model):
    """Learns labels as the sums of a table's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = keras.layers.Embedding(64, 1, embeddings_initializer="zeros")
        self.table.build((None,))
        self.mean = keras.metrics.Mean("loss")

    def train_step(self, batch: Any) -> dict[str, tf.Tensor]:
        inputs, labels = batch
        with tf.GradientTape() as tape:
            sums = tf.reduce_sum(self.table(inputs["input_ids"]), axis=(1, 2))
            loss = tf.reduce_mean(tf.square(sums - tf.cast(labels, tf.float32)))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.mean.update_state(loss)
        return {"loss": self.mean.result()}

    @property
    def weight(self) -> np.ndarray:
        value: np.ndarray = self.table.get_weights()[0]
        return value


STOPPING = TrainingOptions(epochs=8, batch_size=8, max_length=20, steps_per_checkpoint=10)


def trained(
    folder: Path, accuracies: list[float], record: Record | None = None, **changes: Any
) -> tuple[Sum, Record, dict[int, np.ndarray]]:
    """Trains; the measurement at step 5 n gives accuracies[n - 1]. Also the weights measured."""
    given_examples = examples([3, 5, 9, 9, 12, 4, 4, 7] * 5)
    stop_from = changes.pop("stop_from", 0)
    options = dataclasses.replace(STOPPING, **changes)
    trainer, record, seen = Sum(), record or Record(), {}
    compile_adam(trainer, options, total_steps(given_examples, options))

    def evaluate() -> float:
        step = int(trainer.optimizer.iterations)
        seen[step] = trainer.weight
        return accuracies[step // 5 - 1]

    feed = Feed(given_examples, NAMES, options)
    found = fit(trainer, feed, folder, record, Measured(evaluate, stop_from))
    if seen:
        counted = {step: accuracies[step // 5 - 1] for step in seen if step >= stop_from}
        kept = options.patience is not None and counted
        # Of the best weights that were counted, or the last ones.
        last = accuracies[max(seen) // 5 - 1]
        assert found in ((max(counted.values()), max(accuracies)) if kept else (last,))
    return trainer, record, seen


UPS_AND_DOWNS = [0.5, 0.7, 0.6, 0.7, 0.9, 0.2, 0.2, 0.95]


@pytest.mark.parametrize(
    ("patience", "stop_from", "last", "best"),
    [(1, 0, 15, 10), (2, 0, 20, 20), (3, 0, 40, 40), (2, 26, 40, 40), (1, 26, 35, 35)],
)
def test_stops_when_patience_ends_and_keeps_the_best(
    tmp_path: Path, patience: int, stop_from: int, last: int, best: int
) -> None:
    trainer, record, seen = trained(tmp_path, UPS_AND_DOWNS, patience=patience, stop_from=stop_from)
    assert max(record.accuracies) == last
    assert np.array_equal(trainer.weight, seen[best])
    assert len({weight.tobytes() for weight in seen.values()}) == len(seen)


def test_without_patience_the_last_weights_stay(tmp_path: Path) -> None:
    trainer, record, seen = trained(tmp_path, [0.9, *[0.1] * 7])
    assert max(record.accuracies) == 40
    assert np.array_equal(trainer.weight, seen[40])


@pytest.mark.parametrize("kill_at", [15, 20, 25])
def test_killed_run_remembers_its_best(tmp_path: Path, kill_at: int) -> None:
    accuracies = [0.5, 0.8, 0.7, 0.6, 0.7, 0.1, 0.1, 0.1]
    whole, _, _ = trained(tmp_path / "whole", accuracies, patience=4)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", accuracies, Record(kill_at), patience=4)
    resumed, record, seen = trained(tmp_path / "killed", accuracies, patience=4)
    # The best, of step 10, was measured before the kill only.
    assert min(seen) > 10
    assert max(record.accuracies) == 30
    assert np.array_equal(resumed.weight, whole.weight)


def test_checkpoints_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is too short for one by steps."""
    whole, _, _ = trained(tmp_path / "whole", [0.5] * 8)
    monkeypatch.setattr(training, "_SECONDS_PER_CHECKPOINT", 0.0)
    with pytest.raises(Killed):
        trained(tmp_path / "killed", [0.5] * 8, Record(15), steps_per_checkpoint=500)
    resumed, _, seen = trained(tmp_path / "killed", [0.5] * 8, steps_per_checkpoint=500)
    assert min(seen) == 15  # step 14 was kept
    assert np.array_equal(resumed.weight, whole.weight)


def test_clocks_of_workers_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    due = training._Due(3, 0.0)
    assert [due(step) for step in range(1, 5)] == [True] * 4
    monkeypatch.setattr(training, "workers_of_cluster", lambda: 2)
    due = training._Due(3, 0.0)
    assert [due(step) for step in range(1, 5)] == [False, False, True, False]


def test_figures_come_by_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SECONDS_PER_REPORT", 0.0)
    _, record, _ = trained(tmp_path, [0.5] * 8)
    assert list(record.losses) == list(range(1, 41))


def test_a_run_that_ends_too_early_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "a", [0.5] * 16, learning_rate=0.3, epochs=16)
    assert "may learn more" not in capsys.readouterr().err
    trained(tmp_path / "b", [0.5] * 16, learning_rate=0.05, epochs=16)
    told = capsys.readouterr().err
    assert "tfedge: note: in the last quarter the loss still fell, from " in told
    assert "; --epochs 32 or a --learning-rate above 0.05 may learn more\n" in told


def test_patience_needs_texts_to_measure_on() -> None:
    with pytest.raises(InputError, match="give some with --eval"):
        check_stopping(TrainingOptions(patience=1), None)
    check_stopping(TrainingOptions(), None)


def test_logs_for_tensorboard(tmp_path: Path) -> None:
    record = Record()
    report = logged(record, tmp_path / "logs")
    _, _, seen = trained(tmp_path / "training", UPS_AND_DOWNS, report)
    events = [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for path in (tmp_path / "logs").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    losses = {step: value for step, tag, value in events if tag == "loss"}
    assert losses == pytest.approx(record.losses)
    accuracies = {step: value for step, tag, value in events if tag == "eval_accuracy"}
    assert accuracies == pytest.approx(record.accuracies)
    assert list(accuracies) == list(seen)
    # 4 of 40 steps rise; the 20th step has the rate of 19 steps done.
    rates = {step: value for step, tag, value in events if tag == "learning_rate"}
    assert rates == pytest.approx({20: 5e-5 * 21 / 36, 40: 5e-5 * 1 / 36})
    assert logged(record, None) is record


def test_logs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into"):
        logged(Record(), tmp_path / "file" / "logs")


def test_hash_of_examples_is_of_tokens_labels_and_order() -> None:
    given_examples = examples([3, 4])
    others = [examples([4, 3]), examples([3]), Examples(given_examples.sequences, np.array([1, 1]))]
    # Where one text ends and the next begins counts too.
    joined = np.concatenate(given_examples.sequences)
    others.append(Examples([joined[:4], joined[4:]], given_examples.labels))
    assert given_examples.sha256 == examples([3, 4]).sha256
    assert len({other.sha256 for other in [given_examples, *others]}) == 5


SETTINGS = {"source": "abc", "labels": ["a", "b"], "seed": 3}


def claim(output: Path, steps: bool = False, force: bool = False, **changes: Any) -> RunFolder:
    """Claims the folder of a run and, if asked to, leaves the checkpoint of a step in it."""
    folder = RunFolder(output)
    folder.claim({**SETTINGS, **changes}, force)
    if steps:
        folder.steps.mkdir(exist_ok=True)
        (folder.steps / "checkpoint").write_text("x")
    return folder


def test_claims_a_new_folder(tmp_path: Path) -> None:
    folder = claim(tmp_path / "out" / "model")
    assert folder.path == tmp_path / "out" / "model.training"
    assert json.loads((folder.path / "settings.json").read_text()) == SETTINGS


def test_equal_settings_resume(tmp_path: Path) -> None:
    folder = claim(tmp_path / "model", steps=True)
    # A tuple comes back from JSON as a list: no other setting.
    assert claim(tmp_path / "model", labels=("a", "b")).has_steps
    assert (folder.steps / "checkpoint").read_text() == "x"


def test_other_settings_are_refused(tmp_path: Path) -> None:
    folder = claim(tmp_path / "model", steps=True)
    with pytest.raises(InputError) as caught:
        claim(tmp_path / "model", seed=4)
    assert str(folder.path) in str(caught.value)
    assert "(seed: 3, now 4)" in str(caught.value)
    assert json.loads((folder.path / "settings.json").read_text()) == SETTINGS


def test_force_drops_an_interrupted_run(tmp_path: Path) -> None:
    claim(tmp_path / "model", steps=True)
    again = claim(tmp_path / "model", force=True, seed=4)
    assert [path.name for path in again.path.iterdir()] == ["settings.json"]
    # One with the same settings goes on all the same.
    claim(tmp_path / "model", steps=True, seed=4)
    assert claim(tmp_path / "model", force=True, seed=4).has_steps


def test_what_ended_before_its_first_step_stands_in_nobodys_way(tmp_path: Path) -> None:
    folder = claim(tmp_path / "model")
    (folder.path / "cut.json").write_text("chosen for the older settings")
    again = claim(tmp_path / "model", seed=4)
    assert [path.name for path in again.path.iterdir()] == ["settings.json"]
    assert json.loads((again.path / "settings.json").read_text())["seed"] == 4


def test_existing_output_is_kept_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="--force to replace it"):
        claim(tmp_path / "model")
    assert not (tmp_path / "model.training").exists()
    assert claim(tmp_path / "model", force=True).path.is_dir()
    # Nor by what follows a forced one that ended before its first step.
    with pytest.raises(InputError, match="--force to replace it"):
        claim(tmp_path / "model")


def test_a_run_killed_behind_its_publication_resumes(tmp_path: Path) -> None:
    folder = claim(tmp_path / "model", steps=True)
    (tmp_path / "model").mkdir()
    assert claim(tmp_path / "model").path == folder.path


def test_checkpoints_without_settings_are_not_resumed(tmp_path: Path) -> None:
    """What a kill between making the folder and writing its settings leaves."""
    (tmp_path / "model.training" / "steps").mkdir(parents=True)
    (tmp_path / "model.training" / "steps" / "checkpoint").write_text("x")
    folder = claim(tmp_path / "model")
    assert [path.name for path in folder.path.iterdir()] == ["settings.json"]


def test_what_a_kill_left_behind_a_publication_goes_with_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model.training" / "steps").mkdir(parents=True)
    with pytest.raises(InputError, match="--force to replace it"):
        claim(tmp_path / "model")
    assert not (tmp_path / "model.training").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"])
def test_damaged_settings_are_refused(tmp_path: Path, content: str) -> None:
    folder = claim(tmp_path / "model", steps=True)
    (folder.path / "settings.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match="delete that folder"):
        claim(tmp_path / "model")


@pytest.mark.parametrize("replaced", [False, True])
def test_publishes_the_result_and_leaves_nothing_else(tmp_path: Path, replaced: bool) -> None:
    if replaced:
        (tmp_path / "model").mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (tmp_path / "model" / name).write_text("older")
    folder = claim(tmp_path / "model", steps=True, force=True)
    folder.result.mkdir()
    (folder.result / "config.json").write_text("newer")
    folder.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]
    assert (tmp_path / "model" / "config.json").read_text() == "newer"


@pytest.mark.parametrize("has_steps", [False, True])
def test_leaves_only_what_can_be_gone_on_with(tmp_path: Path, has_steps: bool) -> None:
    folder = claim(tmp_path / "model", steps=has_steps)
    folder.leave()
    assert folder.path.exists() == has_steps
