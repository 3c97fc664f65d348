"""LiteRT's compiled models: many graphs of one file, which share the weights that kernels lay out.

LiteRT's interpreter lays them out again for each graph. A compiled model has XNNPACK's cache of them,
here in memory, so that a graph more takes what its tensors take. It is asked through LiteRT's C API
(litert/c of github.com/google-ai-edge/LiteRT, whose types are stable), in the one library that has it:
the package's Python for it brings two copies of the runtime, and drivers of GPUs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import weakref
from collections.abc import Mapping
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.ends import Details, Ends, read_ends
from tfedge.runtime.runtimes import RUNTIMES

_LIBRARY = "libLiteRt.so"
_FIRST = (2, 3)  # version with such a cache
# Tags of options of an environment; without the first it loads drivers.
_ACCELERATORS, _SEVERITY = 24, 25
_CPU, _SILENT, _INT = 1, 4, 2
_ALIGNMENT = 64  # of the memory of inputs and outputs
_TYPES = {np.int32: 2, np.float32: 1, np.uint8: 3, np.int64: 4, np.int16: 7, np.int8: 9}
_OPTIONS = 'num_threads = {}\nweight_cache_file_path = ":memory"\n'  # XNNPACK's name for no file


class _EnvironmentOption(ctypes.Structure):
    _fields_ = (("tag", c_int32), ("kind", c_int64), ("value", c_int64))


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = (
        ("kind", c_int32),
        ("rank", c_int32),
        ("sizes", c_int32 * 8),
        ("strides", c_int32 * 8),
    )


_DELETER = ctypes.CFUNCTYPE(None, c_void_p)
_KEEP = _DELETER(lambda _: None)


def compiled(bundle: Bundle, threads: int) -> Compiled | None:
    """The graphs of a file, compiled; None where there is but one, which has nobody to share with, or
    the file is of a tfedge that did not see to it that they can, and where this LiteRT cannot. What is
    refused is for the interpreter to refuse, which says why."""
    manifest = bundle.manifest
    if len(manifest.signatures) == 1 or not manifest.cacheable:
        return None
    version = tuple(
        int(part) for part in RUNTIMES["litert"].version().split(".")[:2] if part.isdigit()
    )
    found = importlib.util.find_spec(RUNTIMES["litert"].module)
    if not _FIRST <= version < (3,) or found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0], _LIBRARY)
    try:
        return Compiled(ctypes.CDLL(str(path)), bundle, threads)
    except (OSError, AttributeError, RuntimeError):
        return None


class Compiled:
    """A compiled model, asked as an interpreter is."""

    def __init__(self, library: Any, bundle: Bundle, threads: int) -> None:
        """Raises RuntimeError where LiteRT fails, AttributeError where it lacks a function."""
        self._library = library
        self._made: list[tuple[Any, c_void_p]] = []  # what destroys each thing that is made
        weakref.finalize(self, _destroy, self._made).atexit = False
        environment = self._make(
            "Environment",
            2,
            (_EnvironmentOption * 2)(
                _EnvironmentOption(_ACCELERATORS, _INT, _CPU),
                _EnvironmentOption(_SEVERITY, _INT, _SILENT),
            ),
        )
        with open(bundle.path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._content = np.frombuffer(content, np.uint8)
        place, size = c_void_p(self._content.ctypes.data), c_size_t(bundle.manifest.model_bytes)
        model = self._make("ModelFromBuffer", environment, place, size, kind="Model")
        options = self._make("Options")
        self._call("SetOptionsHardwareAccelerators", options, c_int(_CPU))
        self._text = ctypes.create_string_buffer(_OPTIONS.format(threads).encode())
        opaque = c_void_p()
        self._call(
            "CreateOpaqueOptions", c_char_p(b"xnnpack"), self._text, _KEEP, ctypes.byref(opaque)
        )
        self._call("AddOpaqueOptions", options, opaque)
        self._model = self._make("CompiledModel", environment, model, options)
        order = self._order(model)
        destroy, _ = self._made.pop(1)
        destroy(model)  # a megabyte for each graph, which the compiled one does without
        ends = read_ends(bundle.path, bundle.manifest.model_bytes)
        if ends.keys() != order.keys():
            raise RuntimeError(f"LiteRT finds the signatures {list(order)}")
        self._ends = {key: _in_order(ends[key], *names) for key, names in order.items()}
        self._runners = {
            key: Runner(self, number, ends) for number, (key, ends) in enumerate(self._ends.items())
        }

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, f"LiteRt{name}")(*arguments)
        if status:
            raise RuntimeError(f"LiteRt{name} fails with status {status}")

    def _make(self, name: str, *arguments: Any, kind: str | None = None) -> c_void_p:
        made = c_void_p()
        self._call(f"Create{name}", *arguments, ctypes.byref(made))
        destroy = getattr(self._library, f"LiteRtDestroy{kind or name}")
        destroy.restype = None
        self._made.append((destroy, made))
        return made

    def _get(self, name: str, kind: Any, *arguments: Any) -> Any:
        got = kind()
        self._call(f"Get{name}", *arguments, ctypes.byref(got))
        return got.value

    def _order(self, model: c_void_p) -> dict[str, tuple[list[str], list[str]]]:
        """The names of inputs and outputs in the order in which a run takes them, by signature. It is
        the graph's: a file may list those of a signature in another."""
        order = {}
        for number in range(self._get("NumModelSignatures", c_size_t, model)):
            signature = c_void_p(self._get("ModelSignature", c_void_p, model, c_size_t(number)))
            inputs, outputs = (
                [
                    self._get(f"Signature{side}Name", c_char_p, signature, c_size_t(place)).decode()
                    for place in range(self._get(f"NumSignature{side}s", c_size_t, signature))
                ]
                for side in ("Input", "Output")
            )
            order[self._get("SignatureKey", c_char_p, signature).decode()] = inputs, outputs
        return order

    def buffer(self, detail: Mapping[str, Any]) -> tuple[np.ndarray, c_void_p]:
        """The memory of an input or an output, and what LiteRT knows it by."""
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        size = int(np.prod(shape)) * dtype.itemsize
        whole = np.zeros(size + 2 * _ALIGNMENT, np.uint8)
        begin = -whole.ctypes.data % _ALIGNMENT
        array = whole[begin : begin + size].view(dtype).reshape(shape)
        kind = _TensorType(_TYPES[detail["dtype"]], len(shape), (c_int32 * 8)(*shape))
        place = c_void_p(array.ctypes.data)
        return array, self._make(
            "TensorBufferFromHostMemory",
            ctypes.byref(kind),
            place,
            c_size_t(size),
            None,
            kind="TensorBuffer",
        )

    def run(self, signature: int, inputs: Any, outputs: Any) -> None:
        """Runs the graph of a signature, by its number, on arrays of buffers."""
        counts = c_size_t(len(inputs)), c_size_t(len(outputs))
        self._call(
            "RunCompiledModel",
            self._model,
            c_size_t(signature),
            counts[0],
            inputs,
            counts[1],
            outputs,
        )

    def get_signature_list(self) -> Mapping[str, Any]:
        """The signatures, by key."""
        return self._ends

    def get_signature_runner(self, key: str) -> Runner:
        """What runs signature `key`."""
        return self._runners[key]


def _in_order(ends: Ends, inputs: list[str], outputs: list[str]) -> Ends:
    if ends.inputs.keys() != set(inputs) or ends.outputs.keys() != set(outputs):
        raise RuntimeError(f"LiteRT finds the inputs {inputs} and the outputs {outputs}")
    return Ends(
        {name: ends.inputs[name] for name in inputs}, {name: ends.outputs[name] for name in outputs}
    )


def _destroy(made: list[tuple[Any, c_void_p]]) -> None:
    while made:
        destroy, what = made.pop()
        destroy(what)


class Runner:
    """One signature of a compiled model."""

    def __init__(self, model: Compiled, number: int, ends: Ends) -> None:
        self._model, self._number, self._ends = model, number, ends
        self._inputs = {name: model.buffer(detail) for name, detail in ends.inputs.items()}
        self._outputs = {name: model.buffer(detail) for name, detail in ends.outputs.items()}
        self._given, self._got = (
            (c_void_p * len(side))(*(handle.value for _, handle in side.values()))
            for side in (self._inputs, self._outputs)
        )

    def get_input_details(self) -> Details:
        """Of each input its shape, dtype and quantization, by name."""
        return self._ends.inputs

    def get_output_details(self) -> Details:
        """The same of the outputs."""
        return self._ends.outputs

    def __call__(self, **values: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of one run, by name; raises RuntimeError where it fails."""
        for name, (array, _) in self._inputs.items():
            array[...] = values[name]
        self._model.run(self._number, self._given, self._got)
        return {name: array.copy() for name, (array, _) in self._outputs.items()}
