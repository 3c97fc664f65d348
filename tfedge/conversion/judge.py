"""Runs a converted model beside its float form and says whether it may ship."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.conversion.candidates import candidates
from tfedge.conversion.chance import Sides, certainty, loss
from tfedge.conversion.job import Job
from tfedge.conversion.result import Figures, Refused
from tfedge.errors import RejectedModelError
from tfedge.measure.stated import FLOAT
from tfedge.quantize.modes import INTEGER_QUANTIZATIONS, MIXED_QUANTIZATIONS, MOST_BITS
from tfedge.targets import INTEGER
from tfedge.tasks.base import disagreement

_FLOAT_TOLERANCE = 1e-4
# What loses less than a mode without being looked for, the faster first.
_MORE_EXACT = {
    "int8": ("dynamic", "float16"),
    "int8-float-io": ("dynamic", "float16"),
    "mixed": ("dynamic", "float16"),
    "int4": ("dynamic", "float16"),
    "dynamic": ("float16",),
}


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in a row, relative to the row's largest value if that is above 1."""
    axes = tuple(range(1, expected.ndim))
    scales = np.maximum(1.0, np.abs(expected).max(axis=axes))
    return float((np.abs(actual - expected).max(axis=axes) / scales).max())


def check_error(errors: Sequence[float], what: str, maker: str, where: str = "") -> float:
    """The largest difference of a model in float from Keras; raises RejectedModelError where it is
    above 1e-4, for which `maker` may be to blame beside tfedge."""
    error = float(np.max(errors))  # np.max() keeps NaN, max() may not
    if not error <= _FLOAT_TOLERANCE:
        raise RejectedModelError(
            f"the {what} differs from Keras by {error:.2g}{where}, more than {_FLOAT_TOLERANCE}; "
            f"this is a fault of tfedge or of the {maker}, please report"
        )
    return error


class Judge:
    """Compares what one conversion makes with its float form, the .tflite `reference`, on the
    evaluation texts."""

    def __init__(self, job: Job, reference: Path) -> None:
        self._job = job
        self._reference = reference
        self._expected: dict[str, list[dict[str, Any]]] = {}  # the reference's answers, by runtime

    def measure(self, candidate: Path) -> tuple[dict[str, Figures | Refused], str | None]:
        """Runs both models in each runtime; gives figures by runtime, and why the candidate is
        rejected, or None."""
        job = self._job
        measured: dict[str, Figures | Refused] = {}
        reason = None
        for runtime in job.runtimes:
            try:
                measured[runtime], faults = self._compare(candidate, runtime)
                told = (
                    f"{job.source.name} in {job.quantization} is further from float on "
                    f"{job.rows.source} in {runtime} than --max-drop {job.max_drop:g} allows: "
                    f"{'; '.join(faults)}"
                )
            except RejectedModelError as error:
                faults = [told := str(error)]
                measured[runtime] = Refused(passed=False, error=told)
            if faults and runtime == job.runtime:
                reason = told
        return measured, reason

    def advice(self, path: Path) -> str:
        """What to do about a loss that is too large; modes that lose less are tried, in `path`."""
        job, steps = self._job, []
        if job.options.weight_bits < MOST_BITS:
            steps.append("more --weight-bits")
        if job.quantization in INTEGER_QUANTIZATIONS and job.task.trains:
            target = "" if job.shape.graph == INTEGER else f" --target {job.shape.graph}"
            steps.append(f"training for integers (tfedge qad{target})")
        told = f"{', '.join(steps)} or a larger --max-drop" if steps else "a larger --max-drop"
        mode = self._mode_that_would_do(path)
        if mode is None:
            return f"try {told}"
        in_integers = job.quantization in (*INTEGER_QUANTIZATIONS, *MIXED_QUANTIZATIONS)
        faster = ", and --quant auto looks for what is faster" if in_integers else ""
        return f"--quant {mode} would do{faster}; or try {told}"

    def _mode_that_would_do(self, path: Path) -> str | None:
        """The first more exact mode that loses little enough in the runtime that was asked for."""
        if self._job.shape.graph != INTEGER:
            return None
        for mode in _MORE_EXACT.get(self._job.quantization, ()):
            job = copy.copy(self._job)
            job.quantization = mode
            job.options = dataclasses.replace(job.options, keep_reference=False)
            try:
                next(candidates(job, path))
                found, faults = self._compare(path, job.runtime)
                if not faults and not found.warning:
                    return mode
            except RejectedModelError:
                continue  # it crashes there
        return None

    def _compare(self, candidate: Path, runtime: str) -> tuple[Figures, list[str]]:
        """See `_figures`."""
        if runtime not in self._expected:
            self._expected[runtime] = self._answers(self._reference, runtime)
        answers = expected = self._expected[runtime]
        if candidate != self._reference:
            answers = self._answers(candidate, runtime)
        return _figures(self._job, expected, answers)

    def _answers(self, path: Path, runtime: str) -> list[dict[str, Any]]:
        job, items = self._job, self._job.rows.items
        is_compared_with = path == self._reference and job.quantization != "float32"
        what = "the float model" if is_compared_with else "it"
        with job.make_bar(f"running {what} in {runtime}", len(items)) as bar:
            return job.board(runtime).answers(path, items, bar.advance, job.rows.asked)


def _figures(
    job: Job, expected: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> tuple[Figures, list[str]]:
    """How the candidate's answers compare with those expected, and why it may not ship."""
    task = job.task
    differs = disagreement(task, answers, expected)
    drop, scores = 100 * differs, {}
    truth = task.believed(expected) if job.truth is None else job.truth
    if truth is not None:
        before, after = (
            task.metric(found, truth, job.labels)[job.goal] for found in (expected, answers)
        )
        scores = {f"{FLOAT}{job.goal}": before, job.goal: after}
        drop = 100 * (before - after)
    comparison = task.comparison(answers, expected, job.truth, job.labels)
    sides = Sides(expected, answers, truth, job.labels, job.goal, job.lists)
    interval, is_beyond = certainty(task, sides, comparison, job.max_drop, drop)
    found = Figures(len(answers), differs, drop, True, scores, comparison, interval)
    is_much, warning = not drop <= job.max_drop, None
    faults = [loss(found, task)] if is_much and is_beyond else []
    if is_much and not is_beyond:
        more = "--eval-limit all" if job.available > len(answers) else "a larger --eval"
        warning = (
            f"{loss(found, task)}, more than --max-drop {job.max_drop:g}, but chance could make as "
            f"much: {more} would tell"
        )
    short = task.shortfalls(comparison, job.max_drop)
    if faults or short:
        faults += short or task.comparison_lines(comparison, "float")
    return dataclasses.replace(found, passed=not faults, warning=warning), faults
