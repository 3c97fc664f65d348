"""Reports as a person reads them on a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tfedge import tasks
from tfedge.data.unknown import told as unknown_words
from tfedge.show.numbers import megabytes, percent, visible
from tfedge.show.table import Column, number, table
from tfedge.tasks import scope
from tfedge.tasks.base import Task

if TYPE_CHECKING:  # what a command does not print, it does not import
    from tfedge.conversion.result import Conversion, Effort, Figures, Refused
    from tfedge.data.recut import Loss
    from tfedge.edgetpu.result import Compilation
    from tfedge.measure.catalogue import Listed
    from tfedge.measure.evaluate import Evaluation
    from tfedge.measure.race import Race, Standing
    from tfedge.report.write import Written
    from tfedge.train.prune import Pruning
    from tfedge.train.qad import Training
    from tfedge.train.result import Trained
    from tfedge.train.shrink import Shrinking
    from tfedge.train.static import Static
    from tfedge.train.trim import Trimming

_BOARD_GB = (1, 2, 4, 8)
# Of modes whose operators take floats and give floats, whatever they multiply.
_FLOAT_BETWEEN = {
    "dynamic": "8-bit weights, multiplied in 8 bits by the kernels of dense layers; ",
    "int4": "4-bit weights, multiplied in 8 bits by the kernels of dense layers; ",
    "float16": "16-bit weights, multiplied in float; ",
}
_FREE_SHARE = 0.6  # of a board's memory, beside the system and what else runs


def conversion_summary(report: Conversion) -> str:
    """What `tfedge convert` prints: the file, what it holds, how it did in each runtime."""
    from tfedge.show.text import infer_program

    path = report.path
    quantization, task = report.quantization, tasks.find(report.task)
    operators = sum(quantization.operators.values())
    lines = [
        f"{path}  {report.size_bytes / 1e6:.1f} MB, {report.gzip_bytes / 1e6:.1f} compressed",
        f"  {report.task}, {report.sequence_length} tokens, {report.parameters / 1e6:.1f}M "
        f"parameters, {report.flops / 1e9:.2f} GFLOPs",
        f"  {quantization.mode}: {_FLOAT_BETWEEN.get(quantization.mode, '')}"
        f"{quantization.float_operators} of {operators} operators "
        f"{'pass on floats' if quantization.mode in _FLOAT_BETWEEN else 'compute in float'}",
        f"  float32 .tflite against Keras: largest difference {report.float32_tflite_error:.1e}",
        f"  about {megabytes(report.board_memory_bytes)} of memory on a board: {_boards(report)}",
        *(f"  {line}" for line in _estimates(report)),
        f"  on {_measured_on(report)}:",
    ]
    for runtime, figures in report.evaluation.runtimes.items():
        first, *others = _figures(figures, task)
        lines += [f"    {runtime:<15} {first}", *(f"{'':<20}{line}" for line in others)]
    if unknown := unknown_words(report.evaluation.unknown_share):
        lines.append(f"    {unknown}")
    if len(report.evaluation.runtimes) == 1:
        (runtime,) = report.evaluation.runtimes
        lines.append(f"    judged in {runtime} alone: tfedge-infer runs it in no other runtime")
    if report.effort:
        lines.append(f"  {_effort(report.effort)}")
    lines.append(f"try it: {infer_program()} --model {path} {task.example}")
    if report.edgetpu is not None:
        from tfedge.edgetpu.table import delivery_summary

        lines.append(delivery_summary(report.edgetpu))
    return "\n".join(lines)


def _estimates(report: Conversion) -> list[str]:
    from tfedge.inspect.estimate_table import summary

    return summary(report.estimates, "tokens")


def _measured_on(report: Conversion) -> str:
    """The texts, and how many of them where those were drawn."""
    found, units = report.evaluation, tasks.find(report.task).units
    if found.drawn_from is None:
        return found.source
    asked = max(getattr(figures, "texts", 0) for figures in found.runtimes.values())
    return f"{asked:,} of {found.drawn_from:,} {units} of {found.source}"


def _boards(report: Conversion) -> str:
    """Which boards have that much memory, beside their system."""
    share = report.board_memory_bytes / _FREE_SHARE / 2**30
    fitting = [str(size) for size in _BOARD_GB if size >= share]
    return f"boards of {', '.join(fitting)} GB" if fitting else f"a board of {share:.0f} GB or more"


def _effort(effort: Effort) -> str:
    minutes, seconds = divmod(round(effort.seconds), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    memory = effort.peak_rss_bytes
    return f"converted in {took}" + (
        f", in at most {memory / 1e9:.1f} GB of memory" if memory else ""
    )


def _figures(figures: Figures | Refused, task: Task) -> list[str]:
    from tfedge.conversion.chance import loss
    from tfedge.conversion.result import Refused
    from tfedge.measure.stated import FLOAT

    if isinstance(figures, Refused):
        return [f"does not run it: {figures.error}"]
    compared = task.comparison_lines(figures.comparison, "float")
    certain = [] if figures.interval is None else [loss(figures, task)]
    same = f"{percent(1 - figures.disagreement)} on {figures.texts} {task.units}"
    if (goal := figures.goal) is None:
        return [f"agreement with float {same}", *certain, *compared]
    before, after = (percent(figures.scores[f"{kind}{goal}"]) for kind in (FLOAT, ""))
    first = f"{goal.replace('_', ' ')} {after} (float {before}), same answer as float {same}"
    return [first, *certain, *compared]


def evaluation_summary(result: Evaluation) -> str:
    """What `tfedge eval` prints."""
    task = tasks.find(result.task)
    lines = [
        f"{result.model} on {result.data}: {result.texts} {task.units}, {result.runtime}",
        *_evaluated(result, task),
    ]
    if scope.RECALL in result.figures:
        lines.append(scope.line(result.figures))
    if "mistakes" in result.figures:
        lines.append(f"{result.figures['mistakes']} texts are in the table of mistakes")
    if result.disagreement is not None:
        lines.append(f"differs from {result.against}: {100 * result.disagreement:.2f} %")
    if result.comparison:
        lines += task.comparison_lines(result.comparison, str(result.against))
    if unknown := unknown_words(result.unknown_share):
        lines.append(unknown)
    if result.unanswered:
        lines.append(f"not answered: {result.unanswered}")
    return "\n".join(lines)


def _evaluated(result: Evaluation, task: Task) -> list[str]:
    from tfedge.measure.retrieval import FIRST
    from tfedge.measure.retrieval import lines as found_again

    if FIRST in result.figures:
        return found_again(result.figures, result.against)
    return task.summary(result.figures) if result.figures else []


def bench_summary(result: Race) -> str:
    """What `tfedge bench` prints: a row a contestant, ratios above their milliseconds."""
    from tfedge.measure.race import BUSY, busy_note
    from tfedge.show.text import wide

    def agreement(disagreement: float | None) -> str:
        return "" if disagreement is None else percent(1 - disagreement)

    columns: list[Column[Standing]] = [
        Column("", lambda row: f"{row.name}\n{row.runtime}"),
        number("threads", lambda row: str(row.threads)),
        number("mean", lambda row: f"{row.ratios.mean:.2f}\n{row.mean_ms:.2f} ms"),
        number("median", lambda row: f"{row.ratios.median:.2f}\n{row.median_ms:.2f} ms"),
        number("p90", lambda row: f"{row.ratios.p90:.2f}\n{row.p90_ms:.2f} ms"),
        number("over rounds", lambda row: "{:.2f}-{:.2f}".format(*row.ratio_range)),
        number("tokenising", lambda row: f"{row.tokenize_ms:.2f} ms"),
        number("accuracy", lambda row: "" if row.accuracy is None else percent(row.accuracy)),
        number("same answer", lambda row: agreement(row.disagreement)),
        number("as float", lambda row: agreement(row.float_disagreement)),
        number("memory", lambda row: megabytes(row.peak_rss_bytes)),
        number("file", lambda row: f"{row.size_bytes / 1e6:.1f} MB"),
        number("start", lambda row: f"{row.start_ms:.0f} ms"),
    ]
    machine = result.machine
    lines = [
        f"{result.texts} texts of {result.data}, {result.rounds} rounds, "
        f"{machine.processors} x {machine.processor}",
        "time of a text; ratios to the first, ms below:",
        *wide(table(columns, result.contestants)),
    ]
    if result.float_:
        lines.append(f"as float: the same answer as {result.float_}")
    lines += [f"left out: {name}: {why}" for name, why in (result.left_out or {}).items()]
    if machine.load > BUSY:
        lines.append(busy_note(machine))
    if result.surroundings is not None:
        lines += result.surroundings.lines()
    return "\n".join(lines)


def training_summary(report: Trained) -> str:
    """What `tfedge finetune` and `tfedge distil` print."""
    shares = _shares(report.figures)
    if report.accuracy is not None and report.goal == "accuracy":
        shares = [f"accuracy {report.accuracy:.4f}"]
        if scope.RECALL in (report.figures or {}):
            shares.append(scope.line(report.figures or {}))
    lines = ["\t".join([report.output, *shares])]
    if curve := report.curve:
        most = max(curve.points)
        gain = 100 * (curve.doubled - curve.points[most])
        lines += [
            f"{count:>9,} texts: {report.goal} {one:.4f}" for count, one in curve.points.items()
        ]
        lines.append(f"{2 * most:>9,} texts: expect {curve.doubled:.4f} ({gain:+.1f} points)")
    return "\n".join(lines)


def static_summary(report: Static) -> str:
    """What `tfedge distil --student static` prints."""
    return (
        f"{report.output}  {report.rows:,} tokens of {report.width} numbers, "
        f"{report.bytes / 1e6:.1f} MB; they have {percent(report.variance)} of the teacher's variance\n"
        f"convert it: tfedge convert {report.output}"
    )


def _shares(figures: Mapping[str, float] | None) -> list[str]:
    """What of figures are no counts, in words."""
    found = {name: one for name, one in (figures or {}).items() if isinstance(one, float)}
    return [f"{name.replace('_', ' ')} {one:.4f}" for name, one in found.items()]


def written_summary(found: Written) -> str:
    """What `tfedge report` prints: the verdicts, the first one's figures, the files."""
    from tfedge.show.verdict import lines

    first, others = found.verdicts[:1], found.verdicts[1:]
    said = [line for one in first for line in lines(one)] + [one.sentence for one in others]
    return "\n".join([*map(visible, said), *map(str, found.written)])


def qad_summary(report: Training) -> str:
    """What `tfedge qad` prints."""
    before, after = report.before, report.after
    return "\n".join(
        [
            f"{report.output}  {report.steps} steps on {report.texts} texts",
            f"  simulated int8 against float on {report.held_out}, {after.texts} texts:",
            *(
                f"    {name:<8}differs by {100 * found.mean:.2f} %, at most "
                f"{100 * found.largest:.2f} %"
                for name, found in (("before", before), ("after", after))
            ),
            f"convert it: tfedge convert {report.output}",
        ]
    )


def shrink_summary(report: Shrinking) -> str:
    """What `tfedge shrink` prints: what was removed where, and what that saves."""
    channels, removed = report.channels, report.removed_layers
    lines = [f"{report.output}  {report.task}"]
    if removed:
        lines.append(f"  removed layers: {', '.join(map(str, removed))}")
    if channels["kept"] < channels["of"]:
        lines.append(f"  hidden channels: {channels['kept']} of {channels['of']}")
    for index, layer in enumerate(report.layers):
        lines.append(
            f"  layer {index} (was {layer.was}): {layer.heads} of {layer.of_heads} heads, "
            f"{layer.neurons} of {layer.of_neurons} neurons"
        )
    costs, left = vars(report.before), vars(report.after)
    for name, unit, scale, what in (
        ("parameters", "M", 1e6, "of the encoder"),
        ("flops", "G", 1e9, f"for {report.sequence_length} tokens"),
        ("ms", "", 1, f"estimated for int8 on {report.board}"),
    ):
        lines.append(
            f"  {name}: {_scaled(costs[name], scale, unit)} -> {_scaled(left[name], scale, unit)} "
            f"({left[name] / costs[name]:.2f}), {what}"
        )
    if report.accuracy is not None:
        before, cut, after = (percent(report.accuracy[name]) for name in ("before", "cut", "after"))
        lines.append(f"  accuracy: {before} before, {cut} cut, {after} after training")
    if not report.ordinary:
        lines.append("  layers differ: config.json has the key tfedge, which others do not read")
    lines.append(f"next: tfedge convert {report.output}")
    return "\n".join(lines)


def _scaled(value: float, scale: float, unit: str) -> str:
    return f"{value / scale:.3g} {unit}".rstrip()


def pruning_summary(report: Pruning) -> str:
    """What `tfedge prune` prints: a row a pruned layer, then what the weights weigh."""
    found = report.sparsity
    rows = [*found.layers, dataclasses.replace(found.total, name="all parameters")]
    width = max(len(row.name or "") for row in found.layers)
    lines = [f"{'layer':<{width}}{'weights':>12}{'zero':>9}"]
    for row in rows:
        zero = f"{100 * row.sparsity:.1f} %"
        lines.append(f"{row.name:<{width}}{row.weights:>12,}{zero:>9}")
    dense, pruned = vars(found.files["dense"]), vars(found.files["pruned"])
    for name, kind in (("raw", "weights as they are"), ("gzip", "weights compressed")):
        lines.append(
            f"{kind}: {pruned[name] / 1e6:.1f} MB, {pruned[name] / dense[name]:.2f} of the dense "
            f"model's {dense[name] / 1e6:.1f} MB"
        )
    if report.accuracy is not None:
        lines.append(f"accuracy {100 * report.accuracy:.2f} %")
    others = {name: one for name, one in (report.figures or {}).items() if name != "accuracy"}
    if others:
        lines.append("   ".join(_shares(others)))
    lines.append(f"convert it: tfedge convert {report.output}")
    return "\n".join(lines)


def trimming_summary(report: Trimming) -> str:
    """What `tfedge trim` prints: the rows that are left, the bytes that saves, what texts lose."""
    before, after = report.bytes_before / 1e6, report.bytes / 1e6
    used = f", of which the texts use {report.used:,}" if report.used is not None else ""
    return "\n".join(
        [
            f"{report.output}  {report.rows:,} of {report.rows_before:,} rows{used}",
            f"  weights: {after:.1f} MB, {after / before:.2f} of {before:.1f} MB",
            *(_trimming_loss(loss) for loss in (report.texts, report.held_out) if loss is not None),
            f"convert it: tfedge convert {report.output}",
        ]
    )


def _trimming_loss(loss: Loss) -> str:
    longer = loss.tokens_after / max(loss.tokens_before, 1) - 1
    return (
        f"  {loss.source}: {loss.same_texts:,} of {loss.texts:,} texts are cut as before; of the "
        f"characters {percent(loss.unknown)} become unknown, {percent(loss.cut_otherwise)} are cut "
        f"otherwise; {percent(longer)} more tokens"
    )


def models_summary(rows: Sequence[Listed], sequence_length: int) -> str:
    """What `tfedge models` prints."""
    width = max(len(row.name) for row in rows) + 1
    lines = [
        f"{'name':<{width}}{'parameters':>11}{f'GFLOPs@{sequence_length}':>12}{'float32':>10}{'int8':>9}"
        f"  {'task':<22}weights"
    ]
    for row in rows:
        lines.append(
            f"{row.name:<{width}}{row.parameters / 1e6:>10.1f}M{row.flops / 1e9:>12.2f}"
            f"{row.float32_bytes / 1e6:>7.0f} MB{row.int8_bytes / 1e6:>6.0f} MB"
            f"  {row.task:<22}{row.weights}"
        )
    return "\n".join(lines)


def compilation_summary(report: Compilation) -> str:
    """What `tfedge edgetpu compile` prints."""
    lines = [
        f"{report.output}  by compiler {report.compiler}",
        f"  {report.mapped} of {report.operators} operators mapped to the Edge TPU, "
        f"{report.predicted} were predicted",
    ]
    if report.cached_bytes is not None:
        lines.append(
            f"  parameters: {report.cached_bytes / 1e6:.2f} MB cached on the chip, "
            f"{(report.streamed_bytes or 0) / 1e6:.2f} MB streamed with every inference"
        )
    lines += [
        f"  differs: {row.operator} #{row.index}: predicted {row.predicted!r}, was {row.compiled!r}"
        for row in report.differences
    ]
    lines += [
        f"  differs: {item.operator} {item.status!r}: {item.predicted} predicted, "
        f"{item.compiled} compiled"
        for item in report.statuses
    ]
    if not report.differences and not report.statuses:
        lines.append("  the prediction agrees, wording included")
    return "\n".join(lines)
