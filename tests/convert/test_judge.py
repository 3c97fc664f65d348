"""What is said of a conversion that loses too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfedge import tasks
from tfedge.convert.judge import _MORE_EXACT, _advice, _figures
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
            "try --quant auto (the fastest mixture that does), --quant mixed, --quant dynamic, "
            "--quant float16, training for integers (tfedge qad) or a larger --max-drop",
        ),
        (
            job("int8", what="image"),
            "try --quant auto (the fastest mixture that does), --quant mixed, --quant dynamic, "
            "--quant float16 or a larger --max-drop",
        ),
        (
            job("int8", "edgetpu"),
            "try training for integers (tfedge qad --target edgetpu) or a larger --max-drop",
        ),
        (
            job("mixed", weight_bits=5.5),
            "try more --weight-bits, --quant auto (the fastest mixture that does), --quant dynamic, "
            "--quant float16 or a larger --max-drop",
        ),
        (job("auto"), "try --quant float16 or a larger --max-drop"),
        (job("float16"), "try a larger --max-drop"),
    ],
)
def test_advice(given: Any, said: str) -> None:
    assert _advice(given) == said


def test_modes_in_advice_exist() -> None:
    named = {*_MORE_EXACT, *(mode for modes in _MORE_EXACT.values() for mode in modes)}
    assert named <= set(QUANTIZATIONS)


def judged(task: str, truth: Any = None, max_drop: float = 1.0) -> Any:
    """What `_figures` reads of a job."""
    labels = ["bad", "good"]
    return SimpleNamespace(task=tasks.find(task), truth=truth, labels=labels, max_drop=max_drop)


def test_a_loss_is_told_with_its_pairs() -> None:
    """Of 40 texts, float alone answers 3 rightly and the other 1; only those 4 say which is better."""
    truth, right, wrong = [0] * 40, {"label": "bad"}, {"label": "good"}
    expected = [right] * 39 + [wrong]
    answers = [wrong] * 3 + [right] * 37
    found, faults = _figures(judged("text-classification", truth), expected, answers)
    assert found.drop == pytest.approx(100 * 2 / 40)
    assert not found.passed
    assert faults == [
        "5.00 points lost",
        "36 of 40 texts alike; both right 36, this alone 1, float alone 3 (sign test: p = 0.62)",
    ]
    found, faults = _figures(judged("text-classification", truth, 5.1), expected, answers)
    assert (found.passed, faults) == (True, [])
    assert found.comparison["only_other_right"] == 3


def test_one_text_that_moves_is_enough() -> None:
    """The mean cosine hides it; more `--max-drop` allows it."""
    vectors = np.random.default_rng(0).normal(size=(60, 16))
    moved = vectors.copy()
    moved[7] += 0.9 * np.linalg.norm(vectors[7]) * np.eye(16)[3]
    expected, answers = ([{"embedding": row.tolist()} for row in side] for side in (vectors, moved))
    found, faults = _figures(judged("sentence-embedding", max_drop=2.0), expected, answers)
    assert found.drop < 2.0
    least = found.comparison["least_cosine"]
    assert 0.5 < least < 0.85
    assert not found.passed
    assert faults == [f"least cosine {least:.3f}, below 0.850"]
    allowed, faults = _figures(judged("sentence-embedding", max_drop=10.0), expected, answers)
    assert (allowed.passed, faults) == (True, [])


def test_a_loss_of_embeddings_is_told_with_its_figures() -> None:
    expected, answers = [{"embedding": [1.0, 0.0]}], [{"embedding": [0.98, 0.2]}]
    _, faults = _figures(judged("sentence-embedding", max_drop=1.0), expected, answers)
    assert faults == ["2.02 points lost", "cosine 0.980, least 0.980"]
