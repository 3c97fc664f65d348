"""What follows the conversion of a graph made for the Edge TPU: prediction, then the compiler."""

from __future__ import annotations

from pathlib import Path

from tfedge.edgetpu.check import check
from tfedge.edgetpu.compile import compile_model
from tfedge.edgetpu.result import Delivery
from tfedge.edgetpu.table import changes, verdict_lines
from tfedge.errors import MissingPackageError, RejectedModelError, TfedgeError


def deliver(path: Path) -> tuple[Delivery, TfedgeError | None]:
    """Predicts what the Edge TPU runs of a converted model, and compiles it.

    Returns:
        What is found, and why it was not compiled, or None: the converted model is kept.

    Raises:
        InputError: the model cannot be read.
    """
    checked = check(path)
    failure: TfedgeError | None = None
    try:
        delivery = Delivery(checked, compile_model(path), None)
    except (MissingPackageError, RejectedModelError) as error:
        failure = error
        delivery = Delivery(checked, None, str(error))
    return delivery, failure


def delivery_summary(delivery: Delivery) -> str:
    """The verdict of `check`, what is left on the CPU and why, and what was compiled."""
    checked = delivery.check
    lines = ["", "predicted for the Edge TPU (tfedge edgetpu check):", *verdict_lines(checked)]
    lines += [f"left on the CPU: {name}: {rule}" for name, rule, _ in changes(checked).rows]
    compiled = delivery.compile
    if compiled:
        lines.append(
            f"compiled: {compiled.output}  {compiled.mapped} operators on the Edge TPU, "
            f"{compiled.on_cpu} on the CPU, "
            + ("as predicted" if compiled.agrees else "not as predicted")
        )
        lines.append(f'try it: tfedge-infer --model {compiled.output} --delegate edgetpu "a text"')
    else:
        lines.append(f"NOT COMPILED, {checked.file} is kept: compile it where the compiler is")
    return "\n".join(lines)
