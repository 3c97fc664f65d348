"""Predicts what the Edge TPU compiler makes of a .tflite, or counts what it made of a compiled one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfedge.edgetpu.estimate import latency, memory
from tfedge.edgetpu.judge import Verdict, judge, moving_shapes
from tfedge.edgetpu.result import (
    CPU,
    MAPPED,
    SEEN,
    STRANDED,
    UNPROVEN,
    Break,
    Check,
    Counted,
    Graph,
    Judged,
    Part,
    Problem,
)
from tfedge.edgetpu.rules import Rule, Rules, load_rules
from tfedge.edgetpu.verdict import verdict_of
from tfedge.errors import InputError
from tfedge.inspect.graph import EDGETPU_OPERATOR, ModelFile, Operator, Subgraph, read_model
from tfedge.inspect.islands import positions
from tfedge.records import taken
from tfedge.tflite.flatbuffer import tools


def check(path: Path) -> Check:
    """Reads a .tflite of any origin; nothing of it is run. Raises as `read_model`."""
    model = read_model(path)
    try:
        found = predict(model, load_rules())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return dataclasses.replace(found, verdict=verdict_of(found, path))


def predict(model: ModelFile, rules: Rules) -> Check:
    """What `check` says of the first graph of a model that has been read."""
    subgraph = model.subgraphs[0]
    if any(operator.name == EDGETPU_OPERATOR for operator in subgraph.operators):
        return _seen(model, rules, [_compiled(i, subgraph) for i in range(len(subgraph.operators))])
    verdicts = [judge(operator, subgraph, rules) for operator in subgraph.operators]
    parts = partition(subgraph, [verdict.refused is None for verdict in verdicts])
    on_tpu = mapped(parts)
    rows = [
        _judged(index, subgraph, verdict, index in on_tpu, rules)
        for index, verdict in enumerate(verdicts)
    ]
    asked = Counter(verdict.question for verdict in verdicts if verdict.question)
    held = memory(subgraph, on_tpu, rules)
    runtimes = (rules.operators[subgraph.operators[index].name].runtime for index in on_tpu)
    return dataclasses.replace(
        _seen(model, rules, rows),
        compiled=False,
        problems=_problems(subgraph, rules),
        questions=[
            dataclasses.replace(rules.questions[key], operators=count)
            for key, count in asked.items()
        ],
        readings=_readings(subgraph, verdicts),
        partitions=parts,
        first_break=_first_break(rows, on_tpu),
        minimum_runtime=max(runtimes, default=None),
        memory=held,
        latency=latency(subgraph, on_tpu, held.streamed_bytes, rules),
    )


def partition(subgraph: Subgraph, mappable: Sequence[bool]) -> list[Part]:
    """Cuts a graph into sets of operators that can run one after the other; the first is mapped.

    The cut is TensorFlow Lite's own (graph_info.cc, PartitionGraphIntoIndependentNodeSubsets): each
    set takes all operators that can, or all that cannot, be mapped and whose operands are there, so
    the order in the file does not matter. The compiler keeps the first supported set, however small
    (google-coral/edgetpu#342, and the pairs that the tests hold). Operators that wait for each other
    in a circle, which no runtime could run, are a last set that cannot.
    """
    operators = subgraph.operators
    made = {index for operator in operators for index in operator.outputs}
    wanted = [set(operator.inputs) & made for operator in operators]
    missing, readers = [len(indices) for indices in wanted], positions(wanted)
    ready = [number for number, count in enumerate(missing) if not count]
    parts: list[Part] = []
    seen: set[int] = set()
    while ready:
        kind = mappable[min(ready)]
        inside: list[int] = []
        later: list[int] = []
        while ready:
            number = ready.pop()
            if mappable[number] != kind:
                later.append(number)
                continue
            inside.append(number)
            for index in set(operators[number].outputs) - seen:
                seen.add(index)
                for reader in readers.get(index, ()):
                    missing[reader] -= 1
                    if not missing[reader]:
                        ready.append(reader)
        is_first = kind and not any(part.mappable for part in parts)
        parts.append(Part(kind, is_first, tuple(sorted(inside))))
        ready = later
    left = tuple(number for number, count in enumerate(missing) if count)
    return [*parts, Part(False, False, left)] if left else parts


def mapped(parts: Sequence[Part]) -> frozenset[int]:
    """The operators that the compiler maps."""
    return frozenset(number for part in parts if part.taken for number in part.operators)


def _seen(model: ModelFile, rules: Rules, rows: Sequence[Judged]) -> Check:
    """What can be seen of a file that the compiler made; the start of a prediction for another."""
    groups = Counter((row.operator.partition(":")[0], row.status, row.class_) for row in rows)
    return Check(
        file=model.path,
        size_bytes=model.size_bytes,
        compiler=rules.device.compiler,
        graph=Graph(
            index=0,
            of=len(model.subgraphs),
            signature=next((item.key for item in model.signatures if not item.subgraph), None),
            others=[item.key for item in model.signatures if item.subgraph],
            open_sizes=sum(tensor.dynamic for tensor in model.subgraphs[0].tensors),
        ),
        compiled=True,
        problems=[],
        operators=rows,
        summary=[Counted(name, count, *kind) for (name, *kind), count in groups.items()],
        counts={kind: sum(row.class_ == kind for row in rows) for kind in (SEEN, UNPROVEN, CPU)},
        questions=[],
        readings=None,
        partitions=None,
        first_break=None,
        minimum_runtime=None,
        memory=None,
        latency=None,
    )


def _problems(subgraph: Subgraph, rules: Rules) -> list[Problem]:
    """What makes the compiler refuse the whole file: operators that it cannot read, open shapes."""
    found = Counter(
        Problem(operator.name, operator.version, 1, message, rule.rule, rule.source, rule.change)
        for operator in subgraph.operators
        for message, rule in _refusal(operator, subgraph, rules)
    )
    return [dataclasses.replace(item, count=count) for item, count in found.items()]


def _refusal(operator: Operator, subgraph: Subgraph, rules: Rules) -> Iterator[tuple[str, Rule]]:
    """The compiler's message about an operator that makes it refuse the file, and the rule."""
    name, version = operator.name, operator.version
    number = getattr(tools().schema_fb.BuiltinOperator, name, None)
    if name.startswith("OPERATOR "):
        number = int(name.split()[1])
    most, since = rules.ceilings.get(name, (version, None))
    if number is not None and number >= rules.first_unreadable_code:
        known = f"builtin operators from number {rules.first_unreadable_code} on are unknown"
        change = rules.changes.get(name, "use operators of TensorFlow 2.5")
        rule = Rule("", known, rules.sources["codes"], change)
        yield f"ERROR: Op builtin_code out of range: {number}.", rule
    elif version > most:
        later = f"; the next came with TensorFlow {since}" if since else ""
        change = (
            f"convert so that {name} keeps version {most} (the options and types that it uses "
            "decide; weights per tensor instead of per channel, for instance)"
        )
        rule = Rule("", f"at most version {most}{later}", rules.sources["versions"], change)
        yield f"ERROR: Didn't find op for builtin opcode '{name}' version '{version}'.", rule
    elif moving_shapes(operator, subgraph.operands(operator), rules):
        message = (
            "ERROR: Attempting to use a delegate that only supports static-sized tensors with a "
            "graph that has dynamic-sized tensors."
        )
        yield message, rules.general["static"]


def _judged(index: int, subgraph: Subgraph, verdict: Verdict, on_tpu: bool, rules: Rules) -> Judged:
    if not on_tpu:
        rule = verdict.refused or rules.general["once"]
        return _row(index, subgraph, CPU, rule, verdict.question)
    known = rules.operators[subgraph.operators[index].name]
    words, source = known.limit or "In the table of supported operations.", known.source
    if verdict.question:
        question = rules.questions[verdict.question]
        words, source = question.why, question.source
    elif verdict.seen:
        words, source = "Seen mapped.", known.seen
    kind = SEEN if verdict.seen else UNPROVEN
    return _row(index, subgraph, kind, Rule(MAPPED, words, source, None), verdict.question)


def _compiled(index: int, subgraph: Subgraph) -> Judged:
    """An operator of a file that the compiler made."""
    kind, status = CPU, "Left on the CPU by the compiler"
    if subgraph.operators[index].name == EDGETPU_OPERATOR:
        kind, status = SEEN, "Compiled for the Edge TPU"
    return _row(index, subgraph, kind, Rule(status, "", "", None), None)


def _row(index: int, subgraph: Subgraph, kind: str, rule: Rule, question: str | None) -> Judged:
    operator = subgraph.operators[index]
    first = subgraph.result(operator)
    described = (operator.name, operator.version, first.dtype, first.shape, first.name)
    why = (rule.status, rule.rule, rule.source, rule.change)
    return Judged(index, *described, kind, *why, question)


def _readings(subgraph: Subgraph, verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many operators are mapped if every open question is answered no, or yes."""
    answers = {}
    for name, answer in (("strict", False), ("generous", True)):
        mappable = [answer if verdict.question else verdict.refused is None for verdict in verdicts]
        answers[name] = len(mapped(partition(subgraph, mappable)))
    return answers


def _first_break(rows: Sequence[Judged], on_tpu: frozenset[int]) -> Break | None:
    """The first operator behind the mapped ones that cannot be mapped, and what that strands."""
    start = min(on_tpu, default=-1)
    behind = (row for row in rows if row.index > start and row.class_ == CPU)
    first = next((row for row in behind if row.status != STRANDED), None)
    stranded = sum(row.status == STRANDED for row in rows)
    return taken(Break, first, stranded=stranded) if first else None
