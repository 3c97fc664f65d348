"""Puts together all that `tfedge inspect` finds, as one JSON object."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import InputError, MissingPackageError
from tfedge.inspect import cost
from tfedge.inspect.graph import ModelFile, Signature, Subgraph, Tensor, read_model
from tfedge.inspect.inputs import model_inputs
from tfedge.inspect.islands import float_islands
from tfedge.inspect.layers import layer_name
from tfedge.inspect.noise import Comparison, compare
from tfedge.inspect.timing import time_parts
from tfedge.measure.board import Board
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.errors import BackendError, InferenceError, ModelFileError
from tfedge.runtime.runtimes import RUNTIMES, choose_runtime
from tfedge.runtime.turns import rounds_in_all

Report = dict[str, Any]
WORST = 5
_BUNDLE_FIELDS = ("name", "task", "labels", "max_length", "quantization", "runtimes", "normalize")


@dataclasses.dataclass(frozen=True)
class InspectOptions:
    """What `tfedge inspect` is asked for.

    Attributes:
        signature: the key of the graph to show; the first by default.
        against: a float model to compare with; None leaves the error out.
        data: texts, or an .npz of inputs; the package's sentences by default.
        rows: how many of them.
        runtime: what both models run on; the first that the model was verified on by default.
        time_rounds: how often each part of the graph is timed; 0 leaves times out.
        threads: of the runtime when it is timed.
    """

    signature: str | None = None
    against: Path | None = None
    data: str | None = None
    rows: int = 16
    runtime: str | None = None
    time_rounds: int = 0
    threads: int = 1


def inspect(path: Path, options: InspectOptions, make_bar: MakeBar) -> Report:
    """Reads a .tflite of any origin; with `against` or `time_rounds`, runs it.

    Returns:
        `file`, `size_bytes`, `sha256`; `bundle` or `bundle_note`; `signatures`, `signature`;
        `constant_bytes` by dtype; `cost_model`, `total`, `summary` (by operator, dtype and
        version), `islands`, `conversions_outside`, `operators`; `noise` and
        `timing`, each or None.

    Raises:
        InputError: a file or an option cannot be used.
        MissingPackageError: ai-edge-litert or the runtime is not installed.
        RejectedModelError: the runtime crashed on a model or refused it.
    """
    model = read_model(path)
    signature = model.signature(options.signature)
    subgraph = model.subgraphs[signature.subgraph if signature else 0]
    bundle, note = _bundle(path)
    operators = _operators(subgraph)
    islands = [dataclasses.asdict(island) for island in float_islands(subgraph)]
    macs = [_macs(graph) for graph in model.subgraphs]
    report: Report = {
        "file": str(path),
        "size_bytes": model.size_bytes,
        "sha256": files.sha256(path),
        "description": model.description,
        "bundle": bundle and _manifest(bundle),
        "bundle_note": note,
        "signatures": [_signature(model, item, macs[item.subgraph]) for item in model.signatures],
        "signature": signature.key if signature else None,
        "constant_bytes": model.constants,
        "cost_model": cost.MODEL,
        "total": _total(operators),
        "summary": _summary(operators),
        "islands": islands,
        "conversions_outside": _conversions(operators, islands),
        "operators": operators,
        "noise": None,
        "timing": None,
    }
    if options.against is not None:
        report["noise"] = _noise(model, signature, bundle, options, make_bar)
    if options.time_rounds:
        report["timing"] = _timing(model, signature, bundle, options, make_bar)
    return report


def _bundle(path: Path) -> tuple[Bundle | None, str | None]:
    """The bundle in a file, or why there is none."""
    try:
        return read_bundle(path), None
    except ModelFileError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _manifest(bundle: Bundle) -> Report:
    fields = json.loads(bundle.manifest.to_json())
    return {name: fields[name] for name in _BUNDLE_FIELDS}


def _tensor(tensor: Tensor) -> Report:
    return {
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "scale": tensor.scale,
        "zero_point": tensor.zero_point,
    }


def _macs(subgraph: Subgraph) -> int:
    return sum(cost.operator_cost(item, subgraph).macs or 0 for item in subgraph.operators)


def _signature(model: ModelFile, signature: Signature, macs: int) -> Report:
    subgraph = model.subgraphs[signature.subgraph]
    return {
        "key": signature.key,
        "operators": len(subgraph.operators),
        "macs": macs,
        **{
            side: {name: _tensor(subgraph.tensors[index]) for name, index in ends.items()}
            for side, ends in (("inputs", signature.inputs), ("outputs", signature.outputs))
        },
    }


def _operators(subgraph: Subgraph) -> list[Report]:
    """A row for each operator, in the order in which they run."""
    costs = [cost.operator_cost(operator, subgraph) for operator in subgraph.operators]
    total = max(1, sum(item.units for item in costs))
    rows = []
    for index, (operator, found) in enumerate(zip(subgraph.operators, costs, strict=True)):
        results = [subgraph.tensors[tensor] for tensor in operator.outputs]
        operands = [subgraph.tensors[tensor] for tensor in operator.inputs if tensor >= 0]
        first = results[0] if results else None
        rows.append(
            {
                "index": index,
                "operator": operator.name,
                "version": operator.version,
                "dtype": first.dtype if first else "",
                "inputs": [_operand(tensor) for tensor in operands],
                "outputs": [_operand(tensor) for tensor in results],
                "layer": layer_name(first.name) if first else "",
                "tensor": first.name if first else "",
                "scale": first.scale if first else None,
                "zero_point": first.zero_point if first else None,
                "range": list(first.range) if first and first.range else None,
                **dataclasses.asdict(found),
                "share": found.units / total,
            }
        )
    return rows


def _operand(tensor: Tensor) -> Report:
    constant = tensor.constant_bytes is not None
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "constant": constant}


def _units(row: Report) -> int:
    return row["elements"] if row["macs"] is None else row["macs"]


def _total(operators: Sequence[Report]) -> Report:
    return {
        "operators": len(operators),
        "macs": sum(row["macs"] or 0 for row in operators),
        "elements": sum(row["elements"] for row in operators if row["macs"] is None),
        "bytes": sum(row["bytes"] for row in operators),
    }


def _summary(operators: Sequence[Report]) -> list[Report]:
    """Operators by type, dtype and version, the costliest first."""
    groups: dict[tuple[str, str, int], list[Report]] = {}
    for row in operators:
        groups.setdefault((row["operator"], row["dtype"], row["version"]), []).append(row)
    rows = [
        {
            "operator": name,
            "dtype": dtype,
            "version": version,
            "count": len(group),
            "cost": sum(map(_units, group)),
            "bytes": sum(row["bytes"] for row in group),
            "share": sum(row["share"] for row in group),
        }
        for (name, dtype, version), group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row["share"], row["operator"], row["dtype"]))


def _conversions(operators: Sequence[Report], islands: Sequence[Report]) -> int:
    """QUANTIZE and DEQUANTIZE that belong to no island: at the graph's ends, or between scales."""
    count = sum(row["operator"] in ("QUANTIZE", "DEQUANTIZE") for row in operators)
    return count - sum(island["quantize"] + island["dequantize"] for island in islands)


def _noise(
    model: ModelFile,
    signature: Signature | None,
    bundle: Bundle | None,
    options: InspectOptions,
    make_bar: MakeBar,
) -> Report:
    assert options.against is not None
    reference = read_model(options.against)
    if signature is None:
        raise InputError(f"{model.path} has no signature, by which --against runs both models")
    counterpart = reference.signature(signature.key)
    assert counterpart is not None
    tokenizer = bundle or _bundle(options.against)[0]
    inputs, source = model_inputs(model, signature, tokenizer, options.data, options.rows)
    runtime = _runtime(options.runtime, bundle)
    rows = len(next(iter(inputs.values())))
    with make_bar(f"running both models in {runtime}", 2 * rows) as bar:
        comparison = compare(
            (model, signature),
            (reference, counterpart),
            inputs,
            Board.here(runtime),
            bar.advance,
        )
    return {
        "against": str(options.against),
        "data": source,
        "rows": rows,
        "runtime": runtime,
        "delegate": None,
        **_layers(comparison),
    }


def _timing(
    model: ModelFile,
    signature: Signature | None,
    bundle: Bundle | None,
    options: InspectOptions,
    make_bar: MakeBar,
) -> Report:
    if signature is None:
        raise InputError(f"{model.path} has no signature, by which --time runs it")
    inputs, source = model_inputs(model, signature, bundle, options.data, options.rows)
    runtime = _runtime(options.runtime, bundle)
    board = Board(runtime=runtime, threads=options.threads)
    rounds = options.time_rounds
    with make_bar(f"timing its parts in {runtime}", rounds_in_all(rounds)) as bar:
        timing = time_parts(model, signature, inputs, board, rounds, bar.advance)
    return {
        "data": source,
        "runtime": runtime,
        "threads": options.threads,
        "rounds": rounds,
        **dataclasses.asdict(timing),
    }


def _runtime(wanted: str | None, bundle: Bundle | None) -> str:
    try:
        return choose_runtime(wanted, bundle.manifest.runtimes if bundle else tuple(RUNTIMES))
    except BackendError as error:
        raise MissingPackageError(str(error)) from error
    except InferenceError as error:
        raise InputError(str(error)) from error


def _layers(comparison: Comparison) -> Report:
    measured = [layer for layer in comparison.layers if layer.snr_db is not None]
    ranked = sorted(measured, key=lambda layer: layer.snr_db or 0.0)
    return {
        "worst": [layer.layer for layer in ranked[:WORST]],
        "layers": [dataclasses.asdict(layer) for layer in comparison.layers],
        "unmatched": comparison.unmatched,
    }
