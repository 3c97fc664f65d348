"""Attention that knows how far tokens lie apart by vectors of their own (disentangled attention, He et
al. 2021, arXiv:2006.03654, section 3.1).

A score is the sum of three products: of a query with a key, of the query with the key of their
distance, and of the key with the query of their distance. Keys and queries of distances depend on the
weights alone, so in a graph of one length they are constants. A query times all of them in the order
of the distances is a row of which each key wants another column, one farther for each query: the rows
of one length are read as rows of one less (as in Huang et al. 2019, arXiv:1809.04281, section 3.4),
and nothing is looked up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.kinds import SCORES, Kind
from tfedge.architectures.parts import Distances, DistanceTables, Parts
from tfedge.models.layers import NoNorm, Table, initializer, op, scale, split_heads

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

_PRODUCTS = Kind(thinning=7)  # so many that a share of them shows their histogram


class WholeTable(Table):
    """All rows of a table, (rows, C), whatever the input is."""

    def call(self, attention_mask: tf.Tensor) -> tf.Tensor:
        del attention_mask
        return tf.identity(self.embeddings)


class RowNorm(NoNorm):
    """Layer normalisation of the rows of a table, (rows, C): of constants, so that it is computed in
    float in every graph."""

    def __init__(self, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x: tf.Tensor) -> tf.Tensor:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(centred * centred, axis=-1, keepdims=True)
        return super().call(centred * tf.math.rsqrt(variance + self.epsilon))


def with_table(blocks: Blocks, given: Distances, mask: Symbolic) -> Distances:
    """The same with the vectors of all distances, normalised where there is a norm."""
    name, norm = given.modules
    table = WholeTable(given.rows, blocks.config.hidden_size, name=name)
    layers: list[keras.layers.Layer] = [
        table,
        *([RowNorm(blocks.config.layer_norm_eps, name=norm)] if norm else []),
    ]

    def values(x: tf.Tensor) -> tf.Tensor:
        return functools.reduce(lambda value, layer: layer(value), layers, x)

    return given._replace(table=values(mask), values=lambda: values(tf.zeros((1, 1), tf.int32)))


def tables(
    blocks: Blocks, names: Parts, given: Distances, query: Symbolic, key: Symbolic
) -> DistanceTables:
    """The keys and queries of all distances between queries and keys, (B, R or S, H * D)."""
    width = int(key.shape[-1])
    found: list[Symbolic] = []
    factors = (1.0, blocks.config.query_scale * blocks.query_factor)
    for index, name in enumerate(given.names(names)):
        if not name:
            found.append(None)
            continue
        options = {"numbers": given.numbers, "is_query": bool(index)}
        rows = op(f"{name}.rows", distance_rows, **options)([given.table, query, key])
        dense = keras.layers.Dense(width, kernel_initializer=initializer(), name=name)
        factor = op(f"{name}.scaled", scale, factor=factors[index])
        split = op(f"{name}.heads", table_heads, size=blocks.config.head_size)
        kind = Kind(symmetric=True, table=_table(given, dense, factor))
        found.append(blocks.tap(f"{name}.heads", split(factor(dense(rows))), kind))
    return DistanceTables(*found)


def _table(
    given: Distances, dense: keras.layers.Dense, factor: keras.layers.Layer
) -> Callable[[], np.ndarray]:
    """What all rows become."""
    assert given.values
    values = given.values
    return lambda: np.asarray(factor(dense(values())))


def scored(
    blocks: Blocks,
    name: str,
    scores: Symbolic,
    queries: Symbolic,
    key: Symbolic,
    tables: DistanceTables,
) -> Symbolic:
    """Scores (B, H, R, S) with those of the distances; `queries` are (B, H, R, D)."""
    terms = [scores]
    if tables.keys is not None:
        products = blocks.matmul(f"{name}.c2p", queries, tables.keys, _PRODUCTS)
        terms.append(op(f"{name}.c2p.shifted", shifted, axis=1)([products, key]))
    if tables.queries is not None:
        count = int(key.shape[-1]) // blocks.config.head_size
        keys = op(f"{name}.key.rows", split_heads, count=count)(blocks.operand(key))
        products = blocks.matmul(f"{name}.p2c", keys, tables.queries, _PRODUCTS)
        across = op(f"{name}.p2c.shifted", shifted, axis=2)([products, queries])
        terms.append(op(f"{name}.p2c.turned", tf.transpose, perm=(0, 1, 3, 2))(across))
    return blocks.add(f"{name}.scores.whole", *terms, kind=SCORES)


def distance_rows(inputs: Sequence[tf.Tensor], numbers: np.ndarray, is_query: bool) -> tf.Tensor:
    """The rows of a table (rows, C) for all distances of queries (B, R, ...) from keys (B, S, ...),
    (R + S - 1, C): from the least on for queries of distances, to the least for keys of them."""
    table, query, key = inputs
    rows = query.shape[1] or tf.shape(query)[1]
    length = key.shape[1] or tf.shape(key)[1]
    nothing = len(numbers) // 2  # where the distance is 0
    wanted = tf.constant(numbers)[nothing + 1 - length : nothing + rows]
    return tf.gather(table, wanted if is_query else wanted[::-1])


def table_heads(x: tf.Tensor, size: int) -> tf.Tensor:
    """(W, H * D) -> (1, H, D, W)."""
    heads = tf.reshape(x, (-1, x.shape[-1] // size, size))
    return tf.transpose(heads, (1, 2, 0))[tf.newaxis]


def shifted(inputs: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    """What row i of (B, H, n, W) has from column n - 1 - i on, as many as `axis` of the second input
    has: (B, H, n, columns)."""
    x, like = inputs
    columns = like.shape[axis] or tf.shape(like)[axis]
    heads, rows, width = (x.shape[axis] or tf.shape(x)[axis] for axis in (1, 2, 3))
    if x.shape[2] == 1:
        return x[..., :columns]
    flat = tf.reshape(x, (-1, heads, rows * width))
    skewed = flat[:, :, rows - 1 : rows - 1 + rows * (width - 1)]
    return tf.reshape(skewed, (-1, heads, rows, width - 1))[..., :columns]
