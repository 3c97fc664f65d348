"""What every encoder is composed of: named functional blocks, each tensor shown to a tap.

Layers carry the names of the modules in the Hugging Face checkpoint, so weights are found by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tf_keras as keras

from tfedge.architectures import kinds
from tfedge.architectures.kinds import FREE, KEY, MASK, QUERY, SCORES, VALUE, Kind, Scores
from tfedge.architectures.parts import Biases, Distances, DistanceTables, Parts, Probe, Rotary
from tfedge.models import distances, layers, places, probes
from tfedge.models.layers import op
from tfedge.models.options import FLOAT_MASK_VALUE as FLOAT_MASK_VALUE
from tfedge.models.options import NORMALISED as NORMALISED
from tfedge.models.options import GraphOptions as GraphOptions
from tfedge.models.options import Pixels as Pixels
from tfedge.models.options import Symbolic as Symbolic
from tfedge.models.options import Tensors as Tensors
from tfedge.models.taps import SiteKind as SiteKind
from tfedge.models.windows import WindowBlocks


class Blocks(WindowBlocks):
    """Builds the blocks of one encoder."""

    # What the queries hold beside the root of the head's size, and so the scores.
    query_factor = 1.0
    layer_norm = layers.LayerNorm
    # Where the scores have the axes of (B, H, S, S), the first S that of the queries.
    score_axes: tuple[int, ...] = (0, 1, 2, 3)
    keeps_axes = False  # whether one token has the axes of several

    def embedding(self, name: str, rows: int, channels: int, ids: Symbolic) -> Symbolic:
        """A table look-up: ids (B, S) -> (B, S, channels)."""
        layer = keras.layers.Embedding(
            rows, channels, embeddings_initializer=layers.initializer(), name=name
        )
        return self._table(name, layer, ids)

    def _table(self, name: str, layer: keras.layers.Layer, x: Symbolic) -> Symbolic:
        return self.tap(name, self.as_hidden(name, layer(x)), kinds.rows_of(layer))

    def token_types(self, name: str, channels: int, inputs: Tensors) -> Symbolic:
        """The look-up of token types, (B, S, channels); of one, which is no input, (1, 1, channels)."""
        if "token_type_ids" not in inputs:
            layer = layers.TableRow(1, channels, name=name)
            return self._table(name, layer, inputs["input_ids"])
        ids = inputs["token_type_ids"]
        return self.embedding(name, self.config.type_vocab_size, channels, ids)

    def positions(self, name: str, channels: int, input_ids: Symbolic) -> Symbolic:
        """The rows of the position table that belong to tokens, (1, S, channels)."""
        config = self.config
        sizes = config.max_position_embeddings, channels, config.first_position
        return self._table(name, layers.PositionEmbedding(*sizes, name=name), input_ids)

    def patches(
        self, name: str, units: int, patch_size: tuple[int, int], images: Symbolic
    ) -> Symbolic:
        """A dense layer on the patches of images: (B, height, width, 3) -> (B, patches, units)."""
        made_of = {**vars(self.options.pixels), "use_bias": self._has_bias(name)}
        images = self.tap("pixel_values", images, kinds.PIXELS)
        with self.site(name, "dense"):
            layer = self._patch_layer(name, units, patch_size=patch_size, **made_of)
            return self.tap(name, layer(images))

    def _patch_layer(self, name: str, units: int, **options: Any) -> keras.layers.Layer:
        return layers.PatchDense(units, name=name, **options)

    def image_tokens(
        self,
        name: str,
        leading: Sequence[tuple[str, int]],
        patches: Symbolic,
        has_places: bool = True,
    ) -> Symbolic:
        """(B, patches, C) with the learned tokens `leading` before them, plus positions where there are
        any: (B, S, C). Learned tokens may be part of the positions."""
        tokens = self.config.max_position_embeddings
        table = places.TokenTable(tokens, leading, has_places, name=name)
        table = self.tap(name, self.as_hidden(name, table(patches)))
        count = tokens - int(patches.shape[1])
        return self.add(f"{name}.sum", self._led(f"{name}.led", count, patches), table)

    def _led(self, name: str, count: int, patches: Symbolic) -> Symbolic:
        """Patches with `count` rows of zeros before them."""
        if not count:
            return patches
        return op(name, layers.led, count=count)(patches)

    def as_hidden(self, name: str, x: Symbolic) -> Symbolic:
        """A looked-up tensor (B, S, C) in the shape that hidden states have."""
        return x

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        """A dense layer without activation: (..., C) -> (..., units)."""
        with self.site(name, "dense"):
            return self.tap(name, self._dense_layer(name, units)(self.operand(x)), kind)

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        start, bias = layers.initializer(), self._has_bias(name)
        return keras.layers.Dense(units, use_bias=bias, kernel_initializer=start, name=name)

    def _has_bias(self, module: str) -> bool:
        return self.config.architecture.has_bias(self.config, module)

    def trigram_dense(self, name: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer that reads every token with its neighbours: (B, S, C) -> (B, S, units)."""
        return self.dense(name, units, op("embeddings.trigram", layers.trigram)(x))

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer and its activation, by the name of `tfedge.architectures.fields`; the tensor
        between them is tapped but for ReLU.

        TFLite fuses ReLU into the product, so there is no tensor between.
        """
        with self.site(name, "dense"):
            y = self._dense_layer(name, units)(self.operand(x))
            if activation == "relu":
                return self.tap(f"{name}.act", keras.layers.ReLU(name=f"{name}.act")(y))
            if activation in layers.SLOPES:
                function = op(f"{name}.act", layers.gated, slope=layers.SLOPES[activation])
            else:
                function = op(f"{name}.act", layers.gelu, approximate=activation == "gelu_new")
            read = self.tap(name, y, kinds.read_by(function))
            return self._activated(name, activation, function, read)

    def _activated(
        self, name: str, activation: str, function: keras.layers.Layer, x: Symbolic
    ) -> Symbolic:
        """What the activation of the dense layer `name` makes of its result, by `function`."""
        return self.tap(f"{name}.act", function(x))

    def gated_dense(self, names: Parts, activation: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer with its activation times another one (Shazeer 2020, arXiv:2002.05202)."""
        y = self.activated_dense(names.ffn_input, activation, units, x)
        gate = self.dense(names.ffn_gate, units, x)
        with self._within(names.ffn_gate):
            return self._gated(names, y, gate)

    def _gated(self, names: Parts, y: Symbolic, gate: Symbolic) -> Symbolic:
        """The product of activations and of what the dense layer `names.ffn_gate` puts out."""
        return self.product(names.product, y, gate)

    def product(self, name: str, a: Symbolic, b: Symbolic, kind: Kind = FREE) -> Symbolic:
        """The product of two tensors, number by number."""
        product = keras.layers.Multiply(name=name)([self.operand(a), self.operand(b)])
        return self.tap(name, product, kind)

    def tanh(self, name: str, x: Symbolic) -> Symbolic:
        """tanh(x) of each number."""
        return self.tap(name, keras.layers.Activation("tanh", name=name)(x), kinds.TANH)

    def sigmoid_dense(self, name: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer and the sigmoid of each number: (..., C) -> (..., units)."""
        function = keras.layers.Activation("sigmoid", name=f"{name}.act")
        y = self.dense(name, units, x, kinds.read_by(function))
        return self.tap(f"{name}.act", function(y), kinds.SIGMOID)

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        """The encoder's normalisation, with weights of its own; the config's epsilon by default."""
        if self.config.normalization_type == "no_norm":
            layer: keras.layers.Layer = layers.NoNorm(name=name)
        else:
            epsilon = epsilon or self.config.layer_norm_eps
            layer = self.layer_norm(epsilon, shifts=self._has_bias(name), name=name)
        with self.site(name, "norm"):
            return self.tap(name, layer(self.operand(x)))

    def add(self, name: str, *terms: Symbolic, kind: Kind = FREE) -> Symbolic:
        """The sum of tensors, two at a time as TFLite adds them."""
        total = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            last = index == len(terms) - 1
            step = name if last else f"{name}.{index}"
            pair = [self.operand(total), self.operand(term)]
            # Of Keras' own layer, both must be of one batch, and windows are many of an image.
            total = self.tap(step, op(step, layers.total)(pair), kind if last else FREE)
        return total

    def dropout(self, name: str, x: Symbolic) -> Symbolic:
        """Dropout of hidden states where the graph is for training."""
        if not self.options.dropout:
            return x
        return keras.layers.Dropout(self.config.hidden_dropout_prob, name=f"{name}.dropout")(x)

    def computed_rows(self, index: int, x: Symbolic, part: str = "input") -> Symbolic:
        """Those rows of a tensor (B, S, C) of layer `index` that an output depends on.

        All of them, but for the queries and the residual connections of a pruned last layer.
        """
        if index < self.config.num_hidden_layers - 1 or not self.options.prune_last_layer:
            return x
        return op(f"last_layer.{part}", layers.first, count=self.config.rows_read)(x)

    def read_rows(self, hidden: Symbolic) -> Symbolic:
        """The first rows of (B, S, C), as many as a classifier reads."""
        if self.options.prune_last_layer:
            return hidden  # no others are there
        return op("read_rows", layers.first, count=self.config.rows_read)(hidden)

    def token(self, hidden: Symbolic, index: int = 0) -> Symbolic:
        """The hidden state of one token for a head, [CLS] by default: (B, S, C) -> (B, C)."""
        return layers.Token(index, name=f"token.{index}")(hidden)

    def token_at(self, hidden: Symbolic, position: Symbolic) -> Symbolic:
        """The hidden state of the token at a position, which stands at all places of int32 (B, S):
        (B, S, C) -> (B, C)."""
        return op("token_at", layers.token_at)([hidden, position])

    def channel(self, name: str, index: int, x: Symbolic) -> Symbolic:
        """One channel of each token, as an output: (B, S, C) -> (B, S)."""
        return op(f"{name}.channel", layers.channel, index=index)(x)

    def mean(self, name: str, *terms: Symbolic) -> Symbolic:
        """The mean of tensors of one shape."""
        if len(terms) == 1:
            return terms[0]
        total = self.add(f"{name}.sum", *terms)
        return self.tap(name, op(name, layers.scale, factor=1 / len(terms))(total))

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        """The mean hidden state of real tokens: (B, S, C), (B, S) -> (B, C)."""
        with self.site("pooling", "pooling"):
            pooled = op("pooling", layers.mean_pooling)([self.operand(hidden), attention_mask])
            return self.tap("pooling", pooled)

    def patch_mean(self, name: str, hidden: Symbolic, first: int) -> Symbolic:
        """The mean of the tokens from number `first` on, as `token` gives one: (B, S, C) -> (B, C)."""
        with self.site(name, "pooling"):
            mean = op(name, layers.patch_mean, first=first, keepdims=self.keeps_axes)
            return self.tap(name, mean(self.operand(hidden)))

    def joined(self, name: str, *parts: Symbolic) -> Symbolic:
        """Tensors one behind the other along their channels."""
        return self.tap(name, op(name, layers.joined)([self.operand(part) for part in parts]))

    def without(self, name: str, mask: Symbolic, ids: Symbolic, token: int) -> Symbolic:
        """A mask of real tokens without those that are `token`, int32 (B, S)."""
        return op(name, layers.without, token=token)([mask, ids])

    def probed(self, names: Probe, heads: int, hidden: Symbolic) -> Symbolic:
        """What a learned query reads of tokens, as `token` gives one, see `tfedge.models.probes`."""
        return probes.probed(self, names, heads, hidden)

    def one_token(self, x: Symbolic) -> Symbolic:
        """What comes from `mean_pooling` as the hidden states of one token, (B, 1, C)."""
        return op("pooling.token", layers.expanded)(x)

    def normalized(self, x: Symbolic) -> Symbolic:
        """x / ||x||: (B, C) -> (B, C)."""
        return op("normalize", layers.unit_length)(x)

    def per_text(self, x: Symbolic, name: str = "per_text") -> Symbolic:
        """What comes from `token` in the shape of an output, (B, C)."""
        return x

    def per_token(self, x: Symbolic, name: str = "per_token") -> Symbolic:
        """What comes from all tokens in the shape of an output, (B, S, C)."""
        return x

    def attention_bias(self, attention_mask: Symbolic) -> Symbolic:
        """attention_mask (B, S) -> the tensor (B, 1, 1, S) that every layer adds to its scores."""
        layer = op("attention_bias", layers.attention_bias, mask_value=self.options.mask_value)
        return self.tap("attention_bias", layer(attention_mask), MASK)

    def self_attention(
        self, names: Parts, heads: int, read: tuple[Symbolic, ...], biases: Biases
    ) -> Symbolic:
        """`attention` on what dense layers make of the tensors in `read`: queries, keys and values."""
        width = heads * self.config.head_size
        rotary = biases.rotary
        kinds_of_parts = (QUERY, FREE if rotary else KEY, VALUE)
        query, key, value = (
            self.dense(name, width, x, kind)
            for name, x, kind in zip(names.projections, read, kinds_of_parts, strict=True)
        )
        if rotary:
            with self._within(names.attention):
                query = places.rotated(self, names.query, query, rotary)
                key = places.rotated(self, names.key, key, rotary, KEY)
        if isinstance(biases.distances, Distances):
            tables = distances.tables(self, names, biases.distances, query, key)
            biases = biases._replace(distances=tables)
        return self.attention(names.attention, query, key, value, biases)

    def distances(self, given: Distances, mask: Symbolic) -> Distances:
        """The same with its table, see `tfedge.models.distances`."""
        return distances.with_table(self, given, mask)

    def rotary(self, name: str, base: float, mask: Symbolic, positions: int = 0) -> Rotary:
        """What turns queries and keys, see `tfedge.models.places`."""
        return places.rotary(self, name, base, mask, positions)

    def patch_rotary(
        self, name: str, grid: tuple[int, int], first: int, base: float, hidden: Symbolic
    ) -> Rotary:
        """What turns queries and keys of patches by where they are, see `tfedge.models.places`."""
        return places.patch_rotary(self, name, grid, first, base, hidden)

    def window_bias(self, name: str, bias: Symbolic, mask: Symbolic, reach: int) -> Symbolic:
        """`bias` with what hides keys more than `reach` tokens away, see `tfedge.models.places`."""
        return places.window_bias(self, name, bias, mask, reach)

    def relative_bias(self, name: str, buckets: int, farthest: int, mask: Symbolic) -> Symbolic:
        """What each head adds to scores for how far tokens lie apart, see `RelativeBias`."""
        shape = buckets, self.config.num_attention_heads
        layer = layers.RelativeBias(shape, farthest, self.query_factor, self.score_axes, name=name)
        return self.tap(name, layer(mask), kinds.rows_of(layer))

    def place_bias(
        self, name: str, hidden: Symbolic, sizes: tuple[int, int] | None = None
    ) -> Symbolic:
        """What each head adds to scores for the places of the query and the key, see `PlaceBias`;
        `sizes` are heads and tokens, those of the encoder by default."""
        sizes = sizes or (self.config.num_attention_heads, self.config.max_position_embeddings)
        layer = places.PlaceBias(sizes, self.query_factor, self.score_axes, name=name)
        return self.tap(name, layer(hidden), kinds.rows_of(layer))

    def attention(
        self, name: str, query: Symbolic, key: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), of queries, keys and
        values (B, S, H * D) each: (B, S, H * D)."""
        with self.site(name, "attention"):
            query = self._scaled(f"{name}.query.scaled", query)
            queries, keys = self._heads(name, "query", query), self._heads(name, "key", key)
            kind = self._unbiased(SCORES, biases)
            scores = self.matmul(f"{name}.scores", queries, keys, kind)  # (B, H, S, S)
            if isinstance(biases.distances, DistanceTables):
                given = queries, key, biases.distances
                scores = distances.scored(self, name, scores, *given)
            scores = self._biased(f"{name}.{{}}_scores", scores, biases, SCORES)
            softmax = keras.layers.Softmax(name=f"{name}.probabilities")
            shares = self.tap(f"{name}.probabilities", softmax(scores), kinds.Probabilities(name))
            if self.options.dropout:
                rate = self.config.attention_probs_dropout_prob
                shares = keras.layers.Dropout(rate, name=f"{name}.dropout")(shares)
            return self.merge_heads(f"{name}.context", self.weighted(name, shares, value))

    def weighted(self, name: str, shares: Symbolic, value: Symbolic) -> Symbolic:
        """The sum of values by their shares, (B, H, S, S) and (B, S, H * D): (B, H, S, D)."""
        return self.matmul(f"{name}.context.heads", shares, self._heads(name, "value", value))

    def _unbiased(self, scores: Scores, biases: Biases) -> Kind:
        """What scores are before anything is added."""
        if biases.distances:
            return FREE
        if biases.relative is None:
            return scores
        table = self.kinds[self.name_of(biases.relative)].table
        return dataclasses.replace(scores, added=table)

    def _biased(self, name: str, scores: Symbolic, biases: Biases, kind: Scores) -> Symbolic:
        """The scores of all queries, or of the first few, with all that is added; the `name` of the
        sums has a gap for the name of what that is."""
        if (relative := biases.relative) is not None:
            relative = self._of_rows(name.format("added"), relative, scores)
            scores = self.add(name.format("relative"), scores, relative, kind=kind)
        if (mask := biases.mask) is not None:
            mask = self._of_rows(name.format("mask"), mask, scores)
            scores = self.add(name.format("masked"), scores, mask, kind=kind)
        return scores

    def _of_rows(self, name: str, bias: Symbolic, scores: Symbolic) -> Symbolic:
        """What of a bias belongs to the queries that scores are of."""
        rows = scores.shape[axis := self.score_axes.index(2)]
        if bias.shape[axis] == 1 or rows == scores.shape[-1]:
            return bias
        return op(name, layers.first, count=rows, axis=axis)(bias)  # of a pruned last layer

    def _heads(self, name: str, part: str, x: Symbolic) -> Symbolic:
        """(B, S, H * D) -> (B, H, S, D), of keys (B, H, D, S)."""
        count = int(x.shape[-1]) // self.config.head_size
        split = op(f"{name}.{part}.heads", layers.split_heads, count=count, keys=part == "key")
        return split(self.operand(x))

    def matmul(self, name: str, a: Symbolic, b: Symbolic, kind: Kind = FREE) -> Symbolic:
        return self.tap(name, op(name, layers.matmul)([a, b]), kind)

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        return self.tap(name, op(name, layers.scale, factor=self.config.query_scale)(query))

    def merge_heads(self, name: str, context: Symbolic) -> Symbolic:
        return op(name, layers.merge_heads)(context)
