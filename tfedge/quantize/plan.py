"""Decides how each layer norm of an integer graph is computed, from what calibration texts show."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict

import numpy as np

from tfedge.quantize.calibrate import Observer
from tfedge.quantize.integer import NormPlan, NormStep

# Room above and below the variances that calibration saw: other texts have others.
_HEADROOM = 1.5
# The largest variance of one 8-bit tensor in units of the smallest; a step of the tensor is then
# 1/16 of the smallest variance, and half of that half as much of its inverse root.
_SPAN = 16.0


@dataclasses.dataclass(frozen=True)
class NormStatistics:
    """What one layer norm saw, tokens of all texts together.

    Attributes:
        least_variance, greatest_variance: of a token.
        mean: the mean of the tokens' means.
        shift: root mean square, over tokens and channels, of what the deviation of a token's mean
            from that adds to the result.
        step: of the result in 8 bits over its extremes.
    """

    least_variance: float
    greatest_variance: float
    mean: float
    shift: float
    step: float

    def plan(self) -> NormPlan:
        """The cheapest plan whose error is below that of rounding the result."""
        least = self.least_variance / _HEADROOM
        greatest = self.greatest_variance * _HEADROOM
        pieces = max(1, math.ceil(math.log(greatest / least, _SPAN)))
        span = (greatest / least) ** (1 / pieces)
        limits = tuple(greatest / span**power for power in range(pieces - 1, -1, -1))
        has_mean = self.shift > self.step / math.sqrt(12)
        return NormPlan(least, limits, has_mean)


def norm_statistics(observer: Observer) -> dict[str, NormStatistics]:
    """Statistics of each layer norm, by its name.

    Args:
        observer: runs a graph of `IntegerBlocks` with its plain plans, which compute all means.
    """
    steps: dict[str, dict[str, str]] = defaultdict(dict)
    for name, kind in observer.kinds.items():
        if isinstance(kind, NormStep):
            steps[kind.norm][kind.quantity] = name
    tokens: dict[str, list[np.ndarray]] = {}
    extremes: dict[str, list[float]] = {}
    for tensors in observer.tensors():
        for name, parts in steps.items():
            columns = [tensors[parts[quantity]] for quantity in ("mean", "variance", "inverse")]
            rows = np.stack([column.ravel() for column in columns], axis=1)
            tokens.setdefault(name, []).append(rows)
            output = tensors[name]
            extremes.setdefault(name, []).extend((float(output.min()), float(output.max())))
    return {
        name: _statistics(observer, name, np.concatenate(rows), extremes[name])
        for name, rows in tokens.items()
    }


def _statistics(
    observer: Observer, name: str, tokens: np.ndarray, extremes: list[float]
) -> NormStatistics:
    mean, variance, inverse = tokens.T
    spread = observer.model.get_layer(f"{name}.shift").constant().numpy()
    deviation = (mean - mean.mean()) * inverse
    return NormStatistics(
        least_variance=float(variance.min()),
        greatest_variance=float(variance.max()),
        mean=float(mean.mean()),
        shift=float(np.sqrt(np.mean(deviation**2) * np.mean(spread**2))),
        step=(max(extremes) - min(extremes)) / 255,
    )
