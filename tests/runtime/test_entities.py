"""Entities, against the TokenClassificationPipeline of transformers itself.

Its methods need no torch: they are called on an object that has a tokeniser and labels, and no model.
"""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace
from typing import Any

import byte_level
import numpy as np
import pytest
import toys as toy_builder
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tokenizers import AddedToken, Tokenizer, processors
from transformers import PreTrainedTokenizerFast
from transformers.pipelines.token_classification import (
    AggregationStrategy,
    TokenClassificationPipeline,
)

from tfedge.runtime import OptionError, Pipeline, TextError, tasks
from tfedge.runtime.entities import STRATEGIES
from tfedge.runtime.tokenizer import TextEncoder
from tfedge.runtime.wanted import Wanted

TASK = tasks.find("token-classification")
MAX_LENGTH = 24
WORDS = ("simple", "first", "average", "max")  # all but "none"


def without_marks() -> bytes:
    """The toys' WordPiece, its pieces without "##"."""
    fields = json.loads(toy_builder.tokenizer_json())
    fields["model"]["continuing_subword_prefix"] = ""
    return json.dumps(fields).encode()


def with_special_tokens() -> bytes:
    """The toys' tokeniser, which knows special tokens where a text spells them out, as real ones do."""
    tokenizer = Tokenizer.from_str(toy_builder.tokenizer_json().decode())
    tokenizer.add_special_tokens(["[SEP]", AddedToken("[MASK]", lstrip=True)])
    return tokenizer.to_str().encode()


def with_blanks() -> bytes:
    """The toys' byte-level BPE, a piece's offsets with the blank in front of it."""
    tokenizer = byte_level.tokenizer()
    first, last = (byte_level.SPECIAL[0], 0), (byte_level.SPECIAL[2], 2)
    tokenizer.post_processor = processors.RobertaProcessing(
        last, first, trim_offsets=False, add_prefix_space=False
    )
    return tokenizer.to_str().encode()


def as_transformers(tokenizer_json: bytes, unknown: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


TOKENIZERS = {
    "wordpiece": as_transformers(toy_builder.tokenizer_json(), "[UNK]"),
    "wordpiece with special tokens": as_transformers(with_special_tokens(), "[UNK]"),
    "wordpiece without marks": as_transformers(without_marks(), "[UNK]"),
    "byte-level BPE": as_transformers(byte_level.tokenizer().to_str().encode(), "<unk>"),
    "byte-level BPE with blanks": as_transformers(with_blanks(), "<unk>"),
}
ENCODERS = {
    name: TextEncoder(tokenizer.backend_tokenizer.to_str().encode(), MAX_LENGTH)
    for name, tokenizer in TOKENIZERS.items()
}
LABELS = {
    "IOB2": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
    "no scheme": ("O", "PER", "LOC"),
    "nothing outside": ("PER", "LOC"),
    "IOBES": ("O", "B-PER", "I-PER", "E-PER", "S-PER"),
    "odd": ("B-O", "I-O", "B-", "I-X-Y", "B-X-Y", "-", "", "b-X"),
}
PARTS = (
    *(
        "ada",
        "Ada",
        "Bob",
        "film",
        "lovelace",
        "unbelievable",
        "don't",
        "U.S.",
        "well-known",
        "a,b",
    ),
    *(
        "é",
        "e\u0301",
        "naïve",
        "Ünal",
        "ß",
        "İzmir",
        "東京",
        "東",
        "한국",
        "😀",
        "👩‍👩‍👧",
        "12:30",
        "…",
        "''",
    ),
    *(
        "[UNK]",
        "[SEP]",
        "[MASK]",
        "<unk>",
        "<mask>",
        "\0",
        "\u200b",
        "\t",
        "\n",
        "\u00a0",
        " ",
        "  ",
    ),
)
TEXTS = st.lists(
    st.one_of(st.sampled_from(PARTS), st.just(" "), st.characters(codec="utf-8")), max_size=16
).map("".join)
# What an int8 model answers are multiples of a scale, so many are alike.
LOGITS = st.one_of(st.integers(-3, 3).map(lambda value: value / 2), st.floats(-40, 40, width=32))


def theirs(
    logits: np.ndarray, name: str, text: str, labels: tuple[str, ...], strategy: str
) -> list[dict[str, Any]]:
    """What transformers makes of the logits of one text, (tokens, labels)."""
    pipeline = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    pipeline.tokenizer = TOKENIZERS[name]
    pipeline.model = SimpleNamespace(config=SimpleNamespace(id2label=dict(enumerate(labels))))
    inputs = pipeline.tokenizer(
        text,
        truncation=True,
        max_length=MAX_LENGTH,
        return_special_tokens_mask=True,
        return_offsets_mapping=True,
    )
    # As `postprocess`, which wants torch's tensors, does it.
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    scores = powers / powers.sum(axis=-1, keepdims=True)
    chosen = AggregationStrategy(strategy)
    given_ = (inputs["offset_mapping"], inputs["special_tokens_mask"], chosen)
    tokens = pipeline.gather_pre_entities(text, inputs["input_ids"], scores, *given_)
    return [
        {
            "type": entity["entity_group"],
            "text": text[entity["start"] : entity["end"]],
            "score": float(entity["score"]),
            "start": entity["start"],
            "end": entity["end"],
        }
        for entity in pipeline.aggregate(tokens, chosen)
        if entity["entity_group"] != "O"
    ]


def ours(
    logits: np.ndarray, name: str, text: str, labels: tuple[str, ...], strategy: str | None
) -> dict[str, Any]:
    encoded = ENCODERS[name].encode(text)
    return TASK.answer(
        {"logits": logits[None]}, encoded, text, labels, Wanted(aggregation=strategy)
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=100)
@given(data=st.data(), text=TEXTS, labels=st.sampled_from(list(LABELS.values())))
def test_entities_are_those_of_transformers(
    name: str, data: st.DataObject, text: str, labels: tuple[str, ...]
) -> None:
    try:
        tokens = len(ENCODERS[name].encode(text))
    except TextError:
        assume(False)
    logits = data.draw(hnp.arrays(np.float32, (tokens, len(labels)), elements=LOGITS))
    padded = np.concatenate((logits, np.full((2, len(labels)), 9, np.float32)))
    for strategy in WORDS:
        found = ours(padded, name, text, labels, strategy)["entities"]
        assert found == theirs(logits, name, text, labels, strategy)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(
    "text",
    ["ada [MASK] bob", "ada  film\u00a0was", "the film  is\tgood.", "ada [UNK]bob 東京 U.S."],
)
def test_words_are_those_of_transformers(name: str, text: str) -> None:
    """Each piece has a type of its own, so that all words show."""
    tokens = len(ENCODERS[name].encode(text))
    labels = tuple(f"B-{number}" for number in range(tokens))
    logits = np.eye(tokens, dtype=np.float32)
    for strategy in WORDS:
        found = ours(logits, name, text, labels, strategy)["entities"]
        assert found == theirs(logits, name, text, labels, strategy)


TEXT = "Ada Bob was in the USA ."
# [CLS] ada bob was in the u ##s ##a . [SEP]
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def of_tags(*tags: str, surest: int | None = None) -> np.ndarray:
    logits = np.eye(len(TAGS), dtype=np.float32)[[TAGS.index(tag) for tag in tags]]
    if surest is not None:
        logits[surest] *= 4
    return logits


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("simple", ["Ada/PER", "Bob/PER", "U/LOC", "A/PER"]),
        ("first", ["Ada/PER", "Bob/PER", "USA/LOC"]),
        ("average", ["Ada/PER", "Bob/PER"]),
        ("max", ["Ada/PER", "Bob/PER"]),
    ],
)
def test_by_hand(strategy: str, expected: list[str]) -> None:
    tags = ("O", "B-PER", "B-PER", "O", "O", "O", "B-LOC", "O", "I-PER", "O", "O")
    answer = ours(of_tags(*tags, surest=7), "wordpiece", TEXT, TAGS, strategy)
    assert [f"{item['text']}/{item['type']}" for item in answer["entities"]] == expected
    assert TASK.line(answer) == "\t".join(expected)
    assert [token["label"] for token in answer["tokens"]] == list(tags[1:-1])


def test_fields() -> None:
    tags = ("O", "O", "B-PER", *["O"] * 8)
    (entity,) = ours(of_tags(*tags), "wordpiece", TEXT, TAGS, None)["entities"]
    assert list(entity) == ["type", "text", "score", "start", "end"]
    assert (entity["start"], entity["end"]) == (4, 7)
    assert entity["score"] == pytest.approx(np.e / (np.e + 4))


def test_nothing_found_and_nothing_asked() -> None:
    answer = ours(of_tags(*["O"] * 11), "wordpiece", TEXT, TAGS, "max")
    assert (answer["entities"], TASK.line(answer)) == ([], "-")
    answer = ours(of_tags(*["O"] * 11), "wordpiece", TEXT, TAGS, "none")
    assert list(answer) == ["tokens"]
    assert TASK.line(answer) == "ada/O bob/O was/O in/O the/O u/O ##s/O ##a/O ./O"


def test_an_entity_is_one_field_of_one_line() -> None:
    answer = ours(of_tags("O", "B-PER", "I-PER", "O"), "wordpiece", "ada\t\nbob", TAGS, "simple")
    assert answer["entities"][0]["text"] == "ada\t\nbob"
    assert TASK.line(answer) == "ada bob/PER"


@pytest.mark.parametrize("strategy", WORDS)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_warns_where_transformers_does(name: str, strategy: str) -> None:
    tokens = len(ENCODERS[name].encode("ada."))
    logits, said = np.zeros((tokens, 2), np.float32), []
    for answer in (ours, theirs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer(logits, name, "ada.", ("O", "PER"), strategy)
        said.append({warning.category for warning in caught})
    assert said[0] == said[1]


def test_a_pipeline_is_asked(load_toy: Any) -> None:
    tag = load_toy("tagger")
    entity = {"type": "NAME", "text": "Ada", "start": 0, "end": 3}
    for strategy in (None, *STRATEGIES[1:]):
        for answer in (
            tag("Ada was born", aggregation=strategy),
            tag(["Ada was born"], aggregation=strategy)[0],
            next(tag.stream(["Ada was born"], aggregation=strategy)),
        ):
            (found,) = answer["entities"]
            assert found.pop("score") == pytest.approx(answer["tokens"][0]["score"])
            assert found == entity
    assert "entities" not in tag("Ada", aggregation="none")


def test_what_cannot_be_asked(load_toy: Any) -> None:
    tag: Pipeline = load_toy("tagger")
    with pytest.raises(OptionError, match="'last'; it must be one of none, simple, first"):
        tag("Ada", aggregation="last")
    with pytest.raises(OptionError, match="aggregation does not apply to text-classification"):
        load_toy("classifier")("good", aggregation="simple")
    with pytest.raises(OptionError, match="top_k does not apply to token-classification"):
        next(tag.stream(["Ada"], top_k=1))
