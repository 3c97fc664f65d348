"""Candidate labels: the hypotheses, the ids and the scores of transformers' pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forge
import numpy as np
import pytest
import toys as toy_builder
from program import infer
from tokenizers import Tokenizer

from tfedge.runtime import OptionError, Pipeline, TextError, load
from tfedge.runtime.tokenizer import Encoded, TextEncoder
from tfedge.runtime.wanted import Wanted
from tfedge.runtime.zero_shot import TEMPLATE, ZeroShot

ENCODER = TextEncoder(toy_builder.tokenizer_json(), 48)
NLI = ("contradiction", "neutral", "entailment")
# Of which the entailment is in the middle, first, last, or one of two.
MODELS = (NLI, ("Entailment", "neutral", "contradiction"), ("c", "ENTAILED", "n"), ("no", "entail"))
LABELS = ("film", "great", "a film", "born")
TEXT = "ada was born in a great film"


def logits_of(pair: Encoded, count: int) -> np.ndarray:
    return np.random.default_rng(pair.ids).normal(0, 3, count).astype(np.float32)


def theirs(
    text: str, labels: Sequence[str], candidates: Any, template: str, multi_label: bool
) -> dict[str, Any]:
    """What transformers' pipeline makes of the same logits."""
    from transformers.pipelines import zero_shot_classification as judge

    handler = judge.ZeroShotClassificationArgumentHandler()
    candidates = handler._parse_labels(candidates)
    pairs, _ = handler(text, candidates, template)
    label2id = {label: index for index, label in enumerate(labels)}
    model = SimpleNamespace(config=SimpleNamespace(label2id=label2id))
    pipeline = judge.ZeroShotClassificationPipeline
    entailment = pipeline.entailment_id.fget(SimpleNamespace(model=model))
    outputs = []
    for candidate, pair in zip(candidates, pairs, strict=True):
        library = Tokenizer.from_buffer(toy_builder.tokenizer_json())
        library.enable_truncation(48, strategy="only_first")
        logits = logits_of(library.encode(*pair), len(labels))[None]
        tensor = SimpleNamespace(float=lambda logits=logits: SimpleNamespace(numpy=lambda: logits))
        outputs.append({"candidate_label": candidate, "sequence": text, "logits": tensor})
    self = SimpleNamespace(entailment_id=entailment)
    found: dict[str, Any] = pipeline.postprocess(self, outputs, multi_label=multi_label)
    return found


def ours(text: str, labels: Sequence[str], **asked: Any) -> dict[str, Any]:
    chosen = ZeroShot(labels, Wanted(**asked))
    return chosen.answer(text, ENCODER, lambda pair: logits_of(pair, len(labels)))


@pytest.mark.parametrize("labels", MODELS)
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(
    ("candidates", "template"),
    [
        (LABELS, TEMPLATE),
        (list(LABELS), "it is {}, is it ?"),
        ("film, great ,,a film", "{}"),
        (["great"], TEMPLATE),
        ([letter * count for letter in "abcdefghij" for count in range(1, 6)], TEMPLATE),
    ],
)
def test_scores_are_those_of_transformers(
    labels: Sequence[str], candidates: Any, template: str, multi_label: bool
) -> None:
    for text in (TEXT, f"{TEXT} " * 20):
        expected = theirs(text, labels, candidates, template, multi_label)
        asked = {"hypothesis_template": template, "multi_label": multi_label}
        answer = ours(text, labels, candidate_labels=candidates, **asked)
        assert list(answer["scores"]) == expected["labels"]
        assert list(answer["scores"].values()) == pytest.approx(expected["scores"], abs=1e-6)
        assert (answer["label"], answer["score"]) == next(iter(answer["scores"].items()))
        assert answer.get("truncated", False) == (text != TEXT)


def test_the_likeliest_ones_only() -> None:
    whole = ours(TEXT, NLI, candidate_labels=LABELS)
    some = ours(TEXT, NLI, candidate_labels=LABELS, top_k=2)
    assert list(some["scores"].items()) == list(whole["scores"].items())[:2]


BAD = {
    "none": ({"candidate_labels": " , "}, "candidate_labels has no label"),
    "twice": ({"candidate_labels": "a,b,a"}, "candidate_labels has 'a' twice"),
    "no place": ({"candidate_labels": "a", "hypothesis_template": "It is so."}, "has no place for"),
    "two places": ({"candidate_labels": "a", "hypothesis_template": "{} {}"}, "cannot be filled"),
    "a name": ({"candidate_labels": "a", "hypothesis_template": "{x}"}, "cannot be filled"),
    "half": ({"candidate_labels": "a", "hypothesis_template": "{"}, "cannot be filled"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_asked(kind: str) -> None:
    asked, reason = BAD[kind]
    with pytest.raises(OptionError, match=reason):
        ZeroShot(NLI, Wanted(**asked))  # type: ignore[arg-type]


def test_many_candidates_are_compared_in_no_time() -> None:
    started = time.process_time()
    ZeroShot(NLI, Wanted(candidate_labels=[f"label {number}" for number in range(100_000)]))
    assert time.process_time() - started < 5


def test_models_of_something_else() -> None:
    for labels in (("negative", "positive"), ("entail", "entailment")):
        with pytest.raises(OptionError, match=rf"begins with \"entail\".* are {', '.join(labels)}"):
            ZeroShot(labels, Wanted(candidate_labels="a"))


def test_a_hypothesis_without_room_for_the_text() -> None:
    with pytest.raises(TextError, match="no room for the text: 48 tokens are all"):
        ours("good", NLI, candidate_labels="good " * 40)


@pytest.fixture(scope="module")
def nli(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = forge.with_manifest(
        (toys / "classifier.tflite").read_bytes(), labels=["contradiction", "entailment"]
    )
    path = tmp_path_factory.mktemp("nli") / "nli.tflite"
    path.write_bytes(content)
    return path


def test_in_python(nli: Path, in_process: str, load_toy: Callable[[str], Pipeline]) -> None:
    model = load(nli, in_process, num_threads=1)
    asked: dict[str, Any] = {
        "candidate_labels": ["good", "dull"],
        "hypothesis_template": "is {}",
    }
    answer = model("a film", **asked)
    assert list(answer) == ["text", "label", "score", "scores"]
    # The toy adds goodness up, and the hypothesis is a part of what it reads.
    assert (answer["text"], answer["label"]) == ("a film", "good")
    assert sum(answer["scores"].values()) == pytest.approx(1)
    assert sum(model("a film", multi_label=True, **asked)["scores"].values()) != pytest.approx(1)
    texts: list[Any] = ["a film", "", ("a", "b"), {"text": "a film"}]
    answers = model(texts, **asked)
    assert list(model.stream(texts, **asked)) == answers
    assert answers[0] == answers[3] == answer
    assert answers[1] == {"text": "", "error": "the text is empty"}
    assert "for one text, not for a pair" in answers[2]["error"]
    assert model("a film")["label"] in ("contradiction", "entailment")
    with pytest.raises(OptionError, match="need candidate_labels"):
        model("a film", multi_label=True)
    with pytest.raises(OptionError, match="candidate_labels does not apply to sentence-embedding"):
        load_toy("embedder")("a film", candidate_labels=["good"])
    with pytest.raises(TypeError, match="candidates"):
        model("a film", candidates=["good"])


def test_on_the_command_line(nli: Path, toys: Path) -> None:
    asked = ("--model", nli, "--candidate-labels", "dull, good", "--hypothesis-template", "is {}")
    (line,) = infer(*asked, "a film").lines
    assert line.split("\t")[0] == "good"
    (line,) = infer(*asked, "--top-k", "2", "--multi-label", stdin=b"a film\n").lines
    assert line.split("\t")[::2] == ["good", "dull"]
    (answer,) = infer(*asked, "--json", "a film").objects
    assert list(answer) == ["text", "label", "score", "scores"]
    for wrong, reason in (
        ((*asked, "--hypothesis-template", "It.", "a"), ": --hypothesis-template 'It.' has no"),
        ((*asked, "--benchmark", "3", "a film"), "--benchmark times no --candidate-labels"),
        ((*asked, "--pair", "a", "film"), "--candidate-labels are for one text"),
        (
            ("--model", nli, "--multi-label", "a film"),
            "--multi-label need --candidate-labels; give",
        ),
        (("--model", toys / "classifier.tflite", *asked[2:], "a"), 'begins with "entail"'),
        (("--model", toys / "tagger.tflite", *asked[2:], "a"), "does not apply to token-class"),
    ):
        result = infer(*wrong)
        assert (result.code, result.lines, len(result.errors)) == (2, [], 1)
        assert reason in result.errors[0]
