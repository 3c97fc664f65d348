"""Pairs of texts in every training: what only both texts tell is learned, with their token types."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toys
from bars import Bars
from records import Record, request
from transformers import AutoTokenizer

from tfedge.conversion.convert import ConvertOptions
from tfedge.conversion.job import Job
from tfedge.data.hub import read_data
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import is_of_pairs
from tfedge.models.cost import load_times
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.text_classification import TASK
from tfedge.train import qad as module
from tfedge.train.cache import Outputs, open_cache
from tfedge.train.distil import DistillationLosses, distil, with_hidden
from tfedge.train.examples import Examples, by_length, tokenize
from tfedge.train.finetune import finetune
from tfedge.train.prune import prune
from tfedge.train.qad import qad
from tfedge.train.select import Space
from tfedge.train.shrink import Goal, shrink
from tfedge.train.sparsity import PruningOptions
from tfedge.train.training import TrainingOptions

LABELS = ["other", "same"]
WORDS = ("good", "bad")
LEARNING = TrainingOptions(epochs=40, batch_size=16, learning_rate=1e-2, max_length=16)
SHORT = TrainingOptions(steps=4, batch_size=8, learning_rate=1e-3, max_length=16)
STUDENT = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whether both texts have the same word; neither tells alone. The second column stands first."""
    path = tmp_path_factory.mktemp("pairs") / "same.csv"
    rows = [
        f"{second} film,{number},the film is {first},{LABELS[first == second]}"
        for number, (first, second) in enumerate(list(itertools.product(WORDS, WORDS)) * 4)
    ]
    path.write_text("\n".join(["hypothesis,id,premise,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def pairs(file: Path) -> Texts:
    return read_data(str(file), "train")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = tmp_path_factory.mktemp("source")
    folder = toy_folders.write_folder(folder, labels=LABELS, small=True, **none)
    return toy_folders.give_types(folder)


@pytest.fixture(scope="module")
def classifier(source: Path, pairs: Texts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy that has learned `pairs`."""
    folder = tmp_path_factory.mktemp("classifier") / "out"
    asked = request(source, pairs, folder, LEARNING, Record(), evaluation=pairs)
    assert finetune(asked, LABELS).accuracy == 1.0
    return folder


def test_what_only_the_pair_tells_is_learned(classifier: Path, pairs: Texts) -> None:
    answers = checkpoint_answers(classifier, pairs.texts)
    assert [answer["label"] for answer in answers] == pairs.labels


@pytest.mark.parametrize("column", ["premise", "hypothesis"])
def test_one_text_alone_tells_nothing(
    source: Path, file: Path, column: str, tmp_path: Path
) -> None:
    texts = read_data(str(file), "train", ColumnNames(column))
    assert {len(text.split()) for text in texts.texts} == {4 if column == "premise" else 2}
    asked = request(source, texts, tmp_path / "out", SHORT, Record(), evaluation=texts)
    assert finetune(asked, LABELS).accuracy == 0.5


def test_what_has_learned_pairs_is_calibrated_on_them(
    classifier: Path, source: Path, pairs: Texts, tmp_path: Path
) -> None:
    """And no longer where it learns single texts next."""
    options = ConvertOptions(quantization="float32", sequence_length=16)
    for folder, expected in ((classifier, True), (source, False)):
        job = Job(str(folder), options, Bars())
        assert {isinstance(item, tuple) for item in job.calibration} == {expected}
    single = Texts([first for first, _ in pairs.texts], pairs.labels, "x")
    config = Checkpoint(classifier).config
    assert is_of_pairs(config)
    asked = request(classifier, single, tmp_path / "out", SHORT, Record())
    assert finetune(asked, LABELS).accuracy is None
    assert not is_of_pairs(Checkpoint(tmp_path / "out").config)


@pytest.mark.parametrize("length", [16, 10, 7])
def test_tokens_are_those_of_transformers(source: Path, length: int) -> None:
    items = [
        ("the film is good", "bad film"),
        ("good", "the film was dull , where is the film ?"),
        ("where is the film , who was born in the film", "awful , the film was dull and bad"),
    ]
    texts = Texts(items, None, "x", ("premise", "hypothesis"))
    examples = tokenize(TASK.rows(texts), TASK, load_tokenizer(source), None, length)
    batch = examples.inputs(np.arange(3), ("input_ids", "attention_mask", "token_type_ids"), length)
    expected = AutoTokenizer.from_pretrained(source)(
        *map(list, zip(*items, strict=True)),
        truncation=True,
        max_length=length,
        return_token_type_ids=True,
    )
    for row, (ids, types) in enumerate(
        zip(expected["input_ids"], expected["token_type_ids"], strict=True)
    ):
        count = examples.lengths[row]
        assert count == len(ids) == int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, :count].tolist() == ids
        assert batch["token_type_ids"][row, :count].tolist() == types
        assert set(types) == {0, 1}
    assert examples.token_ids.tolist() == sorted(
        {one for ids in expected["input_ids"] for one in ids}
    )


def test_stored_outputs_of_a_teacher_are_those_of_pairs(
    classifier: Path, pairs: Texts, tmp_path: Path
) -> None:
    """With their token types, without which the answers are others."""
    checkpoint = Checkpoint(classifier)
    encoder = build(checkpoint.config, "text-classification", 2)
    load_weights(encoder.model, checkpoint, "text-classification")
    teacher = with_hidden(encoder)
    examples = tokenize(TASK.rows(pairs), TASK, load_tokenizer(classifier), None, 16)
    outputs = Outputs.of(teacher, ["hidden_states"])
    cache = open_cache(tmp_path, {"teacher": "a"}, outputs, examples, lambda _: None)
    flat = Examples([one[:, 0] for one in examples.sequences], examples.labels)
    assert flat.sha256 != examples.sha256
    for indices, batch in by_length(examples, teacher):
        stored, _ = cache.batch(indices, batch["input_ids"].shape[1])
        np.testing.assert_allclose(stored, teacher(batch)["logits"], atol=1e-5)
        assert batch["token_type_ids"].any()
        without = {**batch, "token_type_ids": np.zeros_like(batch["input_ids"])}
        assert np.abs(stored - teacher(without)["logits"]).max() > 1e-3


def test_distil(classifier: Path, pairs: Texts, tmp_path: Path) -> None:
    losses = DistillationLosses(relations=1.0)
    asked = request(classifier, pairs, tmp_path / "out", SHORT, Record(), evaluation=pairs)
    assert distil(asked, STUDENT, losses, 0.5, tmp_path / "cache").accuracy is not None
    answers = checkpoint_answers(tmp_path / "out", pairs.texts[:1])
    assert answers[0]["label"] in LABELS


def test_prune(classifier: Path, pairs: Texts, tmp_path: Path) -> None:
    asked = request(classifier, pairs, tmp_path / "out", SHORT, Record(), evaluation=pairs)
    report = prune(asked, PruningOptions(0.3), DistillationLosses(), random_share=0.5)
    assert (report.texts, report.steps) == (len(pairs), 4)


def test_shrink(classifier: Path, pairs: Texts, tmp_path: Path) -> None:
    goal = Goal(0.7, Space(frozenset({"neurons"}), False), 16, load_times("rpi4"))
    asked = request(classifier, pairs, tmp_path / "out", SHORT, Record(), evaluation=pairs)
    report = shrink(asked, goal, DistillationLosses())
    assert report.accuracy is not None
    assert report.accuracy["before"] == 1.0


def test_qad(classifier: Path, pairs: Texts, tmp_path: Path) -> None:
    """What was learned is kept, and token types are in what calibrates."""
    seen: list[Any] = []
    genuine = module.prepare

    def prepare(*arguments: Any, **options: Any) -> Any:
        seen.extend(arguments[2])
        return genuine(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "prepare", prepare)
        asked = request(classifier, pairs, tmp_path / "out", SHORT, Record(), evaluation=pairs)
        report = qad(asked, DistillationLosses())
    assert report.after.texts == len(pairs) == len(seen)
    assert all(sample.shape[1] == 2 and sample[:, 1].any() for sample in seen)
    answers = checkpoint_answers(tmp_path / "out", pairs.texts)
    assert (
        np.mean([a["label"] == b for a, b in zip(answers, pairs.labels or [], strict=True)]) > 0.7
    )


def test_a_model_of_one_text_refuses_pairs(pairs: Texts, tmp_path: Path) -> None:
    source = toy_folders.write_folder(
        tmp_path / "tagger", task="token-classification", labels=toys.ENTITIES, small=True
    )
    asked = request(source, pairs, tmp_path / "out", SHORT, Record(), evaluation=pairs)
    with pytest.raises(InputError, match="'premise' and 'hypothesis', but a model for token-class"):
        qad(asked, DistillationLosses())
    assert not (tmp_path / "out").exists()
