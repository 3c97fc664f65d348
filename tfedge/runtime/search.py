"""Semantic search: passages of text as int8 vectors in one file, compared by numpy.

from tfedge.runtime import load
from tfedge.runtime.search import Index, Passage

model = load("minilm.tflite")
index = Index.build(model, [Passage("notes.md", 1, "Water the plants on Friday.")])
index.save("notes.npz")
Index.load("notes.npz").search(model, "gardening", top_k=3)
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfedge.runtime.errors import IndexFileError, OptionError, TextError
from tfedge.runtime.index_file import damaged, read_arrays, write_arrays

if TYPE_CHECKING:
    from tfedge.runtime.pipeline import Pipeline

FORMAT = 1
_LARGEST_SCALE = 1e30  # its products with vectors and questions stay numbers
_BLOCK = 8192  # rows that are floats at once: 12 MB of 384 dimensions


class Passage(NamedTuple):
    """A text and where it is from."""

    path: str  # relative to the folder of the index
    line: int  # from 1 on
    text: str


class Hit(NamedTuple):
    """A passage that was found; `score` is the cosine to the query."""

    score: float
    path: str
    line: int
    text: str


@dataclasses.dataclass(frozen=True)
class About:
    """What an index says of itself. Making one checks it; raises ValueError."""

    model: str  # name of the model that made the vectors
    fingerprint: str  # of it, see `Pipeline.fingerprint`
    paths: tuple[str, ...]
    complete: bool = True  # whether no passage was left out, as by an interrupt

    def __post_init__(self) -> None:
        strings = (self.model, self.fingerprint, *self.paths)
        if not all(isinstance(value, str) for value in strings):
            raise ValueError("a name is not a string")

    @classmethod
    def from_json(cls, content: bytes) -> About:
        try:
            fields = json.loads(content)
            if (number := fields.pop("format")) != FORMAT:
                raise ValueError(
                    f"it has format {number!r} and this version reads {FORMAT}; upgrade tfedge"
                )
            return cls(**{**fields, "paths": tuple(fields["paths"])})
        except (AttributeError, KeyError, RecursionError, TypeError) as error:
            raise ValueError("what it says of itself is not understood") from error

    def to_json(self) -> bytes:
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}).encode()


def quantize(vectors: np.ndarray) -> np.ndarray:
    """Vectors of any length (n, width), float, as int8 (n, width): the largest of each becomes 127."""
    peaks = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors * (127 / np.maximum(peaks, 1e-12))).astype(np.int8)


class Index:
    """Passages and their vectors; made by `build`, `of` or `load`. Its length is that of passages."""

    def __init__(self, about: About, arrays: Mapping[str, np.ndarray]) -> None:
        """`arrays` are as in `tfedge.runtime.index_file.ARRAYS`, without "about". Raises ValueError
        where they do not fit together."""
        self.about = about
        self._arrays = {name: arrays[name] for name in arrays if name != "about"}
        self._vectors, self._scales = arrays["vectors"], arrays["scales"]
        self._files, self._lines = arrays["files"], arrays["lines"]
        self._ends, self._texts = arrays["ends"], arrays["texts"]
        count = len(self._vectors)
        if any(len(self._arrays[name]) != count for name in self._arrays if name != "texts"):
            raise ValueError("its arrays differ in length")
        starts = np.concatenate((np.zeros(1, np.int64), self._ends))
        if (np.diff(starts) < 0).any() or starts[-1] != len(self._texts):
            raise ValueError("its texts do not end where they should")
        if count and not 0 <= self._files.min() <= self._files.max() < len(about.paths):
            raise ValueError("a passage is of no file")
        # Written so that NaN does not pass either.
        if count and not np.abs(self._scales).max() < _LARGEST_SCALE:
            raise ValueError(f"a scale is not a number below {_LARGEST_SCALE:g}")

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, number: int) -> Passage:
        start = self._ends[number - 1] if number else 0
        text = self._texts[start : self._ends[number]].tobytes().decode(errors="replace")
        return Passage(self.about.paths[self._files[number]], int(self._lines[number]), text)

    @classmethod
    def build(cls, model: Pipeline, passages: Iterable[Passage], old: Index | None = None) -> Index:
        """Embeds passages; texts that `old` has are taken from there.

        Raises:
            TextError: a text cannot be embedded, or is longer than the model (see
                `tfedge.runtime.passages.cut`); the message has its path and line.
            OptionError: the model does not make embeddings.
            IndexFileError: `old` was made with another model.
        """
        passages = list(passages)
        vectors = {} if old is None else old.vectors(model)
        for path, line, text in passages:
            try:
                if text not in vectors:
                    vectors[text] = embed(model, text)
            except TextError as error:
                raise TextError(f"{path}:{line}: {error}") from error
        return cls.of(model, passages, vectors)

    @classmethod
    def of(
        cls,
        model: Pipeline,
        passages: Sequence[Passage],
        vectors: Mapping[str, np.ndarray],
        complete: bool = True,
    ) -> Index:
        """An index of passages whose `vectors`, int8 (width,) by their text, `model` has made."""
        paths = {
            path: number for number, path in enumerate(dict.fromkeys(p.path for p in passages))
        }
        texts = [passage.text.encode() for passage in passages]
        rows = np.array([vectors[passage.text] for passage in passages], np.int8)
        if not passages:
            rows = rows.reshape(0, 0)
        arrays = {
            "vectors": rows,
            "scales": 1 / np.maximum(_norms(rows), 1),
            "files": np.array([paths[passage.path] for passage in passages], np.int32),
            "lines": np.array([passage.line for passage in passages], np.int32),
            "ends": np.cumsum([len(text) for text in texts], dtype=np.int64),
            "texts": np.frombuffer(b"".join(texts), np.uint8),
        }
        about = About(model.manifest.name, model.fingerprint, tuple(paths), complete)
        return cls(about, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Index:
        """Raises IndexFileError where the file is missing, damaged or no index."""
        name = os.fsdecode(path)
        arrays = read_arrays(name)
        try:
            return cls(About.from_json(arrays["about"].tobytes()), arrays)
        except ValueError as error:
            raise damaged(name, error) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index in one step; raises InferenceError where that cannot be done."""
        about = np.frombuffer(self.about.to_json(), np.uint8)
        write_arrays(os.fsdecode(path), {"about": about, **self._arrays})

    def check(self, model: Pipeline) -> None:
        """Raises IndexFileError where another model made the index, or one that is not there."""
        if model.fingerprint != self.about.fingerprint:
            ours, theirs = self.about.model, model.manifest.name
            what = f"another conversion of {ours!r}" if ours == theirs else repr(ours)
            raise IndexFileError(
                f"the index was made with {what}, and the model is {theirs!r}: give the one that made"
                " it, or make another index"
            )
        if len(self) and self._vectors.shape[1] != model.width:
            raise IndexFileError(
                f"the index has vectors of {self._vectors.shape[1]} numbers, and the model makes "
                f"{model.width}: it is damaged; make it again"
            )

    def vectors(self, model: Pipeline) -> dict[str, np.ndarray]:
        """The vectors, int8 (width,), by their text; raises as `check`."""
        self.check(model)
        return {self[number].text: self._vectors[number] for number in range(len(self))}

    def search(
        self, model: Pipeline, query: str, top_k: int = 5, min_score: float = -1.0
    ) -> list[Hit]:
        """The passages nearest to a query, best first; see `nearest`.

        Raises:
            TextError: the query cannot be embedded.
            IndexFileError: another model made the index.
        """
        self.check(model)
        return self.nearest(model.encode(query), top_k, min_score)

    def nearest(self, vector: Any, top_k: int = 5, min_score: float = -1.0) -> list[Hit]:
        """The `top_k` passages of the largest cosines to `vector` (width,), best first and equal ones
        in the order of passages; of these, those of at least `min_score`. Raises OptionError where
        `top_k` is less than 1 or the vector of another width."""
        if top_k < 1:
            raise OptionError(f"top_k is {top_k}; at least 1 passage must be asked for")
        vector = np.asarray(vector, np.float32)
        if len(self) and vector.shape != self._vectors.shape[1:]:
            raise OptionError(
                f"the vector has shape {vector.shape}, those of the index {self._vectors.shape[1:]}"
            )
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        scores = np.empty(len(self), np.float32)
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            scores[block] = self._vectors[block].astype(np.float32) @ vector * self._scales[block]
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [Hit(float(scores[n]), *self[n]) for n in best if scores[n] >= min_score]


def embed(model: Pipeline, text: str) -> np.ndarray:
    """The vector of a text, int8 (width,); raises TextError where it is longer than the model, and as
    `Pipeline.encode`."""
    vector = model.encode(text)
    if model.prepare(text).truncated:
        raise TextError(f"the text is longer than {model.max_length} tokens: give it in parts")
    row: np.ndarray = quantize(vector[None])[0]
    return row


def _norms(rows: np.ndarray) -> np.ndarray:
    """float32 (n,), in blocks."""
    norms = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        norms[block] = np.linalg.norm(rows[block].astype(np.float32), axis=1)
    return norms
