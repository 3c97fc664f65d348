"""How one graph of an encoder is built, and what its tensors are called in annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from tfedge.architectures.kinds import Kind

# A symbolic tensor of the functional API; tf_keras exports no name for its type.
Symbolic: TypeAlias = Any
Tensors: TypeAlias = dict[str, Any]  # by name
Tap = Callable[[str, Symbolic, Kind], Symbolic]

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
    # Whether layers that share their weights in the checkpoint have the same variables: what is
    # trained must, what is scaled layer by layer must not.
    tied: bool = True
    # Called with the name, the tensor and the kind of every activation, returns the tensor to go on
    # with: where ranges are recorded and put in.
    tap: Tap = lambda name, tensor, kind: tensor
