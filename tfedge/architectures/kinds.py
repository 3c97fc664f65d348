"""What a tensor of an encoder is, stated where it is made: how it gets the range of its 8 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tf_keras as keras

# A score this far below the largest of its row has a probability of e^-10, which rounds to 0 in
# steps of 1/256, and a hundred of them together lose less than one step.
MASK_DEPTH = 10.0
LEAST_RANGE = 1e-6  # of a tensor that is 0 wherever calibration looks


@dataclasses.dataclass
class Seen:
    """Extremes of one tensor; `row_maximum` is the least maximum of any row of its last axis."""

    low: float = np.inf
    high: float = -np.inf
    row_maximum: float = np.inf

    def add(self, values: np.ndarray) -> None:
        """Takes more values in, of any shape (..., n)."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.row_maximum = min(self.row_maximum, float(values.max(axis=-1).min()))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Kind:
    """A tensor whose range is the one of least squared error over the values that calibration sees."""

    symmetric: bool = False  # whether the kernel that reads it wants a zero point of 0
    thinning: int = 1  # of how many values one is enough to show what all are like
    # What alone reads it, number by number: float64 (n,) -> float64 (n,).
    reader: Callable[[np.ndarray], np.ndarray] | None = None
    # Gives the values that count in place of those seen.
    table: Callable[[], np.ndarray] | None = None

    def bounds(self, seen: Seen) -> tuple[float, float] | None:
        """The ends of the range where they follow from something else than squared errors."""
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class Fixed(Kind):
    """A tensor whose range follows from the kernel that computes it, whatever the data."""

    low: float
    high: float

    def bounds(self, seen: Seen) -> tuple[float, float]:
        return self.low, self.high


@dataclasses.dataclass(frozen=True, eq=False)
class Clipping(Fixed):
    """A tensor with values beyond its range, on whose clipping the graph counts."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probabilities(Kind):
    """The softmax of attention module `attention`, to which TFLite gives a scale of 1/256."""

    attention: str

    def bounds(self, seen: Seen) -> tuple[float, float]:
        return 0.0, 255 / 256


@dataclasses.dataclass(frozen=True, eq=False)
class Scores(Kind):
    """Scores of an attention, before or after the mask is added.

    The lowest value also stands for masked, so it must vanish beside any row's maximum, `depth`
    above it; what lies deeper than that is nothing to the softmax and may be clipped.
    """

    depth: float = MASK_DEPTH
    # All values of what is still to be added, which may bring back what lies deeper.
    added: Callable[[], np.ndarray] | None = None

    def bounds(self, seen: Seen) -> tuple[float, float]:
        depth = self.depth + (float(np.ptp(self.added())) if self.added else 0.0)
        return min(seen.row_maximum - depth, 0.0), max(seen.high, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Unclipped(Kind):
    """A tensor that is added up: what is clipped would be missing; rounding evens out."""

    def bounds(self, seen: Seen) -> tuple[float, float]:
        return min(seen.low, 0.0), max(seen.high, LEAST_RANGE)


@dataclasses.dataclass(frozen=True, eq=False)
class Gate(Kind):
    """What a dense layer puts out for a GELU that is computed as a product, times a factor."""


@dataclasses.dataclass(frozen=True, eq=False)
class Like(Kind):
    """A tensor with the values of the tapped tensor `source` times a factor, and so with its range."""

    source: str
    factor: float = 1.0


FREE = Kind()
# What dense layers put out for a product of two activations; keys and values are right operands.
QUERY, KEY, VALUE = Kind(), Kind(symmetric=True), Kind(symmetric=True)
GATE = Gate()
SCORES = Scores()
MASK = Kind()  # added to scores; as deep as their ranges reach
TANH = Fixed(-1.0, 127 / 128)  # TFLite gives it a scale of 1/128
SIGMOID = Fixed(0.0, 255 / 256)  # fixed by TFLite's LOGISTIC
COSINES = Fixed(-128 / 127, 1.0)  # and sines; 1 is among the steps
PIXELS = Fixed(0.0, 255.0)  # whole numbers, so that a step of 1 loses nothing


def read_by(function: keras.layers.Layer) -> Kind:
    """What alone the layer `function` reads, number by number, such as a GELU.

    It makes nothing of values below -3, most of what it reads in a ViT; and a few large ones that it
    lets through decide what later layers attend to (massive activations, Sun et al. 2024,
    arXiv:2402.17762, section 5).
    """
    return Kind(reader=lambda values: function(np.float32(values)).numpy().astype(np.float64))


def rows_of(table: keras.layers.Layer) -> Kind:
    """Rows of a table, which has others that no calibration text looks up."""
    return Kind(table=lambda: table.get_weights()[0])
