"""The verdict of `tfedge edgetpu check`: what of the file the Edge TPU would run."""

from __future__ import annotations

from pathlib import Path

from tfedge.edgetpu.result import CPU, SEEN, UNPROVEN, Check
from tfedge.measure.stated import accuracy_figure, read_stated, size_figure
from tfedge.show.verdict import Figure, Verdict, missing, verdict


def verdict_of(report: Check, path: Path) -> Verdict:
    """What is predicted, and what `tfedge convert` measured of the file; nothing is run."""
    stated = read_stated(path)
    figures = [
        _mapped(report),
        accuracy_figure(path, stated),
        size_figure(report.size_bytes, None, stated),
        missing("speed", "ms", _speed(report)),
        missing("peers", "ms", "python -m benchmarks, in a clone, races them on a CPU"),
    ]
    return verdict(path.name, figures)


def _mapped(report: Check) -> Figure:
    counts, total = report.counts, len(report.operators)
    mapped = counts[SEEN] + counts[UNPROVEN]
    if report.compiled:
        words = f"compiled: {mapped} edgetpu-custom-op, {counts[CPU]} operators left on the CPU"
        return Figure("on the Edge TPU", "operators", mapped, None, words, "as the file has them")
    words = f"{mapped} of {total} operators predicted for the Edge TPU"
    if report.problems:
        words = f"refused as a whole by compiler {report.compiler}, else {words}"
    how = f"of {total}; {counts[SEEN]} as seen published, {counts[UNPROVEN]} by the table alone"
    return Figure("on the Edge TPU", "operators", mapped, None, words, how)


def _speed(report: Check) -> str:
    """What is estimated instead."""
    if report.latency is None:
        return "tfedge-infer --delegate edgetpu --benchmark, on the host of a device"
    links = ", ".join(f"{name} {ms:.2f} ms" for name, ms in report.latency.milliseconds.items())
    return f"estimated, at least: {links}"
