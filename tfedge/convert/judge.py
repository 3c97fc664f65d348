"""Runs a converted model beside its float form and says whether it may ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge.convert.job import Job
from tfedge.convert.result import Figures, Refused
from tfedge.data.texts import Texts
from tfedge.errors import RejectedModelError
from tfedge.measure.accuracy import accuracy, disagreement
from tfedge.measure.board import Board
from tfedge.quantize.coarsen import MOST_BITS
from tfedge.quantize.graphs import INTEGER
from tfedge.runtime import tasks
from tfedge.tflite.tflite import INTEGER_QUANTIZATIONS

# What loses less than a mode of integers.
_MORE_EXACT = {
    "int8": ("mixed", "auto", "dynamic"),
    "int8-float-io": ("mixed", "auto", "dynamic"),
    "mixed": ("auto", "dynamic"),
    "int4": ("dynamic",),
}


def measure(
    job: Job, candidate: Path, reference: Path, texts: Texts, truth: list[int] | None
) -> tuple[dict[str, Figures | Refused], str | None]:
    """Runs both models on the evaluation texts in each runtime.

    Returns:
        Figures by runtime, and why the candidate is rejected, or None.
    """
    items = items_of(job, texts)
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
        figures = _figures(job, expected, answers, truth)
        measured[runtime] = figures
        if not figures.passed and runtime == job.runtime:
            reason = (
                f"{job.source.name} in {job.quantization} loses {figures.drop:.2f} points against "
                f"float on {texts.source} in {runtime}, more than the {job.max_drop} allowed "
                f"by --max-drop; {_advice(job)}"
            )
    return measured, reason


def _advice(job: Job) -> str:
    """What to do about a loss that is too large."""
    steps = []
    if job.options.weight_bits < MOST_BITS:
        steps.append("more --weight-bits")
    if job.shape.graph == INTEGER:
        steps += [f"--quant {mode}" for mode in _MORE_EXACT.get(job.quantization, ())]
    if job.quantization in INTEGER_QUANTIZATIONS and not job.checkpoint.config.reads_images:
        target = "" if job.shape.graph == INTEGER else f" --target {job.shape.graph}"
        steps.append(f"training for integers (tfedge qad{target})")
    return f"try {', '.join(steps)} or a larger --max-drop" if steps else "try a larger --max-drop"


def items_of(job: Job, texts: Texts) -> Sequence[Any]:
    """What a model of the task is asked."""
    if job.shape.task != "question-answering":
        return texts.texts
    # The package's texts have no questions; what a model answers to any pair can be compared.
    return list(zip([*texts.texts[1:], texts.texts[0]], texts.texts, strict=True))


def truth_of(job: Job, texts: Texts) -> list[int] | None:
    """True labels as indices; None where the texts have none that the model knows."""
    if not tasks.find(job.shape.task).ranked or texts.labels is None:
        return None
    if job.options.evaluation:
        return texts.label_ids(job.labels)
    known = {label.lower() for label in job.labels}
    if not {label.lower() for label in texts.labels} <= known:
        return None
    return texts.label_ids(job.labels)


def _figures(
    job: Job,
    expected: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    truth: list[int] | None,
) -> Figures:
    differs = disagreement(answers, expected)
    drop, scores = 100 * differs, {}
    if truth is not None:
        before, after = (
            accuracy(found, truth, job.labels).accuracy for found in (expected, answers)
        )
        scores = {"float_accuracy": before, "accuracy": after}
        drop = 100 * (before - after)
    return Figures(len(answers), differs, drop, drop <= job.max_drop, scores)
