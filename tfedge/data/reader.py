"""What turns the items of a data set into what a model is calibrated on and fed with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from tfedge.data.batches import Batch, as_inputs, pad
from tfedge.data.images import pixels_of
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import encode, text_encoder
from tfedge.errors import InputError
from tfedge.runtime.errors import TextError
from tfedge.runtime.image_settings import ImageSettings
from tfedge.runtime.tokenizer import find_pad_id


class Reader(Protocol):
    """What a checkpoint reads its input with."""

    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        """What `inputs` makes inputs of, in the order of the items.

        Args:
            length: tokens of the graph.

        Raises:
            InputError: an item cannot be read.
        """

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        """The model's named inputs for some samples, see `tfedge.data.batches`."""

    def check(self, data: Texts, length: int, pairs: bool) -> None:
        """Raises InputError where no item can be answered, so that nothing could be compared.

        Args:
            length: tokens of the graph.
            pairs: whether a model answers two items at a time.
        """


@dataclasses.dataclass(frozen=True)
class TextReader:
    """Reads texts with a tokeniser; samples are token ids, int32 (n,)."""

    tokenizer: Tokenizer

    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        """See `Reader`."""
        return encode(self.tokenizer, data.texts, length)

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        """See `Reader`."""
        return pad(samples, length, names, find_pad_id(self.tokenizer))

    def check(self, data: Texts, length: int, pairs: bool) -> None:
        """See `Reader`."""
        encoder = text_encoder(self.tokenizer, length, pairs)
        reason = ""
        for text in data.texts:
            try:
                encoder.encode(*((text, text) if pairs else (text,)))
                return
            except TextError as error:
                reason = reason or str(error)
        raise InputError(f"no text of {data.source} can be answered with {length} tokens: {reason}")


@dataclasses.dataclass(frozen=True)
class ImageReader:
    """Reads images; samples are pixels, uint8 (height, width, 3)."""

    settings: ImageSettings

    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        """See `Reader`."""
        del length  # every image has the same number of tokens
        return pixels_of(data.texts, self.settings)

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        """See `Reader`."""
        return as_inputs(samples, length, names)

    def check(self, data: Texts, length: int, pairs: bool) -> None:
        """See `Reader`."""
        del length, pairs
        reason = ""
        for path in data.texts:
            try:
                pixels_of([path], self.settings)
                return
            except InputError as error:
                reason = reason or str(error)
        raise InputError(f"no image of {data.source} can be answered: {reason}")
