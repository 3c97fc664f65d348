"""What 8 bits make of a residual sum and of the layer norm behind it, measured on calibration texts."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from tfedge.architectures.parts import Stream
from tfedge.quantize.felt import Felt, input_of

# Where a dense layer's outputs may be cut, in the units of the model: what lies beyond goes another
# way, see `tfedge.quantize.excess`.
LIMITS = (4.0, 8.0, 16.0, 32.0)
# A path is worth its operations where it makes the squared error this much smaller.
WORTHWHILE = 0.5
_TOKENS = 512  # whose rows are kept
_MOST_CHANNELS = 1 / 16  # of a stream that may be beyond a limit


@dataclasses.dataclass
class Residual:
    """A residual sum, and what of it a dense layer puts out.

    Attributes:
        added, total: that and the sum, of some tokens, float32 (n, C).
        low, high: of what is put out, over all tokens, (C,).
        peaks: the largest absolute value in the sum, over all tokens, where what is put out is cut
            off at each of `LIMITS`, and at none; (C,) each.
        normalised: the same of the sum once it is normalised.
    """

    added: np.ndarray
    total: np.ndarray
    low: np.ndarray
    high: np.ndarray
    peaks: Mapping[float, np.ndarray]
    normalised: Mapping[float, np.ndarray]
    parts: tuple[Residual, ...] = ()  # those that it was pooled of

    @property
    def carried(self) -> np.ndarray:
        """What is added to it, (n, C)."""
        return self.total - self.added

    def loss(
        self, felt: Felt, stream: Stream, scales: tuple[np.ndarray, float | None], gain: np.ndarray
    ) -> float:
        """What answers lose by the error of the norm's result; `scales` are factors and limit, and all
        as `difference` takes it."""
        name = stream.norms[0]
        added, total = felt.values[str(stream.dense)], felt.values[input_of(name)]
        rows = dataclasses.replace(self, added=added, total=total)
        error = rows.difference(scales[0], gain, scales[1])
        return felt.loss(felt.moved(name, error))

    def beyond(self, limits: np.ndarray) -> np.ndarray:
        """Which channels have been beyond their limits (C,) below and above, bool (2, C)."""
        return np.stack([self.low < -limits, self.high > limits])

    def error(self, factors: np.ndarray, gain: np.ndarray, limit: float | None) -> float:
        """The squared error of the norm's result, as a share of its square; see `difference`. Of
        several sums, each in ranges of its own, the mean."""
        if self.parts:
            return float(np.mean([part.error(factors, gain, limit) for part in self.parts]))
        mean, inverse = _statistics(self.total)
        exact = (self.total - mean) * inverse * gain
        found = self.difference(factors, gain, limit)
        return float(np.sum(found**2) / np.sum(exact**2))

    def difference(self, factors: np.ndarray, gain: np.ndarray, limit: float | None) -> np.ndarray:
        """The error of the norm's result, (n, C).

        Args:
            factors: by which the channels come divided, (C,).
            gain: the norm's, (C,).
            limit: in that measure; what lies beyond has a range of its own. None without one.
        """
        added = self.added / factors
        usual = added if limit is None else np.clip(added, -limit, limit)
        carried = _round(self.total / factors - added)
        total = _round(carried + _round(usual)) * factors
        apart = _round((added - usual) * factors)
        whole = total + apart
        mean, inverse = _statistics(whole)
        scaled = _round((total - mean) * inverse / factors) * factors
        found = (scaled + _round(apart * inverse)) * gain
        mean, inverse = _statistics(self.total)
        exact = (self.total - mean) * inverse * gain
        return np.asarray(found - exact)


def reading_error(kernels: Iterable[np.ndarray], read: np.ndarray, factors: np.ndarray) -> float:
    """The squared error of products of rounded numbers with rounded weights, as a share of the
    products' squares.

    Args:
        kernels: (C, units) each, which factors are folded into.
        read: what they are multiplied with, undivided, float32 (n, C).
        factors: by which it comes divided, (C,).
    """
    energy = np.mean(read**2, axis=0)
    divided = read / factors
    step = (divided.max() - divided.min()) / 255
    error = square = 0.0
    for kernel in kernels:
        steps = np.abs(kernel * factors[:, None]).max(axis=0) / 127
        error += float(np.sum(steps**2) / 12 * np.sum(energy / factors**2))
        error += float(step**2 / 12 * np.sum((kernel * factors[:, None]) ** 2))
        square += float(np.sum(kernel**2 * energy[:, None]))
    return error / max(square, float(np.finfo(np.float32).tiny))


def product_error(kernel: np.ndarray, read: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The error of the products of rounded numbers with rounded weights, (n, units).

    Args:
        kernel: (C, units).
        read, factors: as for `reading_error`.
    """
    folded = kernel * factors[:, None]
    steps = np.maximum(np.abs(folded).max(axis=0) / 127, np.finfo(np.float32).tiny)
    return np.asarray(_round(read / factors) @ (np.rint(folded / steps) * steps) - read @ kernel)


def limit_of(residual: Residual, factors: np.ndarray, cut: float) -> float:
    """The least limit that, in every channel that comes divided by `factors`, is not below `cut`
    unless the channel never gets that far."""
    peaks = np.maximum(-residual.low, residual.high)
    return float((np.minimum(peaks, cut) / factors).max())


def allows(residual: Residual, limits: np.ndarray) -> bool:
    """Whether some channels, but no more than a few, are beyond the limits (C,)."""
    count = int(residual.beyond(limits).sum())
    return 0 < count <= _MOST_CHANNELS * len(limits)


def residuals(
    batches: Iterable[Mapping[str, np.ndarray]], streams: Collection[Stream]
) -> dict[str, Residual]:
    """What is seen of each stream that a dense layer writes and one norm reads, by its name."""
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    ends: dict[str, list[np.ndarray]] = {}
    peaks: dict[str, tuple[dict[float, np.ndarray], dict[float, np.ndarray]]] = {}
    chosen = [stream for stream in streams if stream.dense and len(stream.totals) == 1]
    for tensors in batches:
        for stream in chosen:
            assert stream.dense
            added, total = (
                value.reshape(-1, value.shape[-1])
                for value in (tensors[stream.dense], tensors[stream.totals[0]])
            )
            rows[stream.name].append((added, total))
            low, high = ends.setdefault(stream.name, [added[0], added[0]])
            ends[stream.name] = [np.minimum(low, added.min(0)), np.maximum(high, added.max(0))]
            known = peaks.setdefault(stream.name, ({}, {}))
            mean, inverse = _statistics(total)
            most = np.abs(added).max()
            for limit in (np.inf, *sorted(LIMITS, reverse=True)):
                if limit == np.inf or most > limit:  # otherwise nothing is cut, as before
                    usual = total - (added - np.clip(added, -limit, limit))
                    tops = (np.abs(usual).max(0), np.abs((usual - mean) * inverse).max(0))
                for part, top in zip(known, tops, strict=True):
                    part[limit] = np.maximum(part.get(limit, 0.0), top)
    return {
        name: Residual(*_thinned(rows[name]), ends[name][0], ends[name][1], *peaks[name])
        for name in rows
    }


def pooled(found: Sequence[Residual]) -> Residual:
    """The sums of a family of streams as one."""
    if len(found) == 1:
        return found[0]

    def most(tops: Iterable[Mapping[float, np.ndarray]]) -> dict[float, np.ndarray]:
        of_each = [*tops]
        return {limit: np.max([top[limit] for top in of_each], axis=0) for limit in of_each[0]}

    return Residual(
        np.concatenate([item.added for item in found]),
        np.concatenate([item.total for item in found]),
        np.min([item.low for item in found], axis=0),
        np.max([item.high for item in found], axis=0),
        most(item.peaks for item in found),
        most(item.normalised for item in found),
        tuple(found),
    )


def _thinned(rows: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Some tokens, evenly spread over all."""
    added, total = (np.concatenate(part) for part in zip(*rows, strict=True))
    step = -(-len(added) // _TOKENS)
    return added[::step], total[::step]


def _round(x: np.ndarray) -> np.ndarray:
    """Rounded to 256 values between the extremes."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / 255 or 1.0
    return np.rint(x / scale) * scale


def _statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each token, (n, 1), and the inverse of its deviation."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.mean((x - mean) ** 2, axis=-1, keepdims=True)
    return mean, 1 / np.sqrt(variance + 1e-12)
