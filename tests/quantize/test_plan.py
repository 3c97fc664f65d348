"""How a layer norm is computed, from its statistics and what the answers feel of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfedge.quantize.felt import NEGLIGIBLE, Felt
from tfedge.quantize.integer import NormPlan
from tfedge.quantize.plan import NormStatistics, cheapest_plan, inverse_error, means_to_take

STATISTICS = NormStatistics(least_variance=0.3, greatest_variance=0.6, mean=0.02)


def test_even_tokens_need_one_tensor() -> None:
    (plan,) = STATISTICS.plans
    assert plan.limits == pytest.approx((0.9,))
    assert plan.least_variance == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("greatest", "fewest", "pieces"),
    [(2.0, 1, 1), (2.2, 1, 2), (8.4, 1, 2), (8.7, 2, 2), (34.0, 2, 2), (36.0, 2, 3)],
)
def test_outlier_tokens_need_a_tensor_for_each_factor_of_16_to_64(
    greatest: float, fewest: int, pieces: int
) -> None:
    # 1.5 of room on either side: 0.2 to 1.5 * greatest.
    plans = dataclasses.replace(STATISTICS, greatest_variance=greatest).plans
    assert sorted({len(plan.limits) for plan in plans}) == [*range(fewest, pieces + 1)]
    limits = plans[-1].limits
    assert len(limits) == pieces
    assert limits[-1] == pytest.approx(1.5 * greatest)
    spans = [high / low for low, high in zip((0.2, *limits[:-1]), limits, strict=True)]
    assert spans == pytest.approx([spans[0]] * pieces)
    assert spans[0] <= 16


@pytest.mark.parametrize("greatest", [0.0, 1e-3, 0.6, 900.0])
def test_tokens_without_a_variance_widen_no_plan_without_end(greatest: float) -> None:
    """As a class token of zeros has none before training; it is 0 by whatever it is multiplied."""
    plans = NormStatistics(0.0, greatest, 0.0).plans
    assert sorted({len(plan.limits) for plan in plans}) == [4, 5]
    for plan in plans:
        assert 0 < plan.least_variance < plan.limits[0]
        assert plan.limits[-1] == pytest.approx(1.5 * (greatest or 1.0))
        assert np.isfinite(inverse_error(plan, np.array([0.0, 1e-12, greatest]))).all()


def test_inverse_deviations_by_hand() -> None:
    plan = NormPlan(0.25, (4.0, 64.0), has_mean=True)
    # 4 is at the end of both pieces: 1 / 2 is 63.75 of 255 steps to 2, and 64 of them 128 / 255.
    assert inverse_error(plan, np.array([4.0])) == pytest.approx([256 / 255 - 1])
    at_once = dataclasses.replace(plan, in_turn=False)
    # 1 / 8 in steps of 2 / 255: 15.9375 of them, in turn 1 / 2 times 63.75 of 255.
    assert inverse_error(at_once, np.array([64.0])) == pytest.approx([16 / 15.9375 - 1])
    assert inverse_error(plan, np.array([64.0])) == pytest.approx([(64 / 63.75) ** 2 - 1])


def test_large_variances_are_worth_operations_where_the_answers_feel_them() -> None:
    plans = NormStatistics(0.3, 3000.0, 0.0).plans
    variance = np.geomspace(0.3, 3000.0, 100)

    def chosen(share: float) -> NormPlan:
        """Where the answers' squared error is so large a share of that of the inverse deviations."""
        return cheapest_plan(plans, lambda errors: share * float(np.sum(errors**2)), variance)

    found = [chosen(share) for share in (1e-8, 1e-4, 1.0)]
    assert found[0] == plans[0]
    assert found[-1].in_turn
    assert [len(plan.limits) for plan in found] == sorted(len(plan.limits) for plan in found)
    assert len(found[-1].limits) > 1


def test_means_are_taken_out_where_they_lose_too_much_together() -> None:
    """Two that each lose half of what is nothing lose twice that where they point the same way."""
    felt = Felt({}, {}, {}, spread=1.0)
    half = np.full(2, np.sqrt(NEGLIGIBLE / 2))  # of two samples
    assert felt.loss(half) == pytest.approx(NEGLIGIBLE / 2)
    assert means_to_take(felt, {"a": half, "b": -half}) == set()
    assert means_to_take(felt, {"a": half, "b": half}) == {"b"}
    assert means_to_take(felt, {"a": 2 * half, "b": half / 2}) == {"a"}
