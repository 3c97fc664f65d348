"""Activations give what transformers' activations.py gives, in float, in integers and beside paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cases
import numpy as np
import pytest
import toy_folders
from conversions import assert_int8_agrees

from tfedge.architectures.fields import ACTIVATIONS
from tfedge.models.build import build
from tfedge.models.config import parse_config
from tfedge.quantize.outliers import _least_output, _path_ends

Function = Callable[[np.ndarray], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def by_erf(x: np.ndarray) -> np.ndarray:
    return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()])


def by_tanh(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


# The formulas of ACT2CLS in transformers 5.23.
FORMULAS: dict[str, Function] = {
    "gelu": by_erf,
    "gelu_python": by_erf,
    "gelu_new": by_tanh,
    "gelu_accurate": by_tanh,
    "gelu_fast": lambda x: 0.5 * x * (1 + np.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    "gelu_pytorch_tanh": by_tanh,
    "gelu_python_tanh": by_tanh,
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "relu": lambda x: np.maximum(x, 0.0),
}
# At 1 and -2, to seven digits.
GOLDEN = {
    "gelu_python": (0.8413447, -0.0455003),
    "gelu_fast": (0.8411920, -0.0454023),
    "gelu_pytorch_tanh": (0.8411920, -0.0454023),
    "quick_gelu": (0.8457958, -0.0643416),
    "silu": (0.7310586, -0.2384058),
    "relu": (1.0, 0.0),
}


def function_of(name: str, architecture: str = "bert") -> Function:
    """What the graph of an encoder computes between the dense layers of its first layer."""
    key = {"distilbert": "activation"}.get(architecture, "hidden_act")
    config = parse_config({**cases.CONFIGS[architecture], key: name})
    layer = f"{config.architecture.parts.of_layer(0).ffn_input}.act"
    function = build(config, "sentence-embedding").model.get_layer(layer)
    return lambda x: function(np.float32(x)).numpy()


def test_every_name_has_a_formula() -> None:
    assert FORMULAS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name: str) -> None:
    x = np.linspace(-9, 9, 301)
    function = function_of(name)
    np.testing.assert_allclose(function(x), FORMULAS[name](x), atol=2e-6)
    if name in GOLDEN:
        np.testing.assert_allclose(function(np.array([1.0, -2.0])), GOLDEN[name], atol=2e-6)


@pytest.mark.parametrize("architecture", ["distilbert", "mobilebert"])
def test_other_families_read_the_same_names(architecture: str) -> None:
    x = np.linspace(-4, 4, 9)
    found = function_of("quick_gelu", architecture)(x)
    np.testing.assert_allclose(found, FORMULAS["quick_gelu"](x), atol=2e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_paths_begin_where_a_function_gives_what_it_reads(name: str) -> None:
    lows, highs = _path_ends(FORMULAS[name])
    assert highs and all(abs(FORMULAS[name](np.array([x]))[0] - x) <= 1e-3 for x in highs)
    first = {"silu": 12.0, "swish": 12.0, "quick_gelu": 6.0}
    assert highs[0] == first.get(name, 4.0)
    assert lows[-1] == (-8.0 if name in first else -4.0)


@pytest.mark.parametrize("name", FORMULAS)
def test_no_output_is_below_the_least(name: str) -> None:
    least = {"relu": 0.0, "silu": -0.28, "swish": -0.28}.get(name)
    found = _least_output(FORMULAS[name])
    if least is not None or name in ("gelu", "quick_gelu"):
        assert found == (-0.17 if least is None else least)
    assert FORMULAS[name](np.linspace(-20, 5, 100_001)).min() >= found


@pytest.mark.parametrize(
    ("architecture", "change"),
    [("bert", {"hidden_act": "silu"}), ("distilbert", {"activation": "quick_gelu"})],
)
def test_int8_agrees(tmp_path: Path, architecture: str, change: dict[str, str]) -> None:
    source = toy_folders.write_folder(tmp_path / "toy", architecture, small=True, **change)
    assert_int8_agrees(source, tmp_path)
