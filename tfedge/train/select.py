"""Chooses what of an encoder is kept, so that it costs what was asked for.

Numbers of layers and of channels are tried one by one; for each the heads and neurons of highest
importance are found that still fit, as in Kwon et al. 2022, algorithm 1: for every number of heads
the rest goes to neurons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import InputError
from tfedge.train.cut import Cut, strongest
from tfedge.train.importance import Importance

REMOVABLE = ("heads", "neurons", "layers", "width")
Cost = Callable[[EncoderConfig], float]
# Neurons go in groups of this many, and so do channels: kernels work on as many at a time.
GROUP = 8


@dataclasses.dataclass(frozen=True)
class Space:
    """What of `REMOVABLE` may go, and whether all layers keep equal numbers of heads and neurons."""

    remove: frozenset[str]
    uniform: bool

    def __post_init__(self) -> None:
        if not self.remove or not self.remove <= set(REMOVABLE):
            raise InputError(
                f"{', '.join(sorted(self.remove)) or 'nothing'} cannot be removed; choose among "
                f"{', '.join(REMOVABLE)}"
            )

    def depths(self, config: EncoderConfig) -> list[int]:
        """Numbers of layers to try."""
        layers = config.num_hidden_layers
        return list(range(layers, 0, -1)) if "layers" in self.remove else [layers]

    def widths(self, config: EncoderConfig) -> list[int]:
        """Numbers of channels to try; of fewer, each head gets its share."""
        width = config.hidden_size
        if "width" not in self.remove:
            return [width]
        step = math.lcm(GROUP, config.num_attention_heads)
        narrower = range((width - 1) // step * step, 0, -step)
        allows = config.architecture.allows_width
        return [width, *(narrow for narrow in narrower if allows(config, narrow))]


def candidates(
    config: EncoderConfig, importance: Importance, cost: Cost, limit: float, space: Space
) -> list[Cut]:
    """The best cut for each number of layers and channels that keeps the limit.

    Where everything of some layers and channels fits, fewer of them would only lose and are left
    out. The cost of an encoder must grow linearly with the heads and neurons of a layer. Raises
    InputError where not even the smallest encoder keeps the limit.
    """
    found = []
    for width in space.widths(config):
        for depth in space.depths(config):
            shape = _Shape(config, importance, width, depth, cost)
            if cut := shape.best(limit, space):
                found.append(cut)
                if shape.is_whole(cut):
                    break
        if cut and len(cut.layers) == config.num_hidden_layers and shape.is_whole(cut):
            break
    if not found:
        others = [f"--remove {part}" for part in REMOVABLE if part not in space.remove]
        raise InputError(
            f"the target cannot be reached by removing {', '.join(sorted(space.remove))} alone; "
            f"raise it{''.join(f' or add {other}' for other in others)}"
        )
    return found


class _Shape:
    """An encoder of some layers and channels, whose heads and neurons are open."""

    def __init__(
        self, config: EncoderConfig, importance: Importance, width: int, depth: int, cost: Cost
    ) -> None:
        self.layers = strongest(importance.layers, depth)
        self.channels = strongest(importance.channels, width)
        self.heads = [importance.heads[index] for index in self.layers]
        self.neurons = [importance.neurons[index] for index in self.layers]
        self.cost = cost
        self.base = dataclasses.replace(
            config,
            hidden_size=width,
            num_hidden_layers=depth,
            head_size=max(1, config.head_size * width // config.hidden_size),
            layer_heads=(1,) * depth,
            layer_neurons=(1,) * depth,
        )

    def is_whole(self, cut: Cut) -> bool:
        """Whether the layers of `cut` have all their heads and neurons."""
        kept, whole = (*cut.heads, *cut.neurons), (*self.heads, *self.neurons)
        return list(map(len, kept)) == list(map(len, whole))

    def best(self, limit: float, space: Space) -> Cut | None:
        """The heads and neurons of the largest importance within the limit; None: none fit."""
        heads = _Units(self.heads, self._prices("layer_heads"), 1, space.uniform)
        neurons = _Units(self.neurons, self._prices("layer_neurons"), GROUP, space.uniform)
        room = limit - self.cost(self.base)
        room -= heads.price_of_first(without=1) + neurons.price_of_first(without=1)
        best, found = -1.0, None
        all_heads, all_neurons = len(heads.costs) - 1, len(neurons.costs) - 1
        for n in range(all_heads + 1) if "heads" in space.remove else (all_heads,):
            m = int(np.searchsorted(neurons.costs, room - heads.costs[n], "right")) - 1
            if m < 0 or ("neurons" not in space.remove and m < all_neurons):
                continue
            value = heads.values[n] + neurons.values[m]
            if value > best:
                best, found = value, (n, m)
        if found is None:
            return None
        kept_heads = list(map(strongest, self.heads, heads.counts(found[0])))
        kept_neurons = list(map(strongest, self.neurons, neurons.counts(found[1])))
        return Cut(self.channels, self.layers, kept_heads, kept_neurons, self.base.head_size)

    def _prices(self, size: str) -> list[float]:
        """What one more head or neuron of each layer costs."""
        ones, lowest = [1] * len(self.layers), self.cost(self.base)
        more: list[dict[str, Any]] = [
            {size: (*ones[:index], 2, *ones[index + 1 :])} for index in range(len(ones))
        ]
        return [self.cost(dataclasses.replace(self.base, **change)) - lowest for change in more]


class _Units:
    """Heads or neurons beyond the first group of each layer, in the order in which to keep them.

    Attributes:
        prices: of one head or neuron of each row: a layer, or all of them together.
        first: how many of each row are in its first group, which stays.
        rows, sizes: of each unit, which row it is of and how many are in it.
        values, costs: importance and cost of the first n units, (units + 1,).
    """

    def __init__(
        self, importance: list[np.ndarray], prices: list[float], group: int, uniform: bool
    ) -> None:
        self.layers = len(importance)
        ranked = [-np.sort(-values) for values in importance]
        if uniform:
            fewest = min(map(len, ranked))
            ranked, prices = [np.sum([row[:fewest] for row in ranked], axis=0)], [sum(prices)]
        units = []
        for row, values in enumerate(ranked):
            for start in range(group, len(values), group):
                part = values[start : start + group]
                units.append((row, len(part), float(part.sum()), prices[row] * len(part)))
        # A row's groups keep their order: they cost the same, and the sort is stable.
        units.sort(key=lambda unit: -unit[2] / unit[3])
        table = np.array(units, float).reshape(-1, 4)
        self.prices = prices
        self.first = [min(group, len(values)) for values in ranked]
        self.rows, self.sizes = table[:, 0].astype(int), table[:, 1].astype(int)
        self.values = np.concatenate([[0.0], np.cumsum(table[:, 2])])
        self.costs = np.concatenate([[0.0], np.cumsum(table[:, 3])])

    def price_of_first(self, without: int) -> float:
        """What the first groups cost, beyond `without` of each row."""
        counts = [count - without for count in self.first]
        return sum(price * count for price, count in zip(self.prices, counts, strict=True))

    def counts(self, number: int) -> list[int]:
        """How many each layer has with the first groups and `number` units."""
        counts = np.array(self.first)
        np.add.at(counts, self.rows[:number], self.sizes[:number])
        return (counts if len(counts) == self.layers else counts.repeat(self.layers)).tolist()
