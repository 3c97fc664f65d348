"""Each layer against numpy; graphs of any length against graphs of one length."""

from __future__ import annotations

import math
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfedge.models import layers, places
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import Encoder, build
from tfedge.models.config import parse_config

VALUES = np.random.RandomState(0).standard_normal((2, 5, 12)).astype(np.float32)  # (B, S, C)
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], np.int32)


def weighted(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Gives a norm other weights than its fresh ones, and returns them."""
    layer.build(tf.TensorShape((None, None, 12)))
    random = np.random.RandomState(1)
    gamma, beta = random.standard_normal((2, 12)).astype(np.float32)
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    return gamma, beta


@pytest.mark.parametrize("epsilon", [1e-12, 0.5])
def test_layer_norm(epsilon: float) -> None:
    layer = layers.LayerNorm(epsilon)
    gamma, beta = weighted(layer)
    mean = VALUES.mean(-1, keepdims=True)
    deviation = np.sqrt(VALUES.var(-1, keepdims=True) + epsilon)
    expected = (VALUES - mean) / deviation * gamma + beta
    np.testing.assert_allclose(layer(VALUES), expected, atol=1e-5)


def test_no_norm() -> None:
    layer = layers.NoNorm()
    gamma, beta = weighted(layer)
    np.testing.assert_allclose(layer(VALUES), VALUES * gamma + beta, atol=1e-6)


def test_position_embedding_gives_the_first_rows() -> None:
    layer = layers.PositionEmbedding(8, 3)
    rows = layer(np.zeros((2, 5), np.int32))
    assert rows.shape == (1, 5, 3)
    assert np.array_equal(rows[0], layer.embeddings.numpy()[:5])


def test_positions_may_begin_at_another_row() -> None:
    layer = layers.PositionEmbedding(8, 3, first=2)
    rows = layer(np.zeros((2, 8), np.int32))
    assert layer.embeddings.shape == (10, 3)
    assert np.array_equal(rows[0], layer.embeddings.numpy()[2:])
    assert layers.PositionEmbedding.from_config(layer.get_config()).first == 2


def test_table_row_is_the_same_for_every_token() -> None:
    layer = layers.TableRow(1, 3)
    row = layer(np.zeros((2, 5), np.int32))
    assert np.array_equal(row[0], layer.embeddings.numpy())
    assert row.shape == (1, 1, 3)


def test_attention_bias() -> None:
    bias = layers.attention_bias(MASK, -30.0)
    assert bias.shape == (2, 1, 1, 5)
    assert np.array_equal(bias[:, 0, 0], np.where(MASK, 0.0, -30.0))


def test_split_heads() -> None:
    heads = VALUES.reshape(2, 5, 3, 4)  # (B, S, H, D)
    assert np.array_equal(layers.split_heads(VALUES, 3), heads.transpose(0, 2, 1, 3))
    keys = layers.split_heads(VALUES, 3, keys=True)
    assert np.array_equal(keys, heads.transpose(0, 2, 3, 1))


def test_merge_heads_undoes_split_heads() -> None:
    assert np.array_equal(layers.merge_heads(layers.split_heads(VALUES, 3)), VALUES)


def test_matmul_and_scale() -> None:
    product = layers.matmul((VALUES, VALUES.transpose(0, 2, 1)))
    np.testing.assert_allclose(product, VALUES @ VALUES.transpose(0, 2, 1), atol=1e-5)
    assert np.array_equal(layers.scale(VALUES, 0.25), VALUES * np.float32(0.25))


def test_trigram_is_next_this_and_previous_token() -> None:
    windows = layers.trigram(VALUES).numpy()
    assert windows.shape == (2, 5, 36)
    following, this, previous = np.split(windows, 3, axis=2)
    assert np.array_equal(following[:, :-1], VALUES[:, 1:]) and not following[:, -1].any()
    assert np.array_equal(this, VALUES)
    assert np.array_equal(previous[:, 1:], VALUES[:, :-1]) and not previous[:, 0].any()


def test_first_token_and_channel() -> None:
    assert np.array_equal(layers.Token()(VALUES), VALUES[:, 0])
    assert np.array_equal(layers.channel(VALUES, 1), VALUES[..., 1])


def test_mean_pooling_counts_real_tokens_only() -> None:
    pooled = layers.mean_pooling((VALUES, MASK)).numpy()
    np.testing.assert_allclose(pooled[0], VALUES[0, :3].mean(0), atol=1e-6)
    assert not pooled[1].any()


def test_l2_normalize() -> None:
    vectors = np.stack([VALUES[0, 0], 1e-3 * VALUES[0, 1], np.zeros(12, np.float32)])
    expected = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    np.testing.assert_allclose(layers.unit_length(vectors), expected, atol=1e-6)


def test_gelu_in_both_forms() -> None:
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    np.testing.assert_allclose(layers.gelu(x), exact, atol=1e-6)
    approximate = x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(layers.gelu(x, approximate=True), approximate, atol=1e-6)
    assert np.abs(approximate - exact).max() > 1e-4


def toy(
    name: str, task: str = "sentence-embedding", options: GraphOptions | None = None
) -> Encoder:
    """The encoder of a test case."""
    return build(parse_config(cases.CONFIGS[name]), task, options=options)


def randomise(model: keras.Model) -> None:
    random = np.random.RandomState(2)
    weights = [0.15 * random.standard_normal(value.shape) for value in model.get_weights()]
    model.set_weights(weights)


def answer(model: keras.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model(inputs).items()}


@pytest.mark.parametrize("name", cases.FAMILIES)
def test_a_graph_survives_clone_model(name: str) -> None:
    """tensorflow_model_optimization rebuilds the graph with `clone_model` from layer configs."""
    model = toy(name).model
    randomise(model)
    clone = keras.models.clone_model(model)
    assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
    # Layer by layer: those that share their weights have one variable in the model alone.
    for layer, copy in zip(model.layers, clone.layers, strict=True):
        copy.set_weights(layer.get_weights())
    batch = cases.batch(cases.CONFIGS[name])
    before, after = answer(model, batch), answer(clone, batch)
    assert np.array_equal(before["embedding"], after["embedding"])


def test_every_layer_keeps_its_settings_in_its_config() -> None:
    changed: list[tuple[keras.layers.Layer, dict[str, Any]]] = [
        (layers.LayerNorm(0.25), {"epsilon": 0.25}),
        (layers.PositionEmbedding(7, 3), {"max_positions": 7, "channels": 3}),
        (layers.Token(1, keepdims=True), {"index": 1, "keepdims": True}),
        (layers.PatchDense(4, (2, 3), offset=(1.0, 2.0, 3.0)), {"offset": (1.0, 2.0, 3.0)}),
        (places.TokenTable(9, ("a", "b")), {"tokens": 9, "leading": ("a", "b")}),
    ]
    for layer, settings in changed:
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        for name, value in settings.items():
            assert getattr(again, name) == value


@pytest.mark.parametrize("name", [*cases.FAMILIES, "mobilebert-no-bottleneck"])
@pytest.mark.parametrize("task", ["sentence-embedding", "token-classification"])
def test_static_graphs_answer_as_dynamic_ones(name: str, task: str) -> None:
    dynamic = toy(name, task).model
    randomise(dynamic)
    length = cases.SEQUENCE_LENGTH
    static = toy(name, task, GraphOptions(batch_size=1, sequence_length=length)).model
    static.set_weights(dynamic.get_weights())
    assert {tuple(tensor.shape) for tensor in static.inputs} == {(1, length)}
    assert all(None not in tensor.shape for tensor in static.outputs)
    batch = cases.batch(cases.CONFIGS[name])
    (expected,) = answer(dynamic, batch).values()
    for row in range(len(cases.LENGTHS)):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        (ours,) = answer(static, one).values()
        np.testing.assert_allclose(ours, expected[row : row + 1], atol=1e-5)


@pytest.mark.parametrize("name", cases.FAMILIES)
def test_padding_changes_no_answer(name: str) -> None:
    model = toy(name).model
    randomise(model)
    # MobileBERT's trigrams let the last token see the first padding, in transformers too, and zeros
    # where the text ends the row: the same thing only if the embedding of padding is zero.
    words = parse_config(cases.CONFIGS[name]).architecture.embeddings.words
    table = model.get_layer(words).embeddings
    table.assign(tf.concat([tf.zeros_like(table[:1]), table[1:]], axis=0))
    batch = cases.batch(cases.CONFIGS[name])
    padded = answer(model, batch)["embedding"]
    for row, length in enumerate(cases.LENGTHS):
        one = {key: value[row : row + 1, :length] for key, value in batch.items()}
        np.testing.assert_allclose(answer(model, one)["embedding"][0], padded[row], atol=1e-5)


def test_dropout_is_in_the_graph_for_training_only() -> None:
    def dropouts(options: GraphOptions) -> list[Any]:
        model = toy("bert", options=options).model
        return [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]

    assert not dropouts(GraphOptions())
    # After the embeddings, and in each layer after the probabilities and both residual branches.
    assert len(dropouts(GraphOptions(dropout=True))) == 1 + 2 * 3
