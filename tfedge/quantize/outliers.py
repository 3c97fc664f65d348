"""Decides what goes a way of its own, from what calibration shows."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.parts import Stream
from tfedge.models.build import Encoder
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import FACTORS, stream_ends
from tfedge.quantize.excess import PATHS, ChannelPath, ExcessBlocks, NeuronPath
from tfedge.quantize.felt import felt_most
from tfedge.quantize.ranges import Histogram, range_error, stepped
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
        readers = {
            name: kind.reader
            for name, kind in encoder.kinds.items()
            if kind.reader and not is_normalised(encoder, name)
        }
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
        neurons = {
            name: _neuron_path(np.concatenate(rows[name]), tops[name], reader)
            for name, reader in readers.items()
        }
        channels = {}
        for stream in streams:
            factors = np.asarray(lowering.decided[FACTORS][stream.name])
            channels[stream] = _channel_path(found[stream.name], factors, ends[stream.name].gain)
        paths = _felt_neurons(lowering, neurons) | _felt_channels(lowering, found, channels)
        return _joined(lowering.config, paths)

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        layers = {layer.name: layer for layer in lowering.weights.layers}
        wrong = set()
        for name, path in decision.items():
            places = path.neurons if isinstance(path, NeuronPath) else path.channels
            units = getattr(layers.get(name), "units", 0)
            if not all(0 <= place < units for place in places):
                wrong.add(name)
        return wrong


def _joined(config: EncoderConfig, paths: Mapping[str, Any]) -> dict[str, Any]:
    """The paths with those neurons and channels that any layer with the same weights has on its path,
    so that these part weights too are the same."""
    name_of = functools.partial(config.architecture.tensor_name, config)
    families: dict[str, list[Any]] = defaultdict(list)
    for name, path in paths.items():
        families[name_of(name)].append(path)
    return {name: _widened(path, families[name_of(name)]) for name, path in paths.items()}


def _widened(path: NeuronPath | ChannelPath, family: Sequence[Any]) -> NeuronPath | ChannelPath:
    if isinstance(path, NeuronPath):
        neurons = {neuron for item in family for neuron in item.neurons}
        return dataclasses.replace(path, neurons=sorted(neurons))
    ends = {end for item in family for end in zip(item.channels, item.factors, strict=True)}
    # As in `_path`, those above the limit come first.
    ordered = sorted(ends, key=lambda end: (end[1] < 0, end[0]))
    channels, factors = (list(part) for part in zip(*ordered, strict=True))
    return dataclasses.replace(path, channels=channels, factors=factors)


def is_normalised(encoder: Encoder, name: str) -> bool:
    """Whether a norm reads what the activation behind a dense layer puts out, and so all of it."""
    nodes = encoder.model.get_layer(f"{name}.act").outbound_nodes
    return any(isinstance(node.layer, LayerNorm) for node in nodes)


def _felt_neurons(
    lowering: Lowering, found: Mapping[str, tuple[tuple[float, float], NeuronPath | None]]
) -> dict[str, Any]:
    """The paths of those neurons whose error the answers feel, by the name of the layer.

    Args:
        found: what `_neuron_path` gives.
    """
    paths = {name: path for name, (_, path) in found.items() if path}
    gains = {}
    for name, path in paths.items():
        function, felt = lowering.plain.kinds[name].reader, lowering.felt
        assert function
        losses = []
        for ends, given in (found[name][0], None), ((path.low, path.high), path):
            error = _neuron_error(felt.values[name], function, ends, given)
            losses.append(felt.loss(felt.moved(f"{name}.act", error)))
        gains[name] = losses[0] - losses[1]
    kept = felt_most(gains)
    return {name: path for name, path in paths.items() if name in kept}


def _felt_channels(
    lowering: Lowering,
    found: Mapping[str, Residual],
    channels: Mapping[Stream, ChannelPath | None],
) -> dict[str, Any]:
    """The paths of those channels whose error the answers feel, by the name of the dense layer."""
    paths = {str(stream.dense): path for stream, path in channels.items() if path}
    gains = {}
    for stream, path in channels.items():
        if path:
            factors = np.asarray(lowering.decided[FACTORS][stream.name])
            gain = lowering.weights.get_layer(stream.norms[0]).gamma.numpy()
            without, with_path = (
                found[stream.name].loss(lowering.felt, stream, (factors, limit), gain)
                for limit in (None, path.limit)
            )
            gains[str(stream.dense)] = without - with_path
    kept = felt_most(gains)
    return {name: path for name, path in paths.items() if name in kept}


def _applied(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    return np.asarray(function(values.ravel())).reshape(values.shape)


def _neuron_error(
    values: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    ends: tuple[float, float],
    path: NeuronPath | None = None,
) -> np.ndarray:
    """The error of what an activation puts out, (n, neurons), where it reads `values`.

    Args:
        ends: the range of what it reads.
        path: what is above the range goes, if anything.
    """
    exact, high = _applied(function, values), ends[1]
    read = stepped(values, *ends)
    found = stepped(_applied(function, read), _least_output(function), high)
    if path:
        above = np.maximum(values[:, path.neurons] - high, 0)
        found[:, path.neurons] += stepped(above, 0.0, max(float(above.max()), 1e-6))
    return np.asarray(found - exact)


def _neuron_path(
    values: np.ndarray, tops: np.ndarray, function: Callable[[np.ndarray], np.ndarray]
) -> tuple[tuple[float, float], NeuronPath | None]:
    """The best range of what an activation reads without a path, and the path if one is worth it.

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

    plain = {(low, high): error(low, high, True) for low in lows for high in highs}
    usual = min(plain, key=plain.__getitem__)
    least, chosen = WORTHWHILE * plain[usual], None
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
    return usual, chosen


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
