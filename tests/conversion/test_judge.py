"""Which conversions lose too much, and what is said of them."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import toy_folders
from bars import Bars

from tfedge import tasks
from tfedge.conversion.chance import loss
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.judge import _MORE_EXACT, Judge, _figures
from tfedge.errors import RejectedModelError
from tfedge.quantize.modes import QUANTIZATIONS
from tfedge.records import as_json
from tfedge.tasks.base import Rows


def job(
    quantization: str, graph: str = "integer", weight_bits: float = 8, what: str = "text"
) -> Any:
    """What `Judge.advice` reads of a job."""
    return SimpleNamespace(
        quantization=quantization,
        task=tasks.find(f"{what}-classification"),
        shape=SimpleNamespace(graph=graph),
        options=SimpleNamespace(weight_bits=weight_bits),
    )


@pytest.mark.parametrize(
    ("given", "mode", "said"),
    [
        (
            job("int8"),
            "dynamic",
            "--quant dynamic would do, and --quant auto looks for what is faster; or try training for "
            "integers (tfedge qad) or a larger --max-drop",
        ),
        (
            job("int8", what="image"),
            "float16",
            "--quant float16 would do, and --quant auto looks for what is faster; or try a larger "
            "--max-drop",
        ),
        (job("dynamic"), "float16", "--quant float16 would do; or try a larger --max-drop"),
        (
            job("int8", "edgetpu"),
            None,
            "try training for integers (tfedge qad --target edgetpu) or a larger --max-drop",
        ),
        (job("mixed", weight_bits=5.5), None, "try more --weight-bits or a larger --max-drop"),
        (job("int4"), "dynamic", "--quant dynamic would do; or try a larger --max-drop"),
        (job("float16"), None, "try a larger --max-drop"),
    ],
)
def test_advice(given: Any, mode: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "_mode_that_would_do", lambda self, path: mode)
    assert Judge(given, Path()).advice(Path()) == said


def test_no_mode_is_tried_for_other_graphs() -> None:
    assert Judge(job("int8", "edgetpu"), Path())._mode_that_would_do(Path()) is None


def test_modes_to_try_exist() -> None:
    assert {*_MORE_EXACT, *itertools.chain(*_MORE_EXACT.values())} <= set(QUANTIZATIONS)


def test_the_mode_that_would_do_was_tried(tmp_path: Path) -> None:
    """Ranks of the toy's similarities, which are all alike, suffer from int8 while cosines do not."""
    toy = toy_folders.write_folder(tmp_path / "toy", "bert", "sentence-embedding", small=True)
    texts = toy_folders.write_sentences(tmp_path / "toy.tsv", 60)
    options = ConvertOptions(
        *("int8", 16, ()),
        calibration=str(texts),
        runtime="litert",
        max_drop=0.05,
        output=tmp_path,
        keep_reference=True,
    )
    bars = Bars()
    with pytest.raises(RejectedModelError) as raised:
        convert(str(toy), options, bars)
    assert re.fullmatch(
        r"toy in int8 is further from float on .* in litert than --max-drop 0\.05 allows: rank "
        r"correlation 0\.99\d*, below 0\.9992; --quant dynamic would do, and --quant auto looks for "
        r"what is faster; or try .* the file is kept as .*\.rejected",
        str(raised.value),
    )
    assert [bar.description for bar in bars][-3:] == [
        "running it in litert",
        "converting to dynamic",
        "running it in litert",
    ]
    # What was only tried is not kept.
    kept = {path.name for path in (tmp_path / "toy").glob("*.tflite*")}
    assert kept == {
        "toy_int8.tflite.rejected",
        "toy_int8.tflite.rejected.json",
        "toy_int8_reference.tflite",
    }
    report = as_json(
        convert(str(toy), dataclasses.replace(options, quantization="dynamic"), Bars())
    )
    assert report["evaluation"]["runtimes"]["litert"]["passed"]


def judged(task: str, truth: Any = None, max_drop: float = 1.0, available: int = 0) -> Any:
    """What `_figures` reads of a job."""
    return SimpleNamespace(
        task=tasks.find(task),
        goal=tasks.find(task).score,
        lists=None,
        truth=truth,
        labels=["bad", "good"],
        max_drop=max_drop,
        available=available,
    )


RIGHT, WRONG = {"label": "bad"}, {"label": "good"}


def answers_of(float_alone: int, this_alone: int, count: int = 40) -> Any:
    """Answers in float and of the converted model to texts whose labels are all `bad`."""
    expected = [WRONG] * this_alone + [RIGHT] * (count - this_alone)
    return expected, [RIGHT] * (count - float_alone) + [WRONG] * float_alone


def test_a_loss_that_chance_could_make_only_warns() -> None:
    """Of 40 texts, float alone answers 3 rightly and the other 1; only those 4 say which is better."""
    sides = answers_of(3, 1)
    found, faults = _figures(judged("text-classification", [0] * 40), *sides)
    assert found.drop == pytest.approx(100 * 2 / 40)
    assert (found.passed, faults) == (True, [])
    assert found.comparison["only_other_right"] == 3
    told = "2 of 40 texts lost, 5.00 points (95 % interval -6.69 to 17.63)"
    assert found.warning == (
        f"{told}, more than --max-drop 1, but chance could make as much: a larger --eval would tell"
    )
    assert loss(found, tasks.find("text-classification")) == told
    won, _ = _figures(judged("text-classification", [0] * 40), *answers_of(1, 3))
    told = told.replace("lost", "won")
    assert loss(won, tasks.find("text-classification")) == told
    found, _ = _figures(judged("text-classification", [0] * 40, available=41), *sides)
    assert str(found.warning).endswith("--eval-limit all would tell")
    found, faults = _figures(judged("text-classification", [0] * 40, 5.1), *sides)
    assert (found.passed, faults, found.warning) == (True, [], None)


@pytest.mark.parametrize(
    ("float_alone", "this_alone", "passed"), [(5, 0, True), (6, 0, False), (7, 1, True)]
)
def test_a_loss_beyond_chance_rejects(float_alone: int, this_alone: int, passed: bool) -> None:
    """McNemar's exact test by hand: 2 / 2^5 = 0.0625, 2 / 2^6 = 0.031, 2 * 9 / 2^8 = 0.070."""
    sides = answers_of(float_alone, this_alone)
    found, faults = _figures(judged("text-classification", [0] * 40), *sides)
    assert found.passed == passed
    assert (found.warning is None) == (not passed)
    if not passed:
        assert faults == [
            "6 of 40 texts lost, 15.00 points (95 % interval 3.18 to 29.07)",
            "34 of 40 texts alike; both right 34, this alone 0, float alone 6 (sign test: p = 0.031)",
        ]


@pytest.mark.parametrize(("others", "passed"), [(0, True), (1, True), (2, True), (3, False)])
def test_without_labels_the_share_of_other_answers_is_judged(others: int, passed: bool) -> None:
    """Clopper and Pearson's interval of 2 of 40 begins at 0.61 %, of 3 at 1.57 %: scipy's binomtest."""
    found, faults = _figures(judged("text-classification"), *answers_of(others, 0))
    assert found.passed == passed
    assert (found.warning is not None) == (others in (1, 2))
    if others == 3:
        assert faults[0] == "3 of 40 texts differ, 7.50 points (95 % interval 1.57 to 20.39)"


@pytest.mark.parametrize(("swapped", "passed"), [(1, True), (20, False)])
def test_other_figures_are_drawn_again(swapped: int, passed: bool) -> None:
    """Scores whose ranks are lost for one text in 40 or for twenty of them."""
    truth = [float(index) for index in range(40)]
    expected = [{"score": value} for value in truth]
    answers = [{"score": value} for value in truth]
    for index in range(swapped):
        answers[index] = {"score": 39.0 - index}
    given: Any = judged("text-regression", truth, max_drop=0.1)
    given.labels = ["score"]
    for item in (*expected, *answers):
        item["scores"] = {"score": item["score"]}  # type: ignore[assignment]
    found, _ = _figures(given, expected, answers)
    assert found.drop > 0.1
    assert found.interval is not None
    assert found.interval[0] <= found.drop <= found.interval[1]
    assert found.passed == passed
    assert (found.warning is None) == (not passed)
    # The same every time.
    assert _figures(given, expected, answers)[0] == found


@pytest.mark.parametrize(
    ("spoilt", "passed", "warns"), [(0, True, False), (1, True, True), (9, False, False)]
)
def test_rerankers_are_judged_by_their_lists(spoilt: int, passed: bool, warns: bool) -> None:
    """One passage of each list answers the query; that the others are ordered as before, which are all
    that a correlation sees, does not help."""
    rows = Rows(
        [(f"query {one}", f"passage {other}") for one in range(10) for other in range(20)],
        [str(int(other == 7)) for _ in range(10) for other in range(20)],
        "lists.tsv",
    )
    given: Any = judged("text-scoring", tasks.find("text-scoring").truth(rows, ["score"]))
    given.labels, given.rows = ["score"], rows
    given.goal, given.lists = given.task.goal(rows), given.task.together(rows)
    assert given.goal == "ndcg_at_10"
    expected = [answer(1.0 if other == 7 else other / 40) for _ in range(10) for other in range(20)]
    answers = [*expected]
    for one in range(spoilt):
        answers[20 * one + 7] = answer(0.0)  # behind the tenth
    found, faults = _figures(given, expected, answers)
    # Of a list that is spoilt nothing is left.
    assert found.goal == "ndcg_at_10"
    assert found.scores == {"float_ndcg_at_10": 1.0, "ndcg_at_10": pytest.approx(1 - spoilt / 10)}
    assert (found.passed, found.warning is not None, bool(faults)) == (passed, warns, not passed)
    if spoilt:
        assert found.interval is not None
        # The bootstrap's, of a mean of ten numbers that are 0 or 100.
        assert found.interval == pytest.approx((0, 30) if spoilt == 1 else (70, 100))


def answer(number: float) -> dict[str, Any]:
    return {"score": number, "scores": {"score": number}}


def test_one_text_that_moves_is_enough() -> None:
    """The mean cosine hides it; more `--max-drop` allows it."""
    vectors = np.random.default_rng(0).normal(size=(60, 16))
    moved = vectors.copy()
    moved[7] += 0.9 * np.linalg.norm(vectors[7]) * np.eye(16)[3]
    expected, answers = ([{"embedding": row.tolist()} for row in side] for side in (vectors, moved))
    found, faults = _figures(judged("sentence-embedding", max_drop=2.0), expected, answers)
    assert found.drop < 2.0
    least = found.comparison["least_cosine"]
    assert 0.5 < least < 0.85
    assert not found.passed
    assert faults == [f"least cosine {least:.4g}, below 0.85"]
    allowed, faults = _figures(judged("sentence-embedding", max_drop=10.0), expected, answers)
    assert (allowed.passed, faults) == (True, [])


def test_a_loss_of_embeddings_is_told_with_its_figures() -> None:
    expected, answers = [{"embedding": [1.0, 0.0]}], [{"embedding": [0.98, 0.2]}]
    _, faults = _figures(judged("sentence-embedding", max_drop=1.0), expected, answers)
    assert faults == ["2.02 points lost", "cosine 0.980, least 0.980"]


def test_entities_count_and_not_the_words_outside_of_them() -> None:
    """A tagger that loses half of the entities has the labels of 97.5 % of the words."""
    tags = ["B-person", *["O"] * 19]
    truth = [[(2 * index, tag) for index, tag in enumerate(tags)] for _ in range(60)]
    found = {"tokens": [{"start": start, "label": tag} for start, tag in truth[0]]}
    lost = {"tokens": [{"start": start, "label": "O"} for start, _ in truth[0]]}
    figures, faults = _figures(
        judged("token-classification", truth, max_drop=5.0), [found] * 60, [found, lost] * 30
    )
    assert figures.scores == {"float_f1": 1.0, "f1": pytest.approx(2 / 3)}
    assert not figures.passed
    assert faults[0].startswith("33.33 points lost")
