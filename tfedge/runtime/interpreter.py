"""One way to run a model on either runtime, tflite-runtime or LiteRT."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import os
import re
import threading
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.compiled import compiled
from tfedge.runtime.delegate import check, is_edgetpu, load_delegate, probe, refusal
from tfedge.runtime.errors import BackendError, ModelFileError, OptionError, one_line
from tfedge.runtime.runtimes import (
    MAX_THREADS,
    check_threads,
    choose_runtime,
    default_threads,
    import_runtime,
    runtime_name,
)

FAILURES = (ValueError, RuntimeError, MemoryError)  # what a runtime raises where it fails
# What a runtime says of an operation that it cannot run -> how to put it.
_REFUSALS = (
    (
        re.compile(r"builtin opcode '(\w+)' version '(\d+)'"),
        r"it lacks the operation \1 version \2",
    ),
    (re.compile(r"unresolved custom op: (\S+?)\.?(?:\s|$)"), r"it lacks the operation \1"),
    (re.compile(r"builtin_code out of range: (\d+)"), r"it lacks the operation number \1"),
    (re.compile(r"^(.*?)\W*Node number \d+ \((\w+)\) failed"), r"operation \2 fails: \1"),
)
_SILENT = "it does not say why, as where memory does not do"
# What has a `disown` for the child of a fork.
LOADED: weakref.WeakSet[Any] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class _Signature:
    """A signature's runner and its tensors by name, looked up once."""

    run: Any
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class GoneError(BackendError):
    """The model is closed, or stayed with the parent of a fork; no text is to blame."""


class Device(TypedDict, total=False):
    """Where a model runs instead of on the processors; see `tfedge.runtime.load`."""

    delegate: str | None
    device: str | None


class Model:
    """An interpreter of a bundle, run by signature, for one thread after another."""

    # Whether `run` has succeeded before: then a failure is the text's, not the model's.
    has_answered = False
    map = map  # one thread answers several texts

    def __init__(
        self,
        bundle: Bundle,
        runtime: str | None = None,
        num_threads: int | None = None,
        delegate: str | None = None,
        device: str | None = None,
    ) -> None:
        """Args: see `tfedge.runtime.load`.

        Raises:
            OptionError, BackendError: see `choose_runtime`; also a delegate that does not load or
                a model that the runtime refuses.
            ModelFileError: the model lacks signatures, inputs or outputs that the manifest describes,
                or is not compiled for the Edge TPU that is asked for.
        """
        if num_threads is not None and not 1 <= num_threads <= MAX_THREADS:
            raise OptionError(f"{num_threads} threads asked for; 1 to {MAX_THREADS} are allowed")
        self.num_threads = num_threads or default_threads()
        self.runtime = choose_runtime(runtime, bundle.manifest.runtimes, here=True)
        # Not the bundle, whose tokeniser is half a megabyte of text.
        self._path, self._manifest = bundle.path, bundle.manifest
        check(bundle, delegate, device)
        self._edgetpu = is_edgetpu(delegate)
        if delegate and self._edgetpu:
            probe(bundle.path, self.runtime, delegate, device)
        check_threads(self.num_threads)
        plain = self.runtime == "litert" and not delegate
        found: Any = compiled(bundle, self.num_threads) if plain else None
        if found is None:
            module = import_runtime(self.runtime)
            delegates = [load_delegate(module, delegate, device)] if delegate else None
        try:
            self._interpreter = found or self._interpreted(module, delegates)
            present = self._interpreter.get_signature_list()
        except FAILURES as error:
            raise self._refusal(error) from error
        self._signatures = {key: self._bind(key, present) for key in bundle.manifest.signatures}
        self._fresh = set(self._signatures)  # what has not run yet
        self._gone = "is closed; load it again"  # once it is
        # An interpreter has one set of tensors: threads would read each other's.
        self._lock = threading.Lock()
        LOADED.add(self)

    def _interpreted(self, module: Any, delegates: list[Any] | None) -> Any:
        """An interpreter of a runtime, whose module it is; raises as that."""
        interpreter = module.Interpreter(
            model_path=self._path,
            num_threads=self.num_threads,
            experimental_delegates=delegates,
        )
        # Signature runners would allocate by themselves, but tflite-runtime applies its default
        # delegate (XNNPACK) only here.
        interpreter.allocate_tensors()
        return interpreter

    def _bind(self, key: str, present: Mapping[str, Any]) -> _Signature:
        """Signature `key`, checked against the manifest."""
        if key not in present:
            raise self._mismatch(f"signature {key!r}", "no such signature")
        manifest = self._manifest
        runner = self._interpreter.get_signature_runner(key)
        signature = _Signature(runner, runner.get_input_details(), runner.get_output_details())
        if set(signature.inputs) != set(manifest.inputs):
            raise self._mismatch(f"inputs {_list(manifest.inputs)}", _list(signature.inputs))
        for name, detail in signature.inputs.items():
            self._check_shape(name, detail, manifest.input_shape(key))
        for name, shape in manifest.output_shapes(key).items():
            if name not in signature.outputs:
                raise self._mismatch(f"an output {name!r}", _list(signature.outputs))
            self._check_shape(name, signature.outputs[name], shape)
        return signature

    def _check_shape(self, name: str, detail: Any, expected: tuple[int | None, ...]) -> None:
        shape = tuple(int(size) for size in detail["shape"])
        fits = len(shape) == len(expected) and all(
            wanted is None or size == wanted for size, wanted in zip(shape, expected)
        )
        if not fits:
            raise self._mismatch(f"{name!r} of shape {expected}".replace("None", "any"), str(shape))

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name, float32, of one run of signature `key`, of whose inputs others than
        its own are not used; raises BackendError where the runtime fails, its kind GoneError after
        `close` and after a fork."""
        with self._lock:
            signature = self._signatures.get(key)
            if signature is None:
                raise self.gone()
            details = signature.inputs.items()
            values = {name: quantise(inputs[name], detail) for name, detail in details}
            try:
                outputs = signature.run(**values)
            except FAILURES as error:
                raise self._refusal(error) from error
            self.has_answered = True
            if key in self._fresh:
                self._fresh.discard(key)
                drop_pages(self._path)
        return {name: dequantise(value, signature.outputs[name]) for name, value in outputs.items()}

    def close(self) -> None:
        """Lets go of the interpreter once no thread is in it."""
        with self._lock:
            self._let_go()

    def disown(self) -> None:
        """In the child of a fork: the runtime's threads stayed with the parent, and to ask the
        interpreter, or to free it, may be to wait for them for ever."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._interpreter))
        self._lock = threading.Lock()  # a thread of the parent may have had the other
        self._gone = "was loaded before a fork; load it in the process that asks it"
        self._let_go()

    def _let_go(self) -> None:
        self._signatures, self._interpreter = {}, None

    def width(self, output: str) -> int:
        """The last size of an output; raises GoneError as `run` does."""
        for signature in self._signatures.values():
            return int(signature.outputs[output]["shape"][-1])
        raise self.gone()

    def gone(self) -> GoneError:
        """What to raise once it is closed, or in the child of a fork."""
        return GoneError(f"{self._path} {self._gone}")

    def _mismatch(self, expected: str, found: str) -> ModelFileError:
        return ModelFileError(
            f"{self._path}: the metadata announce {expected}, the model has {found};"
            " convert it again"
        )

    def _refusal(self, error: Exception) -> BackendError:
        message = one_line(error)
        if self._edgetpu:
            reason = refusal(message, runtime_name(self.runtime))
            return BackendError(f"{self._path}: the Edge TPU refuses the model: {reason}")
        for pattern, template in _REFUSALS:
            if match := pattern.search(message):
                message = match.expand(template)
                break
        return BackendError(
            f"{self._path}: {runtime_name(self.runtime)} cannot run the model: {message or _SILENT};"
            f" upgrade it or convert with `tfedge convert --runtime {self.runtime}`"
        )


def give_back() -> None:
    """Has the C library hand freed memory to the system: glibc keeps a third of what a model took."""
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)


def drop_pages(path: str) -> None:
    """Has this process hold no pages of a file that it has mapped to read; those that are read again
    come back.

    The pages that describe graphs, and those of weights that kernels lay out, are read once, and would
    stay with the process: 7 MB of tinybert in int8.
    """
    advise = getattr(ctypes.pythonapi, "madvise", None)
    maps = Path("/proc/self/maps")  # of Linux
    if advise is None or not maps.exists():
        return
    for line in maps.read_text().splitlines():
        place, modes, *_, name = line.split(maxsplit=5)
        if name == os.path.realpath(path) and "w" not in modes:
            begin, end = (int(part, 16) for part in place.split("-"))
            advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _disown_all() -> None:
    for owner in LOADED:
        owner.disown()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_disown_all)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def quantise(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """`values` in the data type, scale and zero point of a tensor."""
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    if scale == 0:  # not quantised
        return values.astype(dtype)
    if values.dtype == dtype and (scale, zero_point) == (1.0, 0):  # pixels
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def dequantise(values: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    """The float32 values that a tensor stands for."""
    scale, zero_point = detail["quantization"]
    if scale == 0:  # not quantised
        return values.astype(np.float32)
    # Widened first: the difference of two int8 does not fit into int8.
    return ((values.astype(np.int64) - zero_point) * scale).astype(np.float32)
