"""What tasks read of data, and their metrics against published or hand-made figures."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tfedge import tasks
from tfedge.data.hub import Data
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.tasks.base import Rows
from tfedge.tasks.columns import ColumnNames
from tfedge.tasks.token_classification import entities

TOKENS = tasks.find("token-classification")
QUESTIONS = tasks.find("question-answering")
SENTENCES = tasks.find("sentence-embedding")
WORDS = tasks.find("fill-mask")


def written(folder: Path, *rows: dict[str, Any]) -> Data:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Data(str(path), "validation")


# seqeval's README and documentation of get_entities.
SEQEVAL = [
    ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
    ("O O O B-MISC I-MISC I-MISC O", [("MISC", 3, 5)]),
    ("O O B-MISC I-MISC I-MISC I-MISC O", [("MISC", 2, 5)]),
    ("I-PER I-PER", [("PER", 0, 1)]),  # IOB1
    ("I-PER I-LOC B-LOC", [("PER", 0, 0), ("LOC", 1, 1), ("LOC", 2, 2)]),
    ("B-PER E-PER I-PER S-LOC S-LOC", [("PER", 0, 1), ("PER", 2, 2), ("LOC", 3, 3), ("LOC", 4, 4)]),
    ("NAME NAME O CITY NAME", [("NAME", 0, 1), ("CITY", 3, 3), ("NAME", 4, 4)]),
    ("O", []),
]


@pytest.mark.parametrize(("tags", "expected"), SEQEVAL)
def test_entities(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert list(entities(tags.split())) == expected


def tagged(words: list[str], tags: list[str]) -> dict[str, Any]:
    """An answer in which every letter is a piece, and pieces after the first have other labels."""
    tokens, start = [], 0
    for word, tag in zip(words, tags, strict=True):
        tokens.append({"start": start, "end": start + 1, "label": tag})
        tokens += [
            {"start": start + at, "end": start + at + 1, "label": "O"} for at in range(1, len(word))
        ]
        start += len(word) + 1
    return {"tokens": tokens}


def test_tokens_by_seqeval(tmp_path: Path) -> None:
    """The README's example: F1 0.50, precision 0.50, recall 0.50, accuracy 0.80."""
    true = ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    found = ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"]
    words = [[f"w{i}" for i in range(len(tags.split()))] for tags in true]
    data = written(
        tmp_path,
        *({"tokens": w, "labels": t.split()} for w, t in zip(words, true, strict=True)),
    )
    rows = TOKENS.read(data)
    assert rows.items[1] == "w0 w1 w2"
    labels = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    answers = [tagged(w, t.split()) for w, t in zip(words, found, strict=True)]
    truth = TOKENS.truth(rows, labels)
    assert truth is not None
    assert TOKENS.metric(answers, truth, labels) == {
        "words": 10,
        "accuracy": 0.8,
        "entities": 2,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
    }
    # A text without an answer has no entities, and no right word.
    figures = TOKENS.metric([{"error": "?"}, answers[1]], truth, labels)
    assert (figures["accuracy"], figures["precision"], figures["recall"]) == (0.3, 1.0, 0.5)


def test_numbers_of_labels(tmp_path: Path) -> None:
    rows = TOKENS.read(written(tmp_path, {"tokens": ["ada", "is"], "ner_tags": [1, 0]}))
    assert TOKENS.truth(rows, ["O", "NAME"]) == [[(0, "NAME"), (4, "O")]]
    with pytest.raises(InputError, match=r"labels \['1'\] that the model does not know"):
        TOKENS.truth(rows, ["O"])


@pytest.mark.parametrize(
    "row",
    [
        {"tokens": ["a"], "labels": []},
        {"tokens": "a", "labels": ["O"]},
        {"tokens": [], "labels": []},
        {"tokens": [1], "labels": ["O"]},
    ],
)
def test_bad_tokens(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"row 1: 'tokens' and 'labels' must be lists"):
        TOKENS.read(written(tmp_path, row))


# Golden values of SQuAD's evaluate-v2.0.py, worked through by its rules.
@pytest.mark.parametrize(
    ("found", "right", "exact", "f1"),
    [
        ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("an apple", ["the  Apple."], 1, 1),
        ("in London", ["London", "London, England"], 0, 2 / 3),
        ("new york city", ["New York"], 0, 4 / 5),
        ("Paris", ["Rome"], 0, 0),
        ("Paris", [], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),
        ("", ["Paris"], 0, 0),
        ("", ["The", "Paris"], 0, 0),  # answers without words are none
        ("", ["the"], 1, 1),
    ],
)
def test_answers_by_squad(
    tmp_path: Path, found: str, right: list[str], exact: float, f1: float
) -> None:
    row = {"question": "Where?", "context": "There.", "answers": {"text": right}}
    rows = QUESTIONS.read(written(tmp_path, row))
    assert rows.items == [("Where?", "There.")]
    truth = QUESTIONS.truth(rows, [])
    assert truth is not None
    figures = QUESTIONS.metric([{"answer": found}], truth, [])
    assert figures == {"exact_match": exact, "f1": pytest.approx(f1)}
    for truth in ([["Rome"]], [[""]]):
        assert QUESTIONS.metric([{"error": "?"}], truth, []) == {"exact_match": 0, "f1": 0}


@pytest.mark.parametrize("answers", ["Ada", ["Ada", "Bob"]])
def test_answers_as_texts(tmp_path: Path, answers: Any) -> None:
    row = {"question": "Who?", "context": "Ada.", "answer": answers}
    (right,) = QUESTIONS.read(written(tmp_path, row)).truth or ()
    assert right == (["Ada"] if answers == "Ada" else answers)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"question": "Who?"}, "no column context"),
        ({"context": "Ada."}, "no column question"),
        ({"title": "Ada."}, "has the columns ['title']; name the one with the text"),
        ({"question": "Who?", "context": "Ada.", "answers": 3}, "the answers 3"),
    ],
)
def test_columns_of_questions_are_named(tmp_path: Path, row: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        QUESTIONS.read(written(tmp_path, row))


def test_second_texts(tmp_path: Path) -> None:
    """Of a task that reads one text they are refused, not left out."""
    row = {"text": "a", "label": "x"}
    folder = tmp_path
    for task in (TOKENS, tasks.find("text-classification")):
        with pytest.raises(InputError) as caught:
            task.read(written(folder, {**row, "query": "b", "context": "c"}))
        assert str(caught.value) == (
            f"{folder / 'rows.jsonl'} has the columns 'text', 'query' and 'context', and not all are "
            "read; name the one of the texts with --text-column, and of pairs that of the second text "
            "with --pair-column"
        )
        data = written(folder, {**row, "query": "b", "context": "c"})
        chosen = dataclasses.replace(data, columns=ColumnNames("query"))
        assert task.read(chosen).items == ["b"]
    with pytest.raises(InputError) as caught:
        TOKENS.read(written(folder, {**row, "text_pair": "b"}))
    assert str(caught.value) == (
        f"{folder / 'rows.jsonl'} has pairs of texts, 'text' and 'text_pair', but a model for "
        "token-classification reads one text: name it with --text-column, or join both in one column "
        "'text'"
    )


@pytest.mark.parametrize("name", ["text-classification", "text-multi-label", "text-scoring"])
def test_pairs_are_read_together(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    row = {"id": 1, "hypothesis": "b", "labels": "1", "premise": "a", "genre": "x"}
    data = written(tmp_path, row, row)
    assert tasks.find(name).read(data) == Rows([("a", "b")] * 2, ["1", "1"], data.name)
    assert capfd.readouterr().err == (
        f"tfedge: note: {data.name}: 'premise' and 'hypothesis' are read as a pair; 'id' and 'genre' "
        "are not read\n"
    )
    one = dataclasses.replace(data, columns=ColumnNames("hypothesis"))
    assert tasks.find(name).read(one) == Rows(["b"] * 2, ["1", "1"], data.name)
    assert capfd.readouterr().err == (
        f"tfedge: note: {data.name}: 'id', 'premise' and 'genre' are not read\n"
    )


def test_pairs_elsewhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each text of a pair is embedded by itself; a question is asked of its context."""
    data = written(tmp_path, {"question": "a", "context": "b", "answers": ["b"], "title": "t"})
    assert SENTENCES.read(data).items == ["a", "b"]
    assert "'question' and 'context' are read as texts of their own" in capfd.readouterr().err
    assert QUESTIONS.read(data) == Rows([("a", "b")], [["b"]], data.name)
    assert f"{data.name}: 'title' is not read" in capfd.readouterr().err
    assert QUESTIONS.rows(data.texts()).items == [("a", "b")]
    assert QUESTIONS.rows(Texts(["a", "b", "c"], None, "x")).items[0] == ("b", "a")
    data = written(tmp_path, {"ask": "a", "about": "b", "say": "c"})
    data = dataclasses.replace(data, columns=ColumnNames("ask", "about", "say"))
    assert QUESTIONS.read(data) == Rows([("a", "b")], [["c"]], data.name)
    data = written(tmp_path, {"words": ["a"], "kinds": ["O"], "text": "a", "id": 3})
    data = dataclasses.replace(data, columns=ColumnNames("words", label_column="kinds"))
    assert TOKENS.read(data) == Rows(["a"], [[(0, "O")]], data.name)
    assert f"{data.name}: 'text' and 'id' are not read" in capfd.readouterr().err


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ColumnNames(pair_column="b")
    assert str(caught.value) == (
        "--pair-column b is the second text of a pair; name the first one with --text-column"
    )
    for names in (("a", "c"), ("c", None), ("a", None, "c")):
        data = Data(written(tmp_path, {"a": "x", "b": "y"}).name, "train", ColumnNames(*names))
        for task in (tasks.find("text-classification"), SENTENCES, TOKENS):
            with pytest.raises(InputError) as caught:
                task.read(data)
            assert str(caught.value) == (
                f"{data.name} has no column 'c'; its columns are ['a', 'b']"
            )


def test_many_columns_that_are_not_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path, {"text": "a", **dict.fromkeys("bcdefg", 1)})
    tasks.find("text-classification").read(data)
    assert "'b', 'c', 'd', 'e' and 2 more are not read" in capfd.readouterr().err


def test_usual_texts() -> None:
    """Which models are calibrated on pairs where nobody brings texts."""
    texts = Texts(["a", "b"], ["x", "y"], "own")
    labels = ("Entailment", "neutral", "contradiction")
    classifier = tasks.find("text-classification")
    assert classifier.usual(texts, labels).texts == [("b", "a"), ("a", "b")]
    assert classifier.usual(texts, ("x", "y")) is texts
    assert tasks.find("text-scoring").usual(texts, ("LABEL_0",)).are_pairs
    assert tasks.find("text-regression").usual(texts, ("LABEL_0",)) is texts


def test_scores_of_pairs(tmp_path: Path) -> None:
    """Of STS the score is the truth, whatever other labels there are."""
    rows = [{"sentence1": "a", "sentence2": "b", "label": "x", "score": 2.5}]
    scorer = tasks.find("text-scoring")
    found = scorer.read(written(tmp_path, *rows))
    assert found.items == [("a", "b")]
    assert scorer.truth(found, ("LABEL_0",)) == [2.5]


PAIRS = st.lists(st.tuples(st.sampled_from((-0.9, 0.0, 0.2, 0.7)), st.integers(0, 3)), min_size=3)


@given(pairs=PAIRS)
def test_spearman(pairs: list[tuple[float, int]]) -> None:
    """Against scipy, ties included."""
    cosines, scores = zip(*pairs, strict=True)
    answers = []
    for cosine in cosines:
        answers += [{"embedding": [1.0, 0.0]}, {"embedding": [cosine, (1 - cosine**2) ** 0.5]}]
    found = SENTENCES.metric(answers, scores, [])
    if len(set(cosines)) == 1 or len(set(scores)) == 1:
        expected = 0.0
    else:
        expected = scipy.stats.spearmanr(cosines, scores).statistic
    assert found == {"pairs": len(pairs), "spearman": pytest.approx(expected, abs=1e-9)}


@pytest.mark.parametrize("names", [("text", "text_pair"), ("sentence1", "sentence2")])
def test_pairs_of_sentences(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [{names[0]: f"a{i}", names[1]: f"b{i}", "score": i / 2} for i in range(3)]
    found = SENTENCES.read(written(tmp_path, *rows))
    assert found == Rows(
        ["a0", "b0", "a1", "b1", "a2", "b2"], ["0.0", "0.5", "1.0"], found.source, 2
    )
    assert found.head(2) == Rows(["a0", "b0", "a1", "b1"], ["0.0", "0.5"], found.source, 2)
    assert found.part([2, 0]).items == ["a2", "b2", "a0", "b0"]
    assert found.part([2]) == Rows(["a2", "b2"], ["1.0"], found.source, 2)
    assert sorted(found.drawn(9)) == [0, 1, 2]
    assert (len(found), SENTENCES.truth(found, ())) == (3, [0, 0.5, 1])


def test_bad_scores_and_sentences(tmp_path: Path) -> None:
    rows = SENTENCES.read(written(tmp_path, {"text": "a", "text_pair": "b", "score": "high"}))
    with pytest.raises(InputError, match="the label 'high' is no number; give numbers"):
        SENTENCES.truth(rows, ())
    with pytest.raises(InputError, match="row 1, has an empty 'text_pair'"):
        SENTENCES.read(written(tmp_path, {"text": "a", "text_pair": "", "score": 1}))


@pytest.mark.parametrize("task", [TOKENS, SENTENCES])
def test_columns_are_named(tmp_path: Path, task: Any) -> None:
    with pytest.raises(InputError, match=f"{task.name} is measured on the columns t"):
        task.read(written(tmp_path, {"words": "a"}))
    assert task.read(written(tmp_path, {"text": "a"})) == Rows(
        ["a"], None, str(tmp_path / "rows.jsonl")
    )


def guessed(*words: str) -> dict[str, Any]:
    """An answer whose best words these are."""
    return {"masks": [{"words": [{"word": word}, {"word": "other"}]} for word in words]}


def test_masked_words(tmp_path: Path) -> None:
    rows = WORDS.read(written(tmp_path, {"text": "Ada was born."}, {"text": "a film"}))
    assert rows.truth is not None and len(rows.items) == 2
    for item, word, text in zip(rows.items, rows.truth, ("Ada was born.", "a film"), strict=True):
        assert item.replace("[MASK]", word) == text and "[MASK]" in item
    assert WORDS.read(written(tmp_path, {"text": "Ada was born."})).items[0] == rows.items[0]
    own = WORDS.read(written(tmp_path, {"text": "Ada was <mask>."}, {"text": "a film"}))
    assert (own.items, own.truth) == (["Ada was <mask>.", "a film"], None)
    assert WORDS.as_read(Texts(["..."], None, "dots")).texts == ["[MASK]"]
    answers = [guessed("Ada"), guessed("film"), {"error": "no"}, guessed("a")]
    figures = WORDS.metric(answers, ["ada", "films", "a", "A"], [])
    assert figures == {"words": 4, "accuracy": 0.5}
    assert WORDS.summary(figures) == ["50.00 % of 4 masked words guessed"]
    assert WORDS.difference(guessed("a", "b"), guessed("a", "c")) == 0.5
