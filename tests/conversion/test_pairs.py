"""Pairs of texts in a conversion: what calibrates, what is compared, and what a model answers to."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toys
from bars import Bars

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.job import Job
from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.measure.evaluate import evaluate, read_rows
from tfedge.records import as_json
from tfedge.tasks.columns import ColumnNames

LABELS = ("other", "same")
QUICK = ConvertOptions(quantization="float32", sequence_length=16, buckets=())


def write_pairs(path: Path, count: int = 24) -> Path:
    words = (*toys.GOOD, *toys.BAD)
    rows = [
        f"the film was {words[number % 5]};{number};{words[number % 3]} film;{LABELS[number % 2]}"
        for number in range(count)
    ]
    path.write_text("\n".join(["Hypothesis; id; Premise; Label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "toy"
    return toy_folders.give_types(toy_folders.write_folder(folder, labels=LABELS, small=True))


def job(source: Path, **changes: Any) -> Job:
    return Job(str(source), dataclasses.replace(QUICK, **changes), Bars())


def test_what_calibrates_and_what_is_compared(source: Path, tmp_path: Path) -> None:
    """As eval reads it; both texts with their token types."""
    data = str(write_pairs(tmp_path / "pairs.csv"))
    found = job(source, calibration=data, evaluation=data)
    rows = read_rows(source, data, "validation")
    assert rows.items[:2] == [
        ("good film", "the film was good"),
        ("fine film", "the film was fine"),
    ]
    assert found.rows == rows.part(rows.drawn(24))
    assert found.truth == [LABELS.index(label) for label in found.rows.truth or ()]
    assert sorted(found.calibration) == sorted(rows.items)
    samples = found.reader.samples(found.calibration, 16)
    assert all(sample.shape[1] == 2 and set(sample[:, 1]) == {0, 1} for sample in samples)
    batch = found.reader.inputs(samples, 16, ("input_ids", "attention_mask", "token_type_ids"))
    assert (batch["token_type_ids"].sum(1) == [sample[:, 1].sum() for sample in samples]).all()


def test_columns_that_the_user_names(source: Path, tmp_path: Path) -> None:
    """Of a pair one text, as it is asked for; labels where they are measured with."""
    data = write_pairs(tmp_path / "pairs.csv")
    texts = tmp_path / "texts.csv"
    texts.write_text("premise,note\na good film,x\n")
    columns = ColumnNames("premise", label_column="label")
    found = job(source, calibration=str(texts), evaluation=str(data), columns=columns)
    assert found.calibration == ["a good film"]
    assert set(found.rows.items) == {"good film", "fine film", "great film"}
    assert found.truth is not None
    assert sorted(found.truth) == [0] * 12 + [1] * 12
    with pytest.raises(InputError) as caught:
        job(source, calibration=str(texts), columns=columns)
    assert str(caught.value) == (
        f"{texts} has no column 'label'; its columns are ['note', 'premise']"
    )


@pytest.mark.parametrize(
    ("task", "labels", "are_pairs"),
    [
        ("text-classification", LABELS, False),
        ("text-classification", ("entailment", "not_entailment"), True),
        ("text-scoring", ("LABEL_0",), True),
        ("question-answering", LABELS, True),
    ],
)
def test_own_sentences(
    tmp_path: Path,
    task: str,
    labels: tuple[str, ...],
    are_pairs: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kind = "text-classification" if task == "text-scoring" else task
    folder = toy_folders.write_folder(
        tmp_path / f"own-{labels[0]}-{task}", task=kind, labels=labels, small=True
    )
    found = job(folder)
    assert found.task.name == task
    assert {isinstance(item, tuple) for item in found.calibration} == {are_pairs}
    assert (len(found.calibration), len(found.rows), found.available) == (200, 280, 280)
    (shape,) = {sample.shape[1:] for sample in found.reader.samples(found.calibration, 16)}
    assert shape == ((2,) if are_pairs else ())
    told = "most likely reads two texts" in capfd.readouterr().err
    assert told == (are_pairs and task != "question-answering")


def test_what_eval_reads_convert_reads(tmp_path: Path) -> None:
    """Of every task, where the columns are its own."""
    rows: dict[str, list[dict[str, Any]]] = {
        "question-answering": [
            {"question": "who ?", "context": "ada was born", "answers": ["ada"]}
        ],
        "token-classification": [{"tokens": ["ada", "was"], "tags": ["NAME", "O"], "id": 3}],
        "sentence-embedding": [{"sentence1": "good", "sentence2": "fine film", "score": 0.5}] * 3,
    }
    for task, content in rows.items():
        folder = toy_folders.write_folder(
            tmp_path / task, task=task, labels=toys.ENTITIES, small=True
        )
        data = tmp_path / f"{task}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in content))
        found = job(folder, evaluation=str(data))
        expected = read_rows(folder, str(data), "validation")
        assert found.rows == expected.part(expected.drawn(3))
        assert found.truth == found.task.truth(found.rows, found.labels)
        assert found.truth is not None
        calibrated = job(folder, calibration=str(data))
        assert sorted(calibrated.calibration) == sorted(expected.items)


def one_by_one(model: Path, items: Sequence[Any]) -> list[str]:
    """The labels that the Python API gives pairs, in a process without TensorFlow."""
    program = (
        "import json, sys; from tfedge.runtime import load; "
        "model = load(sys.argv[1], 'tflite-runtime'); "
        "print(json.dumps([model(*pair)['label'] for pair in json.loads(sys.argv[2])]))"
    )
    command = [sys.executable, "-c", program, str(model), json.dumps(items)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    labels: list[str] = json.loads(done.stdout)
    return labels


def test_converted_model(source: Path, tmp_path: Path) -> None:
    """The judge asks pairs; eval gives what the pipeline answers to them one by one."""
    data = write_pairs(tmp_path / "pairs.csv")
    options = dataclasses.replace(
        QUICK,
        quantization="int8",
        calibration=str(data),
        evaluation=str(data),
        output=tmp_path / "out",
        max_drop=100.0,
    )
    report = as_json(convert(str(source), options, Bars()))
    rows = read_rows(source, str(data), "validation")
    model = tmp_path / "out" / "toy" / "toy_int8.tflite"
    answers = one_by_one(model, rows.items)
    accuracy = np.mean([a == b for a, b in zip(answers, rows.truth or (), strict=True)])
    board = Board(runtime="tflite-runtime")
    assert [found["label"] for found in board.answers(model, rows.items)] == answers
    assert as_json(evaluate(model, None, rows, board, Bars()))["accuracy"] == accuracy
    figures = report["evaluation"]["runtimes"]["tflite-runtime"]
    assert (figures["accuracy"], figures["texts"]) == (accuracy, len(rows))
    assert evaluate(source, model, rows, board, Bars()).unanswered == 0
