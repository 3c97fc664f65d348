"""What a layer norm's statistics make of it."""

from __future__ import annotations

import dataclasses

import pytest

from tfedge.quantize.plan import NormStatistics

STATISTICS = NormStatistics(
    least_variance=0.3, greatest_variance=0.6, mean=0.02, shift=0.001, step=0.05
)

NORMS = 25  # in an encoder of 12 layers


def test_even_tokens_need_one_tensor() -> None:
    plan = STATISTICS.plan(NORMS)
    assert plan.limits == pytest.approx((0.9,))
    assert plan.least_variance == pytest.approx(0.2)


@pytest.mark.parametrize(("greatest", "pieces"), [(2.0, 1), (2.2, 2), (34.0, 2), (36.0, 3)])
def test_outlier_tokens_need_a_tensor_for_each_factor_of_16(greatest: float, pieces: int) -> None:
    # 1.5 of room on either side: 0.2 to 1.5 * greatest.
    limits = dataclasses.replace(STATISTICS, greatest_variance=greatest).plan(NORMS).limits
    assert len(limits) == pieces
    assert limits[-1] == pytest.approx(1.5 * greatest)
    spans = [high / low for low, high in zip((0.2, *limits[:-1]), limits, strict=True)]
    assert spans == pytest.approx([spans[0]] * pieces)
    assert spans[0] <= 16


def test_mean_is_left_out_far_below_the_rounding_of_the_result() -> None:
    # Rounding in steps of 0.05 adds 0.05 / sqrt(12) = 0.0144, times 3 / 5 of 25 norms 0.0087.
    assert not dataclasses.replace(STATISTICS, shift=0.0086).plan(NORMS).has_mean
    assert dataclasses.replace(STATISTICS, shift=0.0088).plan(NORMS).has_mean


def test_means_matter_less_where_few_norms_add_them_up() -> None:
    statistics = dataclasses.replace(STATISTICS, shift=0.0088)
    assert [statistics.plan(norms).has_mean for norms in (9, 13, 25, 49)] == [
        False,
        False,
        True,
        True,
    ]
