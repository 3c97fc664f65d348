"""Predicts what the Edge TPU compiler makes of a .tflite, or counts what it made of a compiled one."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge.edgetpu.estimate import latency, memory
from tfedge.edgetpu.judge import Verdict, judge, moving_shapes
from tfedge.edgetpu.partition import Partition, partition, taken
from tfedge.edgetpu.rules import Rules, load_rules
from tfedge.errors import InputError
from tfedge.inspect.graph import EDGETPU_OPERATOR, ModelFile, Operator, Subgraph, read_model

MAPPED = "Mapped to Edge TPU"
STRANDED = "More than one subgraph is not supported"
SEEN, UNPROVEN, CPU = "mapped", "unproven", "CPU"
Report = dict[str, Any]


def check(path: Path) -> Report:
    """Reads a .tflite of any origin; nothing of it is run.

    Returns:
        `file`, `size_bytes`, `compiler`, `compiled`, `graph`, `problems` (why the compiler would
        refuse the file as a whole), `operators` (in the file's order: `class`, `status`, `rule`,
        `source`, `change`, `question`), `summary` (as the compiler's log has it), `counts`,
        `readings` (operators mapped for either answer to the open questions), `questions`,
        `partitions`, `first_break`, `minimum_runtime`, `memory`, `latency`. Of a compiled file
        only what can be seen of it: the others are None.

    Raises:
        InputError: the file cannot be used.
        MissingPackageError: ai-edge-litert, which has TFLite's schema, is not installed.
    """
    model = read_model(path)
    rules = load_rules()
    report: Report = {
        "file": str(path),
        "size_bytes": model.size_bytes,
        "compiler": rules.device["compiler"],
        "graph": _graph(model),
    }
    subgraph = model.subgraphs[0]
    if any(operator.name == EDGETPU_OPERATOR for operator in subgraph.operators):
        return report | _compiled(subgraph)
    try:
        return report | predict(subgraph, rules)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def predict(subgraph: Subgraph, rules: Rules) -> Report:
    """The part of `check`'s report that is about a graph not compiled yet."""
    verdicts = [judge(operator, subgraph, rules) for operator in subgraph.operators]
    partitions = partition(subgraph, [verdict.refused is None for verdict in verdicts])
    mapped = taken(partitions)
    rows = [
        _row(index, subgraph, verdict, index in mapped, rules)
        for index, verdict in enumerate(verdicts)
    ]
    held = memory(subgraph, mapped, rules)
    return {
        "compiled": False,
        "problems": problems(subgraph, rules),
        "operators": rows,
        "summary": _summary(rows),
        "counts": _counts(rows),
        "readings": _readings(subgraph, verdicts),
        "questions": _questions(verdicts, rules),
        "partitions": [_partition(item, item.operators[0] in mapped) for item in partitions],
        "first_break": _first_break(rows, mapped),
        "minimum_runtime": max(
            (rules.operators[subgraph.operators[index].name].runtime for index in mapped),
            default=None,
        ),
        "memory": held,
        "latency": latency(subgraph, mapped, held["streamed_bytes"], rules),
    }


def problems(subgraph: Subgraph, rules: Rules) -> list[Report]:
    """What makes the compiler refuse the whole file: operators that it cannot read, open shapes."""
    found: dict[tuple[str, int, str], Report] = {}
    for operator in subgraph.operators:
        problem = _unreadable(operator, rules) or _moving(operator, subgraph, rules)
        if problem is None:
            continue
        row = found.setdefault(
            (operator.name, operator.version, problem["message"]),
            {"operator": operator.name, "version": operator.version, "count": 0, **problem},
        )
        row["count"] += 1
    return list(found.values())


def _unreadable(operator: Operator, rules: Rules) -> Report | None:
    schema = importlib.import_module("ai_edge_litert.schema_py_generated")
    number = getattr(schema.BuiltinOperator, operator.name, None)
    if operator.name.startswith("OPERATOR "):
        number = int(operator.name.split()[1])
    if number is not None and number >= rules.first_unreadable_code:
        return {
            "message": f"ERROR: Op builtin_code out of range: {number}.",
            "rule": f"builtin operators from number {rules.first_unreadable_code} on are unknown",
            "source": rules.code_source,
            "change": rules.changes.get(operator.name, "use operators of TensorFlow 2.5"),
        }
    most, since = rules.ceilings.get(operator.name, (operator.version, None))
    if operator.version <= most:
        return None
    return {
        "message": f"ERROR: Didn't find op for builtin opcode '{operator.name}' version "
        f"'{operator.version}'.",
        "rule": f"at most version {most}"
        + (f"; the next came with TensorFlow {since}" if since else ""),
        "source": rules.ceiling_source,
        "change": f"convert so that {operator.name} keeps version {most} (the options and types "
        "that it uses decide; weights per tensor instead of per channel, for instance)",
    }


def _moving(operator: Operator, subgraph: Subgraph, rules: Rules) -> Report | None:
    inputs = [subgraph.tensors[index] for index in operator.inputs if index >= 0]
    if not moving_shapes(operator, inputs):
        return None
    rule = rules.general["static"]
    return {
        "message": "ERROR: Attempting to use a delegate that only supports static-sized tensors "
        "with a graph that has dynamic-sized tensors.",
        "rule": rule.rule,
        "source": rule.source,
        "change": rule.change,
    }


def _row(index: int, subgraph: Subgraph, verdict: Verdict, mapped: bool, rules: Rules) -> Report:
    operator = subgraph.operators[index]
    row = _described(index, operator, subgraph)
    question = verdict.question
    if mapped:
        known = rules.operators[operator.name]
        words, source = known.limit or "In the table of supported operations.", known.source
        if question:
            words, source = rules.questions[question].why, rules.questions[question].source
        elif verdict.seen:
            words, source = "Seen mapped.", known.seen
        kind = SEEN if verdict.seen else UNPROVEN
        return row | _judged(kind, MAPPED, words, source, None, question)
    refused = verdict.refused or rules.general["once"]
    change = refused.change
    if operator.name not in rules.operators:
        change = rules.changes.get(operator.name, change)
    return row | _judged(CPU, refused.status, refused.rule, refused.source, change, question)


def _described(index: int, operator: Operator, subgraph: Subgraph) -> Report:
    result = subgraph.tensors[operator.outputs[0]] if operator.outputs else None
    return {
        "index": index,
        "operator": operator.name,
        "version": operator.version,
        "dtype": result.dtype if result else "",
        "shape": list(result.shape) if result else [],
        "tensor": result.name if result else "",
    }


def _judged(
    kind: str, status: str, rule: str, source: str, change: str | None, question: str | None
) -> Report:
    return {
        "class": kind,
        "status": status,
        "rule": rule,
        "source": source,
        "change": change,
        "question": question,
    }


def _summary(rows: Sequence[Report]) -> list[Report]:
    """Operators by type and status, as the compiler's log counts them."""
    groups: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["operator"].partition(":")[0], row["status"], row["class"])
        groups[key] = groups.get(key, 0) + 1
    return [
        {"operator": name, "count": count, "status": status, "class": kind}
        for (name, status, kind), count in groups.items()
    ]


def _counts(rows: Sequence[Report]) -> dict[str, int]:
    return {kind: sum(row["class"] == kind for row in rows) for kind in (SEEN, UNPROVEN, CPU)}


def _readings(subgraph: Subgraph, verdicts: Sequence[Verdict]) -> dict[str, int]:
    """How many operators are mapped if every open question is answered no, as counted, or yes."""

    answers = {}
    for name, answer in (("strict", False), ("generous", True)):
        mappable = [answer if verdict.question else verdict.refused is None for verdict in verdicts]
        answers[name] = len(taken(partition(subgraph, mappable)))
    return answers


def _questions(verdicts: Sequence[Verdict], rules: Rules) -> list[Report]:
    asked = [verdict.question for verdict in verdicts if verdict.question]
    return [
        {
            "question": rules.questions[key].question,
            "operators": asked.count(key),
            "counted": "mapped" if rules.questions[key].mapped else CPU,
            "why": rules.questions[key].why,
            "source": rules.questions[key].source,
        }
        for key in dict.fromkeys(asked)
    ]


def _partition(item: Partition, is_taken: bool) -> Report:
    return {"mappable": item.mappable, "taken": is_taken, "operators": list(item.operators)}


def _first_break(rows: Sequence[Report], mapped: frozenset[int]) -> Report | None:
    """The first operator behind the mapped ones that cannot be mapped, and what that strands."""
    for row in rows:
        behind = not mapped or row["index"] > min(mapped)
        if behind and row["class"] == CPU and row["status"] != STRANDED:
            return {
                **{name: row[name] for name in ("index", "operator", "status", "rule", "change")},
                "stranded": sum(item["status"] == STRANDED for item in rows),
            }
    return None


def _graph(model: ModelFile) -> Report:
    """Which graph is looked at, and which are not."""
    seen = [item.key for item in model.signatures if item.subgraph == 0]
    open_sizes = [tensor.name for tensor in model.subgraphs[0].tensors if tensor.dynamic]
    return {
        "index": 0,
        "of": len(model.subgraphs),
        "signature": seen[0] if seen else None,
        "others": [item.key for item in model.signatures if item.subgraph != 0],
        "open_sizes": len(open_sizes),
    }


def _compiled(subgraph: Subgraph) -> Report:
    """What can be seen of a file that the compiler made."""
    rows = []
    for index, operator in enumerate(subgraph.operators):
        row = _described(index, operator, subgraph)
        is_compiled = operator.name == EDGETPU_OPERATOR
        status = "Compiled for the Edge TPU" if is_compiled else "Left on the CPU by the compiler"
        rows.append(row | _judged(SEEN if is_compiled else CPU, status, "", "", None, None))
    nothing = ("readings", "partitions", "first_break", "minimum_runtime", "memory", "latency")
    return {
        "compiled": True,
        "problems": [],
        "operators": rows,
        "summary": _summary(rows),
        "counts": _counts(rows),
        "questions": [],
        **dict.fromkeys(nothing),
    }
