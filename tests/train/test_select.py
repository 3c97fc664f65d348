"""What is kept under a limit: never above it, hardly below it, and the most important."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import toy_folders
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import InputError
from tfedge.models.config import parse_config
from tfedge.models.cost import flops, load_times, milliseconds
from tfedge.train.cut import Cut, cut_config
from tfedge.train.importance import Importance
from tfedge.train.select import GROUP, REMOVABLE, Space, candidates

LENGTH = 16
CONFIG = parse_config(
    toy_folders.config(
        hidden_size=64, num_attention_heads=8, intermediate_size=256, num_hidden_layers=3
    )
)


def importance(config: EncoderConfig = CONFIG, seed: int = 0) -> Importance:
    generator = np.random.default_rng(seed)
    layers = range(config.num_hidden_layers)
    return Importance(
        generator.exponential(size=config.hidden_size),
        generator.exponential(size=config.num_hidden_layers),
        [generator.exponential(size=config.heads(index)) for index in layers],
        [generator.exponential(size=config.neurons(index)) for index in layers],
    )


def cost(config: EncoderConfig) -> float:
    return flops(config, LENGTH)


def chosen(ratio: float, *remove: str, uniform: bool = False, seed: int = 0) -> list[Cut]:
    space = Space(frozenset(remove), uniform)
    return candidates(CONFIG, importance(seed=seed), cost, ratio * cost(CONFIG), space)


def share(cut: Cut) -> float:
    return cost(cut_config(CONFIG, cut)) / cost(CONFIG)


@settings(max_examples=60, deadline=None)
# Candidates of several depths, whose steps differ.
@example(ratio=0.25, remove={"width", "neurons", "layers"}, uniform=True, seed=0)
@given(
    ratio=st.floats(0.1, 0.95),
    remove=st.sets(st.sampled_from(REMOVABLE), min_size=1),
    uniform=st.booleans(),
    seed=st.integers(0, 99),
)
def test_target_is_never_exceeded_and_nearly_reached(
    ratio: float, remove: set[str], uniform: bool, seed: int
) -> None:
    try:
        cuts = chosen(ratio, *sorted(remove), uniform=uniform, seed=seed)
    except InputError:
        # Only where there is little to remove.
        assert ratio < 0.5 or not remove & {"neurons"}
        return
    for cut in cuts:
        group = GROUP * (len(cut.layers) if uniform else 1)
        step = 2 * LENGTH * 2 * CONFIG.hidden_size * group / cost(CONFIG)
        assert share(cut) <= ratio
        if "neurons" in remove and any(len(kept) < 256 for kept in cut.neurons):
            assert share(cut) > ratio - step


def test_groups_of_neurons_and_one_of_each_at_least() -> None:
    (cut,) = chosen(0.1, "heads", "neurons")
    assert all(len(kept) >= 1 for kept in cut.heads)
    assert all(len(kept) >= GROUP and len(kept) % GROUP == 0 for kept in cut.neurons)


def test_most_important_are_kept() -> None:
    (cut,) = chosen(0.5, "heads", "neurons")
    measured = importance()
    for kept, values in zip(
        (*cut.heads, *cut.neurons), (*measured.heads, *measured.neurons), strict=True
    ):
        gone = np.delete(values, kept)
        assert gone.size == 0 or values[kept].min() >= gone.max()
        assert np.all(np.diff(kept) > 0)


def test_heads_and_neurons_are_the_best_of_all_that_fit() -> None:
    """Against every choice, for a model small enough for that."""
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, intermediate_size=32)
    measured = importance(config)
    limit = 0.6 * cost(config)
    (cut,) = candidates(
        config, measured, cost, limit, Space(frozenset({"heads", "neurons"}), False)
    )
    counts = [range(1, 9)] * 2 + [range(GROUP, 33, GROUP)] * 2

    def kept(*numbers: int) -> float:
        parts = (*measured.heads, *measured.neurons)
        return sum(
            np.sort(values)[::-1][:n].sum() for values, n in zip(parts, numbers, strict=True)
        )

    def fits(*numbers: int) -> bool:
        heads, neurons = numbers[:2], numbers[2:]
        made = dataclasses.replace(config, layer_heads=heads, layer_neurons=neurons)
        return cost(made) <= limit

    best = max(kept(*numbers) for numbers in itertools.product(*counts) if fits(*numbers))
    found = kept(*map(len, (*cut.heads, *cut.neurons)))
    assert found == pytest.approx(best, rel=0.02)


def test_uniform_is_equal_in_all_layers() -> None:
    (cut,) = chosen(0.5, "heads", "neurons", uniform=True)
    assert len({len(kept) for kept in cut.heads}) == 1
    assert len({len(kept) for kept in cut.neurons}) == 1


def test_only_what_is_allowed_goes() -> None:
    (cut,) = chosen(0.6, "neurons")
    assert [len(kept) for kept in cut.heads] == [8, 8, 8]
    assert (len(cut.channels), cut.layers) == (64, [0, 1, 2])
    cuts = chosen(0.6, "layers")
    assert [cut.layers for cut in cuts] == [sorted(np.argsort(importance().layers)[2:])]
    assert [len(kept) for kept in cuts[0].neurons] == [256]


def test_shapes_that_only_lose_are_not_tried() -> None:
    sizes = [
        (len(cut.channels), len(cut.layers)) for cut in chosen(0.5, "width", "layers", "neurons")
    ]
    assert sizes[:3] == [(64, 3), (64, 2), (64, 1)]
    assert len(sizes) == len(set(sizes))
    # At 32 channels all three layers fit whole: neither fewer layers nor fewer channels are tried.
    assert min(width for width, _ in sizes) >= 32


def test_thinner_heads_follow_the_width() -> None:
    (cut,) = chosen(0.5, "width")
    config = cut_config(CONFIG, cut)
    assert config.head_size * 8 == config.hidden_size < 64
    assert "tfedge" not in config.source


def test_time_is_a_cost_too() -> None:
    board = load_times("rpi4")
    price = lambda config: milliseconds(config, LENGTH, board, "text-classification")  # noqa: E731
    limit = 0.6 * price(CONFIG)
    space = Space(frozenset({"heads", "neurons"}), False)
    (cut,) = candidates(CONFIG, importance(), price, limit, space)
    assert 0.55 * price(CONFIG) < price(cut_config(CONFIG, cut)) <= limit


def test_targets_out_of_reach() -> None:
    with pytest.raises(InputError, match="by removing heads alone; raise it or add --remove neu"):
        chosen(0.2, "heads")
    with pytest.raises(InputError, match="legs cannot be removed; choose among heads, neurons"):
        Space(frozenset({"legs"}), False)
