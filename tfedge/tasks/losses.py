"""What losses of several tasks are made of; TensorFlow is loaded by those who train."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

IGNORED = -1  # the aim of a token that has none


def soft_cross_entropies(student: tf.Tensor, teacher: tf.Tensor, temperature: float) -> tf.Tensor:
    """T^2 KL(teacher || student) of logits (N, L) at temperature T, (N,)."""
    import tensorflow as tf

    target = tf.nn.softmax(teacher / temperature)
    log_ratio = tf.nn.log_softmax(teacher / temperature) - tf.nn.log_softmax(student / temperature)
    return temperature**2 * tf.reduce_sum(target * log_ratio, axis=-1)


def in_batch_ranking(embeddings: tf.Tensor, aims: tf.Tensor, scale: float) -> tf.Tensor:
    """Cross-entropy of each row's second text among the others of all rows, (n,).

    Args:
        embeddings: of the texts of n rows, one row after the other, (n * texts, C).
        aims: whose number is that of the rows.
    """
    import tensorflow as tf

    count = tf.shape(aims)[0]
    width = embeddings.shape[-1]
    vectors = tf.reshape(tf.math.l2_normalize(embeddings, -1), (count, -1, width))
    others = tf.reshape(tf.transpose(vectors[:, 1:], (1, 0, 2)), (-1, width))
    scores = scale * tf.matmul(vectors[:, 0], others, transpose_b=True)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(count), scores)


def cosent(embeddings: tf.Tensor, aims: tf.Tensor, scale: float) -> tf.Tensor:
    """log(1 + the sum of exp(scale (cosine_j - cosine_i)) over all pairs i with a higher score than j),
    for each of the n pairs, (n,).

    Args:
        embeddings: of both texts of a pair, one pair after the other, (2 n, C).
        aims: the scores, (n,).
    """
    import tensorflow as tf

    vectors = tf.math.l2_normalize(embeddings, -1)
    cosines = scale * tf.reduce_sum(vectors[::2] * vectors[1::2], -1)
    differences = cosines[tf.newaxis, :] - cosines[:, tf.newaxis]
    counts = aims[:, tf.newaxis] > aims[tf.newaxis, :]
    found = tf.where(counts, differences, -1e9)
    loss = tf.reduce_logsumexp(tf.concat([[0.0], tf.reshape(found, [-1])], 0))
    return tf.fill(tf.shape(aims), loss)


def similarity_distances(student: tf.Tensor, teacher: tf.Tensor, scale: float) -> tf.Tensor:
    """How differently embeddings (n, C) and (n, D) say which texts of a batch are alike, (n,).

    The divergence of each text's probabilities over the others, the softmax of scaled cosines (Fang et
    al. 2021, SEED, arXiv:2101.04731, equation 3), and `scale` times the mean squared difference of the
    cosines themselves, which thresholds are on.
    """
    import tensorflow as tf

    ours, theirs = (tf.math.l2_normalize(side, -1) for side in (student, teacher))
    found, expected = (tf.matmul(side, side, transpose_b=True) for side in (ours, theirs))
    own = 1e9 * tf.eye(tf.shape(found)[0])
    ranks = soft_cross_entropies(scale * found - own, scale * expected - own, 1.0)
    return ranks + scale * tf.reduce_mean(tf.square(found - expected), -1)


def padding(mask: tf.Tensor) -> tf.Tensor:
    """What keeps padding out of a softmax over tokens, float32 (B, S)."""
    import tensorflow as tf

    return -1e4 * tf.cast(1 - mask, tf.float32)


def others(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Whether the largest of the last axis is another, float32."""
    import tensorflow as tf

    return tf.cast(tf.argmax(output, -1) != tf.argmax(target, -1), tf.float32)
