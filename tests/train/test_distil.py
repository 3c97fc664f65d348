"""Distillation: losses against hand-worked numbers, then whole runs on a toy teacher."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from records import Killed, Record, request, same_weights, weights
from scipy.stats import spearmanr

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.tasks.losses import similarity_distances, soft_cross_entropies
from tfedge.train.distil import (
    DistillationLosses,
    distil,
    relative_distance,
)
from tfedge.train.training import TrainingOptions

STUDENT = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
OPTIONS = TrainingOptions(
    epochs=8, batch_size=8, learning_rate=2e-3, max_length=16, steps_per_checkpoint=10
)


def soft_cross_entropy(student: tf.Tensor, teacher: tf.Tensor, temperature: float) -> tf.Tensor:
    return tf.reduce_mean(soft_cross_entropies(student, teacher, temperature))


def test_soft_cross_entropy_by_hand() -> None:
    # Teacher (1/4, 3/4), student (1/2, 1/2) at temperature 1.
    teacher, student = tf.constant([[0.0, math.log(3)]]), tf.constant([[0.0, 0.0]])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert float(soft_cross_entropy(student, teacher, 1.0)) == pytest.approx(expected)
    # At temperature 2, with logits twice as large, the same distributions; times 2^2.
    assert float(soft_cross_entropy(student, 2 * teacher, 2.0)) == pytest.approx(4 * expected)


def test_soft_cross_entropy_of_equals_is_zero_and_is_a_mean() -> None:
    logits = tf.constant([[1.0, -2.0, 3.0], [0.5, 0.5, 9.0]])
    assert float(soft_cross_entropy(logits, logits, 3.0)) == pytest.approx(0, abs=1e-6)
    # A constant added to all logits changes no distribution.
    assert float(soft_cross_entropy(logits + 7, logits, 3.0)) == pytest.approx(0, abs=1e-6)
    one = soft_cross_entropy(tf.zeros((1, 3)), logits[:1], 1.0)
    other = soft_cross_entropy(tf.zeros((1, 3)), logits[1:], 1.0)
    both = soft_cross_entropy(tf.zeros((2, 3)), logits, 1.0)
    assert float(both) == pytest.approx((float(one) + float(other)) / 2)


def test_relative_distance_by_hand() -> None:
    # Two tokens and one of padding, two channels.
    teacher = tf.constant([[[2.0, 1.0], [4.0, 1.0], [99.0, 99.0]]])
    student = tf.constant([[[3.0, 1.0], [3.0, 2.0], [0.0, 0.0]]])
    mask = tf.constant([[1.0, 1.0, 0.0]])
    # Channel 0: error (1 + 1) / 2, energy (4 + 16) / 2; channel 1: error 1 / 2, energy 1.
    expected = (1 / (10 + 1e-3) + 0.5 / (1 + 1e-3)) / 2
    assert float(relative_distance(student, teacher, mask)) == pytest.approx(expected)


def test_relative_distance_heeds_every_channel_alike() -> None:
    """A channel a hundred times larger, and as wrong in proportion, counts no more."""
    teacher = tf.constant(np.random.RandomState(0).normal(size=(2, 3, 4)), tf.float32)
    scale = tf.constant([1.0, 1.0, 1.0, 100.0])
    mask = tf.ones((2, 3))
    plain = relative_distance(1.1 * teacher, teacher, mask)
    scaled = relative_distance(1.1 * scale * teacher, scale * teacher, mask)
    assert float(scaled) == pytest.approx(float(plain), rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"hidden": -1.0}, "the weight of hidden is -1.0"),
        ({"logits": 0.0, "hidden": 0.0}, "at least one"),
    ],
)
def test_losses_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DistillationLosses(**changes)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished distillation."""

    output: Path
    record: Record
    accuracy: float | None


def run(teacher: Path, texts: Texts, output: Path, **changes: Any) -> Run:
    record = changes.pop("record", Record())
    losses = changes.pop("losses", DistillationLosses())
    held_out = changes.pop("held_out", texts)
    student = changes.pop("student", STUDENT)
    options = dataclasses.replace(OPTIONS, **changes)
    asked = request(teacher, texts, output, options, record, evaluation=held_out)
    accuracy = distil(asked, student, losses).accuracy
    return Run(output, record, accuracy)


@pytest.fixture(scope="module")
def finished(toy_encoder: Path, toy_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(toy_encoder, toy_texts, tmp_path_factory.mktemp("distilled") / "student")


def test_losses_fall(finished: Run) -> None:
    assert finished.record.total == 40
    assert list(finished.record.losses) == [20, 40]
    assert finished.record.losses[40] < 0.8 * finished.record.losses[20]


def test_accuracy_is_reported_each_epoch(finished: Run) -> None:
    assert list(finished.record.accuracies) == [5, 10, 15, 20, 25, 30, 35, 40]
    assert finished.accuracy == finished.record.accuracies[40]


def test_written_student_loads_again(finished: Run, toy_encoder: Path) -> None:
    checkpoint = Checkpoint(finished.output)
    assert checkpoint.config.hidden_size == 16
    assert checkpoint.config.labels == list(toy_folders.LABELS)
    assert checkpoint.config.source["architectures"] == ["BertForSequenceClassification"]
    model = build(checkpoint.config, "text-classification").model
    assert load_weights(model, checkpoint, "text-classification") == []
    assert np.isfinite(model(cases.batch(STUDENT))["logits"]).all()
    assert {tensor.dtype for tensor in weights(finished.output).values()} == {np.dtype("float16")}
    tokenizer = "tokenizer.json"
    assert (finished.output / tokenizer).read_bytes() == (toy_encoder / tokenizer).read_bytes()
    assert not finished.output.with_name("student.training").exists()


def test_student_comes_closer_to_its_teacher(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """Against a student that was only cut out: one step at a rate of next to nothing."""
    cut = run(
        toy_encoder, toy_texts.head(8), tmp_path / "cut", epochs=1, learning_rate=1e-12
    ).output
    inputs = cases.batch(STUDENT)

    def logits(folder: Path) -> np.ndarray:
        checkpoint = Checkpoint(folder)
        model = build(checkpoint.config, "text-classification").model
        load_weights(model, checkpoint, "text-classification")
        return np.asarray(model(inputs)["logits"])

    target = logits(toy_encoder)
    before, after = (np.abs(logits(folder) - target).mean() for folder in (cut, finished.output))
    assert after < before


def test_equal_seeds_give_equal_students(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    again = run(toy_encoder, toy_texts, tmp_path / "again")
    assert same_weights(again.output, finished.output)
    assert again.record.losses == finished.record.losses


def test_killed_run_resumes_to_the_same_student(
    finished: Run, toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    killer = Record(kill_at=25)
    with pytest.raises(Killed):
        run(toy_encoder, toy_texts, tmp_path / "student", record=killer)
    assert not (tmp_path / "student").exists()
    resumed = run(toy_encoder, toy_texts, tmp_path / "student")
    # It went on behind the last checkpoint, at step 20, not from the beginning.
    assert min(resumed.record.accuracies) == 25
    assert same_weights(resumed.output, finished.output)
    assert resumed.record.losses[40] == finished.record.losses[40]


def test_early_stopping_keeps_the_best_student(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """The accuracy on few texts goes up and down; that of what is written is the best."""
    stopped = run(toy_encoder, toy_texts, tmp_path / "student", patience=1, epochs=20)
    accuracies = list(stopped.record.accuracies.values())
    assert len(accuracies) < 20
    assert accuracies[-1] <= accuracies[-2] == max(accuracies) == stopped.accuracy
    with pytest.raises(InputError, match="give some with --eval"):
        run(toy_encoder, toy_texts, tmp_path / "blind", patience=1, held_out=None)
    assert not (tmp_path / "blind.training").exists()


def test_other_texts_of_the_same_number_are_not_resumed(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(toy_encoder, toy_texts, tmp_path / "student", record=Record(kill_at=15))
    other = Texts([f"{text} !" for text in toy_texts.texts], toy_texts.labels, "other")
    with pytest.raises(InputError, match="interrupted run with other settings"):
        run(toy_encoder, other, tmp_path / "student")


def test_unlabelled_texts_will_do(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    toy_texts = toy_texts.head(16)
    plain = Texts(toy_texts.texts, None, "plain.txt")
    foreign = Texts(toy_texts.texts, ["3"] * len(toy_texts), "stars.tsv")
    for name, texts in (("plain", plain), ("foreign", foreign)):
        assert run(toy_encoder, texts, tmp_path / name, epochs=1, held_out=None).accuracy is None
    assert same_weights(tmp_path / "plain", tmp_path / "foreign")
    with pytest.raises(InputError, match=r"plain\.txt has no labels"):
        run(toy_encoder, plain, tmp_path / "x", losses=DistillationLosses(labels=1.0))


def test_one_label_teaches_nothing(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    texts = Texts(toy_texts.texts, ["Positive"] * len(toy_texts), "good.tsv")
    with pytest.raises(InputError, match=r"all rows of good\.tsv have the label 'positive'"):
        run(toy_encoder, texts, tmp_path / "x", losses=DistillationLosses(labels=1.0))
    assert list(tmp_path.iterdir()) == []


def test_own_labels_are_learned(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    losses = DistillationLosses(logits=0.0, hidden=0.0, labels=1.0)
    learned = run(toy_encoder, toy_texts, tmp_path / "student", losses=losses, epochs=12)
    assert learned.accuracy is not None
    assert learned.accuracy >= 0.9  # half of them are right by chance


def test_table_with_more_rows_than_tokens(toy_texts: Texts, tmp_path: Path) -> None:
    """Tables are padded to a round number of rows."""
    rows = STUDENT["vocab_size"] + 8
    teacher = toy_folders.write_folder(tmp_path / "teacher", vocab_size=rows)
    student = {**STUDENT, "vocab_size": rows}
    made = run(teacher, toy_texts.head(16), tmp_path / "student", student=student, epochs=1)
    assert made.accuracy is not None


def test_teacher_without_labels(toy_texts: Texts, tmp_path: Path) -> None:
    config = toy_folders.config()
    cases.random_checkpoint(tmp_path / "teacher", config, "text-classification", 0)
    cases.write_checkpoint(tmp_path / "teacher", config, weights(tmp_path / "teacher"))
    with pytest.raises(InputError, match="names no labels"):
        run(tmp_path / "teacher", toy_texts, tmp_path / "student")


def test_student_is_for_the_task_of_its_teacher(toy_texts: Texts, tmp_path: Path) -> None:
    """Sigmoids stay sigmoids, for transformers too."""
    problem = {"problem_type": "multi_label_classification"}
    folder = toy_folders.write_folder(tmp_path / "teacher", small=True, **problem)
    asked = request(
        *(folder, toy_texts, tmp_path / "student", OPTIONS, Record()), evaluation=toy_texts
    )
    made = distil(asked, STUDENT, DistillationLosses())
    assert (made.task, made.goal) == ("text-multi-label", "macro_f1")
    content = json.loads((tmp_path / "student/config.json").read_text())
    assert content["problem_type"] == "multi_label_classification"


def test_similarity_distances_by_hand() -> None:
    # Three texts; to the teacher the first two are the same, to the student the last two.
    teacher = tf.constant([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    student = tf.constant([[0.0, 1.0, 0.0], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    high, low = math.e / (math.e + 1), 1 / (math.e + 1)
    ranks = [
        high * math.log(2 * high) + low * math.log(2 * low),  # the student tells none apart
        high * math.log(high / low) + low * math.log(low / high),
        math.log(0.5) - 0.5 * (math.log(high) + math.log(low)),  # the teacher does not
    ]
    # Of three cosines of each text so many are wrong by 1.
    expected = np.array(ranks) + np.array([1, 2, 1]) / 3
    np.testing.assert_allclose(similarity_distances(student, teacher, 1.0), expected, rtol=1e-5)
    same = similarity_distances(2 * teacher, teacher, 20.0)
    np.testing.assert_allclose(same, 0, atol=1e-6)


CLS_POOLING = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}


def _embedder(folder: Path) -> Path:
    """With [CLS] pooling, as sentence-transformers writes it."""
    folder = toy_folders.write_folder(folder, task="sentence-embedding", small=True)
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    pooling = {"word_embedding_dimension": width, **CLS_POOLING}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    return folder


def test_embedder_of_another_width_learns_what_is_alike(toy_texts: Texts, tmp_path: Path) -> None:
    teacher = _embedder(tmp_path / "teacher")
    texts = dataclasses.replace(toy_texts, labels=None)
    options = dataclasses.replace(OPTIONS, epochs=20)
    found = []
    for name, learns in (("before", 0.0), ("after", 1.0)):
        # Before: hidden states alone, all but without a step.
        losses = DistillationLosses(logits=learns, hidden=0.1)
        chosen = options if learns else dataclasses.replace(options, steps=1, learning_rate=1e-9)
        asked = request(teacher, texts, tmp_path / name, chosen, Record())
        made = distil(asked, STUDENT, losses, augmentation=0.0)
        assert (made.task, made.figures) == ("sentence-embedding", None)
        ours, theirs = (
            checkpoint_answers(folder, texts.texts, lambda _: None)
            for folder in (tmp_path / name, teacher)
        )
        assert {len(answer["embedding"]) for answer in ours} == {16}
        found.append(_rank_correlation(ours, theirs))
    assert found[1] > found[0] + 0.05
    pooling = json.loads((tmp_path / "after/1_Pooling/config.json").read_text())
    assert pooling == {"word_embedding_dimension": 16, **CLS_POOLING}
    assert Checkpoint(tmp_path / "after").config.pooling == "cls"


def _rank_correlation(*sides: list[dict[str, Any]]) -> float:
    cosines = []
    for answers in sides:
        vectors = np.array([answer["embedding"] for answer in answers])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines.append((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])
    return float(spearmanr(*cosines).statistic)


def test_embedders_have_no_labels_to_learn(toy_texts: Texts, tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path / "teacher", task="sentence-embedding", small=True)
    asked = request(folder, toy_texts, tmp_path / "student", OPTIONS, Record())
    with pytest.raises(InputError, match="which has no labels: leave out --label-weight"):
        distil(asked, STUDENT, DistillationLosses(labels=1.0))
    with pytest.raises(InputError, match="leave out --cache"):
        distil(asked, STUDENT, DistillationLosses(), cache=tmp_path / "cache")


def test_texts_longer_than_the_teacher_takes(
    toy_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="max_length is 64; this encoder takes at most 20 tokens"):
        run(toy_encoder, toy_texts, tmp_path / "student", max_length=64)
    assert list(tmp_path.iterdir()) == []
