"""Converts a checkpoint for OpenVINO; see `benchmarks.peers.settings` for the command.

Writes the folder OUTPUT/KIND/model for each --kind: `float`, and `int8`, what nncf.quantize makes of it
for transformers (static, with SmoothQuant and bias correction, ranges from the calibration texts).
One text at a time, any number of tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

FLOAT = "float"
KINDS = (FLOAT, "int8")
FILE = "model.xml"


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the model of each kind and yields its path.

    Raises:
        ValueError: see `load_graph`.
    """
    import openvino

    from benchmarks.peers.torch_graph import example, load_graph

    graph = load_graph(folder, settings, "sdpa")  # OpenVINO has an operator for it
    inputs = example(graph, batch=1)
    model = openvino.convert_model(graph, example_input=tuple(inputs.values()))
    for given, name in zip(model.inputs, graph.names, strict=True):
        given.get_tensor().set_names({name})
    model.reshape({name: [1, -1] for name in graph.names})
    for kind in kinds:
        made = model if kind == FLOAT else _quantized(model, graph.names, settings)
        target = output / kind / "model"
        target.mkdir(parents=True, exist_ok=True)
        openvino.save_model(made, target / FILE, compress_to_fp16=False)
        yield target


def _quantized(model: Any, names: list[str], settings: Settings) -> Any:
    import nncf
    import numpy as np

    batches = []
    for encoded in settings.encoded():
        arrays = encoded.arrays(len(encoded))
        batches.append({name: arrays[name].astype(np.int64) for name in names})
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_openvino", KINDS, export))
