"""The prediction as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from tfedge.edgetpu.check import CPU, SEEN, STRANDED, UNPROVEN
from tfedge.inspect.numbers import amount, size, visible
from tfedge.inspect.table import drawn, some, text_table

Report = dict[str, Any]
_MOST_OPERATORS = 2000  # as in tfedge.inspect.table


def render(report: Report) -> str:
    """What `tfedge edgetpu check` prints: the operators, their summary, then the verdict."""
    return drawn([_operators(report), _summary(report), *_changes(report), Text(_verdict(report))])


def _operators(report: Report) -> RenderableType:
    columns = [("#", "right"), ("operator", "left"), ("v", "right"), ("output", "left")]
    columns += [("class", "left"), ("status", "left")]
    rows = [
        [
            *(str(row["index"]), row["operator"], str(row["version"]), shape(row)),
            *(row["class"], row["status"]),
        ]
        for row in report["operators"][:_MOST_OPERATORS]
    ]
    more = len(report["operators"]) - _MOST_OPERATORS
    note = [f"and {more} more, which --json and --html have\n"] if more > 0 else []
    return Group("Operators", text_table(columns, rows), *note)


def shape(row: Report) -> str:
    """The dtype and the shape of an operator's first output."""
    return f"{row['dtype']} {'x'.join(map(str, row['shape']))}"


def _summary(report: Report) -> RenderableType:
    columns = [("operator", "left"), ("count", "right"), ("class", "left"), ("status", "left")]
    rows = [
        [row["operator"], str(row["count"]), row["class"], row["status"]]
        for row in report["summary"]
    ]
    return Group("As the compiler's log counts them", text_table(columns, rows))


def _changes(report: Report) -> list[RenderableType]:
    rows = change_rows(report)
    if not rows:
        return []
    columns = [("left on the CPU", "left"), ("rule", "left"), ("what to change", "left")]
    return [Group("What to change", text_table(columns, rows))]


def change_rows(report: Report) -> list[list[str]]:
    """Each kind of operator that stays on the CPU by itself: which, the rule, what to do."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row in report["operators"]:
        if row["class"] == CPU and row["rule"] and row["status"] != STRANDED:
            key = (row["operator"], f"{row['rule']} [{row['source']}]", row["change"])
            groups.setdefault(key, []).append(row["index"])
    return [
        [f"{name} {some([f'#{index}' for index in indices])}", rule, change]
        for (name, rule, change), indices in groups.items()
    ]


def _verdict(report: Report) -> str:
    return "\n".join(visible(line) for line in verdict_lines(report))


def verdict_lines(report: Report) -> list[str]:
    """What is to be known of the file as a whole, a line each."""
    graph, counts = report["graph"], report["counts"]
    lines = [f"{report['file']}  {size(report['size_bytes'])}"]
    if graph["of"] > 1:
        others = ", ".join(graph["others"]) or f"{graph['of'] - 1} other graphs"
        lines.append(
            f"the compiler looks at the first graph only, signature {graph['signature']}; not at "
            f"{others}: convert one length alone (tfedge convert --buckets none)"
        )
    if report["compiled"]:
        lines.append(
            f"compiled already: {counts[SEEN]} edgetpu-custom-op, {counts[CPU]} operators left on "
            "the CPU"
        )
        return lines
    lines += [*_problems(report), *_counts(report), *_partitions(report), *_questions(report)]
    return [*lines, *_memory(report), *_latency(report)]


def _problems(report: Report) -> Iterable[str]:
    for row in report["problems"]:
        yield (
            f"compiler {report['compiler']} refuses the whole file: {row['message']} "
            f"({row['count']} x {row['operator']} version {row['version']}; {row['rule']} "
            f"[{row['source']}]); {row['change']}"
        )


def _counts(report: Report) -> Iterable[str]:
    counts = report["counts"]
    mapped = counts[SEEN] + counts[UNPROVEN]
    prefix = "could it be read: " if report["problems"] else "predicted: "
    yield (
        f"{prefix}{mapped} of {len(report['operators'])} operators mapped to the Edge TPU, "
        f"{counts[SEEN]} of them as seen in published logs or pairs and {counts[UNPROVEN]} by the "
        f"table alone; {counts[CPU]} on the CPU"
    )
    if report["minimum_runtime"] is not None:
        yield f"Edge TPU runtime {report['minimum_runtime']} or later"
    if report["graph"]["open_sizes"]:
        yield f"{report['graph']['open_sizes']} tensors have sizes left open, compiled as 1"


def _partitions(report: Report) -> Iterable[str]:
    mappable = [item for item in report["partitions"] if item["mappable"]]
    if mappable:
        ahead = next(i for i, item in enumerate(report["partitions"]) if item["taken"])
        first = sum(len(item["operators"]) for item in report["partitions"][:ahead])
        yield (
            f"partitions: {len(mappable)} can be mapped; the compiler takes the first, "
            f"{len(mappable[0]['operators'])} operators, after {first} on the CPU"
        )
    found = report["first_break"]
    if found:
        yield (
            f"first to break the chain: {found['operator']} #{found['index']}: {found['status']}; "
            f"{found['rule']} {found['stranded']} operators are stranded behind it; "
            f"{found['change']}"
        )


def _questions(report: Report) -> Iterable[str]:
    for row in report["questions"]:
        yield (
            f"open question: {row['question']} ({row['operators']} operators, counted as "
            f"{row['counted']}): {row['why']} [{row['source']}]"
        )
    if report["questions"]:
        readings = report["readings"]
        yield (
            f"operators mapped: {readings['strict']} if every open question is answered no, "
            f"{readings['generous']} if yes"
        )


def _memory(report: Report) -> Iterable[str]:
    held = report["memory"]
    words = {
        "yes": "all cached on the chip",
        "likely": "cached if activations leave room",
        "no": f"at least {size(held['streamed_bytes'])} streamed with every inference",
    }
    yield (
        f"parameters of the mapped part: {size(held['parameter_bytes'])} of about "
        f"{size(held['cache_bytes'])} on-chip memory: {words[held['fits']]}"
    )


def _latency(report: Report) -> Iterable[str]:
    found = report["latency"]
    links = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found["milliseconds"].items())
    yield (
        f"ESTIMATE, not a measurement: at least {links} an inference ({amount(found['macs'])} "
        f"multiply-accumulates, {size(found['transfer_bytes'])} of inputs and outputs); assumed: "
        + "; ".join(found["assumptions"])
    )
