"""What turns the items of a data set into what a model is calibrated on and fed with."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer

from tfedge.architectures.base import EncoderConfig
from tfedge.data.batches import Batch, as_inputs, pad
from tfedge.data.images import pixels_of
from tfedge.data.texts import package_texts
from tfedge.data.tokenizer import encode, load_tokenizer, text_encoder, vocabulary
from tfedge.errors import InputError
from tfedge.models.options import NORMALISED, Pixels
from tfedge.models.preprocessor import pixels, read_preprocessor
from tfedge.runtime.errors import TextError
from tfedge.runtime.image_settings import ImageSettings
from tfedge.runtime.inputs import MASKED_TEXT
from tfedge.runtime.masks import MaskEncoder
from tfedge.runtime.special_tokens import find_pad_id
from tfedge.tasks.base import Task
from tfedge.tasks.fill_mask import masked


class Reader(abc.ABC):
    """What a checkpoint reads its input with; `calibrates_with` so many items, each a `unit`."""

    unit: ClassVar[str]
    calibrates_with: ClassVar[int]

    @property
    def pixels(self) -> Pixels:
        """What the graph makes of pixels."""
        return NORMALISED

    @property
    def vocab(self) -> list[str] | None:
        """The tokens of WordPiece in their order; None of other tokenisers and of images."""
        return None

    @abc.abstractmethod
    def examples(self, count: int, length: int) -> list[np.ndarray]:
        """Samples where nobody brings any: of the package's sentences, or of random pixels."""

    @abc.abstractmethod
    def encoding(self) -> dict[str, Any]:
        """`tokenizer_json` and `image`, as `tfedge.runtime.inputs.Input.encoder` takes them."""

    @abc.abstractmethod
    def samples(self, items: Sequence[Any], length: int) -> list[np.ndarray]:
        """What `inputs` makes inputs of, one an item (text, pair or path); raises InputError."""

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        """The model's named inputs for some samples, see `tfedge.data.batches`."""
        return as_inputs(samples, length, names)

    @abc.abstractmethod
    def _trial(self, length: int) -> Callable[[Any], object]:
        """A function that raises InputError or TextError for an item that cannot be answered."""

    def check(self, items: Sequence[Any], source: str, length: int) -> None:
        """Raises InputError where no item of `source` can be answered."""
        attempt, reason = self._trial(length), ""
        for item in items:
            try:
                attempt(item)
                return
            except (InputError, TextError) as error:
                reason = reason or str(error)
        raise InputError(f"no {self.unit} of {source} can be answered: {reason}")


@dataclasses.dataclass(frozen=True)
class TextReader(Reader):
    """Reads texts with a tokeniser; samples are token ids, int32 (n,), of pairs int32 (n, 2)."""

    unit = "text"
    calibrates_with = 200
    tokenizer: Tokenizer
    asks: bool = False  # whether pairs are a question and its context

    @property
    def vocab(self) -> list[str] | None:
        is_wordpiece = type(self.tokenizer.model).__name__ == "WordPiece"
        return vocabulary(self.tokenizer) if is_wordpiece else None

    def examples(self, count: int, length: int) -> list[np.ndarray]:
        texts = package_texts().head(count)
        return self.samples((texts.paired() if self.asks else texts).texts, length)

    def encoding(self) -> dict[str, Any]:
        return {"tokenizer_json": self.tokenizer.to_str().encode(), "image": None}

    def samples(self, items: Sequence[Any], length: int) -> list[np.ndarray]:
        return encode(self.tokenizer, items, length)

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        return pad(samples, length, names, find_pad_id(self.tokenizer))

    def _trial(self, length: int) -> Callable[[Any], object]:
        encoder = text_encoder(self.tokenizer, length, self.asks)
        return lambda item: encoder.encode(*(item if isinstance(item, tuple) else (item,)))


@dataclasses.dataclass(frozen=True)
class MaskReader(TextReader):
    """Reads texts with masks; samples have the position of the first one too, int32 (n, 3)."""

    def examples(self, count: int, length: int) -> list[np.ndarray]:
        texts = package_texts().head(count).texts
        return self.samples([masked(text)[0] for text in texts], length)

    def samples(self, items: Sequence[Any], length: int) -> list[np.ndarray]:
        return self._encoder(length).encode_batch(items)

    def _trial(self, length: int) -> Callable[[Any], object]:
        return self._encoder(length).encode

    def _encoder(self, length: int) -> MaskEncoder:
        return MaskEncoder(self.tokenizer.to_str().encode(), length)


@dataclasses.dataclass(frozen=True)
class ImageReader(Reader):
    """Reads images, all of the same number of tokens; samples are pixels, uint8 (height, width, 3)."""

    unit = "image"
    calibrates_with = 64  # they have 13,000 tokens
    settings: ImageSettings

    @property
    def pixels(self) -> Pixels:
        return pixels(self.settings)

    def examples(self, count: int, length: int) -> list[np.ndarray]:
        shape = (count, *self.settings.shape)
        return list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))

    def encoding(self) -> dict[str, Any]:
        return {"tokenizer_json": b"", "image": self.settings}

    def samples(self, items: Sequence[Any], length: int) -> list[np.ndarray]:
        return pixels_of(items, self.settings)

    def _trial(self, length: int) -> Callable[[Any], object]:
        return lambda path: pixels_of([path], self.settings)


def _open_texts(folder: Path, config: EncoderConfig, task: Task) -> TextReader:
    tokenizer = load_tokenizer(folder, config.vocab_size, task.is_embedding)
    padding = config.architecture.padding_id(config)
    if padding is not None:
        # By this a board knows that a text with the token must be refused.
        tokenizer.enable_padding(pad_id=padding, pad_token=tokenizer.id_to_token(padding) or "")
    if task.input is MASKED_TEXT:
        return MaskReader(tokenizer)
    return TextReader(tokenizer, task.input.is_pair)


# By what an architecture reads.
_OPENERS: dict[str, Callable[[Path, EncoderConfig, Task], Reader]] = {
    "texts": _open_texts,
    "images": lambda folder, config, _: ImageReader(read_preprocessor(folder, config)),
}


def open_reader(folder: Path, config: EncoderConfig, task: Task) -> Reader:
    """What the encoder in a folder reads with for a task; raises CheckpointError where that cannot be
    used."""
    return _OPENERS[config.architecture.reads](folder, config, task)
