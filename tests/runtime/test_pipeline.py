"""The Python interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfedge.runtime import BackendError, OptionError, Pipeline, TextError, load

Load = Callable[[str], Pipeline]


def test_one_text_and_several(load_toy: Load) -> None:
    classify = load_toy("classifier")
    good, bad = classify("good"), classify("bad")
    assert (good["label"], bad["label"]) == ("positive", "negative")
    assert classify(["good", "bad"]) == [good, bad]
    assert classify(text for text in ("good", "bad")) == [good, bad]
    assert classify([]) == []


def test_bad_texts_among_several(load_toy: Load) -> None:
    texts: list[Any] = ["good", "", None, b"good", ("a", ""), ("a",), (), "bad"]
    answers = load_toy("classifier")(texts)
    assert [answer.get("label") for answer in answers] == ["positive", *[None] * 6, "negative"]
    assert all(("error" in answer) != ("label" in answer) for answer in answers)
    assert answers[2] == {"text": None, "error": "the text must be a string, not NoneType"}


def test_stream_answers_before_it_reads_on(load_toy: Load) -> None:
    read = []

    def texts() -> Iterator[str]:
        for text in ("good", "", "bad"):
            read.append(text)
            yield text

    for count, answer in enumerate(load_toy("classifier").stream(texts()), 1):
        assert len(read) == count
        assert answer["text"] == read[-1]


def test_bad_single_text_raises(load_toy: Load) -> None:
    for text in ("", " ", "\0", b"good", ("good",), ("good", "bad", "bad")):
        with pytest.raises(TextError):
            load_toy("classifier")(text)  # type: ignore[arg-type]
    for model in ("tagger", "embedder"):
        with pytest.raises(TextError, match="the model needs one text, not a pair"):
            load_toy(model)(("good", "bad"))
    with pytest.raises(TextError, match="a second text goes with one text"):
        load_toy("reader")([("a", "b")], "c")


def test_ways_to_ask(load_toy: Load) -> None:
    ask = load_toy("reader")
    answer = ask("who ?", "Ada was born .")
    assert (answer["question"], answer["answer"]) == ("who ?", "Ada")
    assert ask(("who ?", "Ada was born .")) == answer
    assert ask([("who ?", "Ada was born .")]) == [answer]
    assert ask(["who ?"])[0]["error"].startswith("the model needs a question and a context;")


def test_ways_to_ask_of_pairs(load_toy: Load) -> None:
    classify = load_toy("classifier")
    answer = classify("good", "film")
    assert list(answer) == ["text", "text_pair", "label", "score", "scores"]
    assert (answer["text"], answer["text_pair"]) == ("good", "film")
    # The toy subtracts what the second text's tokens number.
    assert answer["score"] != classify("good film")["score"]
    pair, fields = ("good", "film"), {"text": "good", "text_pair": "film"}
    assert classify(pair) == classify(fields) == answer
    assert classify([pair, fields, "good"]) == [answer, answer, classify("good")]
    assert list(classify.stream([pair, fields])) == [answer, answer]
    assert classify({"text": "good"}) == classify({"text": "good", "text_pair": None})
    assert classify.count_tokens(pair) == classify.count_tokens(fields) == 5
    assert classify.answer(fields, classify.prepare(fields)) == answer
    ask = load_toy("reader")
    question = {"question": "who ?", "context": "Ada was born ."}
    assert ask(question) == ask([question])[0] == ask("who ?", "Ada was born .")


@pytest.mark.parametrize(
    ("model", "item", "reason"),
    [
        ("classifier", {"texts": "good"}, "a dict must have 'text' and 'text_pair', not 'texts'"),
        ("classifier", {"text": "good", "pair": "x"}, "not 'text', 'pair'"),
        ("classifier", {}, "a dict must have 'text'"),
        ("classifier", ("good", 3), "the second text must be a string, not int"),
        ("embedder", {"text": "good", "text_pair": "bad"}, "a dict must have 'text', not"),
        ("tagger", ("good", "bad"), "the model needs one text, not a pair"),
        ("reader", {"text": "good"}, "a dict must have 'question' and 'context', not 'text'"),
        ("reader", {"question": "who ?"}, "needs a question and a context"),
        ("reader", ("a", "b", "c"), r"a tuple must be \(question, context\), not 3 items"),
    ],
)
def test_what_is_no_pair(load_toy: Load, model: str, item: Any, reason: str) -> None:
    with pytest.raises(TextError, match=reason):
        load_toy(model)(item)
    (answer,) = load_toy(model)([item])
    assert "error" in answer and "label" not in answer


def test_top_k(load_toy: Load) -> None:
    assert list(load_toy("classifier")("good", top_k=1)["scores"]) == ["positive"]
    for name, top_k in (("classifier", 0), ("embedder", 1)):
        with pytest.raises(OptionError):
            load_toy(name)("good", top_k=top_k)
        with pytest.raises(OptionError):
            next(load_toy(name).stream(["good"], top_k=top_k))


def test_a_context_in_windows(load_toy: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = load_toy("reader")
    pair = ("who ?", "a film . " * 9 + "Ada was born .")
    rows = []
    run = ask._model.run

    def record(key: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows.append(inputs["attention_mask"])
        return run(key, inputs)

    monkeypatch.setattr(ask._model, "run", record)
    answer = ask(*pair)
    # 31 tokens, of which a window holds 11 and moves on by 3.
    assert [row.shape for row in rows] == [(1, 16)] * 8
    assert ask.count_tokens(pair) == sum(int(row.sum()) for row in rows)
    assert (answer["answer"], answer["start"]) == ("Ada", 81)
    assert "truncated" not in answer
    assert ask.answer(pair, ask.prepare(pair)) == answer


def test_no_answer(load_toy: Load) -> None:
    ask = load_toy("reader")
    empty, filled = ("who ?", "a film ."), ("who ?", "Ada was born .")
    answers = ask([empty, filled], no_answer=True)
    assert [answer["answer"] for answer in answers] == ["", "Ada"]
    assert list(ask.stream([empty, filled], no_answer=True)) == answers
    assert ask(*empty, no_answer=True) == answers[0]
    assert ask(*empty)["answer"] != ""
    with pytest.raises(OptionError, match="no_answer does not apply to text-classification"):
        load_toy("classifier")("good", no_answer=True)


def test_special_tokens_are_left_out(load_toy: Load) -> None:
    tokens = load_toy("tagger")("Ada was")["tokens"]
    assert [token["token"] for token in tokens] == ["ada", "was"]


def test_embedding(load_toy: Load) -> None:
    vector = load_toy("embedder")("good film")["embedding"]
    assert vector[:3] == pytest.approx([4 / 16, 0, 4 / 16])
    assert all(type(value) is float for value in vector)


def test_shortest_signature_that_fits(load_toy: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    classify = load_toy("buckets")
    used = []
    run = classify._model.run

    def record(key: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        used.append((key, inputs["input_ids"].shape[1]))
        return run(key, inputs)

    monkeypatch.setattr(classify._model, "run", record)
    for words in (1, 6, 7, 14, 99):  # [CLS] and [SEP] come on top
        assert classify("good " * words)["label"] == "positive"
    assert used == [("short", 8)] * 2 + [("serving_default", 16)] * 3


def test_lengths_do_not_change_answers(load_toy: Load) -> None:
    short, long = load_toy("buckets")("a fine film"), load_toy("classifier")("a fine film")
    assert short["scores"] == pytest.approx(long["scores"])


def test_numbers_that_are_not_finite(load_toy: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    classify = load_toy("classifier")
    broken = {"logits": np.array([[np.nan, 1]], np.float32)}
    monkeypatch.setattr(classify._model, "run", lambda key, inputs: broken)
    with pytest.raises(TextError, match="not finite"):
        classify("good")


def test_failure_of_the_runtime(load_toy: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first answer the model is to blame, afterwards the text."""
    classify = load_toy("classifier")

    def fail(key: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise BackendError("no")

    monkeypatch.setattr(classify._model, "run", fail)
    monkeypatch.setattr(classify._model, "has_answered", False)
    with pytest.raises(BackendError):
        classify(["good"])
    monkeypatch.setattr(classify._model, "has_answered", True)
    assert classify(["good"]) == [{"text": "good", "error": "no"}]


def test_what_a_pipeline_says_of_itself(load_toy: Load, in_process: str) -> None:
    pipeline = load_toy("classifier")
    assert (pipeline.runtime, pipeline.num_threads) == (in_process, 1)
    assert pipeline.manifest.labels == ("negative", "positive")
    assert pipeline.count_tokens("a good film") == 5


def test_one_length_for_all_texts(toys: Path, in_process: str) -> None:
    texts = ["good", "good " * 6 + "bad " * 7]
    free = load(toys / "buckets.tflite", in_process, 1)
    fixed = {
        length: load(toys / "buckets.tflite", in_process, 1, length=length) for length in (8, 16)
    }
    assert [free.max_length, fixed[8].max_length, fixed[16].max_length] == [16, 8, 16]
    assert fixed[8](texts[0])["scores"] == pytest.approx(free(texts[0])["scores"])
    assert fixed[16](texts[1]) == free(texts[1])
    assert fixed[8].count_tokens(texts[1]) == 8
    for length in (0, 12):
        with pytest.raises(OptionError, match=f"no graph for {length} tokens; it has 8, 16$"):
            load(toys / "buckets.tflite", in_process, 1, length=length)


def test_an_answer_in_two_halves(load_toy: Load) -> None:
    for name, text in (("classifier", "a good film"), ("reader", ("who ?", "Ada was born ."))):
        pipeline = load_toy(name)
        encoded = pipeline.prepare(text)
        assert len(encoded) == pipeline.count_tokens(text)
        assert pipeline.answer(text, encoded) == pipeline(text)
    with pytest.raises(TextError):
        load_toy("classifier").prepare("")
