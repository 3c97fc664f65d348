"""Exports a checkpoint to ONNX: `python -m tfedge.measure.peers.export_onnx FOLDER OUTPUT ...`.

Writes OUTPUT/KIND/VARIANT.onnx for each --kind, and prints a line for each file. Batch and tokens
are dynamic. The variants are what ONNX Runtime's own tools offer; which is the fastest depends on
the model and the machine, so all of them are made:

    plain   the graph as torch exports it
    fused   the same after onnxruntime.transformers.optimizer (attention, layer norms, GELU)

and, for the kind `dynamic` (int8 weights, activations quantised as they come), each of the two with
a scale per tensor, quantize_dynamic's default, and per channel.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfedge.runtime.bundle import INPUTS

KINDS = ("float", "dynamic")
GRAPHS = ("plain", "fused")
# The suffix of a dynamic variant -> whether dense weights have a scale for each channel.
GRANULARITIES = {"": False, "-per-channel": True}
_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "sentence-embedding": "AutoModel",
}
TASKS = tuple(_CLASSES)
_OPSET = 17  # the first with LayerNormalization
_MAX_ERROR = 1e-3
_EXIT_INPUT = 3
_EXIT_MISSING = 4


def variants(kind: str) -> list[str]:
    """The names of the files, without suffix, that are written for a kind."""
    endings = [""] if kind == "float" else list(GRANULARITIES)
    return [graph + ending for graph in GRAPHS for ending in endings]


def export(folder: Path, output: Path, task: str, labels: int, kinds: list[str]) -> Iterator[Path]:
    """Writes the variants of each kind and yields their paths.

    Args:
        labels: how many a text classifier must have.

    Raises:
        ValueError: the checkpoint lacks weights of the task or has other labels, or a graph
            computes something else.
    """
    from onnx import TensorProto
    from onnxruntime.quantization import quantize_dynamic

    output.mkdir(parents=True, exist_ok=True)
    (output / "float").mkdir(exist_ok=True)
    for graph, path in _float_graphs(folder, output / "float", task, labels):
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


def _float_graphs(folder: Path, output: Path, task: str, labels: int) -> Iterator[tuple[str, Path]]:
    """Writes and yields the graph as it is exported, then the fused one."""
    import torch
    from onnxruntime.transformers import optimizer

    model, names = _load(folder, task)
    if task == "text-classification" and model.config.num_labels != labels:
        raise ValueError(
            f"it has {model.config.num_labels} labels and the model {labels}; give the checkpoint "
            "that was converted"
        )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (2, 7), generator=generator)
    filled = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    inputs = {name: filled[name] for name in names}
    graph = _graph(model, names, task)
    plain = output / "plain.onnx"
    torch.onnx.export(
        graph,
        tuple(inputs.values()),
        str(plain),
        input_names=names,
        output_names=["logits" if task == "text-classification" else "embedding"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
        opset_version=_OPSET,
        dynamo=False,  # the optimiser finds no attention in what the newer exporter writes
    )
    expected = graph(*inputs.values())
    _check(plain, inputs, expected)
    yield "plain", plain
    fused = output / "fused.onnx"
    config = model.config
    # At any other level than 0 ONNX Runtime rewrites the graph first, and no attention is found.
    optimized = optimizer.optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,
    )
    optimized.save_model_to_file(str(fused))
    _check(fused, inputs, expected)
    yield "fused", fused


def _load(folder: Path, task: str) -> tuple[Any, list[str]]:
    """The torch model in float32, and the names of the inputs that it takes."""
    import torch
    import transformers

    if "tfedge" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        raise ValueError(
            "its layers differ in heads or neurons (the key tfedge of config.json), for which "
            "transformers has no model"
        )
    model, info = getattr(transformers, _CLASSES[task]).from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,  # a checkpoint of float16 would be exported so
        attn_implementation="eager",  # the form that the optimiser knows
        output_loading_info=True,
    )
    # Sentence embeddings do not use BERT's pooler, which checkpoints of them may lack.
    missing = sorted(
        key
        for key in info["missing_keys"]
        if task == "text-classification" or not key.startswith("pooler.")
    )
    if missing:
        raise ValueError(f"the checkpoint lacks weights for {task}: {', '.join(missing[:5])}")
    parameters = inspect.signature(model.forward).parameters
    return model.eval(), [name for name in INPUTS if name in parameters]


def _graph(model: Any, names: list[str], task: str) -> Any:
    """A torch module from the inputs, int64 (batch, tokens) each, to the one output."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            inputs = dict(zip(names, values, strict=True))
            outputs = self.model(**inputs)
            if task == "text-classification":
                return outputs.logits
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            return (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)

    return Graph().eval()


def _check(path: Path, inputs: dict[str, Any], expected: Any) -> None:
    """Raises ValueError unless the graph gives what torch does."""
    import numpy as np
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    types = {given.name: given.type for given in session.get_inputs()}
    feed = {
        name: inputs[name].numpy().astype(np.int32 if "int32" in kind else np.int64)
        for name, kind in types.items()
    }
    (output,) = session.run(None, feed)
    error = float(np.abs(output - expected.detach().numpy()).max())
    if not error <= _MAX_ERROR:
        raise ValueError(f"the {path.stem} ONNX graph differs from torch by {error:.2g}")


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code: 0, 3 for a bad checkpoint, 4 for a missing package."""
    parser = argparse.ArgumentParser(prog="python -m tfedge.measure.peers.export_onnx")
    parser.add_argument("checkpoint", type=Path, help="Hugging Face folder")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--labels", type=int, default=0, help="how many the classifier has")
    parser.add_argument("--kind", choices=KINDS, action="append", required=True)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # torch's about tracing, a page of them
    logging.disable(logging.WARNING)
    try:
        given = (options.checkpoint, options.output, options.task, options.labels, options.kind)
        for path in export(*given):
            print(path, flush=True)
    except ImportError as error:
        print(f"{error.name or error} is not installed", file=sys.stderr)
        return _EXIT_MISSING
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _EXIT_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
