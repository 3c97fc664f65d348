"""Runs a float model over calibration texts and chooses the range of every activation."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import tf_keras as keras

from tfedge.architectures.kinds import MASK, Like, Scores, Seen
from tfedge.data.batches import batches_of_equals
from tfedge.models.build import Encoder, traced
from tfedge.progress import Progress, unheard
from tfedge.quantize.ranges import Histogram, Range, mse_range, weight_range

# What a range clips is missing in all later layers where norms stand before attention and feed-forward
# network, as nothing divides the residual stream, and errs to one side, while rounding evens out.
# Chosen on DINOv2 (docs/vision.md), where 1, 4 and 16 leave the logits 7.8, 9.4 and 8.9 dB above the
# error. Behind norms it makes no difference: tinybert has 26.8, 27.0 and 26.7 dB.
PRE_NORM_CLIPPING_WEIGHT = 4.0


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The range of each tapped tensor by name, and what is to be added to the scores of padding."""

    ranges: dict[str, Range]
    mask_value: float


class Observer:
    """Runs texts or images through a float model and gives out every tapped tensor.

    Args:
        encoder: what to run; built with `sequence_length=None` and with its weights.
        samples: token ids of the calibration texts, int32 (n,) each, or pixels of images, uint8
            (height, width, 3) each. Texts are run without padding, so what padding computes has no
            say.
        progress: called with a number of samples whenever as many have run.
    """

    def __init__(
        self, encoder: Encoder, samples: Sequence[np.ndarray], progress: Progress = unheard
    ) -> None:
        self.model = encoder.model
        self.kinds = encoder.kinds
        names = tuple(self.model.input_names)
        # A text of which nothing is left has no tensors.
        own = [sample for sample in samples if len(sample)]
        self._batches = [batch for _, batch in batches_of_equals(own, names)]
        self._run = traced(keras.Model(encoder.model.input, encoder.tapped), encoder.model.input)
        self._progress = progress

    def tensors(self) -> Iterator[dict[str, np.ndarray]]:
        """The tapped tensors by name, batch after batch."""
        for batch in self._batches:
            # Without the copy that numpy() of a tensor makes.
            yield {name: np.asarray(value) for name, value in self._run(batch).items()}
            self._progress(len(next(iter(batch.values()))))


def calibrate(observer: Observer, pre_norm: bool = False) -> Calibration:
    """Chooses a range for each tapped tensor, in two passes over the texts.

    Args:
        observer: runs a graph of `IntegerBlocks`, clipped as its plans need.
        pre_norm: whether norms stand before attention and feed-forward network.
    """
    kinds = observer.kinds
    found: dict[str, Seen] = defaultdict(Seen)
    for tensors in observer.tensors():
        for name, value in tensors.items():
            found[name].add(value)
    chosen: dict[str, Range] = {}
    histograms: dict[str, Histogram] = {}
    for name, seen in found.items():
        kind = kinds[name]
        if kind.table is not None:
            chosen[name] = weight_range(kind.table())
        elif bounds := kind.bounds(seen):
            chosen[name] = Range(*bounds)
        else:
            histograms[name] = Histogram(seen.low, seen.high)
    for tensors in observer.tensors():
        for name, histogram in histograms.items():
            histogram.add(tensors[name].ravel()[:: kinds[name].thinning])
    for name, histogram in histograms.items():
        readers = (kinds[name].reader, PRE_NORM_CLIPPING_WEIGHT) if pre_norm else ()
        chosen[name] = mse_range(histogram, *readers)
    ranges = {
        name: chosen[name].symmetric() if kinds[name].symmetric else chosen[name] for name in found
    }
    scores = [ranges[name] for name in found if isinstance(kinds[name], Scores)]
    mask_value = -max((range_.max - range_.min for range_ in scores), default=0.0)
    for name, kind in kinds.items():
        if kind is MASK:
            ranges[name] = Range(mask_value, 0.0)
        elif isinstance(kind, Like):
            ranges[name] = ranges[kind.source].times(kind.factor)
    return Calibration(ranges, mask_value)
