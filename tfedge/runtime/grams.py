"""Adds up the Gram matrices of a float graph's tensors: `python -m tfedge.runtime.grams MODEL IN OUT`.

The host rounds weights by what they are multiplied with; that of all calibration texts would be
gigabytes, of which this keeps the sum of x x^T over the vectors x of each tensor's last axis.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from tfedge.runtime.errors import InferenceError
from tfedge.runtime.interpreter import RUNTIMES, default_threads
from tfedge.runtime.tensors import Inspector, read_inputs

_MASK = "attention_mask"


def add_grams(
    inspector: Inspector,
    inputs: Mapping[str, np.ndarray],
    indices: Sequence[int],
    sums: dict[int, np.ndarray],
) -> None:
    """Runs one text and adds the Gram matrices of its tensors to `sums`, float32 (C, C) by index.

    Args:
        inputs: (1, length) by name. Vectors of a tensor with one for each token count where
            `attention_mask` is not 0.
    """
    real = inputs[_MASK].ravel() != 0
    for index, tensor in zip(indices, inspector.run(inputs, indices)):
        vectors = tensor.reshape(-1, tensor.shape[-1])
        if len(vectors) == len(real):
            vectors = vectors[real]
        sums[index] = sums.get(index, 0) + vectors.T @ vectors


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    parser = argparse.ArgumentParser(prog="python -m tfedge.runtime.grams", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("inputs", help="as of `python -m tfedge.runtime.tensors`")
    parser.add_argument("outputs", help=".npz to write: each index with its matrix (C, C)")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), required=True)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--signature", required=True)
    parser.add_argument("--subgraph", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        inputs, indices = read_inputs(options.inputs)
        inspector = Inspector(
            options.model,
            options.runtime,
            options.threads,
            options.signature,
            options.subgraph,
            keep_all=True,
        )
        sums: dict[int, np.ndarray] = {}
        for row in range(min(map(len, inputs.values()), default=0)):
            one = {name: array[row : row + 1] for name, array in inputs.items()}
            add_grams(inspector, one, indices, sums)
            print(row + 1, flush=True)  # the host's progress bar reads this
        np.savez(options.outputs, **{str(index): total for index, total in sums.items()})
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
