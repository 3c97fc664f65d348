"""What every encoder is composed of: named functional blocks, each tensor shown to a tap.

Layers carry the names of the modules in the Hugging Face checkpoint, so weights are found by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import tf_keras as keras

from tfedge.models import layers
from tfedge.models.config import EncoderConfig

# A symbolic tensor of the functional API; tf_keras exports no name for its type.
Symbolic: TypeAlias = Any
Tap = Callable[[str, Symbolic], Symbolic]

# Masked scores vanish in the softmax of any float model, as with Hugging Face's finfo.min, and the
# value still fits float16.
FLOAT_MASK_VALUE = -10_000.0


def no_tap(name: str, tensor: Symbolic) -> Symbolic:
    """Leaves every tensor as it is."""
    del name
    return tensor


@dataclasses.dataclass(frozen=True)
class GraphOptions:
    """How one graph of an encoder is built; the weights do not depend on it.

    Attributes:
        batch_size: static batch, or None for any (training).
        sequence_length: static number of tokens, or None for any (training).
        mask_value: what is added to the scores of padding.
        normalize: whether sentence embeddings come out with length 1.
        dropout: whether the config's dropout layers are put in (training).
        equalized: whether layer norms undo a scaling of their input (int8).
        tap: called with the name and the tensor of every activation, returns the one to go on
            with: where ranges are recorded and put in.
    """

    batch_size: int | None = None
    sequence_length: int | None = None
    mask_value: float = FLOAT_MASK_VALUE
    normalize: bool = True
    dropout: bool = False
    equalized: bool = False
    tap: Tap = no_tap


@dataclasses.dataclass(frozen=True)
class Junction:
    """One residual connection: norm -> (readers ...) -> dense, dense + norm's output -> next norm.

    Attributes:
        source: the norm whose output the connection carries.
        readers: the dense layers that read that output too.
        dense: the dense layer whose output is added to it.
        total: the sum.
        norm: what normalises the sum.
    """

    source: str
    readers: tuple[str, ...]
    dense: str
    total: str
    norm: str


class Blocks:
    """Builds the blocks of one encoder."""

    def __init__(self, config: EncoderConfig, options: GraphOptions) -> None:
        self.config = config
        self.options = options
        self.tapped: dict[str, Symbolic] = {}

    def tap(self, name: str, tensor: Symbolic) -> Symbolic:
        """Shows an activation to the tap and remembers what the graph goes on with."""
        self.tapped[name] = self.options.tap(name, tensor)
        return self.tapped[name]

    def embedding(self, name: str, rows: int, channels: int, ids: Symbolic) -> Symbolic:
        """A table look-up: ids (B, S) -> (B, S, channels)."""
        layer = keras.layers.Embedding(
            rows, channels, embeddings_initializer=layers.initializer(), name=name
        )
        return self.tap(name, layer(ids))

    def dense(self, name: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer without activation: (..., C) -> (..., units)."""
        layer = keras.layers.Dense(units, kernel_initializer=layers.initializer(), name=name)
        return self.tap(name, layer(x))

    def activated_dense(self, name: str, activation: str, units: int, x: Symbolic) -> Symbolic:
        """A dense layer and its activation; the tensor between them is tapped only for GELU.

        TFLite fuses ReLU into the product, so there is no tensor between.
        """
        layer = keras.layers.Dense(units, kernel_initializer=layers.initializer(), name=name)
        y = layer(x)
        if activation == "relu":
            return self.tap(f"{name}.act", keras.layers.ReLU(name=f"{name}.act")(y))
        gelu = layers.Gelu(activation == "gelu_new", name=f"{name}.act")
        return self.tap(f"{name}.act", gelu(self.tap(name, y)))

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        """The encoder's normalisation, with weights of its own; the config's epsilon by default."""
        if self.config.normalization_type == "no_norm":
            layer: keras.layers.Layer = layers.NoNorm(name=name)
        else:
            scaled = self.options.equalized
            epsilon = self.config.layer_norm_eps if epsilon is None else epsilon
            layer = layers.LayerNorm(epsilon, scaled, name=name)
        return self.tap(name, layer(x))

    def add(self, name: str, *terms: Symbolic) -> Symbolic:
        """The sum of tensors, two at a time as TFLite adds them."""
        total = terms[0]
        for index, term in enumerate(terms[1:], start=1):
            last = index == len(terms) - 1
            step = name if last else f"{name}.{index}"
            total = self.tap(step, keras.layers.Add(name=step)([total, term]))
        return total

    def dropout(self, name: str, x: Symbolic) -> Symbolic:
        """Dropout of hidden states where the graph is for training."""
        if not self.options.dropout:
            return x
        return keras.layers.Dropout(self.config.hidden_dropout_prob, name=f"{name}.dropout")(x)

    def attention_bias(self, attention_mask: Symbolic) -> Symbolic:
        """attention_mask (B, S) -> the tensor (B, 1, 1, S) that every layer adds to its scores."""
        layer = layers.AttentionBias(self.options.mask_value, name="attention_bias")
        return self.tap("attention_bias", layer(attention_mask))

    def attention(
        self, name: str, query: Symbolic, key: Symbolic, value: Symbolic, bias: Symbolic
    ) -> Symbolic:
        """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) on projected tensors.

        Args:
            name: the name of the attention module.
            query, key, value: (B, S, H * D).
            bias: (B, 1, 1, S), added to the scores.

        Returns:
            The context, (B, S, H * D).
        """
        num_heads = self.config.num_attention_heads

        def split(part: str, x: Symbolic) -> Symbolic:
            part_name = f"{name}.{part}.heads"
            return layers.SplitHeads(num_heads, keys=part == "key", name=part_name)(x)

        def product(part: str, a: Symbolic, b: Symbolic) -> Symbolic:
            return self.tap(f"{name}.{part}", layers.MatMul(name=f"{name}.{part}")([a, b]))

        scale = layers.Scale(self.config.head_size**-0.5, name=f"{name}.query.scaled")
        scaled = self.tap(f"{name}.query.scaled", scale(query))
        scores = product("scores", split("query", scaled), split("key", key))  # (B, H, S, S)
        masked = self.add(f"{name}.masked_scores", scores, bias)
        softmax = keras.layers.Softmax(name=f"{name}.probabilities")
        probabilities = self.tap(f"{name}.probabilities", softmax(masked))
        if self.options.dropout:
            rate = self.config.attention_probs_dropout_prob
            probabilities = keras.layers.Dropout(rate, name=f"{name}.dropout")(probabilities)
        context = product("context.heads", probabilities, split("value", value))  # (B, H, S, D)
        return layers.MergeHeads(name=f"{name}.context")(context)
