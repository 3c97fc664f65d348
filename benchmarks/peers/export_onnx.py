"""Exports a checkpoint to ONNX; see `benchmarks.peers.settings` for the command.

Writes OUTPUT/KIND/VARIANT.onnx for each --kind, and prints a line for each file. Batch and tokens
are dynamic. The variants are what ONNX Runtime's own tools offer; which is the fastest depends on
the model and the machine, so all of them are made:

    plain   the graph as torch exports it
    fused   the same after onnxruntime.transformers.optimizer (attention, layer norms, GELU)

and, for the kind `dynamic` (int8 weights, activations quantised as they come), each of the two with
a scale per tensor, quantize_dynamic's default, and per channel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

KINDS = ("float", "dynamic")
GRAPHS = ("plain", "fused")
# The suffix of a dynamic variant -> whether dense weights have a scale for each channel.
GRANULARITIES = {"": False, "-per-channel": True}
_OPSET = 17  # the first with LayerNormalization
_MAX_ERROR = 1e-3


def variants(kind: str) -> list[str]:
    """The names of the files, without suffix, that are written for a kind."""
    endings = [""] if kind == "float" else list(GRANULARITIES)
    return [graph + ending for graph in GRAPHS for ending in endings]


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the variants of each kind and yields their paths.

    Raises:
        ValueError: the checkpoint lacks weights of the task or has other labels, or a graph
            computes something else.
    """
    from onnx import TensorProto
    from onnxruntime.quantization import quantize_dynamic

    (output / "float").mkdir(parents=True, exist_ok=True)
    for graph, path in _float_graphs(folder, output / "float", settings):
        if "float" in kinds:
            yield path
        if "dynamic" not in kinds:
            continue
        (output / "dynamic").mkdir(exist_ok=True)
        for ending, per_channel in GRANULARITIES.items():
            target = output / "dynamic" / f"{graph}{ending}.onnx"
            # The quantiser does not know what type ONNX Runtime's own fused operators give.
            types = {"DefaultTensorType": TensorProto.FLOAT}
            quantize_dynamic(path, target, per_channel=per_channel, extra_options=types)
            yield target


def _float_graphs(folder: Path, output: Path, settings: Settings) -> Iterator[tuple[str, Path]]:
    """Writes and yields the graph as it is exported, then the fused one."""
    from onnxruntime.transformers import optimizer

    from benchmarks.peers.torch_graph import load_graph

    graph = load_graph(folder, settings, "eager")  # the form that the optimiser knows
    plain = output / "plain.onnx"
    write_onnx(graph, plain, settings.task)
    yield "plain", plain
    fused = output / "fused.onnx"
    config = graph.model.config
    # At any other level than 0 ONNX Runtime rewrites the graph first, and no attention is found.
    optimized = optimizer.optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,
    )
    optimized.save_model_to_file(str(fused))
    _check(fused, graph)
    yield "fused", fused


def write_onnx(graph: Any, path: Path, task: str) -> None:
    """Exports a `Graph`; raises ValueError where the file computes something else."""
    import torch

    from benchmarks.peers.torch_graph import example

    torch.onnx.export(
        graph,
        tuple(example(graph).values()),
        str(path),
        input_names=graph.names,
        output_names=["logits" if task == "text-classification" else "embedding"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in graph.names},
        opset_version=_OPSET,
        dynamo=False,  # the optimiser finds no attention in what the newer exporter writes
    )
    _check(path, graph)


def _check(path: Path, graph: Any) -> None:
    """Raises ValueError unless the file gives what torch does."""
    import numpy as np

    from benchmarks.peers.engine import load_engine
    from benchmarks.peers.torch_graph import example

    inputs = example(graph)
    expected = graph(*inputs.values())
    output = load_engine("onnx", path, 1).answer(
        {name: value.numpy() for name, value in inputs.items()}
    )
    error = float(np.abs(output - expected.detach().numpy()).max())
    if not error <= _MAX_ERROR:
        raise ValueError(f"the {path.stem} ONNX graph differs from torch by {error:.2g}")


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_onnx", KINDS, export))
