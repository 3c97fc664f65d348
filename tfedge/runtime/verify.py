"""Verifies a graph before a runtime sees it: flatbuffer, indices, types, shapes, buffers, operators.

TFLite's runtimes take a file at its word, and crash where it lies. What is checked here is that nothing
in a graph points out of it, that what is said of a tensor fits what the file holds of it, and that
operators are among those of encoders, with as many inputs and outputs as their kernels read. It reads
the file by itself, as a board has no package for flatbuffers; the numbers of fields, types and
operators are those of TFLite's schema.fbs, version 3.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Sequence
from typing import NamedTuple, Union

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.kept import is_kept, keep
from tfedge.runtime.operators import ABSENT, CUSTOM, OPERATORS

_RULES = 3  # counts up with what is verified, for what has passed before to be verified again
_VERIFIED = "verified"
Content = Union[bytes, mmap.mmap]

_MOST_TABLES = 1_000_000  # 6 graphs of 24 layers have 60,000
_MOST_NUMBERS = 10_000_000  # in vectors that are read
_MOST_TEXT = 256 << 20  # bytes of names; 6 graphs of 24 layers have 10 MB
_MOST_BYTES = 256 << 20  # of a tensor that is computed; 16 heads of 512 tokens have 16 MB
_MOST_DIMENSIONS = 8
# Bits of a number of a type; no strings, resources or variants, which are pointers.
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 17: 4}
_UINT8 = 3
_QUANTISED = (_UINT8, 7, 9, 17)
# Options that have a vector, of 4 bytes an item: those of RESHAPE and SQUEEZE.
_VECTORS = (17, 30)


class DamageError(ValueError):
    """What is wrong with a graph; the end of a sentence."""


class Table(NamedTuple):
    """A table in the file, and the offsets of its fields by number."""

    at: int
    size: int
    fields: tuple[int, ...]


class _Tensor(NamedTuple):
    """What operators and signatures rely on."""

    constant: bool


class File:
    """A flatbuffer, of which nothing outside is read."""

    def __init__(self, content: Content, size: int) -> None:
        self._content, self._end = content, size
        self._tables, self._numbers = _MOST_TABLES, _MOST_NUMBERS
        self._text = _MOST_TEXT

    def _read(self, form: str, at: int) -> int:
        if not 0 <= at <= self._end - struct.calcsize(form):
            raise DamageError(f"it points to byte {at}, and has {self._end}")
        (found,) = struct.unpack_from(form, self._content, at)
        return int(found)

    def table(self, at: int) -> Table:
        """The table that an offset at `at` points to."""
        return self._table(at + self._read("<I", at))

    def _table(self, at: int) -> Table:
        self._tables -= 1
        if self._tables < 0:
            raise DamageError(f"it has more than {_MOST_TABLES} tables")
        fields = at - self._read("<i", at)
        count, size = self._read("<H", fields), self._read("<H", fields + 2)
        is_sound = count >= 4 and count % 2 == 0 and fields % 2 == 0 and at % 4 == 0
        if not is_sound or fields + count > self._end or at + size > self._end:
            raise DamageError(f"its table at byte {at} is damaged")
        found = struct.unpack_from(f"<{count // 2 - 2}H", self._content, fields + 4)
        return Table(at, size, found)

    def field(self, table: Table, number: int, size: int = 4) -> int:
        """Where a field is; 0 where it has its default."""
        offset = table.fields[number] if number < len(table.fields) else 0
        at = table.at + offset
        if offset and (offset < 4 or offset + size > table.size or at % size):
            raise DamageError(f"field {number} of its table at byte {table.at} is damaged")
        return at if offset else 0

    def number(self, table: Table, number: int, form: str, default: int = 0) -> int:
        """A field with a number."""
        at = self.field(table, number, struct.calcsize(form))
        return self._read(form, at) if at else default

    def vector(self, table: Table, number: int, size: int) -> tuple[int, int] | None:
        """Where the items of a vector begin, and how many there are; None where it is absent."""
        at = self.field(table, number)
        if not at:
            return None
        at += self._read("<I", at)
        count = self._read("<I", at)
        if at % 4 or at + 4 + count * size > self._end:
            raise DamageError(f"its vector at byte {at} is longer than the file")
        return at + 4, count

    def numbers(self, table: Table, number: int, form: str = "i") -> tuple[int, ...]:
        """A vector of numbers; an empty one where it is absent."""
        found = self.vector(table, number, struct.calcsize(f"<{form}"))
        if found is None:
            return ()
        at, count = found
        self._numbers -= count
        if self._numbers < 0:
            raise DamageError(f"it has more than {_MOST_NUMBERS} numbers that describe it")
        return struct.unpack_from(f"<{count}{form}", self._content, at)

    def tables(self, table: Table, number: int) -> list[Table]:
        """A vector of tables."""
        at, count = self.vector(table, number, 4) or (0, 0)
        if count > self._tables:
            raise DamageError(f"it has more than {_MOST_TABLES} tables")
        return [self.table(at + 4 * index) for index in range(count)]

    def string(self, table: Table, number: int) -> str:
        """A string that has been checked; an empty one where it is absent."""
        at, count = self.vector(table, number, 1) or (0, 0)
        return self._content[at : at + count].decode()

    def check_string(self, table: Table, number: int) -> None:
        """A string is UTF-8, and ends with a zero, which is not counted."""
        at, count = self.vector(table, number, 1) or (0, 0)
        if not at:
            return
        if self._read("<B", at + count) != 0:
            raise DamageError(f"its string at byte {at} has no end")
        self._text -= count
        if self._text < 0:
            raise DamageError(f"it has more than {_MOST_TEXT} bytes of names")
        try:
            self._content[at : at + count].decode()
        except UnicodeDecodeError as error:
            raise DamageError(f"its string at byte {at} is no UTF-8") from error


def check_graph(bundle: Bundle) -> None:
    """Raises ModelFileError for a graph that a runtime must not be given.

    It takes a board up to half a second. So a graph that has passed is remembered by its hash, in an
    empty file of the user's cache, where there is one that can be written.
    """
    key = f"{_RULES}-{bundle.manifest.model_sha256}"
    if is_kept(_VERIFIED, key):
        return
    try:
        with (
            open(bundle.path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            verify(content, bundle.manifest.model_bytes)
    except DamageError as error:
        raise ModelFileError(
            f"{bundle.path}: the graph is damaged, or made to do harm: {error}; convert it again"
        ) from error
    keep(_VERIFIED, key)


def verify(content: Content, size: int) -> None:
    """Raises DamageError for a graph that a runtime must not be given.

    Args:
        content: a file, mapped, or its bytes, that begins with the graph.
        size: of the graph in bytes.
    """
    file = File(content, size)
    model = file.table(0)
    codes = [_operator_code(file, code) for code in file.tables(model, 1)]
    buffers = [_buffer_bytes(file, buffer) for buffer in file.tables(model, 4)]
    graphs = [_Graph(file, table, codes, buffers) for table in file.tables(model, 2)]
    for signature in file.tables(model, 7):
        file.check_string(signature, 2)
        index = file.number(signature, 4, "<I")
        if index >= len(graphs):
            raise DamageError(f"a signature is of graph {index}, and there are {len(graphs)}")
        for number, known in ((0, graphs[index].inputs), (1, graphs[index].outputs)):
            for entry in file.tables(signature, number):
                file.check_string(entry, 0)
                if (tensor := file.number(entry, 1, "<I")) not in known:
                    raise DamageError(
                        f"a signature names tensor {tensor}, which its graph does not"
                    )
    for entry in file.tables(model, 6):
        file.check_string(entry, 0)
        if (buffer := file.number(entry, 1, "<I")) >= len(buffers):
            raise DamageError(f"its metadata are in buffer {buffer}, and there are {len(buffers)}")


def _operator_code(file: File, code: Table) -> int:
    file.check_string(code, 1)
    found = max(file.number(code, 0, "<b"), file.number(code, 3, "<i"))
    if found == CUSTOM and not file.field(code, 1):
        raise DamageError("a custom operator has no name")
    if found not in OPERATORS:
        raise DamageError(f"it has operator number {found}, which no conversion of tfedge makes")
    return found


def _buffer_bytes(file: File, buffer: Table) -> int:
    if file.number(buffer, 1, "<Q") > 1:
        raise DamageError("it keeps its weights outside of the flatbuffer")
    return (file.vector(buffer, 0, 1) or (0, 0))[1]


class _Graph:
    """A verified subgraph, with the indices of the tensors that come in and go out."""

    def __init__(
        self, file: File, table: Table, codes: Sequence[int], buffers: Sequence[int]
    ) -> None:
        self._file, self._codes, self._buffers = file, codes, buffers
        file.check_string(table, 4)
        tensors = [self._tensor(tensor) for tensor in file.tables(table, 0)]
        self.inputs, self.outputs = file.numbers(table, 1), file.numbers(table, 2)
        for index in (*self.inputs, *self.outputs):
            if not 0 <= index < len(tensors):
                raise DamageError(f"a graph names tensor {index}, and has {len(tensors)}")
        # What is known before an operator runs: constants, and what others have put out.
        ready = [tensor.constant for tensor in tensors]
        for index in self.inputs:
            self._fill(ready, index)
        for operator in file.tables(table, 3):
            self._operator(operator, ready)
        if not all(ready[index] for index in self.outputs):
            raise DamageError("no operator makes an output of a graph")

    @staticmethod
    def _fill(ready: list[bool], index: int) -> None:
        if ready[index]:
            raise DamageError(f"tensor {index} is filled twice")
        ready[index] = True

    def _operator(self, table: Table, ready: list[bool]) -> None:
        file = self._file
        if (number := file.number(table, 0, "<I")) >= len(self._codes):
            raise DamageError(f"an operator has code {number}, and there are {len(self._codes)}")
        kind = OPERATORS[self._codes[number]]
        inputs, outputs = file.numbers(table, 1), file.numbers(table, 2)
        if not kind.least <= len(inputs) <= kind.most:
            raise DamageError(f"{kind.name} has {len(inputs)} inputs")
        if not kind.outputs[0] <= len(outputs) <= kind.outputs[1]:
            raise DamageError(f"{kind.name} has {len(outputs)} outputs")
        for place, index in enumerate(inputs):
            if index == ABSENT and place in kind.optional:
                continue
            if not 0 <= index < len(ready) or not ready[index]:
                raise DamageError(f"{kind.name} reads tensor {index}, which nothing has made")
        for index in outputs:
            if not 0 <= index < len(ready):
                raise DamageError(f"{kind.name} makes tensor {index}, and there are {len(ready)}")
            self._fill(ready, index)
        self._options(table)

    def _options(self, table: Table) -> None:
        file = self._file
        file.vector(table, 5, 1)
        if file.numbers(table, 8) or file.number(table, 9, "<Q") or file.number(table, 11, "<B"):
            raise DamageError("an operator has settings that no conversion of tfedge makes")
        kind, at = file.number(table, 3, "<B"), file.field(table, 4)
        if kind and at:
            options = file.table(at)
            for number in range(len(options.fields)):
                file.field(options, number, 1)
            if kind in _VECTORS:
                file.numbers(options, 0)

    def _tensor(self, table: Table) -> _Tensor:
        file = self._file
        shape, kind = file.numbers(table, 0), file.number(table, 1, "<b")
        file.check_string(table, 3)
        if kind not in _BITS:
            raise DamageError(f"a tensor has type number {kind}, which is none of numbers")
        if len(shape) > _MOST_DIMENSIONS or any(side < 0 for side in shape):
            raise DamageError(f"a tensor has the shape {shape[: 2 * _MOST_DIMENSIONS]}")
        if (buffer := file.number(table, 2, "<I")) >= len(self._buffers):
            raise DamageError(f"a tensor is in buffer {buffer}, and there are {len(self._buffers)}")
        size = (math.prod(shape) * _BITS[kind] + 7) // 8
        held = self._buffers[buffer]
        if size > _MOST_BYTES and not held:
            raise DamageError(f"a tensor of {size} bytes is to be computed")
        if held and held != size:
            raise DamageError(f"a tensor of {size} bytes has {held} in the file")
        if file.number(table, 5, "<B") or file.field(table, 6) or file.field(table, 9):
            raise DamageError("a tensor is variable, sparse or a variant")
        signature = file.numbers(table, 7)
        if signature and (
            len(signature) != len(shape)
            or any(open_ not in (-1, side) for open_, side in zip(signature, shape))
        ):
            raise DamageError(f"a tensor of shape {shape} has the signature {signature[:8]}")
        # What is between custom operators, as the Edge TPU's, is theirs to know.
        needs_scale = kind in _QUANTISED and CUSTOM not in self._codes
        self._scales(table, shape, kind, needs_scale)
        return _Tensor(bool(held) or not size)

    def _scales(self, table: Table, shape: Sequence[int], kind: int, needed: bool) -> None:
        """Kernels of integers read the first scale of each tensor without looking for it."""
        file = self._file
        if not file.field(table, 4):
            if needed:
                raise DamageError("a tensor of integers has no scale")
            return
        scheme = file.table(file.field(table, 4))
        scales, zeros = file.numbers(scheme, 2, "f"), file.numbers(scheme, 3, "q")
        axis = file.number(scheme, 6, "<i")
        if file.number(scheme, 4, "<B"):
            raise DamageError("a tensor is quantised in blocks, or by a scheme of its own")
        allowed = {1} | ({shape[axis]} if 0 <= axis < len(shape) else set())
        if (needed or scales) and (len(scales) not in allowed or len(zeros) != len(scales)):
            raise DamageError(
                f"a tensor of shape {shape} has {len(scales)} scales and {len(zeros)} zero points"
            )
        if not all(math.isfinite(scale) and scale > 0 for scale in scales):
            raise DamageError("a tensor has a scale that is no positive number")
        bits = _BITS[kind]
        least, most = (0, 255) if kind == _UINT8 else (-(1 << bits - 1), (1 << bits - 1) - 1)
        if scales and not all(least <= zero <= most for zero in zeros):
            raise DamageError("a tensor has a zero point that is none of its numbers")
