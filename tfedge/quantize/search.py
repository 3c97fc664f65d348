"""Finds the fastest precision of every operation that keeps the accuracy (`--quant auto`).

How much the rounding of one site alone harms the model is measured on texts, in a graph where the
rounding of each site can be switched off; such harms nearly add up. Sites are then taken out of
the integers one after the other, those first that spare most harm for the least cost, until the
model loses no more than it may. Hessian- and SNR-guided mixed precision rank layers likewise
(HAWQ, Dong et al. 2019, arXiv:1905.03696).
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge import files
from tfedge.data.batches import batches_of_equals
from tfedge.models.blocks import SiteKind
from tfedge.models.build import traced
from tfedge.progress import Progress, unheard
from tfedge.quantize.costs import Costs
from tfedge.quantize.mixed import Precision
from tfedge.quantize.prepare import Prepared

# Above this, sites of one kind in one layer share a precision, so that measuring ends in minutes.
_MOST_GROUPS = 128
_LAYER = re.compile(r"^.*?layer\.\d+")

Outputs = dict[str, Any]
# How far answers are from the float model's: output, target, mask -> a number or one for each text.
Distance = Callable[[Outputs, Outputs, Any], Any]


@dataclasses.dataclass(frozen=True)
class Move:
    """Taking a group of sites out of the integers."""

    group: str
    precisions: Mapping[str, Precision]  # by site, what it computes in from then on
    harm: float  # of the rounding that this spares, in the unit of the loss that was measured
    cost: float  # what it adds, in the unit of `Costs`


class Simulation:
    """The integer graph in float, with the rounding of each site on or off, beside the plain graph.

    Rounding of weights is left out: with one scale a channel it is the least of all.
    """

    def __init__(self, prepared: Prepared) -> None:
        encoder, self._gates = prepared.gated()
        self.sites = encoder.sites
        self._model = traced(encoder.model, encoder.model.input)
        plain = prepared.lowering.weights
        self._plain = traced(plain, plain.input)
        self._names = tuple(plain.input_names)

    def round_only(self, sites: Iterable[str]) -> None:
        """Switches the rounding of `sites` on, of all others off."""
        chosen = set(sites)
        for site, gate in self._gates.items():
            # What belongs to no site is rounded always, as it is in the converted model.
            gate.assign(site in chosen or not site)

    def distances(self, sequences: Sequence[np.ndarray], distance: Distance) -> np.ndarray:
        """The distance of the answer to each text, or the mean of its batch, float32 (n,)."""
        found = np.zeros(len(sequences), np.float32)
        for indices, batch in batches_of_equals(sequences, self._names):
            value = distance(self._model(batch), self._plain(batch), batch.get("attention_mask"))
            found[indices] = value.numpy()
        return found


def groups_of(sites: Mapping[str, SiteKind]) -> dict[str, list[str]]:
    """What shares a precision: each site alone, or in a large model those of a kind in a layer."""
    if len(sites) <= _MOST_GROUPS:
        return {site: [site] for site in sites}
    groups: dict[str, list[str]] = defaultdict(list)
    for site, kind in sites.items():
        layer = _LAYER.match(site)
        groups[f"{layer.group() if layer else 'rest'}:{kind}"].append(site)
    return dict(groups)


def measure_harms(
    simulation: Simulation,
    sequences: Sequence[np.ndarray],
    distance: Distance,
    cache: Path,
    key: Mapping[str, Any],
    progress: Progress = unheard,
) -> dict[str, float]:
    """How far the rounding of each group alone takes the answers from float, mean over the texts.

    Args:
        cache: JSON file that keeps what was measured; an interrupted run goes on from it.
        key: what the measurements depend on; those of another key are not taken.
        progress: called once for each group, and once more.
    """
    # What belongs to no site, the tables above all, is rounded in every measurement: the first one
    # is of that alone, and is taken off the others.
    groups = {"": [], **groups_of(simulation.sites)}
    losses = {
        name: float(value) for name, value in files.read_cache(cache, key).items() if name in groups
    }
    for name, sites in groups.items():
        if name not in losses:
            simulation.round_only(sites)
            losses[name] = float(simulation.distances(sequences, distance).mean())
            files.write_json(cache, {"key": dict(key), "values": losses})
        progress(1)
    always = losses.pop("")
    return {name: max(loss - always, 0.0) for name, loss in losses.items()}


def order_moves(
    sites: Mapping[str, SiteKind],
    units: Mapping[str, int],
    harms: Mapping[str, float],
    costs: Costs,
) -> list[Move]:
    """The moves in the order in which they pay: most harm spared for the least cost first.

    Each site of a move goes to the cheapest precision that it can have.
    """
    moves = []
    for group, members in groups_of(sites).items():
        chosen = {site: costs.cheapest(sites[site], units[site]) for site in members}
        precisions = {site: precision for site, (_, precision) in chosen.items()}
        cost = sum(added for added, _ in chosen.values())
        moves.append(Move(group, precisions, harms[group], cost))
    # Those that cost nothing come before all others.
    return sorted(moves, key=lambda move: (move.cost > 0, -move.harm / max(move.cost, 1e-9)))


def count_moves(
    moves: Sequence[Move], least: int, loss: Callable[[Sequence[Move]], float], bar: float
) -> tuple[int, float]:
    """The least number of first moves, at least `least`, whose loss is at most `bar`.

    The loss is taken to fall with the number of moves; that of all moves may be above the bar.
    Returns the number and its loss.
    """
    measured = functools.cache(lambda count: loss(moves[:count]))
    count = least
    if measured(least) > bar:  # the first alone is mostly enough, and measuring takes its time
        counts = range(len(moves))
        count = bisect.bisect_left(counts, True, least + 1, key=lambda end: measured(end) <= bar)
    return count, measured(count)


def precisions_after(moves: Iterable[Move]) -> dict[str, Precision]:
    """What sites compute in after some moves; those not named in int8."""
    return {site: precision for move in moves for site, precision in move.precisions.items()}
