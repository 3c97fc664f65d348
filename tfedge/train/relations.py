"""Self-attention relations as what a student learns (MiniLMv2, Wang et al. 2021, arXiv:2012.15828).

How much each token's query is like every other token's query, and keys and values likewise (section
3.1). Teacher and student may differ in width and in attention heads: the vectors of all heads are
laid side by side and cut anew into as many relation heads in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import KEY, QUERY, VALUE
from tfedge.errors import InputError
from tfedge.models.build import Encoder
from tfedge.train.distribute import across_replicas

# Added to the relation with padding; exp() of it is 0 in float32.
_PADDING = -1e4


def attention_vectors(encoder: Encoder, layer: int) -> list[tf.Tensor]:
    """The queries, keys and values of an attention layer, counted from 1, symbolic (B, S, W) each."""
    return [
        encoder.tapped[[name for name, kind in encoder.kinds.items() if kind is wanted][layer - 1]]
        for wanted in (QUERY, KEY, VALUE)
    ]


def relation_heads(asked: int | None, student: EncoderConfig, teacher: EncoderConfig) -> int:
    """Into how many relation heads vectors are cut; by default the student's attention heads.

    Raises InputError for a number that does not divide both widths, with those that do.
    """
    widths = [config.num_attention_heads * config.head_size for config in (student, teacher)]
    heads = student.num_attention_heads if asked is None else asked
    if heads < 1 or any(width % heads for width in widths):
        fit = [n for n in range(1, min(widths) + 1) if not any(width % n for width in widths)]
        raise InputError(
            f"{heads} relation heads do not divide queries of {widths[0]} (student) and {widths[1]} "
            f"(teacher) channels; those that do are {', '.join(map(str, fit))}"
        )
    return heads


def relation_layer(asked: int | None, teacher: EncoderConfig) -> int:
    """The teacher's layer that the student's last one learns from, counted from 1.

    By default its last one, best for teachers of BERT-base's size; of 24 layers the 21st was better
    (section 3.2). Raises InputError where the teacher has no such layer.
    """
    layers = teacher.num_hidden_layers
    if asked is not None and not 1 <= asked <= layers:
        raise InputError(f"the teacher has no layer {asked}; its layers are 1 to {layers}")
    return layers if asked is None else asked


def relation_distance(
    student: Sequence[tf.Tensor], teacher: Sequence[tf.Tensor], mask: tf.Tensor, heads: int
) -> tf.Tensor:
    """KL(teacher || student) of the relations of queries, keys and values, all three added up.

    Mean over relation heads and real tokens (section 3.1, each relation with weight 1) of queries,
    keys and values (B, S, W), each model with a W of its own; `mask` (B, S) is 0 for padding.
    """
    real = mask[:, tf.newaxis, :]  # (B, 1, S)
    total = heads * across_replicas(tf.reduce_sum(mask))
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        log_p, log_q = (_log_relations(x, mask, heads) for x in (theirs, ours))
        divergence = tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)  # (B, R, S)
        losses.append(tf.reduce_sum(real * divergence) / total)
    return tf.add_n(losses)


def _log_relations(vectors: tf.Tensor, mask: tf.Tensor, heads: int) -> tf.Tensor:
    """log softmax(X X^T / sqrt(d)) over the real tokens: (B, S, W) -> (B, R, S, S)."""
    shape = tf.shape(vectors)
    width = vectors.shape[-1] // heads
    split = tf.reshape(vectors, (shape[0], shape[1], heads, width))
    split = tf.transpose(split, (0, 2, 1, 3))  # (B, R, S, D)
    scores = tf.matmul(split, split, transpose_b=True) * width**-0.5
    return tf.nn.log_softmax(scores + _PADDING * (1 - mask)[:, tf.newaxis, tf.newaxis, :])
