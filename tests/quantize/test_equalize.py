"""Equalisation: the same model, with channels of more even size."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest
import tf_keras as keras

from tfedge.models.blocks import GraphOptions, Junction
from tfedge.models.build import Encoder, build, junctions
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import _relative, channel_factors, equalize

TASK = "text-classification"
ARCHITECTURES = (
    "bert",
    "distilbert",
    "mobilebert",
    "mobilebert-bottleneck-attention",
    "mobilebert-no-bottleneck",
    "mobilebert-no-trigram",
    "mobilebert-layer-norm",
)


def encoder(checkpoint: Checkpoint, equalized: bool = False) -> Encoder:
    built = build(checkpoint.config, TASK, options=GraphOptions(equalized=equalized))
    load_weights(built.model, checkpoint, TASK)
    return built


def unevenness(observer: Observer, connections: list[Junction]) -> dict[str, float]:
    """Each tensor's largest channel in units of the mean channel."""
    names = {name for j in connections for name in (j.source, j.dense, j.total)}
    peaks: dict[str, np.ndarray] = {}
    for tensors in observer.tensors():
        for name in names:
            peak = np.abs(tensors[name]).max(axis=(0, 1))
            peaks[name] = np.maximum(peaks.get(name, 0), peak)
    return {name: float(peak.max() / peak.mean()) for name, peak in peaks.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_answers_from_more_even_channels(
    architecture: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    checkpoint = outlier_checkpoint(architecture)
    connections = junctions(checkpoint.config)
    plain, even = encoder(checkpoint), encoder(checkpoint, equalized=True)
    plain_observer = Observer(plain, sequences)
    equalize(even.model, connections, channel_factors(plain_observer, connections))

    inputs = cases.batch(checkpoint.config.source)
    expected = np.asarray(plain.model(inputs)["logits"])
    actual = np.asarray(even.model(inputs)["logits"])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))

    before = unevenness(plain_observer, connections)
    after = unevenness(Observer(even, sequences), connections)
    assert max(before.values()) > 4  # there was something to even out
    assert max(after.values()) < 0.8 * max(before.values())
    assert np.mean(list(after.values())) < np.mean(list(before.values()))


def test_weights_do_change(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert")
    connections = junctions(checkpoint.config)
    even = encoder(checkpoint, equalized=True)
    gains = even.model.get_layer("embeddings.LayerNorm").gamma
    before = gains.numpy()
    factors = channel_factors(Observer(encoder(checkpoint), sequences), connections)
    equalize(even.model, connections, factors)
    np.testing.assert_allclose(gains.numpy(), before / factors["embeddings.LayerNorm"], rtol=1e-5)


def test_strength_zero_changes_nothing(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert")
    observer = Observer(encoder(checkpoint), sequences)
    factors = channel_factors(observer, junctions(checkpoint.config), strength=0.0)
    assert all(np.array_equal(factor, np.ones(32)) for factor in factors.values())


def test_relative_peaks_by_hand() -> None:
    # The geometric mean of 1, 4 and 16 is 4.
    np.testing.assert_allclose(_relative(np.array([1.0, 4.0, 16.0])), [0.25, 1, 4])


def test_silent_channels_and_streams_give_finite_factors() -> None:
    one_silent = _relative(np.array([0.0, 2.0, 2.0]))
    assert np.isfinite(one_silent).all()
    assert (one_silent > 0).all()
    # A dense layer that pruning emptied: nothing to even out.
    np.testing.assert_allclose(_relative(np.zeros(3)), np.ones(3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_junction_names_layers_of_the_model(
    architecture: str, outlier_checkpoint: Callable[..., Checkpoint]
) -> None:
    built = encoder(outlier_checkpoint(architecture))
    layers = {layer.name: layer for layer in built.model.layers}
    readers: list[str] = []
    for junction in junctions(outlier_checkpoint(architecture).config):
        assert {junction.source, junction.norm, junction.dense, *junction.readers} <= set(layers)
        assert junction.total in built.tapped
        assert isinstance(layers[junction.dense], keras.layers.Dense)
        readers += junction.readers
    # A layer that reads a stream is corrected for it once.
    assert len(readers) == len(set(readers))
