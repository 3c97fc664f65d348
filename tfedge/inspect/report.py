"""Puts together all that `tfedge inspect` finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfedge import files
from tfedge.boards.remote import Remote
from tfedge.errors import InputError, board_errors
from tfedge.inspect import cost, result
from tfedge.inspect.estimate import estimates_of
from tfedge.inspect.graph import ModelFile, Signature, Subgraph, read_model
from tfedge.inspect.inputs import Inputs, model_inputs
from tfedge.inspect.islands import float_islands
from tfedge.inspect.layers import layer_name
from tfedge.inspect.noise import compare
from tfedge.inspect.outliers import (
    FAR,
    batches,
    find_outliers,
    float_layers,
    integer_layers,
    tokens_of,
)
from tfedge.inspect.timing import time_parts
from tfedge.inspect.verdict import verdict_of
from tfedge.measure.board import Board
from tfedge.measure.steadiness import surroundings
from tfedge.progress import MakeBar
from tfedge.records import taken
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.errors import ModelFileError
from tfedge.runtime.runtimes import RUNTIMES, choose_runtime
from tfedge.runtime.worker import WARM_UP_ROUNDS


@dataclasses.dataclass(frozen=True)
class InspectOptions:
    """What `tfedge inspect` is asked for."""

    signature: str | None = None  # the key of the graph to show; the first by default
    against: Path | None = None  # a float model to compare with; None leaves the error out
    data: str | None = None  # texts, or an .npz of inputs; the package's sentences by default
    rows: int = 16  # how many of them
    runtime: str | None = None  # the first that the model was verified on by default
    time_rounds: int = 0  # how often each part of the graph is timed; 0 leaves times out
    threads: int = 1  # of the runtime when it is timed
    remote: Remote | None = None  # the board on which it is timed; this machine by default
    outliers: bool = False  # whether to look for channels and tokens far beyond the others


def inspect(path: Path, options: InspectOptions, make_bar: MakeBar) -> result.Report:
    """Reads a .tflite of any origin; with `against`, `outliers` or `time_rounds`, runs it.

    Raises:
        InputError: a file or an option cannot be used.
        MissingPackageError: ai-edge-litert or the runtime is not installed.
        RejectedModelError: the runtime crashed on a model or refused it.
    """
    model = read_model(path)
    signature = model.signature(options.signature)
    subgraph = model.subgraphs[signature.subgraph if signature else 0]
    bundle, note = _bundle(path)
    operators, islands = _operators(subgraph), float_islands(subgraph)
    macs = [
        sum(cost.operator_cost(item, graph).macs or 0 for item in graph.operators)
        for graph in model.subgraphs
    ]
    run = _Run(model, signature, bundle, options, make_bar)
    report = result.Report(
        file=str(path),
        size_bytes=model.size_bytes,
        sha256=files.sha256(path),
        description=model.description,
        bundle=taken(result.BundleFacts, bundle.manifest) if bundle else None,
        bundle_note=note,
        signatures=[_entry(model, item, macs[item.subgraph]) for item in model.signatures],
        signature=signature.key if signature else None,
        constant_bytes=model.constants,
        cost_model=cost.MODEL,
        total=result.Total(
            operators=len(operators),
            macs=sum(row.macs or 0 for row in operators),
            elements=sum(row.elements for row in operators if row.macs is None),
            bytes=sum(row.bytes for row in operators),
        ),
        summary=_summary(operators),
        islands=islands,
        conversions_outside=sum(row.operator in ("QUANTIZE", "DEQUANTIZE") for row in operators)
        - sum(island.quantize + island.dequantize for island in islands),
        operators=operators,
        noise=run.noise(options.against) if options.against is not None else None,
        outliers=run.outliers(options.against) if options.outliers else None,
        timing=run.times() if options.time_rounds else None,
        estimates=estimates_of(subgraph, signature.key, bundle) if signature and bundle else None,
    )
    return dataclasses.replace(report, verdict=verdict_of(report, path, options.against))


def _bundle(path: Path) -> tuple[Bundle | None, str | None]:
    """The bundle in a file, or why there is none."""
    try:
        return read_bundle(path), None
    except ModelFileError as error:
        return None, str(error).removeprefix(f"{path}: ")


def _entry(model: ModelFile, signature: Signature, macs: int) -> result.Entry:
    subgraph = model.subgraphs[signature.subgraph]
    ends = (
        {name: taken(result.End, subgraph.tensors[index]) for name, index in side.items()}
        for side in (signature.inputs, signature.outputs)
    )
    return result.Entry(signature.key, len(subgraph.operators), macs, *ends)


def _operators(subgraph: Subgraph) -> list[result.OperatorRow]:
    """A row for each operator, in the order in which they run."""
    costs = [cost.operator_cost(operator, subgraph) for operator in subgraph.operators]
    total = max(1, sum(item.units for item in costs))
    rows = []
    for index, (operator, found) in enumerate(zip(subgraph.operators, costs, strict=True)):
        first = subgraph.result(operator)
        row = taken(
            result.OperatorRow,
            found,
            first,
            index=index,
            operator=operator.name,
            version=operator.version,
            inputs=[taken(result.Operand, item) for item in subgraph.operands(operator)],
            outputs=[taken(result.Operand, subgraph.tensors[i]) for i in operator.outputs],
            layer=layer_name(first.name),
            tensor=first.name,
            share=found.units / total,
        )
        rows.append(row)
    return rows


def _summary(operators: Sequence[result.OperatorRow]) -> list[result.Group]:
    """Operators by type, dtype and version, the costliest first."""
    groups: dict[tuple[str, str, int], list[result.OperatorRow]] = {}
    for row in operators:
        groups.setdefault((row.operator, row.dtype, row.version), []).append(row)
    rows = [
        result.Group(
            *kind,
            count=len(group),
            cost=sum(row.units for row in group),
            bytes=sum(row.bytes for row in group),
            share=sum(row.share for row in group),
        )
        for kind, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.share, row.operator, row.dtype))


@dataclasses.dataclass(frozen=True)
class _Run:
    """What has the model run."""

    model: ModelFile
    signature: Signature | None
    bundle: Bundle | None
    options: InspectOptions
    make_bar: MakeBar

    def noise(self, against: Path) -> result.Noise:
        """How far each layer is from that of a float model."""
        reference = read_model(against)
        signature = self._signature("--against runs both models")
        counterpart = reference.signature(signature.key)
        assert counterpart is not None
        inputs, source = self._inputs(signature, self.bundle or _bundle(against)[0])
        runtime, rows = self._runtime(), len(next(iter(inputs.values())))
        with self.make_bar(f"running both models in {runtime}", 2 * rows) as bar:
            pair = (self.model, signature), (reference, counterpart)
            found = compare(*pair, inputs, Board.here(runtime), bar.advance)
        noise = result.Noise(str(against), source, rows, runtime, None, [], *found)
        return dataclasses.replace(noise, worst=[row.layer for row in noise.ranked[: result.WORST]])

    def outliers(self, against: Path | None) -> result.Outliers:
        """What reaches far beyond the rest in the float model: `against`, or the model itself."""
        signature = self._signature("--outliers runs it")
        looked_at = mine = (self.model, signature)
        if against is not None:
            reference = read_model(against)
            looked_at = reference, reference.signature(signature.key) or signature
        bundle = self.bundle or (_bundle(against)[0] if against else None)
        inputs, source = self._inputs(signature, bundle)
        runtime, rows = self._runtime(), len(next(iter(inputs.values())))
        tokens = tokens_of(inputs, bundle)
        parts = batches(float_layers(looked_at, mine if against else None, tokens), rows)
        with self.make_bar(f"looking for outliers in {runtime}", rows * len(parts)) as bar:
            board = Board.here(runtime)
            found = find_outliers(looked_at, parts, inputs, tokens, board, bar.advance)
        ends = integer_layers(looked_at), FAR, found
        return result.Outliers(looked_at[0].path, source, rows, runtime, None, *ends)

    def times(self) -> result.Times:
        """What each part takes."""
        signature = self._signature("--time runs it")
        inputs, source = self._inputs(signature, self.bundle)
        threads, remote = self.options.threads, self.options.remote
        runtime = remote.chosen(self.options.runtime, self._allowed) if remote else self._runtime()
        rounds = self.options.time_rounds
        board = Board(runtime=runtime, threads=threads, remote=remote)
        before = board.look() if remote else None
        with self.make_bar(f"timing its parts in {runtime}", rounds + WARM_UP_ROUNDS) as bar:
            found = time_parts(self.model, signature, inputs, board, rounds, bar.advance)
        around = surroundings(before, board.look()) if before else None
        return result.Times(source, runtime, threads, rounds, *found, around)

    def _signature(self, what: str) -> Signature:
        if self.signature is None:
            raise InputError(f"{self.model.path} has no signature, by which {what}")
        return self.signature

    def _inputs(self, signature: Signature, bundle: Bundle | None) -> tuple[Inputs, str]:
        return model_inputs(self.model, signature, bundle, self.options.data, self.options.rows)

    @property
    def _allowed(self) -> Sequence[str]:
        """The runtimes that it may run in."""
        return self.bundle.manifest.runtimes if self.bundle else tuple(RUNTIMES)

    def _runtime(self) -> str:
        with board_errors():
            return choose_runtime(self.options.runtime, self._allowed)
