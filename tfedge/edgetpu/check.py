"""Predicts what the Edge TPU compiler makes of a .tflite, or counts what it made of a compiled one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfedge.edgetpu.estimate import latency, memory
from tfedge.edgetpu.judge import Verdict, judge, moving_shapes
from tfedge.edgetpu.partition import partition, taken
from tfedge.edgetpu.result import (
    CPU,
    MAPPED,
    SEEN,
    STRANDED,
    UNPROVEN,
    Asked,
    Break,
    Check,
    Counted,
    Graph,
    Judged,
    Part,
    Problem,
)
from tfedge.edgetpu.rules import Rules, load_rules
from tfedge.errors import InputError
from tfedge.inspect.graph import (
    EDGETPU_OPERATOR,
    Operator,
    Signature,
    Subgraph,
    read_model,
)
from tfedge.tflite.flatbuffer import tools


def check(path: Path) -> Check:
    """Reads a .tflite of any origin; nothing of it is run.

    Raises:
        InputError: the file cannot be used.
        MissingPackageError: ai-edge-litert, which has TFLite's schema, is not installed.
    """
    model = read_model(path)
    try:
        found = predict(model.subgraphs[0], load_rules())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return dataclasses.replace(
        found,
        file=str(path),
        size_bytes=model.size_bytes,
        graph=_graph(model.subgraphs, model.signatures),
    )


def predict(subgraph: Subgraph, rules: Rules) -> Check:
    """What `check` says of a graph, the file that it is in left empty."""
    if any(operator.name == EDGETPU_OPERATOR for operator in subgraph.operators):
        return _compiled(subgraph, rules)
    verdicts = [judge(operator, subgraph, rules) for operator in subgraph.operators]
    partitions = partition(subgraph, [verdict.refused is None for verdict in verdicts])
    mapped = taken(partitions)
    rows = [
        _judged(index, subgraph, verdict, index in mapped, rules)
        for index, verdict in enumerate(verdicts)
    ]
    held = memory(subgraph, mapped, rules)
    runtimes = (rules.operators[subgraph.operators[index].name].runtime for index in mapped)
    return Check(
        file="",
        size_bytes=0,
        compiler=rules.device.compiler,
        graph=_graph([subgraph], []),
        compiled=False,
        problems=problems(subgraph, rules),
        operators=rows,
        summary=_summary(rows),
        counts=_counts(rows),
        questions=list(_questions(verdicts, rules)),
        readings=_readings(subgraph, verdicts),
        partitions=[
            Part(item.mappable, item.operators[0] in mapped, item.operators) for item in partitions
        ],
        first_break=_first_break(rows, mapped),
        minimum_runtime=max(runtimes, default=None),
        memory=held,
        latency=latency(subgraph, mapped, held.streamed_bytes, rules),
    )


def problems(subgraph: Subgraph, rules: Rules) -> list[Problem]:
    """What makes the compiler refuse the whole file: operators that it cannot read, open shapes."""
    counts = Counter(
        problem
        for operator in subgraph.operators
        for problem in (_unreadable(operator, rules) or _moving(operator, subgraph, rules),)
        if problem is not None
    )
    return [dataclasses.replace(problem, count=count) for problem, count in counts.items()]


def _unreadable(operator: Operator, rules: Rules) -> Problem | None:
    number = getattr(tools().schema_fb.BuiltinOperator, operator.name, None)
    if operator.name.startswith("OPERATOR "):
        number = int(operator.name.split()[1])
    if number is not None and number >= rules.first_unreadable_code:
        return Problem(
            operator.name,
            operator.version,
            count=1,
            message=f"ERROR: Op builtin_code out of range: {number}.",
            rule=f"builtin operators from number {rules.first_unreadable_code} on are unknown",
            source=rules.code_source,
            change=rules.changes.get(operator.name, "use operators of TensorFlow 2.5"),
        )
    most, since = rules.ceilings.get(operator.name, (operator.version, None))
    if operator.version <= most:
        return None
    return Problem(
        operator.name,
        operator.version,
        count=1,
        message=f"ERROR: Didn't find op for builtin opcode '{operator.name}' version "
        f"'{operator.version}'.",
        rule=f"at most version {most}"
        + (f"; the next came with TensorFlow {since}" if since else ""),
        source=rules.ceiling_source,
        change=f"convert so that {operator.name} keeps version {most} (the options and types "
        "that it uses decide; weights per tensor instead of per channel, for instance)",
    )


def _moving(operator: Operator, subgraph: Subgraph, rules: Rules) -> Problem | None:
    inputs = [subgraph.tensors[index] for index in operator.inputs if index >= 0]
    if not moving_shapes(operator, inputs):
        return None
    rule = rules.general["static"]
    message = (
        "ERROR: Attempting to use a delegate that only supports static-sized tensors with a graph "
        "that has dynamic-sized tensors."
    )
    known = (rule.rule, rule.source, rule.change)
    return Problem(operator.name, operator.version, 1, message, *known)


def _judged(index: int, subgraph: Subgraph, verdict: Verdict, mapped: bool, rules: Rules) -> Judged:
    question = verdict.question
    row = dataclasses.replace(_described(index, subgraph), question=question)
    if mapped:
        known = rules.operators[row.operator]
        words, source = known.limit or "In the table of supported operations.", known.source
        if question:
            words, source = rules.questions[question].why, rules.questions[question].source
        elif verdict.seen:
            words, source = "Seen mapped.", known.seen
        kind = SEEN if verdict.seen else UNPROVEN
        return dataclasses.replace(row, class_=kind, status=MAPPED, rule=words, source=source)
    refused = verdict.refused or rules.general["once"]
    change = refused.change
    if row.operator not in rules.operators:
        change = rules.changes.get(row.operator, change)
    return dataclasses.replace(
        row, status=refused.status, rule=refused.rule, source=refused.source, change=change
    )


def _described(index: int, subgraph: Subgraph) -> Judged:
    """An operator, on the CPU for no reason yet."""
    operator = subgraph.operators[index]
    result = subgraph.tensors[operator.outputs[0]] if operator.outputs else None
    dtype, shape, name = (result.dtype, result.shape, result.name) if result else ("", (), "")
    judged = (CPU, "", "", "", None, None)
    return Judged(index, operator.name, operator.version, dtype, shape, name, *judged)


def _summary(rows: Sequence[Judged]) -> list[Counted]:
    """Operators by type and status, as the compiler's log counts them."""
    groups = Counter((row.operator.partition(":")[0], row.status, row.class_) for row in rows)
    return [Counted(name, count, status, kind) for (name, status, kind), count in groups.items()]


def _counts(rows: Sequence[Judged]) -> dict[str, int]:
    return {kind: sum(row.class_ == kind for row in rows) for kind in (SEEN, UNPROVEN, CPU)}


def _readings(subgraph: Subgraph, verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many operators are mapped if every open question is answered no, or yes."""
    answers = {}
    for name, answer in (("strict", False), ("generous", True)):
        mappable = [answer if verdict.question else verdict.refused is None for verdict in verdicts]
        answers[name] = len(taken(partition(subgraph, mappable)))
    return answers


def _questions(verdicts: Sequence[Verdict], rules: Rules) -> Iterator[Asked]:
    asked = Counter(verdict.question for verdict in verdicts if verdict.question)
    for key, count in asked.items():
        known = rules.questions[key]
        counted = "mapped" if known.mapped else CPU
        yield Asked(known.question, count, counted, known.why, known.source)


def _first_break(rows: Sequence[Judged], mapped: frozenset[int]) -> Break | None:
    """The first operator behind the mapped ones that cannot be mapped, and what that strands."""
    for row in rows:
        behind = not mapped or row.index > min(mapped)
        if behind and row.class_ == CPU and row.status != STRANDED:
            stranded = sum(item.status == STRANDED for item in rows)
            return Break(row.index, row.operator, row.status, row.rule, row.change, stranded)
    return None


def _graph(subgraphs: Sequence[Subgraph], signatures: Sequence[Signature]) -> Graph:
    """Which graph is looked at, and which are not."""
    return Graph(
        index=0,
        of=len(subgraphs),
        signature=next((item.key for item in signatures if item.subgraph == 0), None),
        others=[item.key for item in signatures if item.subgraph != 0],
        open_sizes=sum(tensor.dynamic for tensor in subgraphs[0].tensors),
    )


def _compiled(subgraph: Subgraph, rules: Rules) -> Check:
    """What can be seen of a file that the compiler made."""
    rows = []
    for index, operator in enumerate(subgraph.operators):
        kind, status = CPU, "Left on the CPU by the compiler"
        if operator.name == EDGETPU_OPERATOR:
            kind, status = SEEN, "Compiled for the Edge TPU"
        row = _described(index, subgraph)
        rows.append(dataclasses.replace(row, class_=kind, status=status))
    return Check(
        file="",
        size_bytes=0,
        compiler=rules.device.compiler,
        graph=_graph([subgraph], []),
        compiled=True,
        problems=[],
        operators=rows,
        summary=_summary(rows),
        counts=_counts(rows),
        questions=[],
        readings=None,
        partitions=None,
        first_break=None,
        minimum_runtime=None,
        memory=None,
        latency=None,
    )
