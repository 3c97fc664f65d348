"""Runs a converted model beside its float form and says whether it may ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.convert.job import Job
from tfedge.convert.result import Figures, Refused
from tfedge.errors import RejectedModelError
from tfedge.measure.board import Board
from tfedge.quantize.coarsen import MOST_BITS
from tfedge.targets import INTEGER
from tfedge.tasks.base import disagreement
from tfedge.tflite.tflite import INTEGER_QUANTIZATIONS

_FLOAT_TOLERANCE = 1e-4
# What loses less than a mode: auto, which measures, then the others as they grow more exact.
_MORE_EXACT = {
    "int8": ("auto", "mixed", "dynamic", "float16"),
    "int8-float-io": ("auto", "mixed", "dynamic", "float16"),
    "mixed": ("auto", "dynamic", "float16"),
    "int4": ("dynamic", "float16"),
    "auto": ("float16",),
    "dynamic": ("float16",),
}


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in a row, relative to the row's largest value if that is above 1."""
    axes = tuple(range(1, expected.ndim))
    scales = np.maximum(1.0, np.abs(expected).max(axis=axes))
    return float((np.abs(actual - expected).max(axis=axes) / scales).max())


def check_error(errors: Sequence[float], what: str, maker: str, where: str = "") -> float:
    """The largest difference of a model in float from Keras.

    Args:
        maker: whose fault it may be beside tfedge's.

    Raises:
        RejectedModelError: it is above 1e-4.
    """
    error = float(np.max(errors))  # np.max() keeps NaN, max() may not
    if not error <= _FLOAT_TOLERANCE:
        raise RejectedModelError(
            f"the {what} differs from Keras by {error:.2g}{where}, more than {_FLOAT_TOLERANCE}; "
            f"this is a fault of tfedge or of the {maker}, please report"
        )
    return error


def measure(
    job: Job, candidate: Path, reference: Path
) -> tuple[dict[str, Figures | Refused], str | None]:
    """Runs both models on the evaluation texts in each runtime.

    Returns:
        Figures by runtime, and why the candidate is rejected, or None.
    """
    items = job.rows.items
    measured: dict[str, Figures | Refused] = {}
    reason = None
    for runtime in job.runtimes:
        board = Board.here(runtime)
        steps = len(items) * (1 if candidate == reference else 2)
        try:
            with job.make_bar(f"running it in {runtime}", steps) as bar:
                expected = board.answers(reference, items, bar.advance)
                answers = expected
                if candidate != reference:
                    answers = board.answers(candidate, items, bar.advance)
        except RejectedModelError as error:
            measured[runtime] = Refused(passed=False, error=str(error))
            if runtime == job.runtime:
                reason = str(error)
            continue
        figures, faults = _figures(job, expected, answers)
        measured[runtime] = figures
        if faults and runtime == job.runtime:
            reason = (
                f"{job.source.name} in {job.quantization} is further from float on "
                f"{job.rows.source} in {runtime} than --max-drop {job.max_drop:g} allows: "
                f"{'; '.join(faults)}; {_advice(job)}"
            )
    return measured, reason


def _advice(job: Job) -> str:
    """What to do about a loss that is too large."""
    steps = []
    if job.options.weight_bits < MOST_BITS:
        steps.append("more --weight-bits")
    if job.shape.graph == INTEGER:
        modes = [f"--quant {mode}" for mode in _MORE_EXACT.get(job.quantization, ())]
        steps += [mode.replace("auto", "auto (the fastest mixture that does)") for mode in modes]
    if job.quantization in INTEGER_QUANTIZATIONS and job.task.trains:
        target = "" if job.shape.graph == INTEGER else f" --target {job.shape.graph}"
        steps.append(f"training for integers (tfedge qad{target})")
    return f"try {', '.join(steps)} or a larger --max-drop" if steps else "try a larger --max-drop"


def _figures(
    job: Job, expected: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> tuple[Figures, list[str]]:
    """How the candidate's answers compare with those expected, and why it may not ship."""
    task = job.task
    differs = disagreement(task, answers, expected)
    drop, scores = 100 * differs, {}
    if job.truth is not None:
        before, after = (
            task.metric(found, job.truth, job.labels)[task.score] for found in (expected, answers)
        )
        scores = {f"float_{task.score}": before, task.score: after}
        drop = 100 * (before - after)
    comparison = task.comparison(answers, expected, job.truth, job.labels)
    faults = [] if drop <= job.max_drop else [f"{drop:.2f} points lost"]
    short = task.shortfalls(comparison, job.max_drop)
    if faults or short:
        faults += short or task.comparison_lines(comparison, "float")
    return Figures(len(answers), differs, drop, not faults, scores, comparison), faults
