"""What follows the conversion of a graph made for the Edge TPU: prediction, then the compiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.edgetpu.check import check
from tfedge.edgetpu.compile import compile_model
from tfedge.edgetpu.table import change_rows, verdict_lines
from tfedge.errors import MissingPackageError, RejectedModelError, TfedgeError

Report = dict[str, Any]


def deliver(path: Path, report: Report) -> TfedgeError | None:
    """Predicts what the Edge TPU runs of a converted model, and compiles it.

    Args:
        path: the model, whose report is beside it.
        report: of its conversion; gets the key `edgetpu` with `check` (of `tfedge edgetpu check`),
            `compile` (of `tfedge edgetpu compile`, or None) and `not_compiled` (why, or None), here
            and in its file.

    Returns:
        Why it was not compiled, or None: the converted model is kept.

    Raises:
        InputError: the model cannot be read.
    """
    section: Report = {"check": check(path), "compile": None, "not_compiled": None}
    failure: TfedgeError | None = None
    try:
        section["compile"] = compile_model(path)
    except (MissingPackageError, RejectedModelError) as error:
        failure = error
        section["not_compiled"] = str(error)
    report["edgetpu"] = section
    files.write_json(path.with_suffix(".json"), report)
    return failure


def delivery_summary(section: Report) -> str:
    """The verdict of `check`, what is left on the CPU and why, and what was compiled."""
    checked = section["check"]
    lines = ["", "predicted for the Edge TPU (tfedge edgetpu check):", *verdict_lines(checked)]
    lines += [f"left on the CPU: {name}: {rule}" for name, rule, _ in change_rows(checked)]
    compiled = section["compile"]
    if compiled:
        lines.append(
            f"compiled: {compiled['output']}  {compiled['mapped']} operators on the Edge TPU, "
            f"{compiled['on_cpu']} on the CPU, "
            + ("as predicted" if compiled["agrees"] else "not as predicted")
        )
        lines.append(
            f'try it: tfedge-infer --model {compiled["output"]} --delegate edgetpu "a text"'
        )
    else:
        lines.append(f"NOT COMPILED, {checked['file']} is kept: compile it where the compiler is")
    return "\n".join(lines)
