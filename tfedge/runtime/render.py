"""Answers as lines of text, one line an answer whatever the text contained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfedge.runtime.errors import one_line

if TYPE_CHECKING:
    from tfedge.runtime.benchmark import Timing
    from tfedge.runtime.doctor import Installed, Report
    from tfedge.runtime.machine import Machine
    from tfedge.runtime.tasks.base import Task

# Stands where the answer would, so that lines of answers match lines of texts; no probability is "-".
UNANSWERED = "error\t-"


def as_json(fields: Mapping[str, Any]) -> str:
    """`fields` as JSON without line breaks."""
    return json.dumps(fields, ensure_ascii=False, allow_nan=False)


def as_text(answer: Mapping[str, Any], task: Task) -> str:
    """An answer for people and for `cut`."""
    return UNANSWERED if "error" in answer else task.line(answer)


def timing_as_text(timing: Timing) -> str:
    return (
        f"model    {timing.model}\n"
        f"runtime  {timing.runtime}, threads: {timing.threads}\n"
        f"runs     {timing.runs}, texts: {timing.texts}\n"
        f"median   {timing.median_ms:.2f} ms\n"
        f"p90      {timing.p90_ms:.2f} ms\n"
        f"speed    {timing.texts_per_s:.1f} texts/s, {timing.tokens_per_s:.0f} tokens/s\n"
        f"memory   {_megabytes(timing.peak_rss_bytes)}"
    )


def report_as_json(report: Report) -> str:
    return as_json({"can_answer": report.can_answer, **dataclasses.asdict(report)})


def report_as_text(report: Report) -> str:
    """A `--doctor` report for people: what there is, line by line, and then what to fix."""
    rows = [*_answering(report), *_installed(report), *_machine(report.machine)]
    if report.libedgetpu:
        rows.append(("Edge TPU", report.libedgetpu))
    lines = [f"{name:<11}{one_line(text)}" for name, text in rows]
    if report.findings:
        lines += ["", "To fix:" if report.can_answer else "To fix before anything can be answered:"]
    for number, finding in enumerate(report.findings, 1):
        lines += [f"  {number}. {one_line(finding.problem)}", f"     {one_line(finding.mend)}"]
    return "\n".join(lines)


def _answering(report: Report) -> Iterator[tuple[str, str]]:
    if report.model is not None:
        model = report.model
        verified = ", ".join(model["verified"]) or "no runtime"
        yield "model", f"{model['name']}, {model['quantization']}, verified on {verified}"
    if report.runtime is not None:
        yield "runtime", report.runtime
        yield "kernels", str(report.kernels)
    if report.answer is not None:
        timing = report.answer
        assert report.model is not None  # what answered
        yield (
            "answers",
            f"{report.model['sample']} in {timing['median_ms']:.1f} ms, {timing['threads']} threads,"
            f" {_megabytes(timing['peak_rss_bytes'])}",
        )


def _installed(report: Report) -> Iterator[tuple[str, str]]:
    def state(name: str, found: Installed) -> str:
        if found.version is None:
            return f"no {name}"
        return f"{name} {found.version}" + ("" if found.error is None else " (broken)")

    packages = ", ".join(state(name, found) for name, found in report.packages.items())
    yield "installed", f"tfedge {report.tfedge}, Python {report.python}, {packages}"


def _machine(machine: Machine) -> Iterator[tuple[str, str]]:
    if machine.board:
        yield "board", machine.board
    cores = ", ".join(f"{count} x {name}" for name, count in machine.cores.items())
    have = " ".join(name for name, present in machine.features.items() if present) or "unknown"
    lack = " ".join(name for name, present in machine.features.items() if not present)
    yield "processor", f"{cores or 'unknown'}, {machine.architecture}"
    yield "features", have + (f" (without {lack})" if lack else "")
    available, total = map(_megabytes, (machine.available_bytes, machine.memory_bytes))
    yield "memory", f"{available} of {total} available"
    for zone, celsius in machine.temperatures.items():
        yield "heat", f"{celsius:.0f} °C {zone}"
    if machine.throttled is not None:
        now = ", ".join(machine.throttled) or "no"
        before = ", ".join(machine.throttled_since_start or ())
        yield "throttled", now + (f" (since the start: {before})" if before else "")
    if machine.governors:
        yield "governor", ", ".join(machine.governors)


def _megabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 1e6:.0f} MB"


def encode(line: str) -> bytes:
    """UTF-8, whatever the locale is; what is not Unicode (lone surrogates) becomes U+FFFD."""
    return line.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode() + b"\n"
