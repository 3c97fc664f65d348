"""Builds the graph that a quantisation mode converts, with weights and ranges put in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.kinds import GATE, QUERY, Clipping, Kind
from tfedge.errors import CheckpointError
from tfedge.models.blocks import NORMALISED, GraphOptions, Pixels
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, load_weights, parameters
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Calibration, Observer, calibrate
from tfedge.quantize.coarsen import MOST_BITS, round_weights
from tfedge.quantize.equalize import Factors, centre, channel_factors, equalize
from tfedge.quantize.fake_quant import GatedRounder, StaticRounder, clip, fake_quant_tap
from tfedge.quantize.graphs import GRAPHS, INTEGER
from tfedge.quantize.integer import IntegerBlocks, NormPlan
from tfedge.quantize.mixed import MixedBlocks, Precision, is_float
from tfedge.quantize.plan import norm_statistics
from tfedge.quantize.record import FILE, Decisions
from tfedge.quantize.rounding import RoundedMixedBlocks

# Forward passes over the calibration samples: the channels' peaks, the layer norms' variances, and
# two for the ranges.
PASSES = 4


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is built: the task's head and the static shapes of the graphs.

    Attributes:
        sequence_length: tokens of the longest graph.
        buckets: tokens of shorter ones with the same weights.
        pixels: what an image is made of, where the model reads images.
        graph: what integers compute with, a key of `tfedge.quantize.graphs.GRAPHS`.
    """

    task: str
    num_labels: int
    sequence_length: int
    normalize: bool = True
    buckets: tuple[int, ...] = ()
    graph: str = INTEGER
    pixels: Pixels = NORMALISED

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of every graph, the longest first: programs that know one graph take the first."""
        return (self.sequence_length, *sorted(self.buckets))

    def options(self, length: int | None = None, **changes: Any) -> GraphOptions:
        """The options of the static graph of `length` tokens, or of one for any batch and length,
        with `changes`."""
        batch_size = None if length is None else 1
        options = GraphOptions(batch_size, length, normalize=self.normalize, pixels=self.pixels)
        return dataclasses.replace(options, **changes)


def float_graphs(checkpoint: Checkpoint, shape: Shape) -> dict[int, keras.Model]:
    """The static graphs as trained, by length.

    Raises:
        CheckpointError: the weights do not fit.
    """
    graphs: dict[int, keras.Model] = {}
    for length in shape.lengths:
        options = shape.options(length)
        graphs[length] = build(checkpoint.config, shape.task, shape.num_labels, options).model
        if length == shape.sequence_length:
            load_weights(graphs[length], checkpoint, shape.task)
        else:
            graphs[length].set_weights(graphs[shape.sequence_length].get_weights())
    return graphs


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A checkpoint as a graph of integer operations, with the range of every tensor.

    Attributes:
        shifts: what is added to the outputs of norms, (C,) by the name of the norm; chosen for one
            assignment of precisions, see `tfedge.quantize.bias`.
        weight_bits: of the values that weights take, see `tfedge.quantize.coarsen`.
    """

    lowering: Lowering
    calibration: Calibration
    shape: Shape
    shifts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weight_bits: float = MOST_BITS

    @property
    def norms(self) -> list[str]:
        """The norms that may have a shift, in the order of the data's flow.

        All layer norms; of norms that do not normalise, of which MobileBERT has eight a layer, those
        that put out a hidden state.
        """
        encoder = self.lowering.dynamic
        names = [site for site, kind in encoder.sites.items() if kind == "norm"]
        if self.lowering.config.normalization_type == "layer_norm":
            return names
        states = {id(state) for state in encoder.hidden_states}
        return [name for name in names if id(encoder.tapped[name]) in states]

    def graphs(self, precisions: Mapping[str, Precision] | None = None) -> dict[int, keras.Model]:
        """The static graphs, by length, rounded as the integers of the converted model are.

        All have the same ranges and with them the same integers for weights.

        Args:
            precisions: of the sites that compute in another one than int8.
        """
        return {length: self._build(length, precisions).model for length in self.shape.lengths}

    def encoder(self) -> Encoder:
        """The longest graph, all in integers."""
        return self._build(self.shape.sequence_length, None)

    def _build(self, length: int, precisions: Mapping[str, Precision] | None) -> Encoder:
        encoder = (
            self._mixed(length, precisions, MixedBlocks) if precisions else self._integer(length)
        )
        for name, shift in self.shifts.items():
            encoder.model.get_layer(name).beta.assign_add(shift)
        return encoder

    def rounded(self, precisions: Mapping[str, Precision] | None = None) -> Encoder:
        """The graph for any batch and length with the rounding of constants in it, without shifts."""
        if precisions:
            return self._mixed(None, precisions, RoundedMixedBlocks)
        return self._integer(None, GRAPHS[self.shape.graph].rounded)

    def _integer(self, length: int | None, blocks: type[IntegerBlocks] | None = None) -> Encoder:
        tap = fake_quant_tap(self.calibration.ranges)
        encoder = self.lowering.build(self.options(length, tap=tap), blocks)
        round_weights(encoder.model, self.weight_bits)
        return encoder

    def _mixed(
        self, length: int | None, precisions: Mapping[str, Precision], blocks: type[MixedBlocks]
    ) -> Encoder:
        rounder = StaticRounder(self.calibration.ranges, lambda site: is_float(precisions, site))
        make = functools.partial(blocks, precisions=precisions, rounder=rounder)
        encoder = self.lowering.build(self.options(length), make)
        round_weights(encoder.model, self.weight_bits, lambda name: precisions.get(name) == "float")
        return encoder

    def references(self) -> dict[int, keras.Model]:
        """The same graphs in float, clipped but not rounded, by length: what the error of the
        integers is measured against."""
        return {
            length: self.lowering.build_clipped(self.options(length)).model
            for length in self.shape.lengths
        }

    def gated(self) -> tuple[Encoder, dict[str, tf.Variable]]:
        """The graph for any batch and length, and the switches of its sites' rounding."""
        kinds = self.lowering.dynamic.kinds
        clipped = {name for name, kind in kinds.items() if isinstance(kind, Clipping)}
        rounder = GatedRounder(self.calibration.ranges, clipped)
        blocks = functools.partial(MixedBlocks, precisions={}, rounder=rounder)
        options = self.shape.options(mask_value=self.calibration.mask_value)
        return self.lowering.build(options, blocks), rounder.gates

    def options(self, length: int | None = None, **changes: Any) -> GraphOptions:
        """The options of the graph of `length` tokens, or of any batch and length."""
        return self.shape.options(
            length,
            prune_last_layer=tasks.find(self.shape.task).reads_first_token_only(
                self.lowering.config
            ),
            mask_value=self.calibration.mask_value,
            **changes,
        )


def prepare(
    checkpoint: Checkpoint,
    shape: Shape,
    samples: Sequence[np.ndarray],
    progress: Callable[[int], None] = lambda count: None,
    decisions: Decisions | None = None,
    weight_bits: float = MOST_BITS,
) -> Prepared:
    """Turns a checkpoint into integer operations and chooses the range of every tensor.

    Args:
        samples: what calibrates, as `tfedge.quantize.calibrate.Observer` takes it.
        progress: called with a number of samples whenever as many have run, `PASSES` times for each.
        decisions: what the weights were trained with; the samples then decide nothing.
        weight_bits: of the values that weights take in the integer graphs.

    Raises:
        CheckpointError: the weights or the decisions do not fit.
    """
    lowering = Lowering(checkpoint, shape, samples, progress, decisions)
    if decisions is None:
        observer = Observer(lowering.dynamic, samples, progress)
        calibration = calibrate(observer, lowering.pre_norm)
    else:
        calibration = decisions.calibration
    return Prepared(lowering, calibration, shape, weight_bits=weight_bits)


class Lowering:
    """A checkpoint as a graph of integer operations, in float.

    Attributes:
        weights: the plain graph, from whose weights the others are made.
        factors: of equalisation, by the name of the stream.
        plans: how each layer norm is computed.
        dynamic: the graph for any batch and length, with its weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        shape: Shape,
        samples: Sequence[np.ndarray],
        progress: Callable[[int], None] = lambda count: None,
        decisions: Decisions | None = None,
    ) -> None:
        self.config = checkpoint.config
        self._shape = shape
        self._streams = self.config.architecture.streams(self.config)
        options = shape.options()
        plain = build(self.config, shape.task, shape.num_labels, options)
        load_weights(plain.model, checkpoint, shape.task)
        self.weights = plain.model
        self._queries = {name for name, kind in plain.kinds.items() if kind is QUERY}
        self.factors: Factors
        self.plans: Mapping[str, NormPlan] = {}
        if decisions is None:
            self._decide(plain, samples, progress)
            self.dynamic = self.build_clipped(options)
        else:
            self._check_norms(decisions)
            self.factors, self.plans = decisions.factors, decisions.plans
            self.dynamic = self.build_clipped(options)
            ranges = dict.fromkeys(decisions.calibration.ranges)
            wanted = dict.fromkeys(self.dynamic.kinds)
            _raise_difference("ranges", wanted, ranges)

    def _decide(
        self, plain: Encoder, samples: Sequence[np.ndarray], progress: Callable[[int], None]
    ) -> None:
        """Chooses factors and plans, and centres the weights, from what the samples show."""
        if self.config.normalization_type == "layer_norm":
            centre(plain.model, self._streams)
        self.factors = channel_factors(Observer(plain, samples, progress), self._streams)
        encoder = self.build(self._shape.options(), IntegerBlocks)
        statistics = norm_statistics(Observer(encoder, samples, progress))
        self._remove_means({name: found.mean for name, found in statistics.items()})
        self.plans = {name: found.plan() for name, found in statistics.items()}

    @property
    def pre_norm(self) -> bool:
        """Whether norms stand before attention and feed-forward network, and all read one stream."""
        return any(len(stream.norms) > 1 for stream in self._streams)

    def _check_norms(self, decisions: Decisions) -> None:
        """Raises CheckpointError where factors or plans are not those of this encoder's norms."""
        # Every stream begins or ends in a norm.
        norms = {stream.name: (*stream.norms, *stream.writers)[0] for stream in self._streams}
        sizes = {name: self.weights.get_layer(norm).gamma.shape[0] for name, norm in norms.items()}
        found = {stream: len(factor) for stream, factor in decisions.factors.items()}
        _raise_difference("factors", sizes, found)
        planned = [layer.name for layer in self.weights.layers if isinstance(layer, LayerNorm)]
        _raise_difference("plans", dict.fromkeys(planned), dict.fromkeys(decisions.plans))

    def _remove_means(self, means: Mapping[str, float]) -> None:
        """Moves the mean of all tokens, which layer norm takes out anyway, into a bias.

        In a stream of several norms nothing but dense layers adds up, which `centre` has left
        without a mean.
        """
        for stream in self._streams:
            if stream.dense is not None and stream.name in means:
                bias = self.weights.get_layer(stream.dense).bias
                bias.assign_sub(np.full(bias.shape, means[stream.name], np.float32))

    def build_clipped(self, options: GraphOptions) -> Encoder:
        """The graph in float with the clipping that its plans need."""
        return self.build(dataclasses.replace(options, tap=clip))

    def build(
        self, options: GraphOptions, make_blocks: Callable[..., IntegerBlocks] | None = None
    ) -> Encoder:
        """The graph with its weights; `options` decide shapes and taps."""
        shape = self._shape
        own = GRAPHS[shape.graph].blocks
        blocks = functools.partial(make_blocks or own, plans=self.plans)
        encoder = build(self.config, shape.task, shape.num_labels, options, blocks)
        _copy_weights(self.weights, encoder.model)
        # Statistics of norms are taken of the plain graph of integers; all others are `own`'s kin.
        kind = IntegerBlocks if make_blocks is IntegerBlocks else own
        self._scale_queries(encoder.model, self.config.head_size**-0.5 * kind.query_factor)
        self._scale_gates(encoder.model, encoder.kinds, kind.gate_factor)
        equalize(encoder.model, self._streams, self.factors)
        return encoder

    def unfold(self, model: keras.Model) -> keras.Model:
        """The plain graph with the weights of `model`, which `build` made, as they are in it."""
        shape = self._shape
        plain = build(self.config, shape.task, shape.num_labels, shape.options()).model
        _copy_weights(model, plain)
        inverses = {stream: 1 / factor for stream, factor in self.factors.items()}
        equalize(plain, self._streams, inverses)
        kind = GRAPHS[shape.graph].blocks
        self._scale_queries(plain, self.config.head_size**0.5 / kind.query_factor)
        self._scale_gates(plain, self.dynamic.kinds, 1 / kind.gate_factor)
        return plain

    def _scale_queries(self, model: keras.Model, factor: float) -> None:
        for layer in model.layers:
            if layer.name in self._queries:
                for variable in (layer.kernel, layer.bias):
                    variable.assign(variable * factor)

    def _scale_gates(self, model: keras.Model, kinds: Mapping[str, Kind], factor: float) -> None:
        """Makes what a GELU reads and gives larger by `factor`, the same for what comes after."""
        for stream in self._streams:
            if [kinds.get(reader) for reader in stream.readers] == [GATE]:
                before, after = (model.get_layer(name) for name in (*stream.readers, stream.dense))
                for variable in (before.kernel, before.bias):
                    variable.assign(variable * factor)
                after.kernel.assign(after.kernel / factor)


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    variables = {parameter.name: parameter.variable for parameter in parameters(source)}
    for parameter in parameters(target):
        parameter.variable.assign(variables[parameter.name])


def _raise_difference(
    kind: str, wanted: Mapping[str, int | None], found: Mapping[str, int | None]
) -> None:
    """Raises CheckpointError where names or sizes differ."""
    wrong = sorted({name for name, _ in wanted.items() ^ found.items()})
    if wrong:
        raise CheckpointError(
            f"{FILE} has other {kind} than the graph of this checkpoint: {', '.join(wrong)[:300]}; "
            "delete it to calibrate the weights as they are, or repeat tfedge qad"
        )
