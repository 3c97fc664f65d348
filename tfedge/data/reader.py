"""What turns the items of a data set into what a model is calibrated on and fed with."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

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


class Reader(abc.ABC):
    """What a checkpoint reads its input with.

    Attributes:
        unit: what an item is called.
    """

    unit: ClassVar[str]

    @abc.abstractmethod
    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        """What `inputs` makes inputs of, in the order of the items.

        Args:
            length: tokens of the graph.

        Raises:
            InputError: an item cannot be read.
        """

    @abc.abstractmethod
    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        """The model's named inputs for some samples, see `tfedge.data.batches`."""

    @abc.abstractmethod
    def _trial(self, length: int, pairs: bool) -> Callable[[str], object]:
        """A function that raises InputError or TextError for an item that cannot be answered."""

    def check(self, data: Texts, length: int, pairs: bool) -> None:
        """Raises InputError where no item can be answered, so that nothing could be compared.

        Args:
            length: tokens of the graph.
            pairs: whether a model answers two items at a time.
        """
        attempt, reason = self._trial(length, pairs), ""
        for item in data.texts:
            try:
                attempt(item)
                return
            except (InputError, TextError) as error:
                reason = reason or str(error)
        raise InputError(f"no {self.unit} of {data.source} can be answered: {reason}")


@dataclasses.dataclass(frozen=True)
class TextReader(Reader):
    """Reads texts with a tokeniser; samples are token ids, int32 (n,)."""

    unit = "text"
    tokenizer: Tokenizer

    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        return encode(self.tokenizer, data.texts, length)

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        return pad(samples, length, names, find_pad_id(self.tokenizer))

    def _trial(self, length: int, pairs: bool) -> Callable[[str], object]:
        encoder = text_encoder(self.tokenizer, length, pairs)
        return lambda text: encoder.encode(text, text if pairs else None)


@dataclasses.dataclass(frozen=True)
class ImageReader(Reader):
    """Reads images, all of the same number of tokens; samples are pixels, uint8 (height, width, 3)."""

    unit = "image"
    settings: ImageSettings

    def samples(self, data: Texts, length: int) -> list[np.ndarray]:
        return pixels_of(data.texts, self.settings)

    def inputs(self, samples: Sequence[np.ndarray], length: int, names: Sequence[str]) -> Batch:
        return as_inputs(samples, length, names)

    def _trial(self, length: int, pairs: bool) -> Callable[[str], object]:
        return lambda path: pixels_of([path], self.settings)
