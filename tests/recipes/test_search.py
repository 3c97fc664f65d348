"""Searching for settings, on stages that only leave figures behind."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import toy_folders

from tfedge import cli
from tfedge.cli.stages import stages_summary
from tfedge.errors import InputError, MissingPackageError
from tfedge.recipes import plan
from tfedge.recipes import run as running
from tfedge.recipes.recipe import Recipe, read_recipe
from tfedge.recipes.result import RunReport, Search
from tfedge.recipes.search import Space, search
from tfedge.train.figures import add_figures, read_figures

RECIPE = """
[defaults]
data = "train.tsv"
eval = "test.tsv"
[trim]
model = "encoder"
vocab_size = 200
[finetune]
learning_rate = 1e-4
[convert]
"""
BEST = 3e-4
OVER = "finetune.learning_rate=1e-5..1e-3"


class Trainings:
    """Stages that leave a file and the report of a training, of which one rate is the best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: list[str] = []
        self.rates: list[float] = []
        self.epochs = 0  # of which figures are told before the end
        self.fails = False

    def call(self, step: plan.Step, ends: running.Ends | None = None) -> dict[str, Any]:
        self.called.append(step.stage.name)
        assert step.product is not None
        step.product.parent.mkdir(parents=True, exist_ok=True)
        step.product.write_text(json.dumps(step.arguments))
        if step.stage.name != "finetune":
            return {"output": str(step.product)}
        rate = float(step.stage.given["learning_rate"])
        self.rates.append(rate)
        if self.fails:
            raise running.StageError("[finetune] ended with exit code 3", 3)
        figure = 1 / (1 + abs(rate - BEST) / BEST)
        for epoch in range(self.epochs):
            add_figures(self._logs(step), epoch + 1, self.epochs, {"loss": 1.0, "eval_f1": figure})
            if ends is not None and ends():
                raise running.StageEnded
        return {"output": str(step.product), "goal": "f1", "figures": {"f1": figure}}

    def _logs(self, step: plan.Step) -> Path:
        folder = Path(str(step.stage.given["logs"]))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def read(self, more: Mapping[str, Any]) -> Recipe:
        return read_recipe(self.folder / "mine.toml", cli.main.commands, more)

    def search(self, count: int, *over: str) -> Search:
        self.said: list[str] = []
        spaces = [Space.parse(text) for text in over or (OVER,)]
        return search(self.read, spaces, count, self.said.append)


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    (tmp_path / "mine.toml").write_text(RECIPE)
    toy_folders.write_sentences(tmp_path / "train.tsv", 12)
    toy_folders.write_sentences(tmp_path / "test.tsv", 8)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"weights")
    made = Trainings(tmp_path)
    monkeypatch.setattr(running, "_call", made.call)
    return made


def test_the_best_is_found_and_kept(trainings: Trainings) -> None:
    found = trainings.search(12)
    assert trainings.called == ["trim", *["finetune"] * 12]
    assert found.goal == "f1"
    assert len(found.trials) == 12
    assert found.best.figure == max(trial.figure or 0.0 for trial in found.trials) > 0.7
    (rate,) = found.best.settings.values()
    assert rate in trainings.rates
    # Nothing of it is run again, and what comes after it is made of it.
    trainings.called = []
    report = running.run(trainings.read(found.best.settings), False, trainings.said.append)
    assert trainings.called == ["convert"]
    output = trainings.folder / "build" / "mine"
    assert [row.action for row in report.stages] == ["skip", "skip", "run"]
    assert report.stages[1].result is not None
    assert report.stages[1].result["output"] == str(output / "finetune" / "mine")
    assert report.stages[2].command[2] == str(output / "finetune" / "mine")


def test_it_goes_on_where_it_was(trainings: Trainings) -> None:
    first = trainings.search(3)
    trainings.called = []
    again = trainings.search(5)
    assert trainings.called == ["finetune"] * 2
    assert again.trials[:3] == first.trials
    trainings.called = []
    assert trainings.search(5) == again
    assert trainings.called == []


def test_a_search_waits_for_another_of_the_same_folder(trainings: Trainings) -> None:
    output = trainings.folder / "build" / "mine"
    free = threading.Event()

    def hold() -> None:
        with running.locked(output):
            held.set()
            free.wait(20)

    held, holder = threading.Event(), threading.Thread(target=hold)
    holder.start()
    held.wait()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        free.set()

    with running.locked(output, say):
        assert said == [f"waiting for another `tfedge run` in {output}"]
    holder.join()


def test_same_seed_same_trials(trainings: Trainings) -> None:
    found = trainings.search(6)
    for path in (trainings.folder / "build").rglob("study.log"):
        path.unlink()
    assert trainings.search(6) == found


def test_other_texts_are_another_search(trainings: Trainings) -> None:
    trainings.search(3)
    toy_folders.write_sentences(trainings.folder / "train.tsv", 10)
    trainings.called = []
    assert len(trainings.search(3).trials) == 3
    assert trainings.called.count("finetune") == 3


def test_what_does_worse_than_most_is_ended_early(trainings: Trainings) -> None:
    trainings.epochs = 3
    found = trainings.search(14)
    early = [trial for trial in found.trials if trial.figure is None]
    assert 0 < len(early) < 14
    assert sum("ended early, it does worse than most" in line for line in trainings.said) == len(
        early
    )
    said = stages_summary(RunReport("mine.toml", "build", False, [], found)).splitlines()
    assert said[0] == f"searched: 14 trials, {len(early)} of them ended early"
    assert len(said) == 1 + 14 - len(early)
    assert said[1].startswith(f"  f1 {found.best.figure:.4f}  finetune.learning_rate ")


def test_a_stage_that_fails_ends_the_search(trainings: Trainings) -> None:
    trainings.fails = True
    with pytest.raises(running.StageError, match="ended with exit code 3"):
        trainings.search(3)
    trainings.fails = False
    assert len(trainings.search(3).trials) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distil.epochs=3..20", Space("distil.epochs", 3, 20)),
        ("distil.learning_rate=1e-5..1e-3", Space("distil.learning_rate", 1e-5, 1e-3)),
        ("distil.preset=tinybert,minilm", Space("distil.preset", choices=("tinybert", "minilm"))),
        ("distil.batch_size=16,32", Space("distil.batch_size", choices=(16, 32))),
    ],
)
def test_spaces(text: str, expected: Space) -> None:
    assert Space.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "distil", "epochs=3", "epochs=3,4", "a.b=3..", "a.b=9..3", "a.b=x..y", "a.b=1..1"]
)
def test_what_is_no_space(text: str) -> None:
    with pytest.raises(InputError, match="is nothing to search; give TABLE"):
        Space.parse(text)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            "convert.seq_len=16,32",
            r"cannot be searched.* \[finetune\] gives; take settings of trim, f",
        ),
        ("qad.steps=1..9", "qad.steps cannot be searched"),
        ("finetune.learning=1..9", "unknown 'learning'"),
    ],
)
def test_what_cannot_be_searched(trainings: Trainings, over: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainings.search(2, over)


def test_nothing_to_compare_by(trainings: Trainings) -> None:
    path = trainings.folder / "mine.toml"
    path.write_text(RECIPE.replace('eval = "test.tsv"\n', ""))
    with pytest.raises(InputError, match="has no texts to compare trials by; give --eval"):
        trainings.search(2)
    path.write_text(RECIPE.replace("[finetune]\nlearning_rate = 1e-4\n", ""))
    with pytest.raises(InputError, match=r"has no \[finetune\] or \[distil\] whose settings"):
        trainings.search(2)


def test_without_optuna(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"--search needs Optuna; pip install .optuna"):
        trainings.search(2)


def test_figures_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.jsonl"
    assert read_figures(path) == []
    add_figures(tmp_path, 2, 9, {"loss": 0.5})
    add_figures(tmp_path, 4, 9, {"eval_accuracy": 0.75})
    with path.open("a") as file:
        file.write('{"step": 6, "eval_acc')
    assert read_figures(path) == [(4, 0.75)]
