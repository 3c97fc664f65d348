"""Evens out the channels of the residual stream, without changing what the model computes.

A few channels of a BERT's residual sums are tens of times larger than the rest, so one 8-bit scale
for the tensor leaves the others no resolution. Each stream x is carried as x / t instead, with one
factor a channel: t goes into the gains, biases and weights on either side, and a layer norm, which
is not linear, multiplies by t inside. The same idea as SmoothQuant (Xiao et al. 2023,
arXiv:2211.10438, equation 4) and Outlier Suppression+ (Wei et al. 2023, arXiv:2304.09145), along
the residual connections too.

Where norms stand before attention and feed-forward network (ViT), nothing divides the residual stream:
one vector serves all layers. What such a norm puts out is a stream of its own, whose factors cost
nothing (RepQ-ViT, Li et al. 2023, arXiv:2212.08254, section 3.2). So do the factors of a gate: what
activations are multiplied by comes divided by them, and with it the product, a factor a neuron.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import tf_keras as keras
from annotated_types import Le
from pydantic import AfterValidator, PlainSerializer

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import QUERY, Gate, Kind
from tfedge.architectures.parts import Stream, families
from tfedge.models.build import Encoder
from tfedge.models.checkpoint import layer_parameters
from tfedge.models.layers import LayerNorm, NoNorm
from tfedge.models.places import TokenTable
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.felt import Felt, felt_most
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.layers import STRENGTH, STRONGER, NormConstant
from tfedge.quantize.residuals import (
    LIMITS,
    WORTHWHILE,
    Residual,
    allows,
    limit_of,
    pooled,
    reading_error,
    residuals,
)
from tfedge.quantize.rewrite import LARGEST_NUMBER, Decision, Rewrite

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

# The decisions about streams: factors (C,) by the name of each.
FACTORS = "factors"
_PRUNED = 0.02  # share of zeros

Factors = Mapping[str, np.ndarray]


def centre(model: keras.Model, streams: Collection[Stream]) -> None:
    """Takes out of all that is added up before a layer norm what the layer norm takes out anyway.

    Layer norm subtracts each token's mean over the channels, so every table row and every output of
    a dense layer may have mean 0. What is left is the mean of a norm's output in the sum, and of
    weights that were pruned, which would not stay zero; and of streams of which a norm reads several
    tokens at once, which takes out the mean of all alone. The outputs of `model` stay.
    """
    centred = [stream for stream in streams if stream.norms and stream.abreast == 1]
    for name in {name for stream in centred for name in _only_added(stream)}:
        layer = model.get_layer(name)
        if isinstance(layer, NoNorm):
            continue  # the mean of a token's channels is none of its gains
        # Of positions, those of registers are zero, and were never pruned.
        is_whole = isinstance(layer, TokenTable)
        for parameter in layer_parameters(layer):
            if not is_pruned(value := parameter.variable.numpy()) or is_whole:
                parameter.variable.assign(value - value.mean(axis=-1, keepdims=True))


def _only_added(stream: Stream) -> tuple[str, ...]:
    """The writers whose outputs nothing reads but the sums: not the one that a residual connection
    starts from."""
    return stream.writers[1:] if stream.dense else stream.writers


def is_pruned(value: np.ndarray) -> bool:
    """Whether more of a matrix is exactly zero than chance or a few empty rows of a table make."""
    return value.ndim > 1 and np.mean(value == 0) > _PRUNED


@dataclasses.dataclass(frozen=True)
class Ends:
    """The layers at the ends of a residual stream.

    Attributes:
        gain: of the norm behind it, (C,).
        kernels: of the dense layers that read what is carried, (C, units) each.
    """

    gain: np.ndarray
    kernels: list[np.ndarray]


def channel_factors(
    observer: Observer,
    streams: Collection[Stream],
    ends: Mapping[str, Ends] = MappingProxyType({}),
    strengths: tuple[float, ...] = (STRENGTH,),
    felt: Callable[[], Felt] | None = None,
) -> dict[str, np.ndarray]:
    """The factors t (C,) by which each stream of the observed model comes divided, by its name; those
    of a family all by the same.

    They are a power of the peaks of the channels. For streams with `ends` the power is the one of
    least error; and where that makes the error much smaller, and the answers feel it, the peaks are
    those that are left when a path of its own carries what is far beyond others
    (`tfedge.quantize.excess`).

    Args:
        ends: by the name of a stream; what `stream_ends` gives.
        strengths: powers to choose from; the first one is that of all other streams.
        felt: what answers feel; wanted where there are ends.
    """
    tensors_of = {item.name: (*item.writers, *item.totals, *item.products) for item in streams}
    peaks: dict[str, np.ndarray] = {}

    def watched() -> Iterator[Mapping[str, np.ndarray]]:
        for tensors in observer.tensors():
            for name in {name for names in tensors_of.values() for name in names}:
                peak = np.abs(tensors[name]).max(axis=tuple(range(tensors[name].ndim - 1)))
                peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
            yield tensors

    found = residuals(watched(), [stream for stream in streams if stream.name in ends])
    factors, cut, gains = {}, dict[str, np.ndarray](), dict[str, float]()
    for family in families(streams):
        stream = family[0]
        name, alike = stream.name, zip(*(tensors_of[each.name] for each in family), strict=True)
        tops = {names[0]: np.max([peaks[part] for part in names], axis=0) for names in alike}
        if name not in found:
            factors[name] = evenness(tops) ** strengths[0]
            continue
        together = pooled([found[each.name] for each in family])
        plain, path = _best(stream, tops, together, ends[name], strengths)
        factors[name] = plain.factors
        if path is not None and felt is not None:
            losses = [
                sum(
                    found[each.name].loss(felt(), each, item.scales, ends[each.name].gain)
                    for each in family
                )
                for item in (plain, path)
            ]
            cut[name], gains[name] = path.factors, losses[0] - losses[1]
    factors |= {name: cut[name] for name in felt_most(gains)}
    return {each.name: factors[family[0].name] for family in families(streams) for each in family}


def all_streams(config: EncoderConfig) -> list[Stream]:
    """The streams of an encoder, and the values of each attention: what is added up of them, by shares
    that are the same for all channels of a head, is read by one dense layer. Where layers share their
    weights, with the families of the streams."""
    parts = map(config.architecture.parts.of_layer, range(config.num_hidden_layers))
    values = [
        Stream(names.value, (names.value,), readers=(names.attention_output,)) for names in parts
    ]
    streams = [*config.architecture.streams(config), *values]
    if not config.architecture.shares_weights(config):
        return streams
    return [dataclasses.replace(stream, family=_family(config, stream)) for stream in streams]


def _family(config: EncoderConfig, stream: Stream) -> str:
    """The tensors of its dense layers: what is folded into one is folded into the other."""
    dense = (*stream.readers, *([stream.dense] if stream.dense else []))
    return " ".join(config.architecture.tensor_name(config, name) for name in dense)


def evenness(tops: Mapping[str, np.ndarray]) -> np.ndarray:
    """By how much each channel is above the others, (C,), in the tensor where that is most.

    Args:
        tops: largest absolute values, (C,) each.
    """
    return np.max([_relative(top) for top in tops.values()], axis=0)


class Try(NamedTuple):
    """Factors of a stream, and what its norm and the readers of what is carried lose by rounding."""

    factors: np.ndarray
    limit: float | None
    error: float
    reading: float

    @property
    def scales(self) -> tuple[np.ndarray, float | None]:
        """The factors, and the limit where there is a path."""
        return self.factors, self.limit

    @property
    def whole(self) -> float:
        """Both together."""
        return self.error + self.reading


def _best(
    stream: Stream,
    tops: Mapping[str, np.ndarray],
    residual: Residual,
    ends: Ends,
    strengths: tuple[float, ...],
) -> tuple[Try, Try | None]:
    """What has least error without a path and, where that is much less, with one."""
    dense, carried = str(stream.dense), residual.carried
    own_error = reading_error(ends.kernels, carried, evenness({"": np.abs(carried).max(0)}) ** 0.5)

    @functools.cache
    def tried(cut: float, strength: float, normalised: bool = False) -> Try:
        cut_tops = dict(tops) | {dense: np.minimum(tops[dense], cut)}
        cut_tops[stream.totals[0]] = residual.peaks[cut]
        if normalised:  # has its largest values in other channels than the sum
            cut_tops[stream.norms[0]] = residual.normalised[cut]
        factors = evenness(cut_tops) ** strength
        limit = limit_of(residual, factors, cut) if cut < np.inf else None
        if limit is not None and not allows(residual, limit * factors):
            return Try(factors, limit, np.inf, np.inf)
        error = residual.error(factors, ends.gain, limit)
        return Try(factors, limit, error, reading_error(ends.kernels, carried, factors))

    def least(cut: float) -> float:
        return min(tried(cut, strength).whole for strength in strengths)

    stronger = STRONGER if len(strengths) > 1 else ()
    powers = [*itertools.product((*strengths, *stronger), (False, True))]

    def best(cut: float) -> Try:
        tries = [tried(cut, *power) for power in powers]
        return min(tries, key=lambda item: item.error + min(item.reading, own_error))

    cut = min(LIMITS, key=least)
    return best(np.inf), best(cut) if least(cut) < WORTHWHILE * least(np.inf) else None


def _relative(peak: np.ndarray) -> np.ndarray:
    """Each channel's peak in units of their geometric mean; ones for a tensor that is all zero."""
    safe = np.maximum(peak, max(1e-6 * peak.max(), np.finfo(np.float32).tiny))
    return safe / np.exp(np.log(safe).mean())


def stream_ends(model: keras.Model, streams: Collection[Stream]) -> dict[str, Ends]:
    """The ends of the streams that a dense layer writes and a layer norm reads, by their names."""
    found = {}
    for stream in streams:
        norm = model.get_layer(stream.norms[0]) if stream.dense else None
        if isinstance(norm, LayerNorm):
            kernels = [model.get_layer(reader).kernel.numpy() for reader in stream.readers]
            found[stream.name] = Ends(norm.gamma.numpy(), kernels)
    return found


def equalize(model: keras.Model, streams: Collection[Stream], factors: Factors) -> None:
    """Folds the factors of `channel_factors` into the weights of `model`.

    The inverses of the factors take them out again, of a plain graph too.
    """
    read_by_norms: dict[str, np.ndarray] = {}
    for stream in streams:
        factor = factors[stream.name]
        # Keras keeps kernels as (in, out): factors of outputs broadcast, of inputs need an axis.
        for writer in stream.writers:
            for parameter in layer_parameters(model.get_layer(writer)):
                _multiply(parameter.variable, 1 / factor)
        for reader in stream.readers:
            _multiply(model.get_layer(reader).kernel, factor[:, None])
        for norm in stream.norms:
            gamma = model.get_layer(norm).gamma
            read_by_norms[norm] = np.tile(factor, gamma.shape[0] // len(factor))
            _multiply(gamma, read_by_norms[norm])
    for layer in model.layers:
        if isinstance(layer, NormConstant):
            factor = read_by_norms.get(layer.norm, np.ones(layer.channels))
            layer.vector.assign(layer.constant_of(factor))


def scale_queries(model: keras.Model, kinds: Mapping[str, Kind], factor: float) -> None:
    """Makes all queries larger by `factor`."""
    for name in (name for name, kind in kinds.items() if kind is QUERY):
        _scale(model.get_layer(name), factor)


def _scale(layer: keras.layers.Dense, factor: float) -> None:
    for variable in (layer.kernel, layer.bias):
        if variable is not None:
            _multiply(variable, factor)


def _multiply(variable: keras.Variable, factor: np.ndarray | float) -> None:
    variable.assign(variable.numpy() * factor)


class Centring(Rewrite):
    """Takes means out of the weights before anything else is looked at."""

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        if lowering.config.normalization_type == "layer_norm":
            centre(lowering.weights, lowering.streams)
        return {}


class Scales(Rewrite):
    """The queries hold 1 / the root of the head's size, and what else the blocks say."""

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        factor = lowering.config.query_scale * blocks.query_factor
        scale_queries(encoder.model, encoder.kinds, factor)
        _scale_gates(lowering, encoder.model, encoder.kinds, blocks.gate_factor(lowering.config))

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        kinds, blocks = lowering.dynamic.kinds, lowering.blocks
        scale_queries(plain, kinds, 1 / (lowering.config.query_scale * blocks.query_factor))
        _scale_gates(lowering, plain, kinds, 1 / blocks.gate_factor(lowering.config))


def _scale_gates(
    lowering: Lowering, model: keras.Model, kinds: Mapping[str, Kind], factor: float
) -> None:
    """Makes what a GELU reads and gives larger by `factor`, the same for what comes after."""
    if factor == 1.0:
        return
    for stream in lowering.streams:
        if [isinstance(kinds.get(reader), Gate) for reader in stream.readers] == [True]:
            before, after = (model.get_layer(name) for name in (*stream.readers, stream.dense))
            _scale(before, factor)
            after.kernel.assign(after.kernel / factor)


def _checked(values: list[float]) -> np.ndarray:
    factors = np.array(values, np.float32)
    if not factors.size or not (factors >= np.finfo(np.float32).tiny).all():
        raise ValueError("factors must be above 0")
    return factors


class Equalisation(Rewrite):
    """Divides each stream by factors, (C,) by its name."""

    key = FACTORS
    value = Annotated[
        list[Annotated[float, Le(LARGEST_NUMBER)]],
        AfterValidator(_checked),
        PlainSerializer(np.ndarray.tolist),
    ]
    passes = 1

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        ends = stream_ends(lowering.weights, lowering.streams)
        strengths = lowering.blocks.strengths
        observer = observe(lowering.plain)
        return channel_factors(observer, lowering.streams, ends, strengths, lambda: lowering.felt)

    def apply(self, lowering: Lowering, encoder: Encoder, blocks: type[IntegerBlocks]) -> None:
        equalize(encoder.model, lowering.streams, lowering.decided[self.key])

    def undo(self, lowering: Lowering, plain: keras.Model, model: keras.Model) -> None:
        factors = lowering.decided[self.key].items()
        equalize(plain, lowering.streams, {stream: 1 / factor for stream, factor in factors})

    def misfits(self, lowering: Lowering, decision: Decision) -> set[str]:
        sizes = {}
        for stream in lowering.streams:
            layer = lowering.weights.get_layer((*stream.norms, *stream.writers)[0])
            is_dense = isinstance(layer, keras.layers.Dense)
            sizes[stream.name] = layer.units if is_dense else layer.gamma.shape[0]
        found = {stream: len(factor) for stream, factor in decision.items()}
        return {name for name, _ in sizes.items() ^ found.items()}
