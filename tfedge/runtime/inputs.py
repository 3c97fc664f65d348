"""What models are asked: a text, a question and its context, or an image."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Union, cast

from tfedge.runtime.errors import OptionError, TextError, TextTypeError, one_line

if TYPE_CHECKING:
    from tfedge.runtime.image import ImageEncoder
    from tfedge.runtime.image_settings import ImageSettings
    from tfedge.runtime.lines import Request
    from tfedge.runtime.tokenizer import TextEncoder

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IMAGE_INPUTS = ("pixel_values",)
STDIN = "-"  # in the place of an image's path

_SENTENCE = "The film starts slowly, but its second half is as clever and as moving as they come."
_MASKED_SENTENCE = _SENTENCE.replace("film", "[MASK]")
_QUESTION = "When does the film get better?"

Encoder = Union["TextEncoder", "ImageEncoder"]
_MOST_VALUES = 100_000  # of the JSON of a line
_SIGNS = ",:[{"  # what stands between or before them
# Keys of an answer that say what became of it: those of a line do not come back.
_VERDICTS = ("error", "truncated", "unknown_share")


class Line(NamedTuple):
    """What a line asks."""

    text: str  # or question, or path
    context: str | None = None  # or second text
    rest: Mapping[str, Any] = {}  # keys of its JSON that come back with the answer


class LineError(TextError):
    """A line of JSON cannot be answered; `rest` as of a `Line`."""

    def __init__(self, message: str, rest: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.rest = rest


class Input:
    """A text alone, and what other kinds of input do otherwise."""

    key = "text"  # of the input in an answer, in a dict, and in a line of JSON
    second: ClassVar[str | None] = None  # the same of a second text, where there may be one
    repeated: ClassVar[tuple[str, ...]] = ("text",)  # what of an item an answer has
    unit = "text"  # what one is to the user; several have an "s"
    one = "a text"  # the same with its article
    typed = "texts"  # what the user types on a terminal
    typed_pair = "a text, a tab and a second text"  # what a line with two texts is
    sample = "a sentence"  # what the example is
    # Tensors that a graph may have for it, the first of which it must have.
    names: ClassVar[tuple[str, ...]] = TEXT_INPUTS
    has_tokenizer = True  # whether a bundle holds a tokeniser to read it with
    # What is needed besides the base install, by name the module to import.
    packages: ClassVar[Mapping[str, str]] = {}
    is_pair = False  # whether two texts are read together
    axes = 0  # of an array that is one of it

    def check(self, inputs: tuple[str, ...], image: ImageSettings | None) -> None:
        """Raises ValueError where these fields of a manifest cannot be of a model of this input."""
        if self.names[0] not in inputs or not set(inputs) <= set(self.names):
            raise ValueError(
                f"inputs {inputs} must have {self.names[0]} and be among {', '.join(self.names)}"
            )

    def shape(self, length: int, image: ImageSettings | None) -> tuple[int, ...]:
        """The shape of each input of a graph for `length` tokens."""
        return (1, length)

    def encoder(
        self, tokenizer_json: bytes, image: ImageSettings | None, max_length: int
    ) -> Encoder:
        """What turns an item into tensors, of at most `max_length` tokens; raises ModelFileError
        where the `tokenizers` library cannot make a tokeniser of `tokenizer_json`."""
        from tfedge.runtime.tokenizer import TextEncoder

        encoder = TextEncoder(tokenizer_json, max_length)
        encoder.check_room()
        return encoder

    def example(self, image: ImageSettings | None) -> Any:
        """Something to answer."""
        return _SENTENCE

    def several(self, given: Any) -> Iterable[Any] | None:
        """The items of what is several, any iterable but those that stand for one item: bytes, tuples,
        dicts, and arrays that are not of one axis, or of one more than an item has. None of one item.
        Raises TextTypeError for what is neither."""
        if isinstance(given, (str, bytes, tuple, Mapping, os.PathLike)):
            return None
        if (
            axes := getattr(given, "ndim", None)
        ) is not None:  # of arrays, and of columns of tables
            if axes == 1:
                return cast("list[Any]", given.tolist())  # strings of Python, not of numpy
            return given if axes == self.axes + 1 else None
        if not isinstance(given, Iterable):
            kind = type(given).__name__
            raise TextTypeError(f"give {self.one} or a list of {self.unit}s, not {kind}")
        return given

    def item(self, given: Any) -> Any:
        """What is asked, maybe with a dict or an array without axes: a text, an image, or a tuple of
        two texts; raises TextError where that cannot be answered."""
        if getattr(given, "ndim", None) == 0:
            given = given.item()
        if isinstance(given, Mapping):
            if self.key not in given or not {*given} <= {self.key, self.second}:
                known = " and ".join(repr(name) for name in (self.key, self.second) if name)
                found = ", ".join(map(repr, given)) or "nothing"
                raise TextTypeError(f"a dict must have {known}, not {found}")
            two = given[self.key], given.get(self.second)
            given = two[0] if two[1] is None else two
        if isinstance(given, tuple):
            if self.second is None:
                raise TextTypeError(f"the model needs one {self.unit}, not a pair")
            if len(given) != 2:
                raise TextTypeError(
                    f"a tuple must be ({self.key}, {self.second}), not {len(given)} items"
                )
        return given

    def named(self, item: Any) -> dict[str, Any]:
        """The item in an answer, of a file its path; pixels are not repeated."""
        if hasattr(item, "dtype"):
            return {}
        if isinstance(item, Mapping):
            return {name: item[name] for name in self.repeated if name in item}
        values = item if isinstance(item, tuple) and item else (item,)
        return {
            name: os.fspath(value) if isinstance(value, os.PathLike) else value
            for name, value in zip(self.repeated, values)
        }

    def check_pair(self, task: str) -> None:
        """Raises OptionError where two texts for an answer make no sense."""
        if self.second is None:
            raise OptionError(f"--pair does not apply to {task}; leave it out")

    def check_context(self, task: str) -> None:
        """Raises OptionError where one context for all items makes no sense."""
        if not self.is_pair:
            raise OptionError(f"--context does not apply to {task}; leave it out")

    def check_frames(self, task: str) -> None:
        """Raises OptionError where there are no images to be a stream of."""
        if self.key != IMAGE.key:
            raise OptionError(f"--frames does not apply to {task}; leave it out")

    def opened(self, request: Request) -> Request:
        """A request of an argument with what is to be read for it."""
        return request

    def parse(self, line: str, context: str | None) -> Line:
        """What a line of plain text asks, with the `context` of lines that bring none; raises
        TextError where nothing can be asked so."""
        return Line(line, context)

    def parse_json(self, line: str, context: str | None) -> Line:
        """What a JSON string or object asks; see `parse`."""
        value, rest = self._json_object(line)
        second = value.get("text_pair")
        if second is not None and not isinstance(second, str):
            raise LineError("the line's 'text_pair' is not a string", rest)
        return Line(value[self.key], second, rest)

    def parse_pair(self, line: str, context: str | None = None) -> Line:
        """What a line of two texts asks; see `parse`."""
        first, tab, rest = line.partition("\t")
        if not tab and line.strip():
            raise TextError(f"the line needs {self.typed_pair}")
        return Line(first, rest)

    def _json_object(self, line: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The object of a line, and what comes back of it with the answer."""
        if _has_many_values(line):
            raise TextError(f"the line is JSON of more than {_MOST_VALUES:,} values")
        try:
            value = json.loads(line)
            taken = (self.key, self.second or "text_pair", *_VERDICTS)
            found = value.items() if isinstance(value, dict) else ()
            rest = {name: item for name, item in found if name not in taken}
            json.dumps(rest, allow_nan=False)  # the answer can be written with it
        except ValueError as error:
            raise TextError(f"the line is not JSON: {one_line(error)}") from error
        except RecursionError:
            raise TextError("the line is JSON nested too deeply") from None
        if isinstance(value, str):
            value = {self.key: value}
        if not isinstance(value, dict) or not isinstance(value.get(self.key), str):
            raise LineError(
                f"the line is neither a JSON string nor an object with a string {self.key!r}", rest
            )
        return value, rest


def _has_many_values(line: str) -> bool:
    """Whether a line of JSON has more values than are read: each takes up to a hundred bytes."""
    if sum(map(line.count, _SIGNS + '"')) <= _MOST_VALUES:
        return False
    bare = line.replace("\\\\", "").replace('\\"', "")  # without what is escaped
    if bare.count('"') > 4 * _MOST_VALUES:  # two around a key, and two around its value
        return True
    outside = "".join(bare.split('"')[::2])
    return sum(map(outside.count, _SIGNS)) > _MOST_VALUES


class TextOrPair(Input):
    """A text, or two that are read together."""

    second = "text_pair"
    repeated = ("text", "text_pair")


class MaskedText(Input):
    """A text with masks in place of words."""

    names = (*TEXT_INPUTS, "asked")
    sample = "a sentence with a mask"

    def encoder(
        self, tokenizer_json: bytes, image: ImageSettings | None, max_length: int
    ) -> Encoder:
        from tfedge.runtime.masks import MaskEncoder

        encoder = MaskEncoder(tokenizer_json, max_length)
        encoder.check_room()
        return encoder

    def example(self, image: ImageSettings | None) -> Any:
        return _MASKED_SENTENCE


class Pair(Input):
    """A question and a context."""

    key = "question"
    second = "context"
    is_pair = True
    typed_pair = "a question, a tab and a context; or give --context"
    repeated = ("question",)

    def encoder(
        self, tokenizer_json: bytes, image: ImageSettings | None, max_length: int
    ) -> Encoder:
        from tfedge.runtime.windows import PairEncoder

        return PairEncoder(tokenizer_json, max_length)

    def example(self, image: ImageSettings | None) -> Any:
        return _QUESTION, _SENTENCE

    def parse(self, line: str, context: str | None) -> Line:
        return self.parse_pair(line) if context is None else Line(line, context)

    def parse_json(self, line: str, context: str | None) -> Line:
        value, rest = self._json_object(line)
        context = value.get("context", context)
        if not isinstance(context, str):
            raise LineError("the line has no string 'context'; or give --context", rest)
        return Line(value[self.key], context, rest)


class Image(Input):
    """A file with an image, or its pixels, uint8 (height, width, 3)."""

    key = "image"
    repeated = ("image",)
    unit = "image"
    one = "an image"
    axes = 3
    typed = "paths of images"
    sample = "an image"
    names = IMAGE_INPUTS
    has_tokenizer = False
    packages: ClassVar[Mapping[str, str]] = {"pillow": "PIL.Image"}

    def check(self, inputs: tuple[str, ...], image: ImageSettings | None) -> None:
        super().check(inputs, image)
        if image is None:
            raise ValueError("a model of images needs settings of images")

    def shape(self, length: int, image: ImageSettings | None) -> tuple[int, ...]:
        assert image is not None  # see `check`
        return (1, *image.shape)

    def encoder(
        self, tokenizer_json: bytes, image: ImageSettings | None, max_length: int
    ) -> Encoder:
        from tfedge.runtime.image import ImageEncoder

        assert image is not None
        return ImageEncoder(image, max_length)

    def named(self, item: Any) -> dict[str, Any]:
        """The item in an answer; what is in a file is not repeated."""
        return {} if isinstance(item, bytes) else super().named(item)

    def opened(self, request: Request) -> Request:
        """Of `-` the image on standard input."""
        if request.text != STDIN:
            return request
        from tfedge.runtime.image import read_image

        rest = {self.key: STDIN}
        try:
            return dataclasses.replace(request, rest=rest, picture=read_image())
        except TextError as error:
            return dataclasses.replace(request, rest=rest, error=str(error))

    def example(self, image: ImageSettings | None) -> Any:
        import numpy as np

        _, height, width, _ = self.shape(0, image)
        red, green = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
        return np.stack((red, green, 255 - red), axis=2).astype(np.uint8)


TEXT, TEXT_OR_PAIR, PAIR, IMAGE = Input(), TextOrPair(), Pair(), Image()
MASKED_TEXT = MaskedText()
