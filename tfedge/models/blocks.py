"""What every encoder is composed of: named functional blocks, each tensor shown to a tap.

Layers carry the names of the modules in the Hugging Face checkpoint, so weights are found by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.models import layers

# A symbolic tensor of the functional API; tf_keras exports no name for its type.
Symbolic: TypeAlias = Any
Tap = Callable[[str, Symbolic], Symbolic]
Role = Literal["query", "key", "value", "gate"]
SiteKind = Literal["dense", "attention", "norm", "pooling"]

# Masked scores vanish in the softmax of any float model, as with Hugging Face's finfo.min, and the
# value still fits float16.
FLOAT_MASK_VALUE = -10_000.0


def no_tap(name: str, tensor: Symbolic) -> Symbolic:
    """Leaves every tensor as it is."""
    del name
    return tensor


@dataclasses.dataclass(frozen=True)
class Pixels:
    """What a model of images reads of red, green and blue: scale * pixel + offset.

    By default an image comes as Hugging Face's models have it, normalised.
    """

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


NORMALISED = Pixels()


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """How one graph of an encoder is built; the weights do not depend on it.

    Attributes:
        batch_size: static batch, or None for any (training).
        sequence_length: static number of tokens, or None for any (training).
        mask_value: what is added to the scores of padding.
        normalize: whether sentence embeddings come out with length 1.
        dropout: whether the config's dropout layers are put in (training).
        prune_last_layer: whether the last layer computes only the [CLS] position, for a head that
            reads no other; of a DeiT with two classifiers the positions of both.
        pixels: what an image is made of.
        tap: called with the name and the tensor of every activation, returns the one to go on
            with: where ranges are recorded and put in.
    """

    batch_size: int | None = None
    sequence_length: int | None = None
    mask_value: float = FLOAT_MASK_VALUE
    normalize: bool = True
    dropout: bool = False
    prune_last_layer: bool = False
    pixels: Pixels = NORMALISED
    tap: Tap = no_tap


class Blocks:
    """Builds the blocks of one encoder.

    Attributes:
        tapped: every activation by name, as it came out of the tap.
        aliases: what the tap sees beside, by the name of the tapped tensor that has its values.
        roles: what the output of a dense layer is in a product of two activations.
        sites: the operations, in the order of the data's flow: what a precision can be chosen for.
    """

    def __init__(self, config: EncoderConfig, options: GraphOptions) -> None:
        self.config = config
        self.options = options
        self.tapped: dict[str, Symbolic] = {}
        self.aliases: dict[str, str] = {}
        self.roles: dict[str, Role] = {}
        self.sites: dict[str, SiteKind] = {}

    def tap(self, name: str, tensor: Symbolic) -> Symbolic:
        """Shows an activation to the tap and remembers what the graph goes on with."""
        self.tapped[name] = self.options.tap(name, tensor)
        return self.tapped[name]

    def tap_like(self, name: str, source: Symbolic, tensor: Symbolic) -> Symbolic:
        """Shows the tap a tensor whose values are those of the tapped tensor `source`."""
        self.aliases[name] = next(key for key, value in self.tapped.items() if value is source)
        return self.options.tap(name, tensor)

    def operand(self, consumer: str, x: Symbolic) -> Symbolic:
        """What operation `consumer` reads of the tensor x."""
        del consumer
        return x

    def embedding(self, name: str, rows: int, channels: int, ids: Symbolic) -> Symbolic:
        """A table look-up: ids (B, S) -> (B, S, channels)."""
        layer = keras.layers.Embedding(
            rows, channels, embeddings_initializer=layers.initializer(), name=name
        )
        return self.tap(name, self._as_hidden(name, layer(ids)))

    def positions(self, name: str, input_ids: Symbolic, first: int = 0) -> Symbolic:
        """The rows of the position table from `first` on, (1, S, C)."""
        tokens, channels = self.config.max_position_embeddings, self.config.hidden_size
        layer = layers.PositionEmbedding(tokens, channels, first, name=name)
        return self.tap(name, self._as_hidden(name, layer(input_ids)))

    def table_row(self, name: str, channels: int, input_ids: Symbolic) -> Symbolic:
        """A row that is added to every token, (1, 1, C): of token types, where there is one."""
        layer = layers.TableRow(channels, name=name)
        return self.tap(name, self._as_hidden(name, layer(input_ids)))

    def patches(
        self, name: str, units: int, patch_size: tuple[int, int], images: Symbolic
    ) -> Symbolic:
        """A dense layer on the patches of images: (B, height, width, 3) -> (B, patches, units).

        Args:
            patch_size: height and width.
        """
        self.sites[name] = "dense"
        pixels = self.options.pixels
        options = {"patch_size": patch_size, "scale": pixels.scale, "offset": pixels.offset}
        images = self.tap("pixel_values", images)
        return self.tap(name, self._patch_layer(name, units, **options)(images))

    def _patch_layer(self, name: str, units: int, **options: Any) -> keras.layers.Layer:
        return layers.PatchDense(units, name=name, **options)

    def image_tokens(self, name: str, leading: Sequence[str], patches: Symbolic) -> Symbolic:
        """(B, patches, C) with learned tokens before them, and positions added: (B, S, C).

        Args:
            leading: names of the learned tokens.
        """
        table = layers.TokenTable(self.config.max_position_embeddings, leading, name=name)
        table = self.tap(name, self._as_hidden(name, table(patches)))
        return self.add(f"{name}.sum", self._led(f"{name}.led", len(leading), patches), table)

    def _led(self, name: str, count: int, patches: Symbolic) -> Symbolic:
        """Patches with a row of zeros before them for each learned token."""
        return layers.LeadingRows(count, name=name)(patches)

    def _as_hidden(self, name: str, x: Symbolic) -> Symbolic:
        """A looked-up tensor (B, S, C) in the shape that hidden states have."""
        del name
        return x

    def dense(self, name: str, units: int, x: Symbolic, role: Role | None = None) -> Symbolic:
        """A dense layer without activation: (..., C) -> (..., units); `role` in an attention."""
        if role:
            self.roles[name] = role
        self.sites[name] = "dense"
        return self.tap(name, self._dense_layer(name, units)(self.operand(name, x)))

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        return keras.layers.Dense(units, kernel_initializer=layers.initializer(), name=name)

    def trigram_dense(self, name: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer that reads every token with its neighbours: (B, S, C) -> (B, S, units)."""
        return self.dense(name, units, layers.Trigram(name="embeddings.trigram")(x))

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer and its activation; the tensor between them is tapped only for GELU.

        TFLite fuses ReLU into the product, so there is no tensor between.
        """
        self.sites[name] = "dense"
        y = self._dense_layer(name, units)(self.operand(name, x))
        if activation == "relu":
            return self.tap(f"{name}.act", keras.layers.ReLU(name=f"{name}.act")(y))
        gelu = layers.Gelu(activation == "gelu_new", name=f"{name}.act")
        return self.tap(f"{name}.act", gelu(self.tap(name, y)))

    def tanh(self, name: str, x: Symbolic) -> Symbolic:
        """tanh(x) of each number."""
        return self.tap(name, keras.layers.Activation("tanh", name=name)(x))

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        """The encoder's normalisation, with weights of its own; the config's epsilon by default."""
        self.sites[name] = "norm"
        x = self.operand(name, x)
        if self.config.normalization_type == "no_norm":
            layer: keras.layers.Layer = layers.NoNorm(name=name)
        else:
            epsilon = self.config.layer_norm_eps if epsilon is None else epsilon
            layer = layers.LayerNorm(epsilon, name=name)
        return self.tap(name, layer(x))

    def add(self, name: str, *terms: Symbolic) -> Symbolic:
        """The sum of tensors, two at a time as TFLite adds them."""
        total = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            last = index == len(terms) - 1
            step = name if last else f"{name}.{index}"
            pair = [self.operand(step, total), self.operand(step, term)]
            total = self.tap(step, keras.layers.Add(name=step)(pair))
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
        return layers.FirstTokens(len(self.config.classifiers), name=f"last_layer.{part}")(x)

    def read_rows(self, hidden: Symbolic) -> Symbolic:
        """The first rows of (B, S, C), as many as a classifier reads."""
        if self.options.prune_last_layer:
            return hidden  # no others are there
        return layers.FirstTokens(len(self.config.classifiers), name="read_rows")(hidden)

    def token(self, hidden: Symbolic, index: int = 0) -> Symbolic:
        """The hidden state of one token for a head, [CLS] by default: (B, S, C) -> (B, C)."""
        return layers.Token(index, name=f"token.{index}")(hidden)

    def mean(self, name: str, *terms: Symbolic) -> Symbolic:
        """The mean of tensors of one shape."""
        if len(terms) == 1:
            return terms[0]
        total = self.add(f"{name}.sum", *terms)
        return self.tap(name, layers.Scale(1 / len(terms), name=name)(total))

    def mean_pooling(self, hidden: Symbolic, attention_mask: Symbolic) -> Symbolic:
        """The mean hidden state of real tokens: (B, S, C), (B, S) -> (B, C)."""
        self.sites["pooling"] = "pooling"
        hidden = self.operand("pooling", hidden)
        pooled = layers.MeanPooling(name="pooling")([hidden, attention_mask])
        return self.tap("pooling", pooled)

    def normalized(self, x: Symbolic) -> Symbolic:
        """x / ||x||: (B, C) -> (B, C)."""
        return layers.L2Normalize(name="normalize")(x)

    def per_text(self, x: Symbolic) -> Symbolic:
        """What comes from `token` in the shape of an output, (B, C)."""
        return x

    def per_token(self, x: Symbolic) -> Symbolic:
        """What comes from all tokens in the shape of an output, (B, S, C)."""
        return x

    def attention_bias(self, attention_mask: Symbolic) -> Symbolic:
        """attention_mask (B, S) -> the tensor (B, 1, 1, S) that every layer adds to its scores."""
        layer = layers.AttentionBias(self.options.mask_value, name="attention_bias")
        return self.tap("attention_bias", layer(attention_mask))

    def attention(
        self,
        name: str,
        query: Symbolic,
        key: Symbolic,
        value: Symbolic,
        bias: Symbolic | None,
    ) -> Symbolic:
        """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) on projected tensors.

        Args:
            name: the name of the attention module.
            query, key, value: (B, S, H * D).
            bias: (B, 1, 1, S), added to the scores; None where there is no padding.

        Returns:
            The context, (B, S, H * D).
        """
        num_heads = int(query.shape[-1]) // self.config.head_size
        self.sites[name] = "attention"

        def split(part: str, x: Symbolic) -> Symbolic:
            part_name = f"{name}.{part}.heads"
            x = self.operand(f"{name}.scores", x)
            return layers.SplitHeads(num_heads, keys=part == "key", name=part_name)(x)

        def product(part: str, a: Symbolic, b: Symbolic) -> Symbolic:
            return self.tap(f"{name}.{part}", layers.MatMul(name=f"{name}.{part}")([a, b]))

        query = self._scaled(f"{name}.query.scaled", query)
        scores = product("scores", split("query", query), split("key", key))  # (B, H, S, S)
        masked = scores if bias is None else self.add(f"{name}.masked_scores", scores, bias)
        softmax = keras.layers.Softmax(name=f"{name}.probabilities")
        probabilities = self.tap(f"{name}.probabilities", softmax(masked))
        if self.options.dropout:
            rate = self.config.attention_probs_dropout_prob
            probabilities = keras.layers.Dropout(rate, name=f"{name}.dropout")(probabilities)
        context = product("context.heads", probabilities, split("value", value))  # (B, H, S, D)
        return self._merge_heads(f"{name}.context", context)

    def _scaled(self, name: str, query: Symbolic) -> Symbolic:
        return self.tap(name, layers.Scale(self.config.head_size**-0.5, name=name)(query))

    def _merge_heads(self, name: str, context: Symbolic) -> Symbolic:
        return layers.MergeHeads(name=name)(context)
