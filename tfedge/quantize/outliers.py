"""Decides what goes a way of its own, from what calibration shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.models.build import Encoder
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import FACTORS, stream_ends
from tfedge.quantize.excess import PATHS, ChannelPath, ExcessBlocks, NeuronPath
from tfedge.quantize.ranges import Histogram, range_error
from tfedge.quantize.residuals import LIMITS, WORTHWHILE, Residual, allows, limit_of, residuals
from tfedge.quantize.rewrite import Decision, Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# Ranges of what an activation reads. Below the low ends a GELU gives less than 0.02; the deep ones
# are for those that give more than `_NOTHING` there, as SiLU does. Above a high end an activation gives
# what it reads but for `_NOTHING`: a GELU at all of them, SiLU at the last.
_LOWS = (-2.5, -3.0, -3.5, -4.0)
_DEEP_LOWS = (-6.0, -8.0)
_HIGHS = (4.0, 5.0, 6.0, 8.0, 12.0)
_NOTHING = 1e-3
_BELOW_ZERO = np.linspace(-4.0, 0.0, 401)  # where each activation has its least value
_MOST_NEURONS = 1 / 32  # of a layer that may be above a range
_TOKENS_OF_EACH = 3  # one of so many is in a histogram
_HEADROOM = 1.5


class Excess(Rewrite):
    """Gives a few neurons and channels a path of their own, where they are far beyond all others."""

    key = PATHS
    value = NeuronPath | ChannelPath
    passes = 1
    blocks = ExcessBlocks

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        encoder = lowering.plain
        readers = {name: kind.reader for name, kind in encoder.kinds.items() if kind.reader}
        tops: dict[str, np.ndarray] = {}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in readers}

        def watched() -> Iterator[Mapping[str, np.ndarray]]:
            for tensors in observe(encoder).tensors():
                for name in readers:
                    value = tensors[name].reshape(-1, tensors[name].shape[-1])
                    tops[name] = np.maximum(tops.get(name, -np.inf), value.max(0))
                    rows[name].append(value[::_TOKENS_OF_EACH])
                yield tensors

        ends = stream_ends(lowering.weights, lowering.streams)
        streams = [stream for stream in lowering.streams if stream.name in ends]
        found = residuals(watched(), streams)
        paths: dict[str, Any] = {}
        for name, reader in readers.items():
            paths[name] = _neuron_path(np.concatenate(rows[name]), tops[name], reader)
        for stream in streams:
            factors = np.asarray(lowering.decided[FACTORS][stream.name])
            path = _channel_path(found[stream.name], factors, ends[stream.name].gain)
            paths[str(stream.dense)] = path
        return {name: path for name, path in paths.items() if path}

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        layers = {layer.name: layer for layer in lowering.weights.layers}
        wrong = set()
        for name, path in decision.items():
            places = path.neurons if isinstance(path, NeuronPath) else path.channels
            units = getattr(layers.get(name), "units", 0)
            if not all(0 <= place < units for place in places):
                wrong.add(name)
        return wrong


def _neuron_path(
    values: np.ndarray, tops: np.ndarray, function: Callable[[np.ndarray], np.ndarray]
) -> NeuronPath | None:
    """The best range of what an activation reads, of those worth a path.

    Args:
        values: some tokens', (n, neurons).
        tops: the largest of all tokens, (neurons,).
    """
    top, least_output = float(tops.max()), _least_output(function)
    histogram, outputs = Histogram(float(values.min()), top), Histogram(least_output, top)
    histogram.add(values)
    outputs.add(function(values.ravel()))
    highs = [share * tops.max() for share in np.linspace(0.05, 1.0, 20)]
    lows, path_highs = _path_ends(function)
    ends = (*lows, *path_highs, *highs)
    given = function(histogram.centres)
    made = dict(zip(ends, function(np.array(ends)), strict=True))

    def error(low: float, high: float, is_cut: bool) -> float:
        results = given, np.array([made[low], made[high]])
        found = range_error(histogram, (low, high), results, is_cut)
        return found + range_error(outputs, (least_output, high), is_cut=is_cut)

    plain = min(error(low, high, True) for low in lows for high in highs)
    least, chosen = WORTHWHILE * plain, None
    for high in path_highs:
        neurons = np.flatnonzero(tops > high)
        if not 0 < len(neurons) <= _MOST_NEURONS * len(tops):
            continue
        rare = histogram.counts[histogram.centres > high].sum()
        beyond = rare * ((tops.max() - high) / 255) ** 2 / 12
        for low in lows:
            whole = error(low, high, False) + beyond
            if whole < least:
                least, chosen = whole, NeuronPath(low, high, neurons.tolist())
    return chosen


def _least_output(function: Callable[[np.ndarray], np.ndarray]) -> float:
    """What no output is below, in steps of 0.01: -0.17 of a GELU."""
    return math.floor(100 * function(_BELOW_ZERO).min()) / 100


def _path_ends(
    function: Callable[[np.ndarray], np.ndarray],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The low ends to try, and the high ones above which the function gives what it reads."""
    deepest = function(np.array(_LOWS[-1:]))[0]
    lows = (*_LOWS, *_DEEP_LOWS) if abs(deepest) > _NOTHING else _LOWS
    missing = np.array(_HIGHS) - function(np.array(_HIGHS))
    return lows, tuple(np.array(_HIGHS)[np.abs(missing) <= _NOTHING].tolist())


def _channel_path(residual: Residual, factors: np.ndarray, gain: np.ndarray) -> ChannelPath | None:
    """The best limit of what is put out, which comes divided by `factors`, of those worth a path."""
    least, chosen = WORTHWHILE * residual.error(factors, gain, None), None
    for limit in sorted({limit_of(residual, factors, cut) for cut in LIMITS}):
        if allows(residual, limit * factors):
            error = residual.error(factors, gain, limit)
            if error < least:
                least, chosen = error, _path(residual, factors, limit)
    return chosen


def _path(residual: Residual, factors: np.ndarray, limit: float) -> ChannelPath:
    below, above = residual.beyond(limit * factors)
    channels = [*np.flatnonzero(above), *np.flatnonzero(below)]
    signs = [1.0] * int(above.sum()) + [-1.0] * int(below.sum())
    usual = residual.total - residual.added
    usual = usual + np.clip(residual.added, -limit * factors, limit * factors)
    return ChannelPath(
        limit=limit,
        channels=[int(channel) for channel in channels],
        factors=[
            sign * float(factors[channel]) for sign, channel in zip(signs, channels, strict=True)
        ],
        usual_variance=_HEADROOM * float(np.mean(usual**2, axis=-1).max()),
    )
