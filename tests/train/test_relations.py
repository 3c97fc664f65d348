"""Self-attention relations: against numbers worked out in numpy, and what they do not depend on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import toy_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from records import Record, request

from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.config import parse_config
from tfedge.train.distil import DistillationLosses, distil
from tfedge.train.relations import (
    attention_vectors,
    relation_distance,
    relation_heads,
    relation_layer,
)
from tfedge.train.training import TrainingOptions


def relations(vectors: np.ndarray, count: int, heads: int) -> np.ndarray:
    """Section 3.1, one text, head by head: (S, W) -> (R, S, S) of its `count` real tokens."""
    width = vectors.shape[1] // heads
    found = []
    for head in range(heads):
        part = vectors[:count, head * width : (head + 1) * width].astype(np.float64)
        scores = part @ part.T / np.sqrt(width)
        found.append(np.exp(scores) / np.exp(scores).sum(-1, keepdims=True))
    return np.stack(found)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), heads=st.sampled_from([1, 2, 4]), short=st.integers(1, 5))
def test_distance_by_definition(seed: int, heads: int, short: int) -> None:
    rng = np.random.default_rng(seed)
    counts = [5, short]
    ours, theirs = ([rng.normal(size=(2, 5, w)) for _ in range(3)] for w in (8, 12))
    total = 0.0
    for mine, yours in zip(ours, theirs, strict=True):
        summed = 0.0
        for text, count in enumerate(counts):
            p, q = (relations(x[text], count, heads) for x in (yours, mine))
            summed += float((p * np.log(p / q)).sum())
        total += summed / (heads * sum(counts))
    mask = tf.constant([[1.0] * count + [0.0] * (5 - count) for count in counts])
    found = relation_distance(
        *([tf.constant(x, tf.float32) for x in side] for side in (ours, theirs)), mask, heads
    )
    assert float(found) == pytest.approx(total, rel=1e-3, abs=1e-5)


def test_padding_and_equal_vectors_count_nothing() -> None:
    vectors = [tf.random.stateless_normal((1, 4, 8), (1, n)) for n in range(3)]
    mask = tf.constant([[1.0, 1.0, 1.0, 0.0]])
    assert float(relation_distance(vectors, vectors, mask, 2)) == pytest.approx(0, abs=1e-6)
    other = [tf.concat([x[:, :3], 99 + x[:, 3:]], axis=1) for x in vectors]
    assert float(relation_distance(other, vectors, mask, 2)) == pytest.approx(0, abs=1e-6)
    # A rotation of all vectors of a head changes no relation between them.
    rotated = [tf.stack([x[..., 1], -x[..., 0]], axis=-1) for x in vectors]
    pair = [x[..., :2] for x in vectors]
    assert float(relation_distance(rotated, pair, mask, 1)) == pytest.approx(0, abs=1e-6)


STUDENT = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)


def test_heads_that_divide_both_widths() -> None:
    student, teacher = (
        parse_config(toy_folders.config(hidden_size=width, num_attention_heads=heads))
        for width, heads in ((24, 4), (36, 6))
    )
    assert relation_heads(None, student, teacher) == 4
    assert relation_heads(12, student, teacher) == 12
    for heads in (0, 5, 24):
        with pytest.raises(InputError, match=r"those that do are 1, 2, 3, 4, 6, 12$"):
            relation_heads(heads, student, teacher)


def test_layers_count_from_one() -> None:
    config = parse_config(toy_folders.config(num_hidden_layers=3))
    assert relation_layer(None, config) == 3
    assert relation_layer(1, config) == 1
    for layer in (0, 4):
        with pytest.raises(InputError, match=f"no layer {layer}; its layers are 1 to 3"):
            relation_layer(layer, config)
    encoder = build(config, "text-classification")
    for layer in (1, 3):
        names = [tensor.node.layer.name for tensor in attention_vectors(encoder, layer)]
        prefix = f"encoder.layer.{layer - 1}.attention.self"
        assert names == [f"{prefix}.{part}" for part in ("query", "key", "value")]


def test_student_learns_relations(toy_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    """The toy's student is narrower than its teacher."""
    options = TrainingOptions(epochs=8, batch_size=8, learning_rate=2e-3, max_length=16)
    losses = DistillationLosses(logits=0.0, hidden=0.0, relations=1.0)
    figures: dict[str, Record] = {}
    for name, layer in (("last", None), ("second", 2), ("first", 1)):
        figures[name] = Record()
        chosen = dataclasses.replace(losses, relation_layer=layer)
        asked = request(toy_encoder, toy_texts, tmp_path / name, options, figures[name])
        distil(asked, STUDENT, chosen, augmentation=0.0)
    assert figures["last"].losses[40] < 0.8 * figures["last"].losses[20]
    assert figures["last"].losses == figures["second"].losses != figures["first"].losses
