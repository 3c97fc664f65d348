"""Paths of their own for what is far beyond all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from lowered import lowered, prepared
from safetensors.numpy import load_file, save_file

from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize import felt, plan
from tfedge.quantize.excess import ChannelPath, NeuronPath
from tfedge.quantize.outliers import Excess
from tfedge.quantize.prepare import Prepared, Shape, prepare

TASK = "text-classification"
BEFORE, BEHIND = "encoder.layer.0.intermediate.dense", "encoder.layer.0.output.dense"
MASSIVE = 3  # neurons that a few tokens drive to a hundred, and through them one channel


@pytest.fixture(autouse=True)
def _everything_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little the answers of a toy feel it."""
    for module in (felt, plan):
        monkeypatch.setattr(module, "NEGLIGIBLE", 0.0)


@pytest.fixture
def massive(outlier_checkpoint: Callable[..., Checkpoint]) -> Checkpoint:
    """A checkpoint of one layer with a massive neuron and a massive channel of the stream."""
    return _made_massive(outlier_checkpoint("bert", small=True, intermediate_size=128))


def _made_massive(checkpoint: Checkpoint, most: float = 40) -> Checkpoint:
    path = checkpoint.folder / "model.safetensors"
    tensors = load_file(path)
    prefix = "bert.encoder.layer.0."
    kernel = tensors[prefix + "intermediate.dense.weight"]
    kernel[MASSIVE] *= most / np.abs(kernel[MASSIVE]).sum()
    tensors[prefix + "output.dense.weight"][5, MASSIVE] = 20
    save_file(tensors, path, metadata={"format": "pt"})
    return Checkpoint(checkpoint.folder)


def _inputs(sequence: np.ndarray) -> dict[str, Any]:
    inputs = {"input_ids": sequence[np.newaxis]}
    inputs["attention_mask"] = np.ones_like(inputs["input_ids"])
    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
    return inputs


def test_what_is_massive_gets_a_path(massive: Checkpoint, sequences: list[np.ndarray]) -> None:
    found = lowered(massive, Shape(TASK, 2, 16), sequences).decided["excess"]
    assert MASSIVE in found[BEFORE].neurons
    assert 5 in found[BEHIND].channels


def test_what_is_even_gets_none(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    lowering = lowered(outlier_checkpoint("bert", small=True), Shape(TASK, 2, 16), sequences)
    assert lowering.decided["excess"] == {}


def test_what_no_head_reads_gets_none(massive: Checkpoint, sequences: list[np.ndarray]) -> None:
    path = massive.folder / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.pooler.dense.weight"][:] = 0
    save_file(tensors, path, metadata={"format": "pt"})
    lowering = lowered(Checkpoint(massive.folder), Shape(TASK, 2, 16), sequences)
    assert lowering.decided["excess"] == lowering.decided["reads"] == {}
    assert not any(item.has_mean for item in lowering.decided["plans"].values())


@pytest.mark.parametrize("graph", ["integer", "edgetpu-plain"])
@pytest.mark.parametrize("plain_norms", [True, False])
def test_paths_are_exact_in_float(
    graph: str, plain_norms: bool, massive: Checkpoint, sequences: list[np.ndarray]
) -> None:
    lowering = lowered(massive, Shape(TASK, 2, 16, graph=graph), sequences)
    assert {BEFORE, BEHIND} <= lowering.decided["excess"].keys()
    if plain_norms:
        lowering.decided["plans"] = {}
    clipped = lowering.build_clipped(lowering.shape.options()).model
    # GELU is another function there; without paths it is the same one.
    lowering.decided["excess"], lowering.decided["plans"] = {}, {}
    exact = lowering.build(lowering.shape.options()).model
    for sequence in sequences[:8]:
        inputs = _inputs(sequence)
        expected = exact(inputs)["logits"]
        np.testing.assert_allclose(clipped(inputs)["logits"], expected, atol=2e-3)


@pytest.mark.parametrize("graph", ["integer", "edgetpu-plain"])
@pytest.mark.parametrize("activation", ["silu", "quick_gelu"])
def test_paths_beside_other_activations_are_exact_too(
    graph: str,
    activation: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    """On an Edge TPU as well, whose GELU is another function."""
    changes = {"hidden_act": activation, "intermediate_size": 128}
    # So large that a range that begins where SiLU gives what it reads is worth a path.
    checkpoint = _made_massive(outlier_checkpoint("bert", small=True, **changes), 400)
    plain = build(checkpoint.config, TASK, 2, GraphOptions())
    load_weights(plain.model, checkpoint, TASK)
    lowering = lowered(checkpoint, Shape(TASK, 2, 16, graph=graph), sequences)
    assert MASSIVE in lowering.decided["excess"][BEFORE].neurons
    assert lowering.decided["excess"][BEFORE].high >= {"silu": 12.0, "quick_gelu": 6.0}[activation]
    clipped = lowering.build_clipped(lowering.shape.options()).model
    for sequence in sequences[:8]:
        inputs = _inputs(sequence)
        expected = plain.model(inputs)["logits"]
        np.testing.assert_allclose(clipped(inputs)["logits"], expected, atol=2e-2)


def test_paths_make_rounding_several_times_better(
    massive: Checkpoint, sequences: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = build(massive.config, TASK, 2, GraphOptions())
    load_weights(plain.model, massive, TASK)
    shape = Shape(TASK, 2, 16)

    def error(made: Prepared) -> float:
        rounded = made.rounded().model
        differences = [
            rounded(_inputs(sequence))["logits"] - plain.model(_inputs(sequence))["logits"]
            for sequence in sequences
        ]
        return float(tf.reduce_mean(tf.square(differences)))

    with_paths = error(prepared(massive, shape, sequences))
    monkeypatch.setattr(Excess, "decide", lambda *_: {})
    assert 3 * with_paths < error(prepare(massive, shape, sequences))


@pytest.mark.parametrize("graph", ["integer", "edgetpu", "edgetpu-plain"])
def test_weights_lie_on_the_steps_that_the_converter_takes(
    graph: str, massive: Checkpoint, sequences: list[np.ndarray]
) -> None:
    lowering = lowered(massive, Shape(TASK, 2, 16, graph=graph), sequences)
    model = lowering.build_clipped(lowering.shape.options()).model
    names = lowering.config.architecture.parts.of_layer(0)
    for name in (*names.projections, names.attention_output, names.ffn_input, names.ffn_output):
        kernel = model.get_layer(name).kernel.numpy()
        steps = 127 * kernel / np.abs(kernel).max(axis=0)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3, err_msg=name)


def test_misfits_are_told(massive: Checkpoint, sequences: list[np.ndarray]) -> None:
    lowering = lowered(massive, Shape(TASK, 2, 16), sequences)
    wrong = {
        BEFORE: NeuronPath(-3.0, 4.0, [100_000]),
        BEHIND: ChannelPath(4.0, [0], [1.0], 1.0),
        "nothing": NeuronPath(-3.0, 4.0, [0]),
    }
    assert Excess().misfits(lowering, wrong) == {BEFORE, "nothing"}


def test_what_a_quick_gelu_multiplies_keeps_its_integers(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True, hidden_act="quick_gelu")
    ranges = prepared(checkpoint, Shape(TASK, 2, 16), sequences).calibration.ranges
    assert ranges[f"{BEFORE}.steep"] == ranges[BEFORE].times(1.702)
    assert (ranges[f"{BEFORE}.sigmoid"].min, ranges[f"{BEFORE}.sigmoid"].max) == (0.0, 255 / 256)
