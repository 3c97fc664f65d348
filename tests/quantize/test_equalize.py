"""Centring and equalisation: the same model, with channels of more even size."""

from __future__ import annotations

from collections.abc import Callable

import cases
import numpy as np
import pytest
import tf_keras as keras

from tfedge.architectures.kinds import QUERY
from tfedge.architectures.parts import Stream
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, load_weights, parameters
from tfedge.models.config import parse_config
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import _relative, all_streams, centre, channel_factors, equalize
from tfedge.quantize.integer import IntegerBlocks

TASK = "text-classification"
ARCHITECTURES = (
    "bert",
    "distilbert",
    "mobilebert",
    "mobilebert-bottleneck-attention",
    pytest.param("mobilebert-no-bottleneck", marks=pytest.mark.slow),
    pytest.param("mobilebert-no-trigram", marks=pytest.mark.slow),
    pytest.param("mobilebert-layer-norm", marks=pytest.mark.slow),
)


def encoder(checkpoint: Checkpoint) -> Encoder:
    built = build(checkpoint.config, TASK)
    load_weights(built.model, checkpoint, TASK)
    return built


def integer_encoder(plain: Encoder, checkpoint: Checkpoint) -> Encoder:
    """The integer graph with the weights of `plain`."""
    built = build(checkpoint.config, TASK, 2, GraphOptions(), IntegerBlocks)
    sources = {parameter.name: parameter.variable for parameter in parameters(plain.model)}
    for parameter in parameters(built.model):
        parameter.variable.assign(sources[parameter.name])
    for name, kind in built.kinds.items():
        if kind is QUERY:
            layer = built.model.get_layer(name)
            layer.kernel.assign(layer.kernel * checkpoint.config.head_size**-0.5)
            layer.bias.assign(layer.bias * checkpoint.config.head_size**-0.5)
    return built


def unevenness(observer: Observer, connections: list[Stream]) -> dict[str, float]:
    """Each tensor's largest channel in units of the mean channel."""
    names = {name for stream in connections for name in (*stream.writers[-2:], *stream.totals)}
    names -= {name for name in names if name.endswith("_embeddings")}
    peaks: dict[str, np.ndarray] = {}
    for tensors in observer.tensors():
        for name in names:
            value = tensors[name]
            peak = np.abs(value).max(axis=tuple(range(value.ndim - 1)))
            peaks[name] = np.maximum(peaks.get(name, 0), peak)
    return {name: float(peak.max() / peak.mean()) for name, peak in peaks.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_answers_from_more_even_channels(
    architecture: str,
    outlier_checkpoint: Callable[..., Checkpoint],
    sequences: list[np.ndarray],
) -> None:
    # Of MobileBERT one layer has a chain of streams already.
    checkpoint = outlier_checkpoint(architecture, small="mobilebert" in architecture)
    connections = all_streams(checkpoint.config)
    plain = encoder(checkpoint)
    plain_observer = Observer(plain, sequences)
    even = integer_encoder(plain, checkpoint)
    factors = channel_factors(plain_observer, connections)
    equalize(even.model, connections, factors)

    inputs = cases.batch(checkpoint.config.source)
    expected = np.asarray(plain.model(inputs)["logits"])
    actual = np.asarray(even.model(inputs)["logits"])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))

    before = unevenness(plain_observer, connections)
    after = unevenness(Observer(even, sequences), connections)
    assert max(before.values()) > 4  # there was something to even out
    assert max(after.values()) < 0.8 * max(before.values())
    assert np.mean(list(after.values())) < np.mean(list(before.values()))


# The last has norms that end no sum, whose gains are no terms of one.
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mobilebert-layer-norm"])
def test_centring_changes_no_answer_and_leaves_sums_without_mean(
    architecture: str, outlier_checkpoint: Callable[..., Checkpoint]
) -> None:
    checkpoint = outlier_checkpoint(architecture)
    connections = checkpoint.config.architecture.streams(checkpoint.config)
    plain = encoder(checkpoint)
    inputs = cases.batch(checkpoint.config.source)
    expected = np.asarray(plain.model(inputs)["logits"])
    centre(plain.model, connections)
    actual = np.asarray(plain.model(inputs)["logits"])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * max(1.0, np.abs(expected).max()))
    outputs = keras.Model(plain.model.inputs, plain.tapped)(inputs)
    for name in (connections[0].totals[0], *(stream.dense for stream in connections[1:])):
        assert np.abs(np.asarray(outputs[name]).mean(axis=-1)).max() < 1e-4


def test_weights_do_change(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True)
    connections = checkpoint.config.architecture.streams(checkpoint.config)
    plain = encoder(checkpoint)
    even = integer_encoder(plain, checkpoint)
    gains = even.model.get_layer("embeddings.LayerNorm").gamma
    before = gains.numpy()
    factors = channel_factors(Observer(plain, sequences), connections)
    equalize(even.model, connections, factors)
    outer, inner = factors[connections[0].name], factors[connections[1].name]
    np.testing.assert_allclose(gains.numpy(), before * outer / inner, rtol=1e-5)


def test_strength_zero_changes_nothing(
    outlier_checkpoint: Callable[..., Checkpoint], sequences: list[np.ndarray]
) -> None:
    checkpoint = outlier_checkpoint("bert", small=True)
    observer = Observer(encoder(checkpoint), sequences)
    config = checkpoint.config
    factors = channel_factors(observer, config.architecture.streams(config), strengths=(0.0,))
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


@pytest.mark.parametrize(
    "case", [*(f"{name}.classes2" for name in cases.CONFIGS), *cases.IMAGE_CASES]
)
def test_every_stream_names_layers_of_the_model(case: str) -> None:
    source, task, num_labels = cases.parse(case)
    config = parse_config(source)
    built = build(config, task, num_labels)
    layers = {layer.name: layer for layer in built.model.layers}
    found = all_streams(config)
    for stream in found:
        assert {*stream.writers, *stream.norms, *stream.readers} <= set(layers)
        assert {*stream.writers, *stream.totals} <= set(built.tapped)
        assert stream.dense is None or isinstance(layers[stream.dense], keras.layers.Dense)
    # A layer that reads a stream is corrected for it once, and a norm for one.
    for once in ("readers", "norms"):
        names = [name for stream in found for name in getattr(stream, once)]
        assert len(names) == len(set(names))
    assert len({stream.name for stream in found}) == len(found)
