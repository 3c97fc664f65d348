"""Lists of candidates for a query: which rows are lists, and how well they are ordered."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge import tasks
from tfedge.data.hub import Data
from tfedge.data.overlap import held_apart
from tfedge.errors import InputError
from tfedge.tasks.base import Rows
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.guess import task_of
from tfedge.tasks.ranking import Candidate, candidates, figures, ndcg, reciprocal_rank

SCORE, NUMBER = tasks.find("text-scoring"), tasks.find("text-regression")
TIED = [0.2, 0.7, 0.1, 0.4, 0.5, 0.4, 0.6, 0.7, 1.0, 0.3, 0.6, 0.7, 0.3, 0.0]


def written(folder: Path, *rows: dict[str, Any]) -> Data:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(str(path), "validation", ColumnNames())


def lists(*queries: tuple[str, list[float]]) -> Rows:
    items = [(query, f"passage {n}") for query, found in queries for n, _ in enumerate(found)]
    return Rows(items, [str(one) for _, found in queries for one in found], "lists.tsv")


# What ndcg_score(..., k=10) of scikit-learn 1.9.1 gives; the first two stand in its documentation.
@pytest.mark.parametrize(
    ("relevance", "scores", "expected"),
    [
        ([10, 0, 0, 1, 5], [0.1, 0.2, 0.3, 4, 70], 0.6956940443813076),
        ([10, 0, 0, 1, 5], [0.05, 1.1, 1.0, 0.5, 0.0], 0.493680191377376),
        ([10, 0, 0, 1, 5], [1, 0, 0, 0, 1], 0.9279733094794905),
        ([3, 0, 0, 0, 0, 3, 3, 2, 0, 0, 1, 1, 2, 1], TIED, 0.4717815348050343),
        ([0] * 12 + [1], list(range(13, 0, -1)), 0.0),
        ([0, 0], [1, 2], 0.0),
    ],
)
def test_ndcg_by_scikit_learn(relevance: list[float], scores: list[float], expected: float) -> None:
    found = ndcg(np.array(relevance, float), np.array(scores, float))
    assert found == pytest.approx(expected, abs=1e-12)


LIST = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=6)


@settings(deadline=None)
@given(LIST, st.integers(0, 9))
def test_rank_is_the_mean_over_orders_of_what_is_equal(
    candidates: list[tuple[bool, int]], above: int
) -> None:
    """`above` candidates that are not relevant stand first for certain."""
    relevant, scores = map(np.array, zip(*candidates, strict=True))
    ranks = []
    for order in itertools.permutations(range(len(scores))):
        sure = sorted(order, key=lambda index: -scores[index])
        rank = next((above + 1 + at for at, index in enumerate(sure) if relevant[index]), 11)
        ranks.append(1 / rank if rank <= 10 else 0)
    found = reciprocal_rank(
        np.concatenate([np.zeros(above, bool), relevant]),
        np.concatenate([np.full(above, 3), scores]),
    )
    assert found == pytest.approx(np.mean(ranks))


def test_lists_by_hand() -> None:
    """Ranks 2 and 1, no relevant candidate in the third list, one candidate in the fourth."""
    rows = lists(("A", [1, 0, 0]), ("b", [0, 1, 1]), ("c", [0, 0]), ("d", [1]))
    truth = SCORE.truth(rows, ["score"])
    assert truth is not None
    answers = [{"score": one} for one in (0.5, 0.9, 0.1, 0.2, 0.8, 0.3, 0.5, 0.6, 0.9)]
    found = SCORE.metric(answers, truth, ["score"])
    assert found["queries"] == 3
    assert found["mrr_at_10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["ndcg_at_10"] == pytest.approx((1 / np.log2(3) + 1 + 0) / 3)
    assert SCORE.summary(found)[1] == "MRR@10 50.00   nDCG@10 54.36   of 3 lists of candidates"
    assert SCORE.goal(rows) == NUMBER.goal(rows) == "ndcg_at_10"


@pytest.mark.parametrize(
    "rows",
    [
        lists(("a", [1, 0]), ("b", [1]), ("c", [0])),  # two of four rows
        lists(("a", [1, 1]), ("b", [0, 0])),  # nothing to put first
        lists(("a", [1, -1])),
        lists(("a", [4.5, 3, 1])),  # how alike texts are, as SICK has it
        Rows(["a", "a"], ["1", "0"], "texts"),
    ],
)
def test_what_are_no_lists(rows: Rows) -> None:
    truth = NUMBER.truth(rows, ["score"])
    assert truth is not None
    found = NUMBER.metric([{"score": 0.1 * n} for n, _ in enumerate(truth)], truth, ["score"])
    assert "queries" not in found
    assert len(NUMBER.summary(found)) == 1
    assert NUMBER.goal(rows) == "spearman"


def test_goal_of_texts_with_words_for_labels() -> None:
    rows = lists(("a", [1, 0]))
    assert NUMBER.goal(Rows(rows.items, ["x", "y"], "words.tsv")) == "spearman"


def test_queries_are_the_same_but_for_case() -> None:
    rows = Rows([("Who ?", "a"), ("who  ?", "b")], ["1", "0"], "x")
    found = candidates(rows, [1.0, 0.0])
    assert figures(found, np.array([0.2, 0.1]))["queries"] == 1


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ({"positive": ["p"], "negative": ["n", "m"]}, [("p", 1), ("n", 0), ("m", 0)]),
        ({"positive": ["p"], "documents": ["n", "p"]}, [("p", 1), ("n", 0)]),
        ({"positive": [], "negative": ["n"]}, [("n", 0)]),
    ],
)
def test_samples_of_sentence_transformers(
    tmp_path: Path, sample: dict[str, Any], expected: list[tuple[str, float]]
) -> None:
    data = written(
        tmp_path, {"query": "a", "positive": ["x"], "negative": ["y"]}, sample | {"query": "q"}
    )
    assert task_of(data.table, data.columns) == "text-scoring"
    rows = SCORE.read(data)
    assert rows.items[2:] == [("q", passage) for passage, _ in expected]
    assert SCORE.truth(rows, ["score"]) == [1, 0, *(relevance for _, relevance in expected)]


@pytest.mark.parametrize(
    "sample",
    [
        {"positive": "p", "negative": ["n"]},
        {"positive": ["p"]},
        {"positive": ["p"], "negative": [1]},
        {"positive": [], "negative": []},
        {"query": ["q"], "positive": ["p"], "negative": ["n"]},
    ],
)
def test_bad_samples(tmp_path: Path, sample: dict[str, Any]) -> None:
    good = {"query": "a", "positive": ["x"], "negative": ["y"]}
    with pytest.raises(
        InputError, match=r"row 2: a query with candidates is a text 'query', a list"
    ):
        SCORE.read(written(tmp_path, good, {"query": "q", **sample}))


def test_relevance_says_what_is_trained(tmp_path: Path) -> None:
    row = {"query": "q", "passage": "p"}
    for relevance, task in ((1, "text-scoring"), (3, "text-regression")):
        data = written(tmp_path, {**row, "relevance": relevance}, {**row, "relevance": 0})
        assert task_of(data.table, data.columns) == task
        assert tasks.find(task).read(data).truth == [str(relevance), "0"]


def test_lists_are_held_apart_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows = lists(*((f"query {n}", [1, 0, 0, 0, 0]) for n in range(40)))
    train, held_out = held_apart(rows, SCORE.together(rows))
    assert held_out is not None
    assert (len(train), len(held_out)) == (180, 20)
    assert not {query for query, _ in train.items} & {query for query, _ in held_out.items}
    assert "20 of the 200 rows of lists.tsv, 4 whole lists of candidates" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "queries"), [(1, 1), (20, 4), (23, 5), (500, 40)])
def test_lists_are_drawn_whole(count: int, queries: int) -> None:
    rows = lists(*((f"query {n}", [1, 0, 0, 0, 0]) for n in range(40)))
    found = rows.part(rows.drawn(count, SCORE.together(rows)))
    assert len(found) == 5 * queries
    assert len({query for query, _ in found.items}) == queries
    assert rows.part(rows.drawn(count, SCORE.together(rows))) == found


def test_a_candidate_is_a_number() -> None:
    assert np.asarray([Candidate(0.5, "q")], np.float32).tolist() == [0.5]
