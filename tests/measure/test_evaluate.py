"""Measuring models on texts whose answers are known: toy bundles, toy folders, one against another."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_folders
from bars import Bars
from program import INSTALLED
from safetensors.numpy import load_file, save_file

from tfedge.errors import CheckpointError, InputError, RejectedModelError, TfedgeError
from tfedge.measure.board import Board
from tfedge.measure.evaluate import Details, evaluate, read_rows
from tfedge.measure.mistakes import write_mistakes
from tfedge.records import as_json
from tfedge.tasks import scope
from tfedge.tasks.base import Rows

# The toy classifier answers positive, negative, negative, positive, and nothing to the last.
TEXTS = ["a good film", "awful", "the film was dull", "great", "\0"]
LABELS = ["positive", "negative", "positive", "Positive", "negative"]
LABELLED = Rows(TEXTS, LABELS, "toy.tsv")
UNLABELLED = Rows(TEXTS, None, "toy.txt")
BOARD = Board(threads=1)


def run(model: Path, texts: Rows, against: Path | None = None, board: Board = BOARD) -> Any:
    return as_json(evaluate(model, against, texts, board, Bars()))


def test_figures_of_a_bundle(toys: Path) -> None:
    bars = Bars()
    result = as_json(evaluate(toys / "classifier.tflite", None, LABELLED, BOARD, bars))
    assert result == {
        "model": str(toys / "classifier.tflite"),
        "task": "text-classification",
        "runtime": INSTALLED[0],
        "data": "toy.tsv",
        "texts": 5,
        "unanswered": 1,
        "unknown_share": 0.0,
        "labels": ["negative", "positive"],
        "confusion": [[1, 0], [1, 2]],
        "accuracy": 3 / 5,
        # Each label: 1 of 2 true ones and 1 of 2 predicted; 2 of 3 and 2 of 2.
        "macro_f1": pytest.approx((1 / 2 + 4 / 5) / 2),
    }
    assert json.loads(json.dumps(result)) == result
    (bar,) = bars
    assert (bar.description, bar.total, bar.done) == ("running classifier.tflite", 5, 5)


def test_details_of_a_classifier(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "mistakes.csv"
    details = Details("negative", path)
    model = toys / "classifier.tflite"
    result = evaluate(model, None, LABELLED, BOARD, Bars(), details).figures
    assert [result[name] for name in (scope.RECALL, scope.PRECISION, scope.INSIDE)] == [
        *(1.0, 0.5, 2 / 3),
    ]
    header, row = csv.reader(path.read_text().splitlines())
    assert header == ["row", "text", "label", "answer", "label_score", "answer_score"]
    assert row[:4] == ["3", "the film was dull", "positive", "negative"]
    assert float(row[4]) + float(row[5]) == pytest.approx(1) and float(row[5]) > 0.5
    assert result["mistakes"] == 1


def test_surest_mistakes_come_first(tmp_path: Path) -> None:
    rows = Rows([("a", "b"), ("c", "d"), ("e", "f")], None, "pairs.tsv")
    answers = [
        {"label": "no", "score": score, "scores": {"yes": 1 - score, "no": score}}
        for score in (0.6, 0.9, 0.7)
    ]
    assert write_mistakes(tmp_path / "m.csv", rows, answers, [0, 0, 1], ["yes", "no"]) == 2
    found = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [row["row"] for row in found] == ["2", "1"]
    assert found[0] | {} == found[0] | {"text": "c", "text_pair": "d", "answer_score": "0.9"}


def test_mistakes_take_the_place_of_no_input(tmp_path: Path) -> None:
    data, other = tmp_path / "data.tsv", tmp_path / "other.csv"
    data.write_text("text\tlabel\n")
    (tmp_path / "link.csv").symlink_to(data)
    for path in (data, tmp_path / "link.csv"):
        with pytest.raises(InputError, match="is an input; give another file"):
            Details(mistakes=path).keeps("model", str(data), None)
    Details(mistakes=other).keeps("model", str(data), None)
    Details().keeps("model", str(data), None)


@pytest.mark.parametrize("option", ["out_of_scope", "mistakes"])
def test_details_of_what_has_none(toys: Path, tmp_path: Path, option: str) -> None:
    details = Details(**{option: tmp_path / "x" if option == "mistakes" else "negative"})
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} is told of text-class"):
        other = toys / "int8.tflite"
        evaluate(toys / "classifier.tflite", other, UNLABELLED, BOARD, Bars(), details)


def test_labels_as_numbers(toys: Path) -> None:
    texts = Rows(TEXTS[:2], ["1", "1"], "hub")
    assert run(toys / "classifier.tflite", texts)["confusion"] == [[0, 0], [1, 1]]


def test_runtime_that_ran_it(toys: Path) -> None:
    board = Board(runtime="litert", threads=1)
    assert run(toys / "classifier.tflite", LABELLED, board=board)["runtime"] == "litert"


def fake_board(folder: Path, **answers: list[str]) -> Board:
    """Copies of one toy by the names in `answers`, and a board that gives each its own labels."""
    cases = ""
    for name, labels in answers.items():
        lines = "".join(json.dumps({"label": label}) + "\n" for label in labels)
        (folder / f"{name}.txt").write_text(lines)
        cases += f"*/{name}.tflite*) cat {folder}/{name}.txt;;\n"
    script = folder / "python"
    script.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) kill -SEGV $$;; esac\n')
    script.chmod(0o700)
    return Board((str(script),))


@pytest.mark.parametrize("line", ["{}", '{"label": ["x"]}', '{"label": "no such label"}'])
def test_answers_of_something_else(toys: Path, tmp_path: Path, line: str) -> None:
    """A Python of somebody else's may say anything."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nfor _ in 1 2 3 4; do echo '{line}'; done\n")
    script.chmod(0o700)
    texts = Rows(TEXTS[:4], ["positive"] * 4, "toy.tsv")
    with pytest.raises(TfedgeError, match=r"python gives answers that tfedge-infer does not"):
        run(toys / "classifier.tflite", texts, board=Board((str(script),)))


def test_two_models_differ(toys: Path, tmp_path: Path) -> None:
    a, b = (tmp_path / f"{name}.tflite" for name in "ab")
    for path in (a, b):
        shutil.copyfile(toys / "classifier.tflite", path)
    good, bad = "positive", "negative"
    board = fake_board(tmp_path, a=[good, good, bad, bad], b=[good, bad, good, bad])
    texts = Rows(TEXTS[:4], [good, bad, bad, bad], "toy.tsv")
    result = run(a, texts, b, board)
    assert result["against"] == str(b)
    assert result["disagreement"] == 2 / 4
    assert result["accuracy"] == 3 / 4  # a's, not b's
    assert result["comparison"] == {
        "compared": 4,
        "same": 2,
        "both_right": 2,
        "only_this_right": 1,
        "only_other_right": 1,
        "p_value": 1.0,
    }
    without_labels = run(a, Rows(TEXTS[:4], None, "toy.txt"), b, board)
    assert without_labels["disagreement"] == 2 / 4
    assert without_labels["comparison"] == {"compared": 4, "same": 2}
    assert "accuracy" not in without_labels


def test_int8_against_float(toys: Path) -> None:
    bars = Bars()
    result = as_json(
        evaluate(toys / "int8.tflite", toys / "classifier.tflite", UNLABELLED, BOARD, bars)
    )
    assert result["disagreement"] == 0  # the text without an answer has none in either
    assert [(bar.total, bar.done) for bar in bars] == [(5, 5), (5, 5)]


def folder_that_says(folder: Path, label: str) -> Path:
    """A toy checkpoint with one answer to everything."""
    toy_folders.write_folder(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"] = tensors["classifier.bias"] * 0
    tensors["classifier.bias"][toy_folders.LABELS.index(label)] = 1000
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_folder(tmp_path: Path) -> None:
    bars = Bars()
    folder = folder_that_says(tmp_path / "optimist", "positive")
    texts = Rows([*TEXTS, "good " * 99], [*LABELS, "positive"], "toy.tsv")
    result = as_json(evaluate(folder, None, texts, BOARD, bars))
    assert (result["runtime"], result["task"]) == ("keras", "text-classification")
    assert result["confusion"] == [[0, 1], [0, 4]]
    assert (result["accuracy"], result["unanswered"]) == (4 / 6, 1)
    assert [(bar.total, bar.done) for bar in bars] == [(6, 6)]


def test_folder_and_bundle_against_each_other(toys: Path, tmp_path: Path) -> None:
    folder = folder_that_says(tmp_path / "pessimist", "negative")
    bundle = toys / "classifier.tflite"
    # The bundle says positive to 2 of the 5, of which neither answers the last.
    assert run(folder, UNLABELLED, bundle)["disagreement"] == 2 / 5
    assert run(bundle, UNLABELLED, folder)["disagreement"] == 2 / 5


@pytest.mark.parametrize("name", ["classifier.tflite", "folder"])
def test_labels_that_the_model_does_not_know(toys: Path, tmp_path: Path, name: str) -> None:
    """Known at once: nothing has run by then."""
    model = toys / name
    if name == "folder":
        model = toy_folders.write_folder(tmp_path / "folder")
    bars = Bars()
    texts = Rows(TEXTS[:2], ["good", "negative"], "toy.tsv")
    message = r"toy\.tsv has labels \['good'\] .*; its labels are \['negative', 'positive'\]"
    with pytest.raises(InputError, match=message):
        evaluate(model, None, texts, BOARD, bars)
    assert bars == []


@pytest.mark.parametrize(
    ("name", "texts"),
    [("classifier", UNLABELLED), ("embedder", UNLABELLED), ("tagger", UNLABELLED)],
    ids=["no labels", "embeddings", "tokens"],
)
def test_nothing_to_measure(toys: Path, name: str, texts: Rows) -> None:
    bars = Bars()
    with pytest.raises(InputError, match=r"nothing to measure: .*--against"):
        evaluate(toys / f"{name}.tflite", None, texts, BOARD, bars)
    assert bars == []


def test_what_the_data_have_instead(toys: Path, tmp_path: Path) -> None:
    """Labels, but none that the task is measured by."""
    path = tmp_path / "marks.jsonl"
    path.write_text('{"text": "Ada was in London", "marks": [[0, 3, "PER"]]}\n')
    model = toys / "tagger.tflite"
    with pytest.raises(InputError) as caught:
        run(model, read_rows(model, str(path), "validation"))
    assert str(caught.value) == (
        f"nothing to measure: {path} has the columns marks, text, but not what token-classification "
        "is measured by; give the columns tokens and labels (or tags, ner_tags), text and entities, or "
        "a .conll file, or a second model with --against"
    )
    path = tmp_path / "plain.txt"
    path.write_text("a good film\n")
    with pytest.raises(InputError, match=r"nothing to measure: .*plain\.txt has no labels; give"):
        run(model, read_rows(model, str(path), "validation"))


@pytest.mark.parametrize("name", ["embedder", "tagger"])
def test_other_tasks_against_themselves(toys: Path, tmp_path: Path, name: str) -> None:
    """Labels of whole texts are not what they are measured by."""
    model = toys / f"{name}.tflite"
    data = tmp_path / "toy.tsv"
    data.write_text(
        "".join(f"{a}\t{b}\n" for a, b in [("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    )
    result = run(model, read_rows(model, str(data), "train"), model)
    assert result["disagreement"] == pytest.approx(0, abs=1e-9)
    of_itself = {
        "embedder": {
            "mean_cosine": pytest.approx(1),
            "least_cosine": pytest.approx(1),
            "neighbours": 4,  # the last has no answer
            "same_neighbour": 4,
            "rank_correlation": pytest.approx(1),
        },
        "tagger": {"compared": 9, "same": 9},
    }
    assert result["comparison"] == of_itself[name]
    assert "accuracy" not in result


def test_questions_without_answers(
    toys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As SQuAD 2 is measured: nothing is right where nothing answers, which a note tells."""
    data = tmp_path / "toy.jsonl"
    rows = [("ada was born in where .", ["Ada"]), ("film was good .", [])]
    data.write_text(
        "".join(
            json.dumps({"question": "who was born ?", "context": context, "answers": answers})
            + "\n"
            for context, answers in rows
        )
    )
    model = toys / "reader.tflite"
    asked = read_rows(model, str(data), "train")
    assert "some questions have no answer, so that answers may be empty" in capfd.readouterr().err
    result = run(model, asked, model)
    assert (result["exact_match"], result["f1"], result["disagreement"]) == (1.0, 1.0, 0)
    without = dataclasses.replace(asked, asked={})
    assert run(model, without)["exact_match"] == 0.5


def test_questions_without_contexts(toys: Path, tmp_path: Path) -> None:
    data = tmp_path / "toy.txt"
    data.write_text("Who was born?\n")
    rows = read_rows(toys / "reader.tflite", str(data), "train")
    with pytest.raises(InputError, match="give the columns question, context and answers, or"):
        run(toys / "reader.tflite", rows)
    data = tmp_path / "toy.csv"
    data.write_text("question,id\nWho was born?,1\n")
    with pytest.raises(InputError, match="question-answering needs a context with each question"):
        read_rows(toys / "reader.tflite", str(data), "train")


def test_two_tasks(toys: Path) -> None:
    bars = Bars()
    with pytest.raises(InputError, match=r"answers text-classification and .* sentence-embedding"):
        evaluate(toys / "classifier.tflite", toys / "embedder.tflite", UNLABELLED, BOARD, bars)
    assert bars == []


def test_what_is_no_model(toys: Path, tmp_path: Path) -> None:
    """In either place, and before anything runs."""
    empty = tmp_path / "empty.tflite"
    empty.write_bytes(b"")
    short = tmp_path / "short.tflite"
    short.write_bytes((toys / "classifier.tflite").read_bytes()[:-1000])
    (tmp_path / "folder").mkdir()
    for model in (empty, short, toys / "classifier.bare.tflite", tmp_path / "folder"):
        kind = CheckpointError if model.is_dir() else InputError
        for pair in ((model, None), (toys / "classifier.tflite", model)):
            bars = Bars()
            with pytest.raises(kind, match=model.name):
                evaluate(*pair, LABELLED, BOARD, bars)
            assert bars == []


def test_model_that_crashes(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(RejectedModelError, match=r"crashed running it \(SIGSEGV\)"):
        run(toys / "classifier.tflite", LABELLED, board=fake_board(tmp_path))


def test_an_embedding_against_the_encoder_of_another_head(tmp_path: Path) -> None:
    """Of what is converted with --task sentence-embedding, the checkpoint is the reference."""
    bare, masked = (
        toy_folders.write_folder(tmp_path / name, task="sentence-embedding")
        for name in ("bare", "masked")
    )
    content = json.loads((masked / "config.json").read_text())
    content["architectures"] = ["BertForPreTraining"]
    tensors = {
        f"bert.{name}": value for name, value in load_file(masked / "model.safetensors").items()
    }
    tensors["cls.predictions.bias"] = np.zeros(1, np.float32)
    cases.write_checkpoint(masked, content, tensors)
    rows = Rows(TEXTS[:4], None, "toy.txt")
    assert run(bare, rows, masked)["disagreement"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(CheckpointError, match=r"head of a BertForPreTraining \(cls\)"):
        run(masked, rows, bare)


def test_what_is_refused_for_its_length_is_not_taken_apart_again(toys: Path) -> None:
    """Contexts of 200,000 characters, each with many questions, took minutes behind the progress."""
    truth = [{"text": ["x"], "answer_start": [0]}]
    rows = Rows([("who ?", "unheardof " * 20_000)], truth, "long.json")
    result = run(toys / "reader.tflite", rows)
    assert (result["unanswered"], result["unknown_share"]) == (1, 0.0)
