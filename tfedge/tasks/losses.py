"""What losses of several tasks are made of; TensorFlow is loaded by those who train."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def soft_cross_entropies(student: tf.Tensor, teacher: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 KL(teacher || student) of logits (N, L) at temperature T, (N,)."""
    import tensorflow as tf

    target = tf.nn.softmax(teacher / temperature)
    log_ratio = tf.nn.log_softmax(teacher / temperature) - tf.nn.log_softmax(student / temperature)
    return temperature**2 * tf.reduce_sum(target * log_ratio, axis=-1)


def padding(mask: tf.Tensor) -> tf.Tensor:
    """What keeps padding out of a softmax over tokens, float32 (B, S)."""
    import tensorflow as tf

    return -1e4 * tf.cast(1 - mask, tf.float32)


def others(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Whether the largest of the last axis is another, float32."""
    import tensorflow as tf

    return tf.cast(tf.argmax(output, -1) != tf.argmax(target, -1), tf.float32)
