"""What a pipeline answers to one item, by task, for type checkers; see `Pipeline.__call__`.

from tfedge.runtime import load
from tfedge.runtime.answers import Classified
answer: Classified = load("tinybert_int8.tflite")("A fine film.")
"""

from __future__ import annotations

from typing import TypedDict

# TypedDict of Python 3.9 knows no NotRequired: keys that may be absent are those of a base.


class _OfTexts(TypedDict, total=False):
    truncated: bool  # True where only a part of the text fitted into the model
    unknown_share: float  # of its tokens, the share of those unknown to the model, if above 0.05
    text_pair: str  # of two texts that are read together


class _OfImages(TypedDict, total=False):
    image: str  # the path; pixels have none


class Classified(_OfTexts):
    """text-classification, or the best of candidate labels."""

    text: str
    label: str
    score: float
    scores: dict[str, float]  # of `top_k` labels, the likeliest first


class MultiLabelled(Classified):
    """text-multi-label."""

    labels: list[str]  # of a probability of at least 0.5


class Scored(Classified):
    """text-regression, whose `scores` are numbers, and text-scoring, 0 to 1, in the labels' order;
    `label` is that of the largest."""


class _Cut(TypedDict, total=False):
    truncated: bool
    unknown_share: float


class Embedded(_Cut):
    """sentence-embedding; `Pipeline.encode` gives arrays."""

    text: str
    embedding: list[float]


class Token(TypedDict):
    """A word piece; `start` and `end` are in characters of the text."""

    token: str
    label: str
    score: float
    start: int
    end: int


class Entity(TypedDict):
    """Word pieces of one type side by side; `text` stands so in the input."""

    type: str
    text: str
    score: float
    start: int
    end: int


class _Aggregated(_Cut, total=False):
    entities: list[Entity]  # but for the aggregation "none"


class Tagged(_Aggregated):
    """token-classification."""

    text: str
    tokens: list[Token]


class _OfContexts(TypedDict, total=False):
    unknown_share: float


class Answered(_OfContexts):
    """question-answering; `start` and `end` are in characters of the context."""

    question: str
    answer: str
    score: float
    start: int
    end: int


class Word(TypedDict):
    """A guess; `token` is its number in the vocabulary."""

    word: str
    token: int
    score: float


class Mask(TypedDict):
    """A mask, and the likeliest words for it; `start` and `end` are in characters of the text."""

    start: int
    end: int
    words: list[Word]


class Filled(_Cut):
    """fill-mask; `filled` is the text with the best words."""

    text: str
    filled: str
    masks: list[Mask]


class ImageClassified(_OfImages):
    """image-classification."""

    label: str
    score: float
    scores: dict[str, float]


class ImageEmbedded(_OfImages):
    """image-feature-extraction; `Pipeline.encode` gives arrays."""

    embedding: list[float]


class Box(TypedDict):
    """In pixels of the whole image, upright; parts may lie beyond its edges."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Object(TypedDict):
    """What is found in an image."""

    label: str
    score: float
    box: Box


class Detected(_OfImages):
    """object-detection."""

    objects: list[Object]  # of scores above `threshold`


class ImageMultiLabelled(ImageClassified):
    """image-multi-label."""

    labels: list[str]  # of a probability of at least 0.5


# By task.
ANSWERS: dict[str, type] = {
    "text-classification": Classified,
    "text-multi-label": MultiLabelled,
    "text-regression": Scored,
    "text-scoring": Scored,
    "sentence-embedding": Embedded,
    "token-classification": Tagged,
    "question-answering": Answered,
    "fill-mask": Filled,
    "image-classification": ImageClassified,
    "image-feature-extraction": ImageEmbedded,
    "image-multi-label": ImageMultiLabelled,
    "object-detection": Detected,
    "zero-shot-image-classification": ImageClassified,
}
