"""Rounds the weights of an encoder's layers so that their products change least (GPTQ).

Factors that even out what dense layers read make the weights uneven, and one scale an output channel
then leaves small ones little. Where nothing is so far beyond all else that it needs a path of its own
(`tfedge.quantize.excess`), they are even enough, and the converter rounds them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfedge.models.build import Encoder
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import FACTORS
from tfedge.quantize.excess import PATHS
from tfedge.quantize.reads import READS
from tfedge.quantize.rewrite import Decision, Rewrite
from tfedge.quantize.weights import gptq, largest_integer

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

_BITS = 8
_TINY = 1e-30
_ROWS_AT_ONCE = 1024


class Compensation(Rewrite):
    """Puts weights on the steps that the converter will find for them."""

    passes = 1

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        if not lowering.decided[PATHS]:
            return {}
        encoder = lowering.build_clipped(lowering.shape.options())
        sites = dict(_sites(lowering))
        inputs = {readers[0]: encoder.model.get_layer(readers[0]).input for readers in sites}
        grams = _grams(observe(dataclasses.replace(encoder, tapped=inputs)).tensors())
        name_of = functools.partial(lowering.config.architecture.tensor_name, lowering.config)
        alike: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for readers in sites:
            alike[name_of(readers[0])].append(readers)
        for family in alike.values():
            first, factors = family[0], sites[family[0]]
            gram = np.sum([grams[readers[0]] for readers in family], axis=0)
            for place, reader in enumerate(first):
                folded = encoder.model.get_layer(reader).kernel.numpy()
                kernel = lowering.weights.get_layer(reader).kernel
                scaled = kernel.numpy() * factors[..., None]
                # Outputs come divided by factors too, and those of queries and gates hold another.
                unit = np.sum(folded * scaled, 0) / np.maximum(np.sum(scaled**2, 0), _TINY)
                found = rounded(folded, gram) / np.where(unit, unit, 1.0) / factors[..., None]
                for readers in family:
                    lowering.weights.get_layer(readers[place]).kernel.assign(found)
        return {}


def _grams(batches: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The sum of x x^T over all rows x of each tensor, (C, C) by name."""
    found: dict[str, np.ndarray] = {}
    waiting: dict[str, list[np.ndarray]] = defaultdict(list)

    def add(name: str) -> None:
        rows = np.concatenate(waiting.pop(name))
        found[name] = found.get(name, 0.0) + rows.T @ rows

    for tensors in batches:
        for name, value in tensors.items():
            waiting[name].append(value.reshape(-1, value.shape[-1]))
            # Of a few rows the product is small work beside adding it up.
            if sum(map(len, waiting[name])) >= _ROWS_AT_ONCE:
                add(name)
    for name in [*waiting]:
        add(name)
    return found


def _sites(lowering: Lowering) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """The dense layers that read one tensor, and what it comes divided by, (C,) or ()."""
    shared, own = lowering.decided[FACTORS], lowering.decided[READS]
    for stream in lowering.streams:
        if stream.readers:
            yield stream.readers, np.asarray(own.get(stream.name, shared[stream.name]))
    parts, count = lowering.config.architecture.parts, lowering.config.num_hidden_layers
    gated = {reader for stream in lowering.streams for reader in stream.readers}
    for names in map(parts.of_layer, range(count)):
        if names.ffn_output not in gated:
            yield (names.ffn_output,), np.ones(())


def rounded(kernel: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """A kernel (C, units) on the steps of 8 bits with one scale a unit.

    Args:
        gram: of what it is multiplied with, (C, C).
    """
    rows = gptq(kernel.T, gram, _BITS)
    integers, top = rows.integers.astype(np.float32), largest_integer(_BITS)
    # The converter takes the largest of each row for 127.
    largest = np.abs(integers).argmax(axis=1)
    units = np.arange(len(integers))
    integers[units, largest] = top * np.sign(integers[units, largest])
    return (integers * rows.scales[:, None]).T
