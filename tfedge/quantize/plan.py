"""Decides how each layer norm of an integer graph is computed, from what calibration texts show."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator

from tfedge.models.build import Encoder
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.felt import NEGLIGIBLE, Felt, input_of
from tfedge.quantize.integer import PLANS, IntegerBlocks, NormPlan, NormStep
from tfedge.quantize.ranges import stepped
from tfedge.quantize.rewrite import LARGEST_NUMBER, Decision, Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# Room above and below the variances that calibration saw: other texts have others.
_HEADROOM = 1.5
# The largest variance of one 8-bit tensor in units of the smallest, at least and at most; a step of
# the tensor is then 1/16 or 1/4 of the smallest variance, and half of that half as much of its
# inverse root.
_SPAN, _WIDEST = 16.0, 64.0
# Of the largest variance what is none: deviations below a thousandth of the largest are 0 in any 8 bits
# that hold those too, whatever they are multiplied by.
_NONE = 2.0**-20
# Of what a loss may be to count as nothing: for one norm, in its inverse deviations.
_SHARE = 1 / 16
_MOST_LIMITS = 64  # of a plan in a file


@dataclasses.dataclass(frozen=True)
class NormStatistics:
    """What one layer norm saw, tokens of all texts together."""

    least_variance: float  # of a token
    greatest_variance: float
    mean: float  # of the tokens' means

    @property
    def plans(self) -> list[NormPlan]:
        """From the one of fewest operations to the most exact one."""
        # Of tokens that are alike in all channels there is none, as of a learned one before training.
        greatest = (self.greatest_variance or 1.0) * _HEADROOM
        least = max(self.least_variance / _HEADROOM, _NONE * greatest)
        fewest, most = (
            max(1, math.ceil(math.log(greatest / least, span))) for span in (_WIDEST, _SPAN)
        )
        found = []
        for pieces in range(fewest, most + 1):
            span = (greatest / least) ** (1 / pieces)
            limits = tuple(greatest / span**power for power in range(pieces - 1, -1, -1))
            # Of one piece, either is the same.
            orders = (True,) if pieces == 1 else (False, True)
            found += [NormPlan(least, limits, True, in_turn) for in_turn in orders]
        return found


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
    for tensors in observer.tensors():
        for name, parts in steps.items():
            columns = [tensors[parts[quantity]] for quantity in ("mean", "variance")]
            tokens[name].append(np.stack([column.ravel() for column in columns], axis=1))
    return {name: _statistics(np.concatenate(rows)) for name, rows in tokens.items()}


def _statistics(tokens: np.ndarray) -> NormStatistics:
    mean, variance = tokens.T
    return NormStatistics(float(variance.min()), float(variance.max()), float(mean.mean()))


def inverse_error(plan: NormPlan, variance: np.ndarray) -> np.ndarray:
    """The relative error of the inverse deviations that a plan computes of variances (n,)."""
    product = exact = np.ones(len(variance))
    for piece in plan.pieces(""):
        clipped = np.clip(variance / piece.unit, 0, piece.limit)
        most = (piece.unit / piece.least) ** 0.5
        with np.errstate(divide="ignore"):
            root = np.minimum(stepped(clipped, 0.0, piece.limit) ** -0.5, most)
        product = product * stepped(root, 0.0, most)
        exact = exact * np.minimum(clipped**-0.5, most)
    if not plan.in_turn:
        product = stepped(product, 0.0, plan.least_variance**-0.5)
    return np.asarray(product / exact - 1)


def cheapest_plan(
    plans: Sequence[NormPlan], loss: Callable[[np.ndarray], float], variance: np.ndarray
) -> NormPlan:
    """The first plan that loses hardly more than the most exact one, the last.

    Args:
        loss: of answers, for relative errors (n,) of the inverse deviations.
        variance: of the tokens that the loss is of, (n,).
    """
    losses = [loss(inverse_error(plan, variance)) for plan in plans]
    allowed = losses[-1] + _SHARE * NEGLIGIBLE
    return next(plan for plan, found in zip(plans, losses, strict=True) if found <= allowed)


class _Norm:
    """One layer norm of a plain graph, and what the answers feel of what it leaves out.

    Args:
        layer: with its weights.
        is_centred: whether a bias has taken up what the means of all tokens have in common.
    """

    def __init__(self, felt: Felt, layer: LayerNorm, is_centred: bool) -> None:
        total = felt.values[input_of(layer.name)]
        means = total.mean(axis=1)
        self.variance = total.var(axis=1) + layer.epsilon
        result = felt.values[layer.name] - layer.beta.numpy()
        self._felt, self._by_scale = felt, felt.moved(layer.name, result)
        gains = np.broadcast_to(layer.gamma.numpy(), result.shape)
        by_mean = felt.moved(layer.name, gains) / np.sqrt(self.variance)
        # By how much the answers are moved where the means stay in, (samples,).
        left = means - means.mean() if is_centred else means
        self.by_means = felt.together(layer.name, left * by_mean)

    def loss(self, errors: np.ndarray) -> float:
        """Of relative errors of the inverse deviations, (n,)."""
        return self._felt.loss(self._by_scale * errors)


def means_to_take(felt: Felt, moved: Mapping[str, np.ndarray]) -> set[str]:
    """The norms whose means have to be subtracted.

    Means are alike in all tokens of a text, and so add up from norm to norm, where rounding evens
    out: what those left in lose is the loss of their sum.

    Args:
        moved: by how much the answers are moved where means stay in, (samples,) by the norm.
    """
    left, total = dict(moved), np.zeros(1)
    for name in sorted(moved, key=lambda name: felt.loss(moved[name])):
        total = total + moved[name]
        if felt.loss(total) > NEGLIGIBLE:
            break
        del left[name]
    return set(left)


def _checked(plan: NormPlan) -> NormPlan:
    steps = (0.0, plan.least_variance, *plan.limits, LARGEST_NUMBER)
    if not (0 < len(plan.limits) <= _MOST_LIMITS and all(a < b for a, b in pairwise(steps))):
        raise ValueError(
            f"a plan has a least variance above 0 and 1 to {_MOST_LIMITS} rising limits"
        )
    return plan


class NormPlans(Rewrite):
    """Says how each layer norm is computed, and takes out the means that need not be.

    A stream's mean over all tokens, which layer norm takes out anyway, moves into a bias. What tables
    and dense layers alone add up, as in a stream of several norms, `centre` has left without a mean.
    """

    key = PLANS
    value = Annotated[NormPlan, AfterValidator(_checked)]
    passes = 1

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        found = norm_statistics(observe(lowering.build(lowering.shape.options(), IntegerBlocks)))
        if not found:
            return {}
        biases = {
            stream.name: lowering.weights.get_layer(stream.dense).bias
            for stream in lowering.streams
            if stream.dense is not None
        }
        centred = {name for name, bias in biases.items() if bias is not None}
        for name in centred & found.keys():
            bias = biases[name]
            bias.assign_sub(np.full(bias.shape, found[name].mean, np.float32))
        felt = lowering.felt
        norms = {
            name: _Norm(felt, lowering.weights.get_layer(name), name in centred) for name in found
        }
        with_mean = means_to_take(felt, {name: norm.by_means for name, norm in norms.items()})
        plans = {
            name: cheapest_plan(found[name].plans, norm.loss, norm.variance)
            for name, norm in norms.items()
        }
        return {
            name: dataclasses.replace(plan, has_mean=name in with_mean)
            for name, plan in plans.items()
        }

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        norms = {layer.name for layer in lowering.weights.layers if isinstance(layer, LayerNorm)}
        return norms ^ set(decision)
