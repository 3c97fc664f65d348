"""Logits to spans of words: by hand, as transformers does it, and by a search of all spans."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import tokenizers
import toys as toy_builder
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.runtime.tasks.base import softmax
from tfedge.runtime.tasks.question_answering import MAX_ANSWER_TOKENS, SPANS, TASK
from tfedge.runtime.wanted import Wanted
from tfedge.runtime.windows import PairEncoder

TOKENIZER = toy_builder.tokenizer_json()
LENGTH = 16
QUESTION = "who ?"  # with [CLS] and [SEP] the first four tokens
BEFORE = 4
ALLOWED = Wanted(no_answer=True)
Probabilities = list[list[float]]  # of [CLS] and the tokens of the context, for each window


def answered(
    context: str, starts: Probabilities, ends: Probabilities, wanted: Wanted = ALLOWED
) -> dict[str, Any]:
    """The answer where the model gives these probabilities, and nonsense for other tokens."""
    encoded = PairEncoder(TOKENIZER, LENGTH).encode(QUESTION, context)
    outputs = {}
    for name, rows in (("start_logits", starts), ("end_logits", ends)):
        logits = np.full((len(encoded.windows), LENGTH), 99, np.float32)
        for row, (none, *tokens) in zip(logits, rows, strict=True):
            row[0] = np.log(none)
            row[BEFORE : BEFORE + len(tokens)] = np.log(tokens)
        outputs[name] = logits
    return TASK.answer(outputs, encoded, (QUESTION, context), (), wanted)


def test_a_span_and_its_probability() -> None:
    """Starts 0.6, 0.2, 0.1 and ends 0.2, 0.1, 0.6: most is 0.6 * 0.6 of "Ada good bad"."""
    found = answered("Ada good bad", [[0.1, 0.6, 0.2, 0.1]], [[0.1, 0.2, 0.1, 0.6]])
    assert found == {"answer": "Ada good bad", "score": pytest.approx(0.36), "start": 0, "end": 12}
    # No end before its start: of 0.6 * 0.6 in the wrong order nothing is left; "bad" has 0.6 * 0.2.
    found = answered("Ada good bad", [[0.1, 0.1, 0.2, 0.6]], [[0.1, 0.6, 0.1, 0.2]])
    assert found == {"answer": "bad", "score": pytest.approx(0.12), "start": 9, "end": 12}


def test_no_answer() -> None:
    """[CLS] has 0.5 * 0.6 = 0.3, the best span 0.4 * 0.3 = 0.12."""
    given = "good film", [[0.5, 0.4, 0.1]], [[0.6, 0.1, 0.3]]
    assert answered(*given) == {"answer": "", "score": pytest.approx(0.3), "start": 0, "end": 0}
    found = answered(*given, Wanted())
    assert found == {"answer": "good film", "score": pytest.approx(0.12), "start": 0, "end": 9}
    # 0.2 * 0.2 against 0.7 * 0.7: an answer, of the same score whether it may be empty or not.
    given = "good film", [[0.2, 0.7, 0.1]], [[0.2, 0.7, 0.1]]
    assert answered(*given) == answered(*given, Wanted())
    assert answered(*given)["answer"] == "good"
    # Equally likely: an answer.
    assert answered("good", [[0.5, 0.5]], [[0.5, 0.5]])["answer"] == "good"


def test_spans_of_the_same_words_add_up() -> None:
    """The pieces a, ##b, ##c of "abc" and "good". Starts 0, 0.2, 0.3, 0.1, 0.4, ends 0.4 of "good" and
    0.2 of each piece. "good" has 0.4 * 0.4 = 0.16. "abc" has 0.2 * (0.2 + 0.2 + 0.2) + 0.3 * (0.2 +
    0.2) + 0.1 * 0.2 = 0.26, "abc good" (0.2 + 0.3 + 0.1) * 0.4 = 0.24."""
    tiny = 1e-9
    found = answered("abc good", [[tiny, 0.2, 0.3, 0.1, 0.4]], [[tiny, 0.2, 0.2, 0.2, 0.4]])
    assert found == {"answer": "abc", "score": pytest.approx(0.26), "start": 0, "end": 3}


def test_the_same_words_elsewhere_add_up() -> None:
    """As transformers has it, without regard to case, named as where they are likeliest: "Ada" has
    0.3 * 0.3 + 0.4 * 0.4 = 0.25, "was" between them 0.3 * 0.3, and all three tokens 0.3 * 0.4."""
    found = answered("Ada was ADA", [[1e-9, 0.3, 0.3, 0.4]], [[1e-9, 0.3, 0.3, 0.4]])
    assert found == {"answer": "ADA", "score": pytest.approx(0.25), "start": 8, "end": 11}


def test_windows() -> None:
    """Of 14 tokens the first window has 11, the second the last 11. Its best span wins; no answer
    has the least of 0.5 * 0.5 and 0.2 * 0.2."""
    context = "a b c d e f g h i j k l m n"
    first = [0.5, 0.1, *[0.4 / 10] * 10]
    second = [0.2, *[0.1 / 10] * 10, 0.7]
    found = answered(context, [first, second], [first, second])
    assert found == {"answer": "n", "score": pytest.approx(0.49), "start": 26, "end": 27}
    # 0.6 in both of the two windows, of "k": with 0.36 twice the score is 0.72.
    first, second = [0.3, *[0.01] * 10, 0.6], [0.3, *[0.01] * 7, 0.6, *[0.01] * 3]
    found = answered(context, [first, second], [first, second])
    assert found == {"answer": "k", "score": pytest.approx(0.72), "start": 20, "end": 21}


def test_no_answer_by_all_windows() -> None:
    context = "a b c d e f g h i j k l m n"
    first, second = [0.8, *[0.2 / 11] * 11], [0.6, *[0.4 / 11] * 11]
    found = answered(context, [first, second], [first, second])
    assert (found["answer"], found["score"]) == ("", pytest.approx(0.36))


def test_a_word_ends_with_its_window() -> None:
    """The first window ends after the pieces x, ##y of "xyz", and so do answers in it, as those of
    transformers 4.57."""
    context = "a b c d e f g h i xyz"
    first, second = [0.1, *[0.01] * 9, 0.1, 0.7], [0.1, *[0.09] * 9, 0.09]
    found = answered(context, [first, second], [first, second], Wanted())
    assert (found["answer"], found["start"], found["end"]) == ("xy", 18, 20)


# What `postprocess` of QuestionAnsweringPipeline in transformers 4.57.1 (src/transformers/pipelines/
# question_answering.py) returns, with handle_impossible_answer or not, for the windows that
# `tokenizers` makes with stride 8 and the logits below: context, logit of [CLS], whether no answer is
# allowed -> score, start, end.
ONE = "Ada was born in a film ."
SEVERAL = (
    "bob was in good film , ada in bad film . Where was the dull film ? the film was in a film"
)
PIECES = "xyz ADA12 , Ada12 , ada12 and é"
TRANSFORMERS = [
    (ONE, 0, False, 0.1336827, 8, 24),
    (ONE, 0, True, 0.1336827, 8, 24),
    (ONE, 6, False, 0.000484759, 8, 24),
    (ONE, 6, True, 0.8764644, 0, 0),
    (SEVERAL, 0, False, 0.2097658, 51, 59),
    (SEVERAL, 0, True, 0.2097658, 51, 59),
    (SEVERAL, 6, False, 0.001540717, 51, 59),
    (SEVERAL, 6, True, 0.8267567, 0, 0),
    (PIECES, 0, False, 0.1847420, 10, 29),
    (PIECES, 0, True, 0.1847420, 10, 29),
    (PIECES, 6, False, 0.001520324, 10, 29),
    (PIECES, 6, True, 0.8267567, 0, 0),
]


@pytest.mark.parametrize(("context", "none", "allowed", "score", "start", "end"), TRANSFORMERS)
def test_as_transformers(
    context: str, none: float, allowed: bool, score: float, start: int, end: int
) -> None:
    encoded = PairEncoder(TOKENIZER, LENGTH).encode(QUESTION, context)
    at = np.arange(len(encoded.windows) * LENGTH).reshape(-1, LENGTH)
    outputs = {"start_logits": (at * 7 % 11 - 5) / 2, "end_logits": (at * 5 % 13 - 6) / 2}
    for logits in outputs.values():
        logits[:, 0] = none
    found = TASK.answer(outputs, encoded, (QUESTION, context), (), Wanted(no_answer=allowed))
    assert found["score"] == pytest.approx(score, rel=1e-5)
    assert (found["start"], found["end"]) == (start, end)
    assert found["answer"] == context[start:end]


@settings(deadline=None, max_examples=150)
@given(
    words=st.lists(
        st.sampled_from(["good", "xyz", "Ada", "ADA", "é,", "born.", "a-b", "x1"]),
        min_size=1,
        max_size=40,
    ),
    seed=st.integers(0, 1 << 32),
    spread=st.sampled_from([0.5, 3, 12]),
    allowed=st.booleans(),
)
def test_best_of_all_spans(words: list[str], seed: int, spread: float, allowed: bool) -> None:
    context = " ".join(words)
    encoded = PairEncoder(TOKENIZER, LENGTH).encode(QUESTION, context)
    random = np.random.default_rng(seed)
    starts, ends = random.normal(scale=spread, size=(2, len(encoded.windows), LENGTH))
    outputs = {"start_logits": starts, "end_logits": ends}
    answer = TASK.answer(outputs, encoded, (QUESTION, context), (), Wanted(no_answer=allowed))

    # Words by the tokeniser's own rule, before it makes pieces of them; at most to a window's ends.
    reader = tokenizers.Tokenizer.from_buffer(TOKENIZER)
    assert reader.pre_tokenizer is not None
    bounds = [span for _, span in reader.pre_tokenizer.pre_tokenize_str(context)]
    scores: dict[str, float] = defaultdict(float)
    nothing = 1.0
    ends_of_words = set()
    for row, window in enumerate(encoded.windows):
        count = len(window.positions(1))
        kept = [0, *range(BEFORE, BEFORE + count)]
        left, right = window.offsets[kept[1]][0], window.offsets[kept[-1]][1]
        inside = [(max(first, left), min(last, right)) for first, last in bounds]
        ends_of_words |= {*inside}
        p, q = softmax(starts[row, kept]), softmax(ends[row, kept])
        nothing = min(nothing, p[0] * q[0])
        spans = [
            (p[i] * q[j], window.offsets[kept[i]][0], window.offsets[kept[j]][1])
            for i in range(1, count + 1)
            for j in range(i, min(count + 1, i + MAX_ANSWER_TOKENS))
        ]
        for score, start, end in sorted(spans, reverse=True)[:SPANS]:
            begin = max(first for first, _ in inside if first <= start)
            finish = min(last for _, last in inside if last >= end)
            scores[context[begin:finish].lower()] += score
    best = max(scores.values())
    if allowed and nothing > best:
        assert answer == {"answer": "", "score": pytest.approx(nothing), "start": 0, "end": 0}
        return
    assert answer["score"] == pytest.approx(best)
    assert answer["answer"] == context[answer["start"] : answer["end"]]
    assert scores[answer["answer"].lower()] == pytest.approx(best)
    assert answer["start"] in {start for start, _ in ends_of_words}
    assert answer["end"] in {end for _, end in ends_of_words}


@pytest.mark.parametrize("worst", [1e30, -1e30])
def test_absurd_logits(worst: float) -> None:
    """Of a context of no probability at all the first word is the answer."""
    encoded = PairEncoder(TOKENIZER, LENGTH).encode(QUESTION, "good film")
    logits = np.full((1, LENGTH), -worst, np.float32)
    logits[0, 0] = worst
    outputs = {"start_logits": logits, "end_logits": logits}
    found = TASK.answer(outputs, encoded, (QUESTION, "good film"), ())
    assert found["answer"] in ("good", "good film")
    none = TASK.answer(outputs, encoded, (QUESTION, "good film"), (), ALLOWED)
    assert (none["answer"] == "") == (worst > 0)


def test_a_tokeniser_without_a_token_for_no_answer() -> None:
    reader = tokenizers.Tokenizer.from_buffer(TOKENIZER)
    reader.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A", pair="$A $B:1", special_tokens=[]
    )
    encoded = PairEncoder(reader.to_str().encode(), LENGTH).encode(QUESTION, "good film")
    logits = np.zeros((1, LENGTH), np.float32)
    logits[0, :2] = 50  # the question
    outputs = {"start_logits": logits, "end_logits": logits}
    found = TASK.answer(outputs, encoded, (QUESTION, "good film"), (), ALLOWED)
    assert (found["answer"], found["score"]) == ("good", pytest.approx(0.25))
