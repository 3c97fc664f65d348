"""Decides how each layer norm of an integer graph is computed, from what calibration texts show."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator

from tfedge.models.build import Encoder
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.integer import PLANS, IntegerBlocks, NormPlan, NormStep
from tfedge.quantize.layers import MinusMean
from tfedge.quantize.ranges import weight_range
from tfedge.quantize.rewrite import LARGEST_NUMBER, Decision, Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# Room above and below the variances that calibration saw: other texts have others.
_HEADROOM = 1.5
# The largest variance of one 8-bit tensor in units of the smallest; a step of the tensor is then
# 1/16 of the smallest variance, and half of that half as much of its inverse root.
_SPAN = 16.0
# Of the error of rounding a result: what leaving out the means may add to it, in an encoder of one
# norm. They are alike in all tokens of a text, and so add up from norm to norm, where rounding evens
# out and grows with the root of their number.
_NEGLIGIBLE = 3.0
_THINNING = 31  # of a norm's result, one of so many numbers shows their histogram
_MOST_LIMITS = 64  # of a plan in a file


@dataclasses.dataclass(frozen=True)
class NormStatistics:
    """What one layer norm saw, tokens of all texts together."""

    least_variance: float  # of a token
    greatest_variance: float
    mean: float  # of the tokens' means
    # Root mean square, over tokens and channels, of what the deviation of a token's mean from that
    # adds to the result.
    shift: float
    step: float  # of the result in 8 bits

    def plan(self, norms: int) -> NormPlan:
        """The cheapest plan whose error is below that of rounding the result, of one of `norms`."""
        least = self.least_variance / _HEADROOM
        greatest = self.greatest_variance * _HEADROOM
        pieces = max(1, math.ceil(math.log(greatest / least, _SPAN)))
        span = (greatest / least) ** (1 / pieces)
        limits = tuple(greatest / span**power for power in range(pieces - 1, -1, -1))
        has_mean = self.shift > _NEGLIGIBLE * self.step / math.sqrt(12 * norms)
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
    tokens: dict[str, list[np.ndarray]] = defaultdict(list)
    results: dict[str, list[np.ndarray]] = defaultdict(list)
    for tensors in observer.tensors():
        for name, parts in steps.items():
            columns = [tensors[parts[quantity]] for quantity in ("mean", "variance", "inverse")]
            tokens[name].append(np.stack([column.ravel() for column in columns], axis=1))
            results[name].append(tensors[name].ravel()[::_THINNING])
    return {
        name: _statistics(observer, name, np.concatenate(rows), np.concatenate(results[name]))
        for name, rows in tokens.items()
    }


def _statistics(
    observer: Observer, name: str, tokens: np.ndarray, result: np.ndarray
) -> NormStatistics:
    mean, variance, inverse = tokens.T
    shift = observer.model.get_layer(f"{name}.shift")
    if isinstance(shift, MinusMean):
        spread = shift.vector.numpy() * observer.model.get_layer(name).gamma.numpy()
    else:
        spread = shift.constant().numpy()
    deviation = (mean - mean.mean()) * inverse
    return NormStatistics(
        least_variance=float(variance.min()),
        greatest_variance=float(variance.max()),
        mean=float(mean.mean()),
        shift=float(np.sqrt(np.mean(deviation**2) * np.mean(spread**2))),
        step=weight_range(result).scale,
    )


def _checked(plan: NormPlan) -> NormPlan:
    steps = (0.0, plan.least_variance, *plan.limits, LARGEST_NUMBER)
    if not (0 < len(plan.limits) <= _MOST_LIMITS and all(a < b for a, b in pairwise(steps))):
        raise ValueError(
            f"a plan has a least variance above 0 and 1 to {_MOST_LIMITS} rising limits"
        )
    return plan


class NormPlans(Rewrite):
    """Says how each layer norm is computed, and takes out the means that need not be.

    A stream's mean over all tokens, which layer norm takes out anyway, moves into a bias. In a stream
    of several norms nothing but dense layers adds up, which `centre` has left without a mean.
    """

    key = PLANS
    value = Annotated[NormPlan, AfterValidator(_checked)]
    passes = 1

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        found = norm_statistics(observe(lowering.build(lowering.shape.options(), IntegerBlocks)))
        for stream in lowering.streams:
            if stream.dense is not None and stream.name in found:
                bias = lowering.weights.get_layer(stream.dense).bias
                bias.assign_sub(np.full(bias.shape, found[stream.name].mean, np.float32))
        return {name: statistics.plan(len(found)) for name, statistics in found.items()}

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        norms = {layer.name for layer in lowering.weights.layers if isinstance(layer, LayerNorm)}
        return norms ^ set(decision)
