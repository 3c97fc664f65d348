"""The sizes of an encoder: read, of layers that differ too, and kept within what can be converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfedge.architectures.fields import LARGEST_DEPTH, Fields
from tfedge.errors import CheckpointError

ACTIVATIONS = ("gelu", "relu", "gelu_new")
# The key of config.json under which layers that differ are described; see `read_differing`.
EXTENSION = "tfedge"
# A .tflite file ends at 2 GB, so not even at one byte a weight could a larger matrix be converted.
_LARGEST_MATRIX = 2**31


def read_sizes(fields: Fields, **defaults: int) -> dict[str, int]:
    """The sizes of layers that every config.json has, with defaults for those it may leave out."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    depth = {"num_hidden_layers": {"largest": LARGEST_DEPTH}}
    return {name: fields.size(name, defaults.get(name), **depth.get(name, {})) for name in names}


def head_size(width: int, heads: int) -> int:
    """The channels of one head.

    Raises:
        CheckpointError: the heads would not be of one size.
    """
    if width % heads:
        raise CheckpointError(
            f"config.json: {width} channels cannot be split into {heads} attention heads"
        )
    return width // heads


def refuse_matrix(width: int, *rows: int) -> None:
    """Refuses before anything is built what could only end in a lack of memory.

    Raises:
        CheckpointError: a matrix of one of these numbers of rows has too many weights.
    """
    largest = width * max(rows)
    if largest > _LARGEST_MATRIX:
        raise CheckpointError(
            f"config.json describes a matrix of {largest} weights; no .tflite file can hold "
            f"more than {_LARGEST_MATRIX}"
        )


def read_differing(content: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `EXTENSION` says of layers that differ, checked against the rest of the config.

    Hugging Face's configs give all layers the same number of heads, of `hidden_size / heads`
    channels each, and the same number of neurons. A model whose layers differ has besides

        "tfedge": {"heads": [5, 7, ...], "head_size": 32, "neurons": [640, 808, ...]}

    with a number for each layer, none above `num_attention_heads` and `intermediate_size`. Any of
    the three may be left out.

    Args:
        config: the arguments of an `EncoderConfig`.

    Raises:
        CheckpointError: it says something else.
    """
    known = {"heads": "num_attention_heads", "neurons": "intermediate_size"}
    if not isinstance(content, Mapping) or not set(content) <= {*known, "head_size"}:
        raise CheckpointError(
            f"config.json: {EXTENSION} is {content!r}; it must be an object with no other keys "
            f"than {', '.join(known)}, head_size"
        )

    def refuse(key: str, value: Any, kind: str, largest: int) -> None:
        raise CheckpointError(
            f"config.json: {EXTENSION}.{key} is {value!r}; it must be {kind} from 1 to {largest}"
        )

    def within(number: Any, largest: int) -> bool:
        return type(number) is int and 0 < number <= largest

    result: dict[str, Any] = {}
    layers = config["num_hidden_layers"]
    for key, size in known.items():
        value = content.get(key, [config[size]] * layers)
        fits = isinstance(value, list) and len(value) == layers
        if not (fits and all(within(number, config[size]) for number in value)):
            refuse(key, value, f"a list of {layers} whole numbers", config[size])
        result[f"layer_{key}"] = tuple(value)
    largest = config["hidden_size"] // max(result["layer_heads"])
    size_of_head = content.get("head_size", config["head_size"])
    if not within(size_of_head, largest):
        refuse("head_size", size_of_head, "a whole number", largest)
    return {**result, "head_size": size_of_head}
