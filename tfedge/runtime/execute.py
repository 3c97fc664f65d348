"""Runs a model on arrays instead of texts: `python -m tfedge.runtime.execute MODEL IN.npz OUT.npz`.

The host measures converted models with it, in a process of their own and on any board.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Mapping

import numpy as np

from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.errors import InferenceError, OptionError
from tfedge.runtime.interpreter import Model
from tfedge.runtime.runtimes import RUNTIMES


def execute(model: Model, key: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs signature `key` row by row.

    Args:
        inputs: int32 (n, length) each, by name; of images pixels (n, height, width, 3).

    Returns:
        The outputs by name, float32, with n rows.
    """
    count = len(next(iter(inputs.values())))
    rows = []
    for row in range(count):
        rows.append(model.run(key, {name: array[row : row + 1] for name, array in inputs.items()}))
        print(row + 1, flush=True)  # the host's progress bar reads this
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _read(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise OptionError(f"{path}: not a readable .npz file: {error}") from error
    if len({array.shape for array in arrays.values()}) != 1 or not all(map(len, arrays.values())):
        raise OptionError(f"{path}: needs at least one array, all of one shape (rows, ...)")
    return arrays


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    parser = argparse.ArgumentParser(prog="python -m tfedge.runtime.execute", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("inputs", help=".npz with the inputs by name, (n, ...) each")
    parser.add_argument("outputs", help=".npz to write")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES))
    parser.add_argument("--threads", type=int)
    options = parser.parse_args(arguments)
    try:
        inputs = _read(options.inputs)
        bundle = read_bundle(options.model)
        model = Model(bundle, options.runtime, options.threads)
        shape = (1, *next(iter(inputs.values())).shape[1:])
        manifest = bundle.manifest
        keys = [key for key in manifest.signatures if manifest.input_shape(key) == shape]
        if not keys:
            raise OptionError(f"{options.model} has no signature for inputs of shape {shape}")
        np.savez(options.outputs, **execute(model, keys[0], inputs))
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
