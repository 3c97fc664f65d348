"""What magnitude pruning makes zero, in which pattern, and at which steps of a run."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import tensorflow_model_optimization as tfmot
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import InputError

SCHEDULES = ("polynomial", "constant")
# Without --frequency, masks are renewed as often as this before the schedule ends.
_RENEWALS = 20
# Without --end-step, what is left of the run after the last renewal is for recovery.
_RECOVERY = 0.25
# What gives the answers; a few thousand weights.
_HEADS = ("classifier", "qa_outputs")


@dataclasses.dataclass(frozen=True)
class PruningOptions:
    """What is pruned, how far and when."""

    # Share of the weights of each pruned layer that are zero in the end, 0..1.
    sparsity: float = 0.5
    # Names of layers, or patterns of names as in a shell, with a sparsity of their own behind `=` and
    # a pattern of their own behind `/` (`*.dense=0.8/4x1`) or without; a later one overrules an
    # earlier one. None prunes every dense layer but the head's last.
    layers: tuple[str, ...] | None = None
    # `none` takes single weights; `2:4` two of any four inputs of an output that lie side by side;
    # `4x1` blocks of 4 inputs x 1 output, by their mean magnitude.
    pattern: str = "none"
    # `polynomial` raises the sparsity by a cubic from `initial_sparsity` (Zhu and Gupta 2017,
    # arXiv:1710.01878, equation 1), `constant` prunes to the end at once.
    schedule: str = "polynomial"
    initial_sparsity: float = 0.0
    # The first and the last step that may prune; the run's steps count from 1. By default from the
    # start to three quarters of the run.
    begin_step: int | None = None
    end_step: int | None = None
    frequency: int | None = None  # steps between two prunings; by default there are 20

    def __post_init__(self) -> None:
        for name in ("sparsity", "initial_sparsity"):
            _check_sparsity(name, getattr(self, name))
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise InputError(f"unknown schedule {self.schedule!r}; known are {known}")
        if self.initial_sparsity and self.schedule != "polynomial":
            raise InputError("initial_sparsity belongs to the polynomial schedule")
        m_by_n, _ = parse_pattern(self.pattern)
        if m_by_n:
            self._check_m_by_n(m_by_n)

    def _check_m_by_n(self, m_by_n: tuple[int, int]) -> None:
        share = m_by_n[0] / m_by_n[1]
        own = any(mark in layer for layer in self.layers or () for mark in "=/")
        if self.sparsity != share or own:
            raise InputError(
                f"the pattern {self.pattern} makes {share} of every layer zero; give that as the "
                f"sparsity, not {self.sparsity}, and no layer a sparsity or pattern of its own"
            )
        timing = (self.begin_step, self.end_step, self.frequency)
        if any(step is not None for step in timing) or self.initial_sparsity:
            raise InputError(
                f"the pattern {self.pattern} is chosen once, at the first step; leave out "
                "initial_sparsity, begin_step, end_step and frequency"
            )


def _check_sparsity(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}; it is a share of the weights, 0 to below 1")


def parse_pattern(pattern: str) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """`M:N`, `INPUTSxOUTPUTS` or `none` -> (zeros, of how many) or None, and the size of a block.

    Raises InputError for anything else.
    """
    if pattern == "none":
        return None, (1, 1)
    if found := re.fullmatch(r"([1-9]\d?):([1-9]\d?)", pattern, re.ASCII):
        zeros, of = map(int, found.groups())
        if zeros < of:
            return (zeros, of), (1, 1)
    if found := re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", pattern, re.ASCII):
        inputs, outputs = map(int, found.groups())
        return None, (inputs, outputs)
    raise InputError(
        f"unknown pattern {pattern!r}; give none, M:N for M zeros of N weights (2:4), or blocks of "
        "INPUTSxOUTPUTS (4x1)"
    )


class LayerPruning(NamedTuple):
    """How far one layer is pruned, and in which pattern."""

    sparsity: float
    pattern: str


def choose_layers(model: keras.Model, options: PruningOptions) -> dict[str, LayerPruning]:
    """The layers to prune, each with how it is, in the order of the model.

    Tables of embeddings only where they are named: a text reads few of their rows, so what is lost
    in the others no training brings back. Raises InputError for a name that matches no layer, an
    unknown sparsity or pattern, or a table with a pattern of M:N.
    """
    kinds = {
        layer.name: type(layer)
        for layer in model.layers
        if isinstance(layer, (keras.layers.Dense, keras.layers.Embedding))
    }
    dense = [name for name, kind in kinds.items() if issubclass(kind, keras.layers.Dense)]
    default = LayerPruning(options.sparsity, options.pattern)
    chosen = dict.fromkeys((name for name in dense if name not in _HEADS), default)
    if options.layers is not None:
        chosen = {}
        for layer in options.layers:
            chosen.update(_matches(layer, list(kinds), default))
    tables = [name for name in chosen if name not in dense]
    if tables and parse_pattern(options.pattern)[0]:
        raise InputError(
            f"{', '.join(tables)} cannot have the pattern {options.pattern}, which only matrix "
            "products can; leave the tables out, or prune them in a run of their own"
        )
    return {name: chosen[name] for name in kinds if name in chosen}


def one_of_each(
    chosen: Mapping[str, LayerPruning], config: EncoderConfig
) -> dict[str, LayerPruning]:
    """Of layers that share their weights the first, which stands for all; raises InputError where they
    would be pruned in different ways."""
    found: dict[str, tuple[str, LayerPruning]] = {}
    for name, how in chosen.items():
        first, as_first = found.setdefault(
            config.architecture.tensor_name(config, name), (name, how)
        )
        if how != as_first:
            raise InputError(
                f"{first} and {name} share their weights, which cannot be {as_first.sparsity:g} and "
                f"{how.sparsity:g} zero in the patterns {as_first.pattern} and {how.pattern}; give "
                "both the same"
            )
    return dict(found.values())


def _matches(layer: str, names: Sequence[str], default: LayerPruning) -> dict[str, LayerPruning]:
    """The layers that `NAME[=SPARSITY][/PATTERN]` means."""
    layer, slash, pattern = layer.partition("/")
    name, equals, value = layer.partition("=")
    sparsity = default.sparsity
    if equals:
        try:
            sparsity = float(value)
        except ValueError:
            sparsity = float("nan")
        _check_sparsity(f"the sparsity of {name}", sparsity)
    if slash and parse_pattern(pattern)[0]:
        raise InputError(
            f"{pattern} is a pattern of all layers; {name} may have none or blocks (4x1)"
        )
    one = LayerPruning(sparsity, pattern if slash else default.pattern)
    found = dict.fromkeys((each for each in names if fnmatchcase(each, name)), one)
    if not found:
        raise InputError(f"no layer is called {name!r}; its layers are {', '.join(names)}")
    return found


@dataclasses.dataclass(frozen=True)
class Timing:
    """The steps of a run that prune: `begin`, `begin + frequency`, ... not after `end`."""

    begin: int
    end: int
    frequency: int

    def fires(self, steps: int) -> range:
        """The steps at which tfmot renews its masks in a run of `steps`, which count from 1."""
        # Step 0, where a schedule may begin, is before the first one of a run.
        first = self.begin if self.begin > 0 else self.frequency
        return range(first, min(self.end, steps) + 1, self.frequency)


def timing(options: PruningOptions, steps: int) -> Timing:
    """When a run of `steps` prunes; raises InputError for never, or for less than was asked."""
    begin = 1 if options.begin_step is None else options.begin_step
    last = options.end_step
    if last is None:
        last = max(begin, round((1 - _RECOVERY) * steps))
    frequency = options.frequency
    if frequency is None:
        frequency = max(1, (last - begin) // _RENEWALS)
    # So that the last pruning is the schedule's end.
    if options.end_step is None:
        last -= (last - begin) % frequency
    elif options.begin_step is None and 0 < frequency <= last - begin:
        begin += (last - begin) % frequency
    if begin < 0 or frequency < 1 or last < begin:
        raise InputError(
            f"no schedule prunes from step {begin} to {last} every {frequency} steps; begin_step "
            "must not be negative, frequency at least 1 and end_step not before begin_step"
        )
    found = Timing(begin, last, frequency)
    fires = found.fires(steps)
    when = f"every {frequency} steps from step {begin} to {last}"
    if not fires:
        raise InputError(
            f"the schedule would never prune: it does {when}, and the run has {steps} steps; "
            "lower begin_step or frequency, or train longer"
        )
    if options.schedule == "polynomial" and fires[-1] != last:
        raise InputError(
            f"the schedule would not reach its sparsity: it prunes {when}, last at step "
            f"{fires[-1]} of a run of {steps}; the sparsity is only whole at end_step, which must "
            "lie within the run, a multiple of frequency after begin_step"
        )
    return found


def wrap(
    model: keras.Model, chosen: Mapping[str, LayerPruning], options: PruningOptions, when: Timing
) -> keras.Model:
    """`model` with tfmot's wrapper around the chosen layers; both have the same variables."""

    def wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in chosen:
            return layer
        how = chosen[layer.name]
        m_by_n, (inputs, outputs) = parse_pattern(how.pattern)
        # What lies side by side in a file: a kernel's inputs, a row's channels. Keras has kernels
        # of inputs x outputs, which a .tflite has turned, and tables as a .tflite has them.
        is_table = isinstance(layer, keras.layers.Embedding)
        block = (outputs, inputs) if is_table else (inputs, outputs)
        # float32, whatever the layer computes in: a wrapper multiplies weights by their mask in its
        # own type, and would round them to bfloat16 in each step.
        schedule = _schedule(how.sparsity, options, when)
        return tfmot.sparsity.keras.prune_low_magnitude(
            layer, schedule, block, "AVG", None, m_by_n, dtype="float32"
        )

    return keras.models.clone_model(model, clone_function=wrapped)


def _schedule(
    sparsity: float, options: PruningOptions, when: Timing
) -> tfmot.sparsity.keras.PruningSchedule:
    steps = {"begin_step": when.begin, "end_step": when.end, "frequency": when.frequency}
    if options.schedule == "constant" or when.begin == when.end:
        return tfmot.sparsity.keras.ConstantSparsity(sparsity, **steps)
    return tfmot.sparsity.keras.PolynomialDecay(options.initial_sparsity, sparsity, **steps)
