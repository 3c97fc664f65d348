"""Typed look-ups in a JSON object, so that a wrong value is named where it stands, and sizes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import CheckpointError, InputError

# Functions between dense layers by the names that config.json may give them: those of transformers'
# activations.py, where several are one function in another order of arithmetic.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",  # by tanh
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
# Of a JSON file; an index of 1,000 layers has 2 MB, and Python takes some 25 bytes for each.
_LARGEST_JSON = 4 << 20
# The key of config.json under which layers that differ are described; see `read_differing`.
EXTENSION = "tfedge"
# No published encoder comes near this; larger numbers are damage or an attack on memory.
LARGEST_SIZE = 2_000_000
LARGEST_SIDE = 4_096  # of an image, in pixels
LARGEST_DEPTH = 1_000
_LARGEST_BASE = 1e9
_LARGEST_FACTOR = 64
# A .tflite file ends at 2 GB, so not even at one byte a weight could a larger matrix be converted.
_LARGEST_MATRIX = 2**31


def read_object(path: Path, why: str) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint; raises CheckpointError where it is absent, which
    says `why` it is needed, cannot be read, or holds something else."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; {why}")
    source = read_json(path)
    if not isinstance(source, dict):
        raise CheckpointError(f"{path} holds a {type(source).__name__}, not a JSON object")
    return source


def read_json(path: Path) -> Any:
    """What a JSON file of a checkpoint holds; raises CheckpointError where it cannot be read."""
    try:
        return json.loads(files.read_bytes(path, _LARGEST_JSON).decode("utf-8"))
    except InputError as error:
        raise CheckpointError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error


class Fields:
    """Look-ups in a `config.json`, under other names where an architecture has such.

    All raise CheckpointError for a value that is absent, without a default, or not allowed.
    """

    def __init__(self, source: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._source = source
        self._names = names

    def _get(self, key: str, default: Any, fits: Callable[[Any], bool], otherwise: str) -> Any:
        name = self._names.get(key, key)
        value = self._source.get(name, default)
        if not fits(value):
            raise CheckpointError(f"config.json: {name} is {value!r}{otherwise}")
        return value

    def within(self, key: str) -> Fields:
        """The look-ups in an object."""
        found = self._get(
            key, {}, lambda value: isinstance(value, Mapping), "; it must be an object"
        )
        return Fields(found, {})

    def size(
        self, key: str, default: int | None = None, largest: int = LARGEST_SIZE, least: int = 1
    ) -> int:
        allowed = f"; it must be a whole number from {least} to {largest}"
        return self._get(key, default, lambda value: _is_within(value, largest, least), allowed)

    def optional_size(self, key: str) -> int | None:
        """A size that may be left out or be null, which is None."""
        return None if self._source.get(self._names.get(key, key)) is None else self.size(key)

    def optional_number(self, key: str) -> int | None:
        """A number of a token that may be left out or be null, which is None."""
        is_given = self._source.get(self._names.get(key, key)) is not None
        return self.size(key, least=0) if is_given else None

    def sizes(self, **defaults: int) -> dict[str, int]:
        """The sizes of layers that every config.json has, with defaults for those it may leave out."""
        names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        largest = {"num_hidden_layers": LARGEST_DEPTH}
        return {
            name: self.size(name, defaults.get(name), largest.get(name, LARGEST_SIZE))
            for name in names
        }

    def pair(self, key: str, default: int | tuple[int, int]) -> tuple[int, int]:
        """A height and a width, which one number may stand for."""

        def both(value: Any) -> Any:
            return value if isinstance(value, (list, tuple)) else [value, value]

        def fits(value: Any) -> bool:
            return len(both(value)) == 2 and all(_is_within(n, LARGEST_SIDE) for n in both(value))

        allowed = f"; it must be a whole number from 1 to {LARGEST_SIDE}, or two of them"
        height, width = both(self._get(key, default, fits, allowed))
        return height, width

    def counts(
        self, key: str, default: tuple[int, ...], largest: int = LARGEST_SIZE, most: int = 1
    ) -> tuple[int, ...]:
        """Numbers from 1 on, one to `most` of them."""

        def fits(value: Any) -> bool:
            is_list = isinstance(value, (list, tuple)) and 0 < len(value) <= most
            return is_list and all(_is_within(number, largest) for number in value)

        allowed = f"; it must be a list of 1 to {most} whole numbers from 1 to {largest}"
        return tuple(self._get(key, default, fits, allowed))

    def factor(self, key: str, default: float) -> float:
        """How many times as wide something is as something else."""

        def fits(value: Any) -> bool:
            return type(value) in (int, float) and 0 < value <= _LARGEST_FACTOR

        allowed = f"; it must be a number above 0, at most {_LARGEST_FACTOR}"
        return float(self._get(key, default, fits, allowed))

    def number(self, key: str, default: float) -> float:
        def fits(value: Any) -> bool:
            # Comparing also turns NaN away, which Python's JSON reader lets in.
            return type(value) in (int, float) and 0 <= value < 1

        return float(self._get(key, default, fits, "; it must be a number from 0 to below 1"))

    def epsilon(self, key: str, default: float) -> float:
        """What a norm adds to a variance, so that nothing is divided by 0."""

        def fits(value: Any) -> bool:
            return type(value) is float and 0 < value < 1

        return float(self._get(key, default, fits, "; it must be a number between 0 and 1"))

    def base(self, key: str, default: float) -> float:
        """What the angles of rotary positions are powers of."""

        def fits(value: Any) -> bool:
            return type(value) in (int, float) and 1 < value <= _LARGEST_BASE

        allowed = f"; it must be a number above 1, at most {_LARGEST_BASE:.0e}"
        return float(self._get(key, default, fits, allowed))

    def flag(self, key: str, default: bool) -> bool:
        allowed = "; it must be true or false"
        return self._get(key, default, lambda value: isinstance(value, bool), allowed)

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        supported = f"; supported are {', '.join(allowed)}"
        return self._get(key, default, lambda value: value in allowed, supported)

    def activation(self, default: str, key: str = "hidden_act") -> str:
        """What a key calls a function, under the one name that it has here."""
        fits = (*ACTIVATIONS,)
        allowed = f"; supported are {', '.join(fits)}: take a checkpoint that was trained with one"
        return ACTIVATIONS[self._get(key, default, lambda value: value in fits, allowed)]

    def terms(self, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Some of what is allowed, a list or a text with | between, in the order of `allowed`."""

        def parts(value: Any) -> list[str]:
            if isinstance(value, str):
                return [part.strip() for part in value.lower().split("|")]
            return [str(part) for part in value] if isinstance(value, list) else []

        def fits(value: Any) -> bool:
            found = parts(value)
            return bool(found) and {*found} <= {*allowed}

        value = self._get(key, None, fits, f"; it must name one or more of {', '.join(allowed)}")
        return tuple(part for part in allowed if part in parts(value))

    def layer_types(self, allowed: tuple[str, str], layers: int) -> tuple[str, ...]:
        """What each layer sees, all tokens or near ones: a list, or by the older key, every how many
        layers one sees all."""
        if self._source.get("layer_types") is None:
            every = self.size("global_attn_every_n_layers", 3)
            return tuple(allowed[index % every > 0] for index in range(layers))

        def fits(value: Any) -> bool:
            if not isinstance(value, list) or len(value) != layers:
                return False
            return all(kind in allowed for kind in value)

        otherwise = f"; it must be a list of {layers}, each one of {', '.join(allowed)}"
        return tuple(self._get("layer_types", None, fits, otherwise))

    def rotary_bases(self, older: Mapping[str, tuple[str, float]]) -> dict[str, float]:
        """What rotary positions turn by, by the type of a layer.

        Args:
            older: the key that older files have for each type, and the default.
        """
        kinds = self._rotary()
        if kinds is None:
            return {kind: self.base(*key) for kind, key in older.items()}
        return {
            kind: _rotary_base(f"rope_parameters.{kind}", kinds.get(kind) or {}, default)
            for kind, (_, default) in older.items()
        }

    def rotary_base(self, default: float) -> float:
        """What rotary positions of all layers turn by; older files have it outside of an object."""
        default = self.base("rope_theta", default)
        return _rotary_base("rope_parameters", self._rotary() or {}, default)

    def _rotary(self) -> Mapping[str, Any] | None:
        """What is said of rotary positions, None for nothing."""
        self.unsupported("rope_scaling", (None,))
        found = self._source.get("rope_parameters")
        if found is not None and not isinstance(found, Mapping):
            raise CheckpointError(
                f"config.json: rope_parameters is {found!r:.80}; it must be an object"
            )
        return found

    def unsupported(self, key: str, allowed: tuple[Any, ...]) -> None:
        self._get(key, None, lambda value: value in allowed, ", which no builder supports")


def _rotary_base(name: str, values: Any, default: float) -> float:
    if not isinstance(values, Mapping) or values.get("rope_type", "default") != "default":
        raise CheckpointError(
            f"config.json: {name} is {values!r:.80}; only an object with the rope_type default is "
            "supported: take a checkpoint without scaled positions"
        )
    return Fields(values, {}).base("rope_theta", default)


def head_size(width: int, heads: int) -> int:
    """The channels of one head; raises CheckpointError where the heads would not be of one size."""
    if width % heads:
        raise CheckpointError(
            f"config.json: {width} channels cannot be split into {heads} attention heads"
        )
    return width // heads


def refuse_matrix(width: int, *rows: int) -> None:
    """Refuses before anything is built what could only end in a lack of memory; raises
    CheckpointError where a matrix of one of these numbers of rows has too many weights."""
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
    the three may be left out. Raises CheckpointError where it says something else than fits
    `config`, the arguments of an `EncoderConfig`.
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

    result: dict[str, Any] = {}
    layers = config["num_hidden_layers"]
    for key, size in known.items():
        value = content.get(key, [config[size]] * layers)
        fits = isinstance(value, list) and len(value) == layers
        if not (fits and all(_is_within(number, config[size]) for number in value)):
            refuse(key, value, f"a list of {layers} whole numbers", config[size])
        result[f"layer_{key}"] = tuple(value)
    largest = config["hidden_size"] // max(result["layer_heads"])
    size_of_head = content.get("head_size", config["head_size"])
    if not _is_within(size_of_head, largest):
        refuse("head_size", size_of_head, "a whole number", largest)
    return {**result, "head_size": size_of_head}


def _is_within(number: Any, largest: int, least: int = 1) -> bool:
    return type(number) is int and least <= number <= largest


def check_pairs(head_size: int) -> None:
    """Raises CheckpointError for heads whose channels rotary positions cannot turn in pairs."""
    if head_size % 2:
        raise CheckpointError(
            f"config.json: heads of {head_size} channels (hidden_size, num_attention_heads) have no "
            "pairs that positions could turn"
        )
