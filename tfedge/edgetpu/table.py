"""What is drawn of the prediction: tables and lines, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterable

from tfedge.edgetpu.estimate import Latency, Memory
from tfedge.edgetpu.result import CPU, SEEN, STRANDED, UNPROVEN, Check, Counted, Delivery, Judged
from tfedge.show import page as html
from tfedge.show import text as terminal
from tfedge.show import verdict as headline
from tfedge.show.numbers import amount, size, some, typed_shape
from tfedge.show.table import PAGE, Column, Section, Table, number, table


def render(report: Check) -> str:
    """What `tfedge edgetpu check` prints: the verdict, the operators, their summary, the reasons."""
    found = changes(report)
    parts = [operators(report), summary(report), *([found] if found.rows else [])]
    said = [line for one in _verdicts(report) for line in (*headline.lines(one), "")]
    return terminal.text([*said, *parts, *verdict_lines(report)])


def _verdicts(report: Check) -> list[headline.Verdict]:
    return [] if report.verdict is None else [report.verdict]


def page(report: Check) -> str:
    """The prediction as one HTML page. Everything that comes from the file is escaped."""
    found = changes(report)
    notes, tables = ([], [found]) if found.rows else (["Nothing."], [])
    sections = [
        Section("As the compiler's log counts them", tables=[summary(report)]),
        Section("What to change", None, notes, tables),
        Section("Operators", tables=[operators(report)]),
    ]
    title = f"Edge TPU: {report.file.rpartition('/')[2]}"
    return html.page(title, sections, verdict_lines(report), _verdicts(report))


def operators(report: Check) -> Table:
    """Every operator, those on the CPU marked."""
    columns: list[Column[Judged]] = [
        number("#", lambda row: str(row.index)),
        Column("operator", lambda row: row.operator),
        number("v", lambda row: str(row.version)),
        Column("output", lambda row: typed_shape(row.dtype, row.shape)),
        Column("tensor", lambda row: row.tensor, only=PAGE),
        Column("class", lambda row: row.class_),
        Column("status", lambda row: row.status),
        Column("rule", lambda row: f"{row.rule} [{row.source}]" if row.rule else "", only=PAGE),
    ]
    return table(columns, report.operators, "Operators", lambda row: row.class_ == CPU)


def summary(report: Check) -> Table:
    """Operators by type and status."""
    columns: list[Column[Counted]] = [
        Column("operator", lambda row: row.operator),
        number("count", lambda row: str(row.count)),
        Column("class", lambda row: row.class_),
        Column("status", lambda row: row.status),
    ]
    return table(columns, report.summary, "As the compiler's log counts them")


def changes(report: Check) -> Table:
    """Each kind of operator that stays on the CPU by itself: which, the rule, what to do."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in report.operators:
        if row.class_ == CPU and row.rule and row.status != STRANDED:
            key = (row.operator, f"{row.rule} [{row.source}]", row.change or "")
            groups.setdefault(key, []).append(f"#{row.index}")
    rows = [(f"{name} {some(found)}", *why) for (name, *why), found in groups.items()]
    names = ("left on the CPU", "rule", "what to change")
    return Table("What to change", [Column(name, str) for name in names], rows)


def verdict_lines(report: Check) -> list[str]:
    """What is to be known of the file as a whole, a line each."""
    graph, counts = report.graph, report.counts
    lines = [f"{report.file}  {size(report.size_bytes)}"]
    if graph.of > 1:
        others = ", ".join(graph.others) or f"{graph.of - 1} other graphs"
        lines.append(
            f"the compiler looks at the first graph only, signature {graph.signature}; not at "
            f"{others}: convert one length alone (tfedge convert --buckets none)"
        )
    if report.compiled:
        lines.append(
            f"compiled already: {counts[SEEN]} edgetpu-custom-op, {counts[CPU]} operators left on "
            "the CPU"
        )
        return lines
    if counts[CPU] > counts[SEEN] + counts[UNPROVEN]:
        lines.append(
            "before anything else: of a checkpoint that tfedge reads, `tfedge convert MODEL --target "
            "edgetpu` makes a graph of operations that are mapped"
        )
    lines += [*_counts(report), *_partitions(report), *_questions(report)]
    if report.memory and report.latency:
        lines += _estimates(report.memory, report.latency)
    return lines


def delivery_summary(delivery: Delivery) -> str:
    """The verdict of `check`, what is left on the CPU and why, and what was compiled."""
    checked, compiled = delivery.check, delivery.compile
    lines = ["", "predicted for the Edge TPU (tfedge edgetpu check):", *verdict_lines(checked)]
    lines += [f"left on the CPU: {name}: {rule}" for name, rule, _ in changes(checked).rows]
    if compiled:
        how = "as predicted" if compiled.agrees else "not as predicted"
        lines.append(
            f"compiled: {compiled.output}  {compiled.mapped} operators on the Edge TPU, "
            f"{compiled.on_cpu} on the CPU, {how}"
        )
        program = terminal.infer_program()
        lines.append(f'try it: {program} --model {compiled.output} --delegate edgetpu "a text"')
    else:
        lines.append(f"NOT COMPILED, {checked.file} is kept: compile it where the compiler is")
    return "\n".join(lines)


def _counts(report: Check) -> Iterable[str]:
    for row in report.problems:
        yield (
            f"compiler {report.compiler} refuses the whole file: {row.message} ({row.count} x "
            f"{row.operator} version {row.version}; {row.rule} [{row.source}]); {row.change}"
        )
    counts = report.counts
    prefix = "could it be read: " if report.problems else "predicted: "
    yield (
        f"{prefix}{counts[SEEN] + counts[UNPROVEN]} of {len(report.operators)} operators mapped to "
        f"the Edge TPU, {counts[SEEN]} of them as seen in published logs or pairs and "
        f"{counts[UNPROVEN]} by the table alone; {counts[CPU]} on the CPU"
    )
    if report.minimum_runtime is not None:
        yield f"Edge TPU runtime {report.minimum_runtime} or later"
    if report.graph.open_sizes:
        yield f"{report.graph.open_sizes} tensors have sizes left open, compiled as 1"


def _partitions(report: Check) -> Iterable[str]:
    partitions = report.partitions or []
    mappable = [item for item in partitions if item.mappable]
    if mappable:
        ahead = next(i for i, item in enumerate(partitions) if item.taken)
        first = sum(len(item.operators) for item in partitions[:ahead])
        yield (
            f"partitions: {len(mappable)} can be mapped; the compiler takes the first, "
            f"{len(mappable[0].operators)} operators, after {first} on the CPU"
        )
    if found := report.first_break:
        yield (
            f"first to break the chain: {found.operator} #{found.index}: {found.status}; "
            f"{found.rule} {found.stranded} operators are stranded behind it; {found.change}"
        )


def _questions(report: Check) -> Iterable[str]:
    for row in report.questions:
        yield (
            f"open question: {row.question} ({row.operators} operators, counted as "
            f"{row.counted}): {row.why} [{row.source}]"
        )
    if report.questions and (readings := report.readings):
        yield (
            f"operators mapped: {readings['strict']} if every open question is answered no, "
            f"{readings['generous']} if yes"
        )


def _estimates(held: Memory, found: Latency) -> list[str]:
    words = {
        "yes": "all cached on the chip",
        "likely": "cached if activations leave room",
        "no": f"at least {size(held.streamed_bytes)} streamed with every inference",
    }
    links = ", ".join(f"{name} {ms:.2f} ms" for name, ms in found.milliseconds.items())
    return [
        f"parameters of the mapped part: {size(held.parameter_bytes)} of about "
        f"{size(held.cache_bytes)} on-chip memory: {words[held.fits]}",
        f"ESTIMATE, not a measurement: at least {links} an inference ({amount(found.macs)} "
        f"multiply-accumulates, {size(found.transfer_bytes)} of inputs and outputs); assumed: "
        + "; ".join(found.assumptions),
    ]
