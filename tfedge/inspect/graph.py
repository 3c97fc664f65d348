"""Reads the graphs of any .tflite: operators, tensors and signatures, but not its weights.

The file may be anyone's and may lie. Every length is checked before what it announces is read, and
all that is read together may be no longer than the file: a few kilobytes of vectors that point to
each other could otherwise unfold to gigabytes.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tfedge.errors import InputError, board_errors
from tfedge.runtime.bundle import open_model
from tfedge.runtime.errors import one_line
from tfedge.tflite.flatbuffer import MODEL_IDENTIFIER, tools

# Operators, tensors and their indices together; a transformer of 100 layers has 50,000.
MAX_ITEMS = 500_000
# What flatbuffers and numpy say of an offset that leads astray.
_DAMAGE = (struct.error, ValueError, TypeError, IndexError, OverflowError)
_MOST_ELEMENTS = 1 << 62  # more than any memory holds
_ABSENT = -1  # an operator's optional input that is not there
# Settings of operators that are read, by the names of the schema's accessors.
_OPTIONS = (
    *("FusedActivationFunction", "DilationHFactor", "DilationWFactor", "WeightsFormat"),
    *("Axis", "AdjX", "AdjY", "EllipsisMask", "NewAxisMask"),
)
EDGETPU_OPERATOR = "CUSTOM:edgetpu-custom-op"  # what edgetpu_compiler makes of those that it maps
_MOST_VALUES = 16  # of a constant whose values are read: axes, paddings, strides
_BITS = re.compile(r"(?:U?INT|B?FLOAT|COMPLEX)(\d+)")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph."""

    name: str
    shape: tuple[int, ...]  # a size that is not fixed is 1
    dtype: str
    scale: float | None  # None for a tensor without one scale for all of it
    zero_point: int | None
    constant_bytes: int | None  # in the file; None where an operator or a caller fills it
    dynamic: bool = False  # whether a size is left open until the model runs
    values: tuple[int, ...] | None = None  # of a short constant of INT32, such as axes

    @property
    def constant(self) -> bool:
        return self.constant_bytes is not None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Length in memory; 0 for strings and resources, whose length the file does not say."""
        if self.constant_bytes is not None:
            return self.constant_bytes
        return (self.elements * self._bits + 7) // 8

    @property
    def _bits(self) -> int:
        found = _BITS.match(self.dtype)
        return int(found[1]) if found else 8 * (self.dtype == "BOOL")

    @property
    def is_float(self) -> bool:
        return "FLOAT" in self.dtype or self.dtype.startswith("COMPLEX")

    @property
    def range(self) -> tuple[float, float] | None:
        """The real values that the smallest and the largest integer stand for."""
        if self.scale is None or self.zero_point is None or not self._bits:
            return None
        low = 0 if self.dtype.startswith("U") else -(2 ** (self._bits - 1))
        high = low + 2**self._bits - 1
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale


_NO_TENSOR = Tensor("", (), "", None, None, None)


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator."""

    name: str
    version: int
    inputs: tuple[int, ...]  # indices of tensors, absent ones left as -1
    outputs: tuple[int, ...]
    # Settings by the schema's names, enumerations as their numbers; see `_OPTIONS`.
    options: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Subgraph:
    """A graph: its operators in the order in which they run."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def operands(self, operator: Operator) -> list[Tensor]:
        """What an operator reads, without what is absent."""
        return [self.tensors[index] for index in operator.inputs if index >= 0]

    def result(self, operator: Operator) -> Tensor:
        """An operator's first output; one without a name where it has none."""
        return self.tensors[operator.outputs[0]] if operator.outputs else _NO_TENSOR


@dataclasses.dataclass(frozen=True)
class Signature:
    """An entry point: a subgraph and the names of its inputs and outputs."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A .tflite."""

    path: str
    size_bytes: int
    description: str
    subgraphs: list[Subgraph]
    signatures: list[Signature]  # in the file's order; files of old converters have none
    constants: dict[str, int]  # bytes of weights by dtype; those that tensors share count once

    def signature(self, key: str | None) -> Signature | None:
        """The signature of that key, or the first; None where the file has none. Raises InputError
        where there is no such signature."""
        if key is None:
            return self.signatures[0] if self.signatures else None
        for signature in self.signatures:
            if signature.key == key:
                return signature
        known = ", ".join(repr(signature.key) for signature in self.signatures) or "none"
        raise InputError(f"{self.path}: no signature {key!r}; it has {known}")


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Reads a .tflite of any origin.

    Raises:
        InputError: it cannot be read, is no .tflite, is damaged or implausibly large.
        MissingPackageError: ai-edge-litert, which has TFLite's schema, is not installed.
    """
    with board_errors(), open_model(path) as (name, file):  # its content stays on the disk
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return read_content(name, content)


def read_content(name: str, content: bytes | mmap.mmap) -> ModelFile:
    """As `read_model`, of a .tflite that is in memory; `name` stands for its path in messages."""
    try:
        if content[4:8] != MODEL_IDENTIFIER:
            raise InputError("not a TensorFlow Lite model; give the output of the TFLite converter")
        return _GraphReader(name, content, tools()).read()
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    except _DAMAGE as error:
        raise InputError(
            f"{name}: a damaged or truncated model: {one_line(error)}; copy or convert it again"
        ) from error


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


class _GraphReader:
    """Walks one flatbuffer with LiteRT's tools; the first 8 bytes of `content` are checked."""

    def __init__(self, name: str, content: Any, litert: Any) -> None:
        schema = litert.schema_fb
        self._name, self._content, self._litert, self._schema = name, content, litert, schema
        self._dtypes = _names(schema.TensorType)
        self._builtin = _names(schema.BuiltinOperator)
        self._settings = _names(schema.BuiltinOptions)
        self._items_left = min(MAX_ITEMS, len(content))
        self._characters_left = len(content)
        self._constants: Counter[str] = Counter()
        self._counted = {0}  # buffers, of which the first is empty
        self._model = schema.Model.GetRootAsModel(content, 0)

    def read(self) -> ModelFile:
        self._buffers = [self._place(buffer) for buffer in self._all(self._model, "Buffers")]
        self._codes = [self._code(code) for code in self._all(self._model, "OperatorCodes")]
        subgraphs = [self._subgraph(item) for item in self._all(self._model, "Subgraphs")]
        if not subgraphs:
            raise InputError("the model has no graph; convert it again")
        description = self._text(self._model._tab, 10)
        signatures = [
            self._signature(item, subgraphs) for item in self._all(self._model, "SignatureDefs")
        ]
        constants = dict(sorted(self._constants.items()))
        size = len(self._content)
        return ModelFile(self._name, size, description, subgraphs, signatures, constants)

    def _spend(self, count: int) -> int:
        self._items_left -= count
        if count < 0 or self._items_left < 0:
            raise InputError(
                f"damaged, or too large to inspect: it claims more than {MAX_ITEMS:,} operators, "
                "tensors and indices, or more than a file of its length holds"
            )
        return count

    def _all(self, table: Any, field: str) -> Iterator[Any]:
        """The tables of a vector."""
        count = self._spend(getattr(table, f"{field}Length")())
        return map(getattr(table, field), range(count))

    def _integers(self, table: Any, field: str) -> tuple[int, ...]:
        """A vector of numbers."""
        count = self._spend(getattr(table, f"{field}Length")())
        return tuple(int(value) for value in getattr(table, f"{field}AsNumpy")()) if count else ()

    def _text(self, table: Any, slot: int) -> str:
        """A string, whose length is looked at before it is copied."""
        if not (offset := table.Offset(slot)):
            return ""
        start, length = table.Vector(offset), table.VectorLen(offset)
        self._characters_left -= length
        if self._characters_left < 0:
            raise InputError("damaged: its names are longer than the file; copy it again")
        return bytes(self._content[start : start + length]).decode(errors="replace")

    def _place(self, buffer: Any) -> tuple[int, int]:
        """Where a buffer's data begin and how long they are; they must be inside the file."""
        start, length = buffer.Offset(), buffer.Size()  # outside the flatbuffer, in large models
        if start <= 1:
            offset = buffer._tab.Offset(4)
            if not offset:
                return 0, 0
            start, length = buffer._tab.Vector(offset), buffer._tab.VectorLen(offset)
        if start + length > len(self._content):
            raise InputError("truncated: weights are missing at its end; copy it again")
        return int(start), int(length)

    def _code(self, code: Any) -> tuple[str, int]:
        """Name and version of an operator. Old files number operators in one byte only."""
        number = self._litert.get_builtin_code_from_operator_code(code)
        name = self._builtin.get(number, f"OPERATOR {number}")
        if name == "CUSTOM":
            name = f"CUSTOM:{self._text(code._tab, 6)}"
        return name, int(code.Version())

    def _subgraph(self, subgraph: Any) -> Subgraph:
        tensors = [self._tensor(tensor) for tensor in self._all(subgraph, "Tensors")]
        operators = [self._operator(item) for item in self._all(subgraph, "Operators")]
        ends = self._integers(subgraph, "Inputs"), self._integers(subgraph, "Outputs")
        used = [index for item in operators for index in (*item.inputs, *item.outputs)]
        _check_indices([*used, *ends[0], *ends[1]], len(tensors))
        return Subgraph(tensors, operators, *ends)

    def _tensor(self, tensor: Any) -> Tensor:
        shape = self._integers(tensor, "Shape")
        if any(size < 0 for size in shape) or math.prod(shape) > _MOST_ELEMENTS:
            raise InputError(f"damaged: a tensor has the shape {list(shape)}; copy it again")
        scale, zero_point = None, None
        found = tensor.Quantization()
        if found is not None and found.ScaleLength() == 1:
            scale = float(found.Scale(0))
            zero_point = int(found.ZeroPoint(0)) if found.ZeroPointLength() else 0
            if not math.isfinite(scale):
                raise InputError(f"damaged: a tensor has the scale {scale}; copy it again")
        name, kind, buffer = self._text(tensor._tab, 10), tensor.Type(), tensor.Buffer()
        dtype, values = self._dtypes.get(kind, f"TYPE {kind}"), None
        begin, length = self._buffers[buffer]
        if buffer not in self._counted and length:
            self._counted.add(buffer)
            self._constants[dtype] += length
        if dtype == "INT32" and 4 <= length <= 4 * _MOST_VALUES:
            values = struct.unpack_from(f"<{length // 4}i", self._content, begin)
        dynamic = _ABSENT in self._integers(tensor, "ShapeSignature")
        return Tensor(name, shape, dtype, scale, zero_point, length or None, dynamic, values)

    def _operator(self, operator: Any) -> Operator:
        name, version = self._codes[operator.OpcodeIndex()]
        outputs, inputs = self._integers(operator, "Outputs"), self._integers(operator, "Inputs")
        if any(index < 0 for index in outputs):
            raise InputError(f"damaged: {name!r} has an absent output; copy it again")
        return Operator(name, version, inputs, outputs, self._options(operator))

    def _options(self, operator: Any) -> dict[str, int]:
        table, kind = operator.BuiltinOptions(), self._settings.get(operator.BuiltinOptionsType())
        if table is None or not hasattr(self._schema, str(kind)):
            return {}
        options = getattr(self._schema, str(kind))()
        options.Init(table.Bytes, table.Pos)
        return {name: int(getattr(options, name)()) for name in _OPTIONS if hasattr(options, name)}

    def _signature(self, signature: Any, subgraphs: list[Subgraph]) -> Signature:
        index = signature.SubgraphIndex()
        if index >= len(subgraphs):
            raise InputError(f"damaged: a signature of graph {index} of {len(subgraphs)}")
        sides = []
        for side in ("Inputs", "Outputs"):
            items = list(self._all(signature, side))
            sides.append({self._text(item._tab, 4): int(item.TensorIndex()) for item in items})
            _check_indices([*sides[-1].values()], len(subgraphs[index].tensors), least=0)
        return Signature(self._text(signature._tab, 8), int(index), sides[0], sides[1])


def _check_indices(indices: list[int], count: int, least: int = _ABSENT) -> None:
    for index in indices:
        if not least <= index < count:
            raise InputError(f"damaged: it refers to tensor {index} of {count}; copy it again")
