"""Reads and writes .tflite models as trees of objects, with LiteRT's schema and tools."""

from __future__ import annotations

import importlib
import struct
from typing import Any

import flatbuffers

from tfedge.errors import InputError, MissingPackageError
from tfedge.tflite.share import share

MODEL_IDENTIFIER = b"TFL3"
# TFLite's schema demands this of buffers; kernels load whole vectors from them.
_BUFFER_ALIGNMENT = 16


def tools() -> Any:
    """LiteRT's module for flatbuffers; its `schema_fb` is the schema.

    Raises:
        MissingPackageError: ai-edge-litert is not installed.
    """
    try:
        return importlib.import_module("ai_edge_litert.tools.flatbuffer_utils")
    except ImportError as error:
        raise MissingPackageError(
            f"reading a model needs ai-edge-litert ({error}): `pip install 'tfedge[convert]'`"
        ) from error


def parse(content: bytes) -> tuple[Any, Any]:
    """The model as a tree of objects, and the schema module that made it.

    Raises:
        InputError: it is no TensorFlow Lite model, or one that this cannot write again.
        MissingPackageError: ai-edge-litert, which has TFLite's schema, is not installed.
    """
    if content[4:8] != MODEL_IDENTIFIER:
        raise InputError("not a TensorFlow Lite model; give the output of the TFLite converter")
    litert = tools()
    try:
        tree = litert.convert_bytearray_to_object(content)
    # flatbuffers follows offsets wherever they lead.
    except (struct.error, ValueError, TypeError, IndexError) as error:
        raise InputError(f"a damaged TensorFlow Lite model: {error}; convert it again") from error
    if any(buffer.offset > 1 for buffer in tree.buffers):
        # Offsets count from the file's beginning, and rewriting the model would move them.
        raise InputError(
            "the model is larger than 2 GB and keeps its weights outside the flatbuffer"
        )
    return tree, litert.schema_fb


def text(value: bytes | str) -> str:
    """A string of the tree, which are bytes where a model has been read."""
    return value.decode() if isinstance(value, bytes) else value


class _Builder(flatbuffers.Builder):
    """Aligns weights, which Python's builder, and LiteRT's tools with it, put at multiples of 4."""

    def CreateNumpyVector(self, x: Any) -> Any:
        if x.dtype.itemsize == 1:
            self.Prep(_BUFFER_ALIGNMENT, x.size)
        return super().CreateNumpyVector(x)


def pack(tree: Any) -> bytes:
    """The flatbuffer of a tree of objects, equal weights shared."""
    share(tree)
    builder = _Builder(1 << 20)
    builder.Finish(tree.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())
