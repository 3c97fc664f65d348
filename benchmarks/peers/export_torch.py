"""Writes a checkpoint as torch runs it; see `benchmarks.peers.settings` for the command.

Writes OUTPUT/KIND/VARIANT.pt for each --kind, `dynamic` being torch.ao.quantization.quantize_dynamic
of all dense layers:

    eager    the module, pickled, with transformers' fused attention (sdpa)
    script   TorchScript, traced and frozen, which needs no transformers to run
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

KINDS = ("float", "dynamic")
SCRIPT = "script"
INPUTS_KEY = "inputs"  # the names of the inputs, in a TorchScript file
_MAX_ERROR = 1e-4
_TOKENS = 13  # other than the traced length: a number of tokens may be frozen by accident


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the two forms of each kind and yields their paths.

    Raises:
        ValueError: see `load_graph`; or TorchScript computes something else.
        ImportError: this torch has no quantize_dynamic any more.
    """
    import torch

    from benchmarks.peers.torch_graph import load_graph

    for kind in kinds:
        (output / kind).mkdir(parents=True, exist_ok=True)
        for variant, attention in (("eager", "sdpa"), (SCRIPT, "eager")):
            graph: Any = load_graph(folder, settings, attention)
            if kind == "dynamic":
                graph = _quantized(graph)
            path = output / kind / f"{variant}.pt"
            if variant == SCRIPT:
                script = _traced(graph)
                torch.jit.save(script, str(path), _extra_files={INPUTS_KEY: " ".join(graph.names)})
            else:
                torch.save((graph, graph.names), path)
            yield path


def _quantized(graph: Any) -> Any:
    import torch

    if not hasattr(torch.ao.quantization, "quantize_dynamic"):  # announced as deprecated
        raise ImportError(f"a torch with quantize_dynamic (2.13 has it, not {torch.__version__})")
    return torch.ao.quantization.quantize_dynamic(graph, {torch.nn.Linear}, dtype=torch.qint8)


def _traced(graph: Any) -> Any:
    import torch

    from benchmarks.peers.torch_graph import example

    with torch.inference_mode():
        traced = torch.jit.trace(graph, tuple(example(graph).values()), check_trace=False)
        script = torch.jit.freeze(traced.eval())
        other = [value[:1].repeat(1, 2)[:, :_TOKENS] for value in example(graph).values()]
        error = float((script(*other) - graph(*other)).abs().max())
    if not error <= _MAX_ERROR:
        raise ValueError(f"the TorchScript graph differs from torch by {error:.2g}")
    return script


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_torch", KINDS, export))
