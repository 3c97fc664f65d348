"""Runs any .tflite and gives out tensors of it.

The host compares a quantised model with its float counterpart with it, layer by layer, and sees what
the weights of a float one are multiplied with. The tensors have to be outputs of their graph, or the
runtime may have reused their memory, unless it is told to keep all. The default delegate
(XNNPACK) is off, as it rounds some values differently from the operators that the file holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfedge.runtime.errors import BackendError, OptionError, one_line
from tfedge.runtime.interpreter import quantise
from tfedge.runtime.runtimes import import_runtime, runtime_name

_MASK = "attention_mask"
# Inputs of a run by name, and the tensors that they lead to.
Runs = Iterable[tuple[Mapping[str, np.ndarray], list[np.ndarray]]]


class Inspector:
    """An interpreter of one signature, without the default delegate.

    Args:
        path: a .tflite; its metadata are not looked at.
        signature: the key of the signature.
        subgraph: the index of its subgraph.
        keep_all: whether every tensor keeps its memory, so that those that are no outputs can be
            read as well.

    Raises:
        BackendError: the runtime refuses the model.
    """

    def __init__(
        self,
        path: str,
        runtime: str,
        threads: int,
        signature: str,
        subgraph: int,
        keep_all: bool = False,
    ) -> None:
        self._path, self._runtime, self._subgraph = path, runtime, subgraph
        module = import_runtime(runtime)
        resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = module.Interpreter(
                model_path=path,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_all,
            )
            self._run = self._interpreter.get_signature_runner(signature)
            self._inputs = self._run.get_input_details()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise self._refusal(error) from error

    def run(self, inputs: Mapping[str, np.ndarray], indices: Sequence[int]) -> list[np.ndarray]:
        """Runs the signature once.

        Args:
            inputs: at least the inputs of the signature by name, as the real values that they
                stand for; others are not used.
            indices: of outputs of the subgraph, or of any tensors with `keep_all`.

        Returns:
            Those tensors in their own dtypes, not dequantised.

        Raises:
            OptionError: an input is absent or does not fit.
            BackendError: the runtime fails.
        """
        values = {name: self._input(name, inputs, detail) for name, detail in self._inputs.items()}
        try:
            self._run(**values)
            return [self._interpreter.get_tensor(index, self._subgraph) for index in indices]
        except (ValueError, RuntimeError, MemoryError) as error:
            raise self._refusal(error) from error

    def _input(
        self, name: str, inputs: Mapping[str, np.ndarray], detail: Mapping[str, Any]
    ) -> np.ndarray:
        if name not in inputs:
            raise OptionError(f"{self._path}: its input {name!r} is not among {sorted(inputs)}")
        value, shape = inputs[name], tuple(int(size) for size in detail["shape"])
        if value.shape != shape:
            raise OptionError(f"{self._path}: its input {name!r} is {shape}, not {value.shape}")
        return quantise(value, detail)

    def runs(self, inputs: Mapping[str, np.ndarray], indices: Sequence[int]) -> Runs:
        """Each row of inputs (rows, ...) with the tensors that it leads to."""
        for row in range(min(map(len, inputs.values()), default=0)):
            one = {name: array[row : row + 1] for name, array in inputs.items()}
            yield one, self.run(one, indices)
            print(row + 1, flush=True)  # the host's progress bar reads this

    def _refusal(self, error: Exception) -> BackendError:
        return BackendError(
            f"{self._path}: {runtime_name(self._runtime)} cannot run the model: {one_line(error)}"
        )


def stacked(runs: Runs) -> list[np.ndarray]:
    """(rows, ...) of each tensor."""
    return [np.stack(rows) for rows in zip(*(tensors for _, tensors in runs))]


def grams(runs: Runs) -> list[np.ndarray]:
    """The sum of x x^T of each tensor, float32 (C, C); padding has no say."""
    sums: list[np.ndarray] = []
    for inputs, tensors in runs:
        real = inputs[_MASK].ravel() != 0 if _MASK in inputs else None
        products = []
        for tensor in tensors:
            vectors = tensor.reshape(-1, tensor.shape[-1])
            if real is not None and len(vectors) == len(real):  # one a token
                vectors = vectors[real]
            products.append(vectors.T @ vectors)
        sums = [total + product for total, product in zip(sums, products)] or products
    return sums
