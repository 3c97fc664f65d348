"""What is said of a conversion that loses too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tfedge import tasks
from tfedge.convert.judge import _MORE_EXACT, _advice
from tfedge.tflite.tflite import QUANTIZATIONS


def job(
    quantization: str, graph: str = "integer", weight_bits: float = 8, what: str = "text"
) -> Any:
    """What `_advice` reads of a job."""
    return SimpleNamespace(
        quantization=quantization,
        task=tasks.find(f"{what}-classification"),
        shape=SimpleNamespace(graph=graph),
        options=SimpleNamespace(weight_bits=weight_bits),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            job("int8"),
            "try --quant mixed, --quant auto, --quant dynamic, training for integers (tfedge qad) or "
            "a larger --max-drop",
        ),
        (
            job("int8", what="image"),
            "try --quant mixed, --quant auto, --quant dynamic or a larger --max-drop",
        ),
        (
            job("int8", "edgetpu"),
            "try training for integers (tfedge qad --target edgetpu) or a larger --max-drop",
        ),
        (
            job("mixed", weight_bits=5.5),
            "try more --weight-bits, --quant auto, --quant dynamic or a larger --max-drop",
        ),
        (job("float16"), "try a larger --max-drop"),
    ],
)
def test_advice(given: Any, said: str) -> None:
    assert _advice(given) == said


def test_modes_in_advice_exist() -> None:
    named = {*_MORE_EXACT, *(mode for modes in _MORE_EXACT.values() for mode in modes)}
    assert named <= set(QUANTIZATIONS)
