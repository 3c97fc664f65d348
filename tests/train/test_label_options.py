"""What fine-tuning makes of labels besides learning them: a threshold, weights."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import toy_folders
from records import Record, request, weights

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.checkpoint import Checkpoint
from tfedge.tasks import scope, task_and_labels
from tfedge.train.finetune import LabelOptions, finetune
from tfedge.train.result import Trained
from tfedge.train.training import TrainingOptions

OPTIONS = TrainingOptions(epochs=40, batch_size=8, learning_rate=3e-3, max_length=16)
NAMES = ["good", "bad", "oos"]
ENDS = ("film", "the film", "in the film")
# The words of a label, in texts of several lengths.
INSIDE = [
    (f"{who} is {word} {end}", word)
    for who, word, end in itertools.product(("ada", "bob"), NAMES[:2], ENDS)
]
OUTSIDE = [(f"{who} was ? {end}", "oos") for who, end in itertools.product(("who", "where"), ENDS)]


def texts(rows: list[tuple[str, str]], source: str = "toy.tsv") -> Texts:
    return Texts([text for text, _ in rows], [label for _, label in rows], source)


def run(output: Path, rows: list[tuple[str, str]], of_labels: LabelOptions) -> Trained:
    source = toy_folders.write_folder(output.parent / "source", small=True)
    held_out = texts([*INSIDE, *OUTSIDE], "dev.tsv")
    asked = request(source, texts(rows), output, OPTIONS, Record(), evaluation=held_out)
    return finetune(asked, NAMES, of_labels)


@pytest.mark.parametrize("is_learned", [False, True])
def test_texts_out_of_scope_get_their_label(tmp_path: Path, is_learned: bool) -> None:
    rows = [*INSIDE, *OUTSIDE[: 3 * is_learned]]
    trained = run(tmp_path / "model", rows, LabelOptions(out_of_scope="oos"))
    assert trained.figures is not None
    told = [trained.figures[name] for name in (scope.RECALL, scope.PRECISION, scope.INSIDE)]
    # Any program reads it off the weights.
    (kernel,) = (one for name, one in weights(tmp_path / "model").items() if "classifier.w" in name)
    assert bool(kernel[2].any()) == is_learned
    assert task_and_labels(Checkpoint(tmp_path / "model"))[1] == NAMES
    held_out = [*INSIDE, *OUTSIDE]
    answers = checkpoint_answers(tmp_path / "model", [text for text, _ in held_out], lambda _: None)
    found = [answer["label"] for answer in answers]
    hits = sum(label == "oos" for label in found[len(INSIDE) :])
    inside = sum(label == true for label, (_, true) in zip(found, INSIDE, strict=False))
    assert told[0] == pytest.approx(hits / len(OUTSIDE))
    assert told[1] == pytest.approx(hits / found.count("oos"))
    assert told[2] == pytest.approx(inside / len(INSIDE))
    if is_learned:
        assert min(told) > 0.7


def test_a_threshold_needs_texts_to_choose_it_by(tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", small=True)
    held_out = texts(INSIDE, "dev.tsv")
    for evaluation in (None, held_out):
        asked = request(
            source, texts(INSIDE), tmp_path / "model", OPTIONS, Record(), evaluation=evaluation
        )
        with pytest.raises(InputError, match="oos needs --eval with texts of that label"):
            finetune(asked, NAMES, LabelOptions(out_of_scope="oos"))


def test_a_rare_label_counts_as_much_as_others(tmp_path: Path) -> None:
    """Of texts that say nothing, one in ten has a label: balanced, both are equally likely."""
    source = toy_folders.write_folder(tmp_path / "source", small=True)
    rows = texts([("the film", "good")] * 36 + [("the film", "bad")] * 4)
    found = []
    for is_balanced in (False, True):
        output = tmp_path / str(is_balanced)
        options = dataclasses.replace(OPTIONS, epochs=30)
        asked = request(source, rows, output, options, Record())
        finetune(asked, NAMES[:2], LabelOptions(class_weights=is_balanced))
        (answer,) = checkpoint_answers(output, ["the film"], lambda _: None)
        found.append(answer["scores"]["bad"])
    assert found == [pytest.approx(0.1, abs=0.06), pytest.approx(0.5, abs=0.15)]


def test_options_are_for_classifiers(tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", small=True)
    rows = Texts(["ada", "bob"] * 4, ["1", "2.5"] * 4, "toy.tsv")
    asked = request(source, rows, tmp_path / "model", OPTIONS, Record(), task="text-regression")
    with pytest.raises(InputError, match="--class-weights balanced is for text-classification"):
        finetune(asked, ["score"], LabelOptions(class_weights=True))
