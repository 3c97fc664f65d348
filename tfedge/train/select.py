"""Chooses what of an encoder is kept, so that it costs what was asked for.

Numbers of layers and of channels are tried one by one; for each the heads and neurons of highest
importance are found that still fit, as in Kwon et al. 2022, algorithm 1: for every number of heads
the rest goes to neurons.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

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
    """What may be removed.

    Attributes:
        remove: of `REMOVABLE`.
        uniform: whether all layers keep equal numbers of heads and of neurons.
    """

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
        return [width, *range((width - 1) // step * step, 0, -step)]


def candidates(
    config: EncoderConfig, importance: Importance, cost: Cost, limit: float, space: Space
) -> list[Cut]:
    """The best cut for each number of layers and channels that keeps the limit.

    Where everything of some layers and channels fits, fewer of them would only lose and are left
    out.

    Args:
        cost: of an encoder; must grow linearly with the heads and neurons of a layer.
        limit: what `cost` must not exceed.

    Raises:
        InputError: not even the smallest encoder keeps the limit.
    """
    found = []
    for width in space.widths(config):
        shapes = (_Shape.of(config, importance, width, n, cost) for n in space.depths(config))
        for shape in shapes:
            cut = shape.best(limit, space)
            if cut:
                found.append(cut)
                if shape.is_whole(cut):
                    break
        if found and cut and len(cut.layers) == config.num_hidden_layers and shape.is_whole(cut):
            break
    if not found:
        others = [f"--remove {part}" for part in REMOVABLE if part not in space.remove]
        raise InputError(
            f"the target cannot be reached by removing {', '.join(sorted(space.remove))} alone; "
            f"raise it{''.join(f' or add {other}' for other in others)}"
        )
    return found


@dataclasses.dataclass(frozen=True)
class _Shape:
    """An encoder of some layers and channels, whose heads and neurons are open.

    Attributes:
        base: a configuration of one head and one neuron in each layer.
        importance: of the heads and of the neurons, of the layers in `layers` alone.
    """

    config: EncoderConfig
    base: EncoderConfig
    channels: np.ndarray
    layers: tuple[int, ...]
    heads: list[np.ndarray]
    neurons: list[np.ndarray]
    cost: Cost

    @classmethod
    def of(
        cls, config: EncoderConfig, importance: Importance, width: int, depth: int, cost: Cost
    ) -> _Shape:
        layers = tuple(int(index) for index in strongest(importance.layers, depth))
        base = dataclasses.replace(
            config,
            hidden_size=width,
            num_hidden_layers=depth,
            head_size=max(1, config.head_size * width // config.hidden_size),
            layer_heads=(1,) * depth,
            layer_neurons=(1,) * depth,
        )
        heads, neurons = (
            [part[index] for index in layers] for part in (importance.heads, importance.neurons)
        )
        channels = strongest(importance.channels, width)
        return cls(config, base, channels, layers, heads, neurons, cost)

    def is_whole(self, cut: Cut) -> bool:
        """Whether the layers of `cut` have all their heads and neurons."""
        return all(
            len(ours) == len(all_of_them)
            for kept, whole in ((cut.heads, self.heads), (cut.neurons, self.neurons))
            for ours, all_of_them in zip(kept, whole, strict=True)
        )

    def best(self, limit: float, space: Space) -> Cut | None:
        """The heads and neurons of the largest importance within the limit; None: none fit."""
        depth, base = len(self.layers), self.base
        more = [(1,) * index + (2,) + (1,) * (depth - index - 1) for index in range(depth)]
        heads, neurons = (
            _Units.of(importance, self._added(configs), group, space.uniform)
            for importance, configs, group in (
                (self.heads, [dataclasses.replace(base, layer_heads=n) for n in more], 1),
                (self.neurons, [dataclasses.replace(base, layer_neurons=n) for n in more], GROUP),
            )
        )
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
        counts = heads.counts(found[0]), neurons.counts(found[1])
        kept_heads, kept_neurons = (
            tuple(map(strongest, part, numbers))
            for part, numbers in zip((self.heads, self.neurons), counts, strict=True)
        )
        return Cut(self.channels, self.layers, kept_heads, kept_neurons, self.base.head_size)

    def _added(self, configs: list[EncoderConfig]) -> list[float]:
        """What each costs more than `base`."""
        lowest = self.cost(self.base)
        return [self.cost(config) - lowest for config in configs]


@dataclasses.dataclass(frozen=True)
class _Units:
    """Heads or neurons beyond the first group of each layer, in the order in which to keep them.

    Attributes:
        first: how many of each row are in its first group, which stays.
        rows, sizes: of each unit, which row it is of and how many are in it.
        values, costs: importance and cost of the first n units, (units + 1,).
        prices: of one head or neuron of each row.
        layers: a row is a layer; or there is one row, of what all of `layers` have.
    """

    first: list[int]
    rows: np.ndarray
    sizes: np.ndarray
    values: np.ndarray
    costs: np.ndarray
    prices: list[float]
    layers: int

    @classmethod
    def of(
        cls, importance: list[np.ndarray], prices: list[float], group: int, uniform: bool
    ) -> _Units:
        layers = len(importance)
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
        return cls(
            first=[min(group, len(values)) for values in ranked],
            rows=table[:, 0].astype(int),
            sizes=table[:, 1].astype(int),
            values=np.concatenate([[0.0], np.cumsum(table[:, 2])]),
            costs=np.concatenate([[0.0], np.cumsum(table[:, 3])]),
            prices=prices,
            layers=layers,
        )

    def price_of_first(self, without: int) -> float:
        """What the first groups cost, beyond `without` of each row."""
        return sum(
            price * (count - without) for price, count in zip(self.prices, self.first, strict=True)
        )

    def counts(self, number: int) -> list[int]:
        """How many each layer has with the first groups and `number` units."""
        counts = np.array(self.first)
        np.add.at(counts, self.rows[:number], self.sizes[:number])
        return (counts if len(counts) == self.layers else counts.repeat(self.layers)).tolist()
