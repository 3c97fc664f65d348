"""What every encoder is composed of: named functional blocks, each tensor shown to a tap.

Layers carry the names of the modules in the Hugging Face checkpoint, so weights are found by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import tf_keras as keras

from tfedge.architectures import kinds
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import (
    FREE,
    KEY,
    MASK,
    PIXELS,
    QUERY,
    SCORES,
    TANH,
    VALUE,
    Kind,
    Scores,
)
from tfedge.architectures.parts import Biases, Parts
from tfedge.models import layers
from tfedge.models.layers import op

# A symbolic tensor of the functional API; tf_keras exports no name for its type.
Symbolic: TypeAlias = Any
Tensors: TypeAlias = dict[str, Any]  # by name
Tap = Callable[[str, Symbolic, Kind], Symbolic]
SiteKind = Literal["dense", "attention", "norm", "pooling"]

# Masked scores vanish in the softmax of any float model, as with Hugging Face's finfo.min, and the
# value still fits float16.
FLOAT_MASK_VALUE = -10_000.0


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What a model of images reads of red, green and blue: scale * pixel + offset.

    By default an image comes as Hugging Face's models have it, normalised.
    """

    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)


NORMALISED = Pixels()


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """How one graph of an encoder is built; the weights do not depend on it."""

    batch_size: int | None = None  # static batch, or None for any (training)
    sequence_length: int | None = None  # static number of tokens, or None for any (training)
    mask_value: float = FLOAT_MASK_VALUE  # what is added to the scores of padding
    normalize: bool = True  # whether sentence embeddings come out with length 1
    dropout: bool = False  # whether the config's dropout layers are put in (training)
    # Whether the last layer computes only the [CLS] position, for a head that reads no other; of a
    # DeiT with two classifiers the positions of both.
    prune_last_layer: bool = False
    pixels: Pixels = NORMALISED  # what an image is made of
    # Called with the name, the tensor and the kind of every activation, returns the tensor to go on
    # with: where ranges are recorded and put in.
    tap: Tap = lambda name, tensor, kind: tensor


class Blocks:
    """Builds the blocks of one encoder."""

    # What the queries hold beside the root of the head's size, and so the scores.
    query_factor = 1.0
    layer_norm = layers.LayerNorm
    # Where the scores have the axes of (B, H, S, S), the first S that of the queries.
    score_axes: tuple[int, ...] = (0, 1, 2, 3)

    def __init__(self, config: EncoderConfig, options: GraphOptions) -> None:
        self.config, self.options = config, options
        self.tapped: Tensors = {}  # every activation by name, as it came out of the tap
        # What each activation is, by name; also of those that have the values of another one (`Like`)
        # and are not in `tapped`.
        self.kinds: dict[str, Kind] = {}
        # The operations, in the order of the data's flow: what a precision can be chosen for.
        self.sites: dict[str, SiteKind] = {}
        self._site = ""  # to which belongs what is being built

    @contextlib.contextmanager
    def site(self, name: str, kind: SiteKind) -> Iterator[None]:
        """What is built within belongs to a new site."""
        self.sites[name] = kind
        with self._within(name):
            yield

    @contextlib.contextmanager
    def _within(self, site: str) -> Iterator[None]:
        outer, self._site = self._site, site
        yield
        self._site = outer

    def tap(self, name: str, tensor: Symbolic, kind: Kind = FREE) -> Symbolic:
        """Shows an activation to the tap and remembers what the graph goes on with."""
        self.kinds[name] = kind
        self.tapped[name] = self.options.tap(name, tensor, kind)
        return self.tapped[name]

    def tap_like(self, name: str, source: Symbolic, tensor: Symbolic) -> Symbolic:
        """Shows the tap a tensor whose values are those of the tapped tensor `source`."""
        self.kinds[name] = kinds.Like(self._name_of(source))
        return self.options.tap(name, tensor, self.kinds[name])

    def _name_of(self, tensor: Symbolic) -> str:
        return next(name for name, tapped in self.tapped.items() if tapped is tensor)

    def operand(self, x: Symbolic) -> Symbolic:
        """What the site that is being built reads of the tensor x."""
        return x

    def embedding(self, name: str, rows: int, channels: int, ids: Symbolic) -> Symbolic:
        """A table look-up: ids (B, S) -> (B, S, channels)."""
        layer = keras.layers.Embedding(
            rows, channels, embeddings_initializer=layers.initializer(), name=name
        )
        return self._table(name, layer, ids)

    def _table(self, name: str, layer: keras.layers.Layer, x: Symbolic) -> Symbolic:
        return self.tap(name, self._as_hidden(name, layer(x)), kinds.rows_of(layer))

    def token_types(self, name: str, inputs: Tensors) -> Symbolic:
        """The look-up of token types, (B, S, C); of one type, which is no input, (1, 1, C)."""
        config = self.config
        if "token_type_ids" not in inputs:
            layer = layers.TableRow(1, config.hidden_size, name=name)
            return self._table(name, layer, inputs["input_ids"])
        ids = inputs["token_type_ids"]
        return self.embedding(name, config.type_vocab_size, config.hidden_size, ids)

    def positions(self, name: str, input_ids: Symbolic) -> Symbolic:
        """The rows of the position table that belong to tokens, (1, S, C)."""
        config = self.config
        sizes = config.max_position_embeddings, config.hidden_size, config.first_position
        return self._table(name, layers.PositionEmbedding(*sizes, name=name), input_ids)

    def patches(
        self, name: str, units: int, patch_size: tuple[int, int], images: Symbolic
    ) -> Symbolic:
        """A dense layer on the patches of images: (B, height, width, 3) -> (B, patches, units)."""
        pixels = self.options.pixels
        options = {"patch_size": patch_size, "scale": pixels.scale, "offset": pixels.offset}
        images = self.tap("pixel_values", images, PIXELS)
        with self.site(name, "dense"):
            return self.tap(name, self._patch_layer(name, units, **options)(images))

    def _patch_layer(self, name: str, units: int, **options: Any) -> keras.layers.Layer:
        return layers.PatchDense(units, name=name, **options)

    def image_tokens(self, name: str, leading: Sequence[str], patches: Symbolic) -> Symbolic:
        """(B, patches, C) with the learned tokens `leading` before them, plus positions: (B, S, C)."""
        table = layers.TokenTable(self.config.max_position_embeddings, leading, name=name)
        table = self.tap(name, self._as_hidden(name, table(patches)))
        return self.add(f"{name}.sum", self._led(f"{name}.led", len(leading), patches), table)

    def _led(self, name: str, count: int, patches: Symbolic) -> Symbolic:
        """Patches with a row of zeros before them for each learned token."""
        return op(name, layers.led, count=count)(patches)

    def _as_hidden(self, name: str, x: Symbolic) -> Symbolic:
        """A looked-up tensor (B, S, C) in the shape that hidden states have."""
        return x

    def dense(self, name: str, units: int, x: Symbolic, kind: Kind = FREE) -> Symbolic:
        """A dense layer without activation: (..., C) -> (..., units)."""
        with self.site(name, "dense"):
            return self.tap(name, self._dense_layer(name, units)(self.operand(x)), kind)

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        return keras.layers.Dense(units, kernel_initializer=layers.initializer(), name=name)

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

    def tanh(self, name: str, x: Symbolic) -> Symbolic:
        """tanh(x) of each number."""
        return self.tap(name, keras.layers.Activation("tanh", name=name)(x), TANH)

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        """The encoder's normalisation, with weights of its own; the config's epsilon by default."""
        if self.config.normalization_type == "no_norm":
            layer: keras.layers.Layer = layers.NoNorm(name=name)
        else:
            layer = self.layer_norm(epsilon or self.config.layer_norm_eps, name=name)
        with self.site(name, "norm"):
            return self.tap(name, layer(self.operand(x)))

    def add(self, name: str, *terms: Symbolic, kind: Kind = FREE) -> Symbolic:
        """The sum of tensors, two at a time as TFLite adds them."""
        total = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            last = index == len(terms) - 1
            step = name if last else f"{name}.{index}"
            pair = [self.operand(total), self.operand(term)]
            total = self.tap(step, keras.layers.Add(name=step)(pair), kind if last else FREE)
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
        is_last = index == self.config.num_hidden_layers - 1
        if not (is_last and self.options.prune_last_layer):
            return x
        return op(f"last_layer.{part}", layers.first, count=len(self.config.classifiers))(x)

    def read_rows(self, hidden: Symbolic) -> Symbolic:
        """The first rows of (B, S, C), as many as a classifier reads."""
        if self.options.prune_last_layer:
            return hidden  # no others are there
        return op("read_rows", layers.first, count=len(self.config.classifiers))(hidden)

    def token(self, hidden: Symbolic, index: int = 0) -> Symbolic:
        """The hidden state of one token for a head, [CLS] by default: (B, S, C) -> (B, C)."""
        return layers.Token(index, name=f"token.{index}")(hidden)

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

    def normalized(self, x: Symbolic) -> Symbolic:
        """x / ||x||: (B, C) -> (B, C)."""
        return op("normalize", layers.unit_length)(x)

    def per_text(self, x: Symbolic) -> Symbolic:
        """What comes from `token` in the shape of an output, (B, C)."""
        return x

    def per_token(self, x: Symbolic) -> Symbolic:
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
        query, key, value = (
            self.dense(name, width, x, kind)
            for name, x, kind in zip(names.projections, read, (QUERY, KEY, VALUE), strict=True)
        )
        return self.attention(names.attention, query, key, value, biases)

    def relative_bias(self, name: str, buckets: int, farthest: int, mask: Symbolic) -> Symbolic:
        """What each head adds to scores for how far tokens lie apart, see `RelativeBias`."""
        shape = buckets, self.config.num_attention_heads
        layer = layers.RelativeBias(shape, farthest, self.query_factor, self.score_axes, name=name)
        return self.tap(name, layer(mask), kinds.rows_of(layer))

    def attention(
        self, name: str, query: Symbolic, key: Symbolic, value: Symbolic, biases: Biases
    ) -> Symbolic:
        """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), of queries, keys and
        values (B, S, H * D) each: (B, S, H * D)."""
        with self.site(name, "attention"):
            query = self._scaled(f"{name}.query.scaled", query)
            queries, keys = self._heads(name, "query", query), self._heads(name, "key", key)
            kind = self._unbiased(SCORES, biases)
            scores = self._matmul(f"{name}.scores", queries, keys, kind)  # (B, H, S, S)
            scores = self._biased(f"{name}.{{}}_scores", scores, biases, SCORES)
            softmax = keras.layers.Softmax(name=f"{name}.probabilities")
            shares = self.tap(f"{name}.probabilities", softmax(scores), kinds.Probabilities(name))
            if self.options.dropout:
                rate = self.config.attention_probs_dropout_prob
                shares = keras.layers.Dropout(rate, name=f"{name}.dropout")(shares)
            values = self._heads(name, "value", value)
            context = self._matmul(f"{name}.context.heads", shares, values)  # (B, H, S, D)
            return self._merge_heads(f"{name}.context", context)

    def _unbiased(self, scores: Scores, biases: Biases) -> Scores:
        """What scores are before anything is added."""
        if biases.relative is None:
            return scores
        table = self.kinds[self._name_of(biases.relative)].table
        return dataclasses.replace(scores, added=table)

    def _biased(self, name: str, scores: Symbolic, biases: Biases, kind: Scores) -> Symbolic:
        """The scores of all queries, or of the first few, with all that is added; the `name` of the
        sums has a gap for the name of what that is."""
        if (relative := biases.relative) is not None:
            axis = self.score_axes.index(2)
            rows = scores.shape[axis]
            if rows != scores.shape[-1]:  # of a pruned last layer
                relative = op(name.format("added"), layers.first, count=rows, axis=axis)(relative)
            scores = self.add(name.format("relative"), scores, relative, kind=kind)
        if biases.mask is not None:
            scores = self.add(name.format("masked"), scores, biases.mask, kind=kind)
        return scores

    def _heads(self, name: str, part: str, x: Symbolic) -> Symbolic:
        """(B, S, H * D) -> (B, H, S, D), of keys (B, H, D, S)."""
        count = int(x.shape[-1]) // self.config.head_size
        split = op(f"{name}.{part}.heads", layers.split_heads, count=count, keys=part == "key")
        return split(self.operand(x))

    def _matmul(self, name: str, a: Symbolic, b: Symbolic, kind: Kind = FREE) -> Symbolic:
        return self.tap(name, op(name, layers.matmul)([a, b]), kind)

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        return self.tap(name, op(name, layers.scale, factor=self.config.head_size**-0.5)(query))

    def _merge_heads(self, name: str, context: Symbolic) -> Symbolic:
        return op(name, layers.merge_heads)(context)
