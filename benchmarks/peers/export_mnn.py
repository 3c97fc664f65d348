"""Converts a checkpoint for MNN; see `benchmarks.peers.settings` for the command.

Writes OUTPUT/KIND/maskless.mnn for each --kind, with MNN's own converter, from an ONNX file as ONNX
Runtime's peer gets it, but for the mask, which a text that runs at its own length does not need:

    float     float32
    dynamic   weights of 8 bits, activations quantised as they come

Looked at and left out, in MNN 3.6:

- The mask. Its graph has a truth value that MNN reads as four bytes of which one is set, so that one
  file of several ignores all tokens but says nothing.
- `transformerFuse`, attention as one operator, takes more instructions.
- `weightQuantAsymmetric` takes as many and ruins a base size; `weightQuantBlock` takes more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

FLOAT, DYNAMIC = "float", "dynamic"
KINDS = (FLOAT, DYNAMIC)
VARIANT = "maskless"
# One file of some thirty computed something else, and another of the same graph did not.
_TRIES = 3
_OPTIONS = {FLOAT: [], DYNAMIC: ["--weightQuantBits", "8"]}
# Of what torch gives, by their lengths. MNN computes GELU and exponentials approximately, and a base
# size in 8 bits is 0.1 off; random tokens are further off than texts.
_MAX_ERRORS = {FLOAT: 1e-2, DYNAMIC: 0.5}


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the model of each kind and yields its path.

    Raises:
        ValueError: see `load_graph` and `write`.
    """
    from benchmarks.peers.torch_graph import load_graph

    yield from write(load_graph(folder, settings, "eager").without_mask(), output, settings, kinds)


def write(graph: Any, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes a `Graph` in each kind and yields the paths.

    Raises:
        ValueError: MNN refuses the graph, or computes something else than torch.
    """
    from benchmarks.peers.export_onnx import write_onnx
    from benchmarks.peers.native import silence_native_output
    from benchmarks.peers.torch_graph import example

    silence_native_output()
    import _tools  # the converter; the command `mnnconvert` would install what reports its use

    output.mkdir(parents=True, exist_ok=True)
    source = output / "graph.onnx"
    write_onnx(graph, source, settings.task)
    inputs = example(graph, batch=1)
    expected = graph(*inputs.values()).detach().numpy()
    for kind in kinds:
        path = output / kind / f"{VARIANT}.mnn"
        path.parent.mkdir(exist_ok=True)
        arguments = ["--modelFile", str(source), "--MNNModel", str(path), *_OPTIONS[kind]]
        for _ in range(_TRIES):
            # It says that it succeeded either way.
            _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--bizCode", "tfedge", *arguments])
            if not path.exists():
                raise ValueError("MNN does not convert its ONNX graph")
            error = _error(path, inputs, expected)
            if error <= _MAX_ERRORS[kind]:
                break
        else:
            raise ValueError(f"the {kind} MNN graph differs from torch by {error:.0%}")
        yield path


def _error(path: Path, inputs: dict[str, Any], expected: Any) -> float:
    """How far a file's output is from torch's, as a share of the latter's length."""
    import numpy as np

    from benchmarks.peers.engine import load_engine

    arrays = {name: value.numpy() for name, value in inputs.items()}
    difference = load_engine("mnn", path, 1).answer(arrays) - expected
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_mnn", KINDS, export))
