"""Rounds the weights that scales were folded into so that their products change least (GPTQ).

Factors that even out what dense layers read make the weights uneven, and one scale an output channel
then leaves small ones little. Where nothing is so far beyond all else that it needs a path of its own
(`tfedge.quantize.excess`), they are even enough, and the converter rounds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tfedge.models.build import Encoder
from tfedge.models.layers import LayerNorm
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import FACTORS
from tfedge.quantize.excess import PATHS
from tfedge.quantize.reads import READS, read_name
from tfedge.quantize.rewrite import Decision, Rewrite
from tfedge.quantize.weights import gptq, largest_integer

if TYPE_CHECKING:
    from tfedge.quantize.prepare import Lowering

_BITS = 8


class Compensation(Rewrite):
    """Puts weights on the steps that the converter will find for them."""

    passes = 1

    def decide(self, lowering: Lowering, observe: Callable[[Encoder], Observer]) -> Decision:
        if not lowering.decided[PATHS]:
            return {}
        encoder = lowering.build_clipped(lowering.shape.options())
        read = {stream.writers[0]: stream for stream in lowering.streams if stream.readers}
        norms = [name for name in read if isinstance(lowering.weights.get_layer(name), LayerNorm)]
        own = lowering.decided[READS]
        sites = {name: read_name(name) if read[name].name in own else name for name in norms}
        grams: dict[str, np.ndarray] = {}
        for tensors in observe(encoder).tensors():
            for name, site in sites.items():
                rows = tensors[site].reshape(-1, tensors[site].shape[-1])
                grams[name] = grams.get(name, 0.0) + rows.T @ rows
        for name, gram in grams.items():
            stream = read[name].name
            factors = np.asarray(own.get(stream, lowering.decided[FACTORS][stream]))
            for reader in read[name].readers:
                folded = encoder.model.get_layer(reader).kernel.numpy()
                kernel = lowering.weights.get_layer(reader).kernel
                scaled = kernel.numpy() * factors[:, None]
                # Queries and gates hold another factor.
                common = np.vdot(folded, scaled) / np.vdot(scaled, scaled)
                kernel.assign(rounded(folded, gram) / (common * factors[:, None]))
        return {}


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
