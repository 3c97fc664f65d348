"""Losses and differences of outputs, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfedge import tasks
from tfedge.tasks.losses import soft_cross_entropies

MASK = tf.constant([[1, 1, 0], [1, 1, 1]])


def output_loss(task: str, output: Any, target: Any, mask: tf.Tensor, temperature: float) -> Any:
    return tf.reduce_mean(tasks.find(task).output_losses(output, target, mask, temperature))


def differences(task: str, output: Any, target: Any, mask: tf.Tensor) -> tf.Tensor:
    return tasks.find(task).differences(output, target, mask)


def test_loss_of_embeddings_is_one_minus_the_cosine() -> None:
    output = {"embedding": tf.constant([[3.0, 4.0], [0.0, 2.0]])}
    target = {"embedding": tf.constant([[1.0, 0.0], [0.0, 1.0]])}
    loss = output_loss("sentence-embedding", output, target, MASK, 1.0)
    assert float(loss) == pytest.approx((0.4 + 0) / 2, abs=1e-6)
    found = differences("sentence-embedding", output, target, MASK)
    np.testing.assert_allclose(found, [0.4, 0], atol=1e-6)


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
def test_padding_does_not_matter(task: str) -> None:
    random = np.random.RandomState(0)
    shapes = {"logits": (2, 3, 2), "start_logits": (2, 3), "end_logits": (2, 3)}
    output, target = (
        {name: random.randn(*shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(2)
    )
    loss = float(output_loss(task, output, target, MASK, 2.0))
    other = differences(task, output, target, MASK).numpy()
    for value in output.values():
        value[0, 2] += 50
    assert float(output_loss(task, output, target, MASK, 2.0)) == pytest.approx(loss)
    assert np.array_equal(differences(task, output, target, MASK), other)
    for value in output.values():
        value[1, 2] += [50, 0] if value.ndim == 3 else 50
    assert float(output_loss(task, output, target, MASK, 2.0)) > loss + 1


def test_loss_of_tokens_is_their_mean() -> None:
    logits = tf.constant(np.random.RandomState(0).randn(2, 3, 2), tf.float32)
    target = tf.zeros((2, 3, 2))
    real = [logits[0, :2], logits[1]]
    losses = [
        tf.reduce_mean(soft_cross_entropies(part, tf.zeros(part.shape), 1.0)) for part in real
    ]
    expected = (2 * losses[0] + 3 * losses[1]) / 5
    found = output_loss("token-classification", {"logits": logits}, {"logits": target}, MASK, 1.0)
    assert float(found) == pytest.approx(float(expected))


def test_differences_by_hand() -> None:
    tokens = tf.constant([[[1.0, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [0, 1]]])
    target = {"logits": tf.constant([[[1.0, 0]] * 3] * 2)}
    found = differences("token-classification", {"logits": tokens}, target, MASK)
    np.testing.assert_allclose(found, [1 / 2, 2 / 3])
    found = differences(
        "text-classification",
        {"logits": tokens[:, 0] + [[0.0, 0], [0, 2]]},
        {"logits": target["logits"][:, 0]},
        MASK,
    )
    assert found.numpy().tolist() == [0, 1]
    ends = {"start_logits": tf.constant([[1.0, 0, 9], [1, 0, 9]])}
    ends["end_logits"] = tf.constant([[0.0, 1, 0], [0, 1, 0]])
    moved = {**ends, "start_logits": tf.constant([[1.0, 0, 0], [1, 0, 0]])}
    assert differences("question-answering", ends, moved, MASK).numpy().tolist() == [0, 1]
