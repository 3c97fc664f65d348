"""Builds the graph that a quantisation mode converts, with weights and ranges put in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import Clipping
from tfedge.errors import CheckpointError
from tfedge.models.blocks import NORMALISED, Blocks, GraphOptions, Pixels, SiteKind
from tfedge.models.build import Encoder, MakeBlocks, build, share_weights
from tfedge.models.checkpoint import Checkpoint, load_weights, parameters
from tfedge.models.layers import LayerNorm
from tfedge.progress import Progress, unheard
from tfedge.quantize import record
from tfedge.quantize.calibrate import Calibration, Observer, calibrate
from tfedge.quantize.coarsen import round_weights
from tfedge.quantize.edgetpu import GRAPHS
from tfedge.quantize.equalize import all_streams, scale_queries
from tfedge.quantize.fake_quant import GatedRounder, StaticRounder, clip, fake_quant_tap
from tfedge.quantize.felt import Felt, felt, input_of
from tfedge.quantize.integer import IntegerBlocks
from tfedge.quantize.mixed import MixedBlocks, Precision
from tfedge.quantize.modes import MOST_BITS
from tfedge.quantize.record import FILE, Decisions
from tfedge.quantize.rewrite import Decision, Rewrite
from tfedge.quantize.rounding import keep_constants, with_rounding
from tfedge.targets import INTEGER

# Forward passes over the calibration samples: the rewrites', and two for the ranges.
PASSES = 2 + sum(rewrite.passes for rewrite in record.REWRITES)


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is built: the task's head and the static shapes of the graphs."""

    task: str
    num_labels: int
    sequence_length: int  # tokens of the longest graph
    normalize: bool = True
    buckets: tuple[int, ...] = ()  # tokens of shorter ones with the same weights
    graph: str = INTEGER  # what integers compute with, a key of `tfedge.quantize.edgetpu.GRAPHS`
    pixels: Pixels = NORMALISED

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of every graph, the longest first: programs that know one graph take the first."""
        return (self.sequence_length, *sorted(self.buckets))

    def options(self, length: int | None = None, **changes: Any) -> GraphOptions:
        """The options of the static graph of `length` tokens, or of one for any batch and length,
        with `changes`."""
        batch_size = None if length is None else 1
        own = {"normalize": self.normalize, "pixels": self.pixels, "tied": False}
        return GraphOptions(batch_size, length, **{**own, **changes})

    def build(
        self, config: EncoderConfig, options: GraphOptions, make_blocks: MakeBlocks = Blocks
    ) -> Encoder:
        """The graph of an encoder with the task's head, with fresh weights."""
        return build(config, self.task, self.num_labels, options, make_blocks)

    def sites(self, config: EncoderConfig) -> dict[str, SiteKind]:
        """The operations for which a precision can be chosen, told before anything calibrates."""
        found = self.build(config, self.options(self.sequence_length)).sites
        keras.backend.clear_session()
        return found


def float_graphs(
    checkpoint: Checkpoint,
    shape: Shape,
    make_blocks: MakeBlocks = Blocks,
    query_factor: float = 1.0,
    **changes: Any,
) -> dict[int, keras.Model]:
    """The static graphs in float, by length, by default as trained, with `changes` of their options;
    raises CheckpointError where the weights do not fit."""
    graphs: dict[int, keras.Model] = {}
    for length in shape.lengths:
        encoder = shape.build(checkpoint.config, shape.options(length, **changes), make_blocks)
        if graphs:
            encoder.model.set_weights(graphs[shape.sequence_length].get_weights())
            share_weights(graphs[shape.sequence_length], encoder.model)
        else:
            load_weights(encoder.model, checkpoint, shape.task)
            scale_queries(encoder.model, encoder.kinds, query_factor)
        graphs[length] = encoder.model
    return graphs


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A checkpoint as a graph of integer operations, with the range of every tensor."""

    lowering: Lowering
    calibration: Calibration
    # What is added to the outputs of norms, (C,) by the name of the norm; chosen for one assignment
    # of precisions, see `tfedge.quantize.bias`.
    shifts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    weight_bits: float = MOST_BITS  # see `tfedge.quantize.coarsen`

    @property
    def shape(self) -> Shape:
        """What is built."""
        return self.lowering.shape

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

        All have the same ranges and with them the same integers for weights. `precisions` are those
        of the sites that compute in another one than int8.
        """
        longest = self._build(self.shape.sequence_length, precisions).model
        graphs = {self.shape.sequence_length: longest}
        for length in self.shape.buckets:
            graphs[length] = self._build(length, precisions).model
            share_weights(longest, graphs[length])
        return graphs

    def encoder(self, precisions: Mapping[str, Precision] | None = None) -> Encoder:
        """The longest graph, all in integers but for `precisions`."""
        return self._build(self.shape.sequence_length, precisions)

    def rounded(self, precisions: Mapping[str, Precision] | None = None) -> Encoder:
        """The graph for any batch and length, with its constants rounded."""
        encoder = self._build(None, precisions, with_rounding)
        keep_constants(encoder.model)
        return encoder

    def _build(
        self,
        length: int | None,
        precisions: Mapping[str, Precision] | None,
        change: Callable[[type[IntegerBlocks]], type[IntegerBlocks]] = lambda blocks: blocks,
    ) -> Encoder:
        ranges, given = self.calibration.ranges, dict[str, Any]()
        options, blocks = self.options(length), self.lowering.blocks
        if precisions:
            blocks = MixedBlocks
            given = {"precisions": precisions, "rounder": StaticRounder(ranges, precisions)}
        else:
            options = dataclasses.replace(options, tap=fake_quant_tap(ranges))
        encoder = self.lowering.build(options, change(blocks), **given)
        in_float = {site for site, kind in (precisions or {}).items() if kind == "float"}
        round_weights(encoder.model, self.weight_bits, in_float)
        for name, shift in self.shifts.items():
            encoder.model.get_layer(name).beta.assign_add(shift)
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
        options = self.shape.options(mask_value=self.calibration.mask_value)
        encoder = self.lowering.build(options, MixedBlocks, precisions={}, rounder=rounder)
        return encoder, rounder.gates

    def options(self, length: int | None = None) -> GraphOptions:
        """The options of the graph of `length` tokens, or of any batch and length."""
        prune = tasks.find(self.shape.task).reads_first_token_only(self.lowering.config)
        return self.shape.options(
            length, prune_last_layer=prune, mask_value=self.calibration.mask_value
        )


def prepare(
    checkpoint: Checkpoint,
    shape: Shape,
    samples: Sequence[np.ndarray],
    progress: Progress = unheard,
    decisions: Decisions | None = None,
    weight_bits: float = MOST_BITS,
) -> Prepared:
    """Turns a checkpoint into integer operations and chooses the range of every tensor.

    Raises CheckpointError where the weights or the decisions do not fit.

    Args:
        samples: what calibrates, as `tfedge.quantize.calibrate.Observer` takes it.
        progress: called with a number of samples whenever as many have run, `PASSES` times for each.
        decisions: what the weights were trained with; the samples then decide nothing.
    """
    lowering = Lowering(checkpoint, shape, samples, progress, decisions)
    if decisions is None:
        observer = Observer(lowering.dynamic, samples, progress)
        calibration = calibrate(observer, lowering.pre_norm)
    else:
        calibration = decisions.calibration
    return Prepared(lowering, calibration, weight_bits=weight_bits)


class Lowering:
    """A checkpoint as a graph of integer operations, in float.

    Attributes:
        streams: what of the encoder can only be scaled together.
        pre_norm: whether norms stand before attention and feed-forward network, and all read one
            stream.
        plain: the graph as trained, for any batch and length.
        weights: its model, from whose weights the others are made.
        decided: what each rewrite of the graph has decided, by its key.
        dynamic: the graph for any batch and length, with its weights.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        shape: Shape,
        samples: Sequence[np.ndarray],
        progress: Progress = unheard,
        decisions: Decisions | None = None,
    ) -> None:
        self.config = checkpoint.config
        self.shape = shape
        self.blocks = GRAPHS[shape.graph]
        self.plain = shape.build(self.config, shape.options())
        self.weights = self.plain.model
        built = {layer.name for layer in self.weights.layers}
        # Not what only a head would read that the task lacks.
        self.streams = [each for each in all_streams(self.config) if {*each.readers} <= built]
        self.pre_norm = any(len(stream.norms) > 1 for stream in self.streams)
        load_weights(self.weights, checkpoint, shape.task)
        self.decided: dict[str, Decision] = {}
        self._made: list[Rewrite] = []
        self._samples = samples
        for rewrite in record.REWRITES:
            if decisions is None:
                found = self._decided(rewrite, samples, progress)
            elif rewrite.key:
                found = decisions.rewrites[rewrite.key]
                _refuse(rewrite.key, rewrite.misfits(self, found))
            if rewrite.key:
                self.decided[rewrite.key] = found
            self._made.append(rewrite)
        vars(self).pop("felt", None)  # half a gigabyte of an encoder of base size
        self.dynamic = self.build_clipped(shape.options())
        if decisions is not None:
            _refuse("ranges", self.dynamic.kinds.keys() ^ decisions.calibration.ranges.keys())

    @functools.cached_property
    def felt(self) -> Felt:
        """What the answers of the graph as trained feel of errors: of what its layer norms and those
        activations put out that are functions of one tensor, and its streams' readers."""
        tapped, kinds = self.plain.tapped, self.plain.kinds
        activations = [name for name, kind in kinds.items() if kind.reader]
        readers = {name for stream in self.streams for name in stream.readers}
        readers = {name if name in tapped else f"{name}.act" for name in readers}
        norms = [layer.name for layer in self.weights.layers if isinstance(layer, LayerNorm)]
        dense = [stream.dense for stream in self.streams if stream.dense]
        slopes = {*norms, *(f"{name}.act" for name in activations), *readers}
        values = {name: tapped[name] for name in (*norms, *activations, *dense)}
        values |= {input_of(name): self.weights.get_layer(name).input for name in norms}
        return felt(self.plain, self._samples, values, {name: tapped[name] for name in slopes})

    def _decided(
        self, rewrite: Rewrite, samples: Sequence[np.ndarray], progress: Progress
    ) -> Decision:
        """What a rewrite decides; passes that it can do without count as run."""
        observers: list[Observer] = []

        def observe(encoder: Encoder) -> Observer:
            observers.append(Observer(encoder, samples, progress))
            return observers[-1]

        found = rewrite.decide(self, observe)
        for _ in range(rewrite.passes - len(observers)):
            progress(len(samples))
        return found

    def decisions(self, calibration: Calibration) -> Decisions:
        """All that has been decided, with the ranges."""
        return Decisions(self.shape.task, self.decided, calibration, self.shape.graph)

    def build_clipped(self, options: GraphOptions) -> Encoder:
        """The graph in float with the clipping that its plans need."""
        return self.build(dataclasses.replace(options, tap=clip))

    def build(
        self, options: GraphOptions, blocks: type[IntegerBlocks] | None = None, **given: Any
    ) -> Encoder:
        """The graph with its weights and all rewrites that are decided; `given` is what `blocks` take
        beside the decisions."""
        base = blocks or self.blocks
        # The last change comes first, as it is made to what the others have made.
        changes = [rewrite.blocks for rewrite in reversed(self._made) if rewrite.blocks]
        changed = type(base.__name__, (*changes, base), {})
        make = functools.partial(changed, decisions=self.decided, **given)
        encoder = self.shape.build(self.config, options, make)
        _copy_weights(self.weights, encoder.model)
        for rewrite in self._made:
            rewrite.apply(self, encoder, base)
        return encoder

    def unfold(self, model: keras.Model) -> keras.Model:
        """The plain graph with the weights of `model`, which `build` made, as they are in it."""
        shape = self.shape
        plain = shape.build(self.config, shape.options()).model
        _copy_weights(model, plain)
        for rewrite in reversed(self._made):
            rewrite.undo(self, plain, model)
        return plain


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies what both models have; layers of one alone are made by rewrites, which fill them."""
    variables = {parameter.name: parameter.variable for parameter in parameters(source)}
    for parameter in parameters(target):
        if parameter.name in variables:
            parameter.variable.assign(variables[parameter.name])


def _refuse(kind: str, names: Collection[str]) -> None:
    """Raises CheckpointError where any names are not as the graph has them."""
    if names:
        raise CheckpointError(
            f"{FILE} has other {kind} than the graph of this checkpoint: "
            f"{', '.join(sorted(names))[:300]}; "
            "delete it to calibrate the weights as they are, or repeat tfedge qad"
        )
