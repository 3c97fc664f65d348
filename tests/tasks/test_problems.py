"""Labels that stand beside each other, numbers, and scores: as transformers' problem_type has them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toy_images
from bars import Bars

from tfedge import tasks
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.job import Job
from tfedge.data.hub import Data
from tfedge.data.texts import Texts
from tfedge.errors import CheckpointError, InputError
from tfedge.measure.board import Board
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.notes import note
from tfedge.progress import unheard
from tfedge.records import as_json
from tfedge.tasks import task_and_labels

TASK = "text-classification"
EMOTIONS = ("joy", "fear", "calm")
MANY, NUMBER, SCORE = map(tasks.find, ("text-multi-label", "text-regression", "text-scoring"))


def _folder(path: Path, labels: tuple[str, ...], **changes: Any) -> Path:
    """A BERT with random weights, whose config.json has `changes`."""
    folder = toy_folders.write_folder(path, "bert", TASK, labels, small=True)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **changes}))
    return folder


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        (EMOTIONS, {}, "text-classification"),
        (EMOTIONS, {"problem_type": None}, "text-classification"),
        (EMOTIONS, {"problem_type": "single_label_classification"}, "text-classification"),
        (EMOTIONS, {"problem_type": "multi_label_classification"}, "text-multi-label"),
        (EMOTIONS, {"problem_type": "regression"}, "text-regression"),
        (("stars",), {"problem_type": "regression"}, "text-regression"),
        (("LABEL_0",), {}, "text-scoring"),
        (("toxic",), {"problem_type": "multi_label_classification"}, "text-scoring"),
    ],
)
def test_the_problem_is_transformers(
    tmp_path: Path, labels: tuple[str, ...], changes: dict[str, Any], expected: str
) -> None:
    """TextClassificationPipeline.postprocess: raw numbers of a regression; a sigmoid of several
    labels a text, and of one label; else a softmax."""
    checkpoint = Checkpoint(_folder(tmp_path, labels, **changes))
    assert task_and_labels(checkpoint) == (expected, list(labels))


def test_unknown_problems_are_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(_folder(tmp_path, EMOTIONS, problem_type="ranking"))
    with pytest.raises(
        CheckpointError, match=r"problem_type 'ranking'; transformers knows single_"
    ):
        task_and_labels(checkpoint)


def test_too_few_labels_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    checkpoint = Checkpoint(_folder(tmp_path, ("LABEL_0",)))
    with pytest.raises(InputError, match=r"1 label.*text-classification needs at least 2.*scoring"):
        task_and_labels(checkpoint, TASK)


def test_images_have_several_labels_too(tmp_path: Path) -> None:
    folder = toy_images.write_folder(tmp_path / "vit", "vit")
    content = json.loads((folder / "config.json").read_text())
    for problem, expected in (
        ("multi_label_classification", "image-multi-label"),
        (None, "image-classification"),
    ):
        (folder / "config.json").write_text(json.dumps({**content, "problem_type": problem}))
        assert task_and_labels(Checkpoint(folder))[0] == expected
    (folder / "config.json").write_text(json.dumps({**content, "problem_type": "regression"}))
    with pytest.raises(CheckpointError, match="no task of tfedge is for this checkpoint"):
        task_and_labels(Checkpoint(folder))


def test_labels_of_rows(tmp_path: Path) -> None:
    lists = tmp_path / "lists.jsonl"
    rows = [["fear", "joy"], [], ["Calm"], [0, 2]]
    lists.write_text("".join(f"{json.dumps({'text': 'a', 'labels': row})}\n" for row in rows))
    table = tmp_path / "cells.csv"
    table.write_text('text,labels\na,"fear, joy"\na,\na,Calm\na,0|2\n')
    for path in (lists, table):
        read = MANY.read(Data(str(path), "test"))
        assert MANY.truth(read, EMOTIONS) == [{0, 1}, set(), {2}, {0, 2}], path
    alone = MANY.rows(Texts(["a", "b"], [" Joy,  or awe", "fear|Joy, or awe"], "rows"))
    with pytest.raises(InputError, match=r"labels \['Joy', 'or awe'\]"):
        MANY.truth(alone, ("joy, or awe", "fear"))
    assert MANY.truth(alone.head(1), ("joy, or awe", "fear")) == [{0}]
    with pytest.raises(InputError, match=r"labels \['Calm', 'fear'\] that the model does not know"):
        MANY.truth(MANY.read(Data(str(lists), "test")), ("joy", "anger", "awe"))


def _given(*labels: str) -> dict[str, Any]:
    return {"labels": list(labels)}


def test_f1_by_hand() -> None:
    """joy: 1 right of 2 given, 1 true: F1 2/3. fear: none given, 1 true: 0. calm: all right: 1."""
    answers = [_given("joy", "calm"), _given("joy"), {"error": "?"}]
    found = MANY.metric(answers, [{0, 2}, set(), {1}], EMOTIONS)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["unanswered"] == 1


def test_difference_of_labels() -> None:
    assert MANY.difference(_given(), _given()) == 0
    assert MANY.difference(_given("joy", "calm"), _given("calm", "fear")) == pytest.approx(2 / 3)


def test_correlations_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15) = 0.8."""
    answers = [{"score": value} for value in (0.1, 0.2, 0.3, 0.4)]
    found = SCORE.metric(answers, [1.0, 3.0, 2.0, 4.0], ["LABEL_0"])
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(0.8)
    same = SCORE.metric(answers[:1] * 4, [1.0, 3.0, 2.0, 4.0], ["LABEL_0"])
    assert (same["spearman"], same["pearson"]) == (0.0, 0.0)
    with pytest.raises(InputError, match="the label 'positive' is no number"):
        SCORE.truth(SCORE.rows(toy_folders.sentences(4)), ["LABEL_0"])


def test_difference_of_numbers() -> None:
    answer, other = ({"scores": {"stars": value}} for value in (4.0, 5.0))
    assert NUMBER.difference(answer, other) == pytest.approx(0.2)
    answer, other = ({"scores": {"p": value}} for value in (0.25, 0.5))
    assert SCORE.difference(answer, other) == pytest.approx(0.25)


@pytest.mark.parametrize("place", ["6", "4", "2"])
def test_scores_of_cross_encoders(
    tmp_path: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where each version of sentence-transformers keeps what is behind the logits."""
    name = "torch.nn.modules.linear.Identity"
    older = {
        "4": {"sentence_transformers": {"activation_fn": name, "version": "4.0.1"}},
        "2": {"sbert_ce_default_activation_function": name},
    }
    folder = _folder(tmp_path / "toy", ("LABEL_0",), **older.get(place, {}))
    newer = folder / "config_sentence_transformers.json"
    if place == "6":
        newer.write_text(json.dumps({"model_type": "CrossEncoder", "activation_fn": name}))
    options = ConvertOptions(quantization="float32", sequence_length=16)
    note.cache_clear()
    Job(str(folder), options, Bars())
    assert "CrossEncoder of sentence-transformers has Identity there" in capfd.readouterr().err
    newer.write_text(json.dumps({"activation_fn": "torch.nn.modules.activation.Sigmoid"}))
    Job(str(folder), options, Bars())
    Job(str(folder), dataclasses.replace(options, task="text-regression"), Bars())
    assert "CrossEncoder" not in capfd.readouterr().err


@pytest.mark.parametrize("second", ["x", "", " ", "two\nlines"])
def test_labels_without_a_name_of_their_own(tmp_path: Path, second: str) -> None:
    """Before anything is built, and where the file says it."""
    content = json.loads((_folder(tmp_path, ("x", "y")) / "config.json").read_text())
    content["id2label"] = {"0": "x", "1": second}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        CheckpointError, match=r"calls label 1 '.*'; each must have a name of its own"
    ):
        task_and_labels(Checkpoint(tmp_path))


FLAGS = {
    "numbers": (EMOTIONS, [[1, 0, 1], [0, 0, 0]], [{0, 2}, set()]),
    "as transformers trains on": (EMOTIONS, [[1.0, 0.0, 0.0]], [{0}]),
    "of two labels": (EMOTIONS[:2], [[0, 1], [1, 0]], [{1}, {0}]),
    # All else names labels, or gives their numbers.
    "not of every row": (EMOTIONS, [[1, 0, 1], [1]], [{0, 1}, {1}]),
    "names": (("0", "1"), [["0", "1"]], [{0, 1}]),
}


@pytest.mark.parametrize("kind", FLAGS)
def test_a_flag_for_each_label(tmp_path: Path, kind: str) -> None:
    labels, rows, expected = FLAGS[kind]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": "a", "labels": row}) + "\n" for row in rows))
    assert MANY.truth(MANY.read(Data(str(path), "train")), labels) == expected


@pytest.mark.parametrize(
    ("problem", "labels", "cells"),
    [
        ("multi_label_classification", EMOTIONS, ["joy|fear", "calm"]),
        ("regression", ("stars",), ["4.5", "1"]),
        (None, ("LABEL_0",), ["0.9", "0.1"]),
    ],
)
def test_all_the_way(
    tmp_path: Path, problem: str | None, labels: tuple[str, ...], cells: list[str]
) -> None:
    """What is answered on a board is what transformers' pipeline makes of the logits."""
    folder = _folder(tmp_path / "toy", labels, problem_type=problem)
    data = tmp_path / "data.tsv"
    texts = toy_folders.sentences(8).texts
    data.write_text(
        "text\tlabels\n" + "".join(f"{t}\t{cells[i % 2]}\n" for i, t in enumerate(texts))
    )
    options = ConvertOptions(
        output=tmp_path / "out",
        quantization="float32",
        runtime="litert",
        sequence_length=16,
        buckets=(),
        evaluation=str(data),
    )
    report = as_json(convert(str(folder), options, Bars()))
    figures = report["evaluation"]["runtimes"]["litert"]
    assert figures["passed"] and figures["disagreement"] < 1e-4
    path = tmp_path / "out" / "toy" / "toy_float32.tflite"
    answers = Board(runtime="litert").answers(path, texts, progress=unheard)
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, TASK, len(labels)).model
    load_weights(model, checkpoint, TASK)
    for text, answer in zip(texts[:3], answers, strict=False):
        logits = _logits(model, folder, text)
        numbers = logits if problem == "regression" else 1 / (1 + np.exp(-logits))
        expected = dict(zip(labels, numbers, strict=True))
        assert answer["scores"] == pytest.approx(expected, abs=1e-4)
        assert answer["score"] == pytest.approx(max(numbers), abs=1e-4)


def _logits(model: Any, folder: Path, text: str) -> np.ndarray:
    from tfedge.data.tokenizer import encode, load_tokenizer

    (ids,) = encode(load_tokenizer(folder), [text], 16)
    inputs = {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}
    inputs["token_type_ids"] = np.zeros_like(ids)[None]
    found: np.ndarray = model(inputs)["logits"].numpy()[0].astype(np.float64)
    return found
