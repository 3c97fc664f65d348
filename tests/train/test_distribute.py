"""Several workers: each batch shared out whole, and the losses of one process with the same batch."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from records import Killed, Record, request, same_weights, weights

from tfedge.errors import InputError
from tfedge.train.distil import DistillationLosses, distil
from tfedge.train.distribute import shares, training_strategy, workers_of_cluster
from tfedge.train.finetune import finetune
from tfedge.train.prune import prune
from tfedge.train.sparsity import PruningOptions
from tfedge.train.training import TrainingOptions

ROOT = Path(__file__).parents[2]
OPTIONS = TrainingOptions(
    epochs=4, batch_size=8, learning_rate=2e-3, max_length=16, steps_per_checkpoint=10
)
STUDENT = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
LOSSES = DistillationLosses(relations=1.0, labels=0.5)
STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    workers=st.integers(1, 4),
    devices=st.integers(1, 3),
)
def test_every_text_goes_to_one_replica(rows: list[int], workers: int, devices: int) -> None:
    batches = [({"input_ids": np.arange(count)[:, None]}, np.arange(count)) for count in rows]
    total = workers * devices
    found = [
        list(shares(iter(batches), devices * worker, devices, total)) for worker in range(workers)
    ]
    # Every worker has as many elements: one for each of its devices in each step.
    assert {len(elements) for elements in found} == {devices * len(rows)}
    for step, count in enumerate(rows):
        parts = [
            element
            for elements in found
            for element in elements[devices * step : devices * (step + 1)]
        ]
        assert np.array_equal(np.concatenate([labels for _, labels in parts]), np.arange(count))
        assert max(len(labels) for _, labels in parts) <= -(-count // total)
        for inputs, labels in parts:
            assert np.array_equal(inputs["input_ids"][:, 0], labels)


def cluster(index: Any = 0, workers: Any = ("a:1", "b:2"), kind: str = "worker") -> str:
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": kind, "index": index}})


def test_cluster_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert workers_of_cluster() == 1
    assert training_strategy().num_replicas_in_sync == 1
    monkeypatch.setenv("TF_CONFIG", cluster())
    assert workers_of_cluster() == 2
    for text in ("{", "{}", cluster(2), cluster(kind="ps"), cluster("0"), cluster(workers=3)):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(InputError, match=r"TF_CONFIG cannot be used \(.*host:port"):
            workers_of_cluster()


def test_commands_of_one_process_say_so(
    toy_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster())
    with pytest.raises(InputError, match="this command trains in one process; unset it"):
        prune(
            request(toy_encoder, toy_folders.sentences(8), tmp_path / "x", OPTIONS, Record()),
            *(PruningOptions(), DistillationLosses()),
        )


def train(kind: str, source: Path, output: Path, record: Record, **changes: Any) -> None:
    """What both the one process and the workers do; 39 texts, so that batches differ in size."""
    texts = toy_folders.sentences(39)
    options = dataclasses.replace(OPTIONS, **changes)
    asked = request(source, texts, output, options, record, evaluation=texts)
    if kind == "finetune":
        finetune(asked, toy_folders.LABELS)
    else:
        distil(asked, STUDENT, LOSSES, 0.5)


def worker(arguments: str) -> None:
    """A worker of the tests below, in a process of its own."""
    kind, source, output, kill_at = json.loads(arguments)
    record = Record(kill_at)
    if "TF_CONFIG" not in os.environ:
        _pretend_two_devices()
    try:
        train(kind, Path(source), Path(output), record)
    except Killed:
        os._exit(9)
    print(json.dumps([record.losses, record.accuracies]))


def _pretend_two_devices() -> None:
    """Two halves of the processor stand for two GPUs."""
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    sys.modules["tfedge.train.run"].training_strategy = lambda: strategy


def start_worker(environment: dict[str, str], *arguments: Any) -> subprocess.Popen:
    paths = os.pathsep.join(map(str, (ROOT, *(ROOT / "tests" / name for name in PATHS))))
    program = "import sys, test_distribute; test_distribute.worker(sys.argv[1])"
    return subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(arguments, default=str)],
        env={**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_workers(kind: str, source: Path, output: Path, kill_at: int | None = None) -> list[Any]:
    """What two workers report; None where they were killed."""
    with socket.socket() as first, socket.socket() as second:
        places = []
        for listener in (first, second):
            listener.bind(("127.0.0.1", 0))
            places.append(f"127.0.0.1:{listener.getsockname()[1]}")
    processes = [
        start_worker({"TF_CONFIG": cluster(index, places)}, kind, source, output, kill_at)
        for index in range(2)
    ]
    found = []
    for process in processes:
        out, err = process.communicate(timeout=570)
        assert process.returncode == (0 if kill_at is None else 9), err[-3000:]
        found.append(json.loads(out.splitlines()[-1]) if kill_at is None else None)
    return found


PATHS = (".", "train", "models")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["finetune", "distil"])
def test_two_workers_train_as_one_process(kind: str, tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", small=True, **STEADY)
    alone = Record()
    train(kind, source, tmp_path / "alone", alone)
    reports = run_workers(kind, source, tmp_path / "together")
    for losses, accuracies in reports:
        found = {int(step): value for step, value in losses.items()}
        assert found == pytest.approx(alone.losses, rel=1e-4)
        assert accuracies == {str(step): value for step, value in alone.accuracies.items()}
    first, second = weights(tmp_path / "alone"), weights(tmp_path / "together")
    for name, value in first.items():
        assert np.allclose(second[name], value, atol=2e-3), name
    assert not (tmp_path / "together.training").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["finetune", "distil"])
def test_two_devices_train_as_one(kind: str, tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", small=True, **STEADY)
    alone = Record()
    train(kind, source, tmp_path / "alone", alone)
    process = start_worker({}, kind, source, tmp_path / "together", None)
    out, err = process.communicate(timeout=570)
    assert process.returncode == 0, err[-3000:]
    losses, accuracies = json.loads(out.splitlines()[-1])
    found = {int(step): value for step, value in losses.items()}
    assert found == pytest.approx(alone.losses, rel=1e-4)
    assert accuracies == {str(step): value for step, value in alone.accuracies.items()}


@pytest.mark.slow
def test_killed_workers_resume_to_the_same_student(tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", small=True, **STEADY)
    run_workers("distil", source, tmp_path / "whole")
    assert run_workers("distil", source, tmp_path / "killed", kill_at=15) == [None, None]
    assert (tmp_path / "killed.training" / "steps" / "checkpoint").is_file()
    (_, accuracies), _ = run_workers("distil", source, tmp_path / "killed")
    assert min(map(int, accuracies)) == 15
    assert same_weights(tmp_path / "killed", tmp_path / "whole")


# --- mixed precision and XLA


@pytest.mark.slow
@pytest.mark.parametrize("option", ["mixed_precision", "xla"])
def test_student_learns_as_well(option: str, toy_encoder: Path, tmp_path: Path) -> None:
    plain, other = Record(), Record()
    train("distil", toy_encoder, tmp_path / "plain", plain)
    train("distil", toy_encoder, tmp_path / "other", other, **{option: True})
    assert other.losses == pytest.approx(plain.losses, rel=0.05 if option != "xla" else 1e-3)
    same = same_weights(tmp_path / "plain", tmp_path / "other")
    assert not (option == "mixed_precision" and same)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    for name, value in weights(tmp_path / "other").items():
        assert value.dtype == np.float16, name
        assert np.allclose(value, weights(tmp_path / "plain")[name], atol=0.05), name
