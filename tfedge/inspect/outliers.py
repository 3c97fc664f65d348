"""Finds channels and tokens that reach far beyond the others, and what rounding costs beside them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from tfedge.errors import InputError
from tfedge.inspect.copies import Model, opened
from tfedge.inspect.graph import Tensor
from tfedge.inspect.inputs import Inputs
from tfedge.inspect.layers import layer_outputs
from tfedge.measure.board import Board
from tfedge.progress import Progress
from tfedge.quantize.ranges import Histogram, mse_range
from tfedge.records import Count
from tfedge.runtime.bundle import Bundle
from tfedge.runtime.inputs import TEXT_INPUTS
from tfedge.runtime.tokenizer import TextEncoder

_IDS, _MASK = TEXT_INPUTS[:2]
FAR = 8.0  # an outlier's peak is more than this many times the median one's
_CHANNELS, _TOKENS = 5, 3  # that are named
# What the tensors that are read together may take, and one of them, over all rows.
_BATCH_BYTES, _TENSOR_BYTES = 512 << 20, 1 << 30


@dataclasses.dataclass(frozen=True)
class Rounding:
    """What rounding this one tensor costs, without what was lost before it."""

    dtype: str
    range: Sequence[float]
    # 10 log10(sum float^2 / sum (float - rounded)^2) over all values, and the same within a token, of
    # the median token: norms see each token by itself. None where nothing is lost, or all is 0.
    snr_db: float | None
    token_snr_db: float | None


@dataclasses.dataclass(frozen=True)
class Channel:
    """A channel and the largest absolute value in it."""

    index: Count
    peak: float


@dataclasses.dataclass(frozen=True)
class Token:
    """A token's text, or its position, and how often it was far beyond the median one."""

    token: str
    count: Count


@dataclasses.dataclass(frozen=True)
class LayerOutliers:
    """One layer of the float model, over all rows; padding has no say. A peak is the largest absolute
    value of a channel or a token, and the median is of those that are not 0."""

    layer: str
    operator: Count  # index of the operator that computes it in the float model
    one_scale: Rounding  # 8 bits in the range of least squared error
    own: Rounding | None  # in the scale of the quantised file; None where it has not this tensor
    channels: Count
    tokens: Count
    peak: float
    channel_median: float
    token_median: float
    outlier_channels: Count
    outlier_tokens: Count
    largest: Sequence[Channel]  # of the outliers, at most 5
    frequent: Sequence[Token]  # of the outliers, at most 3


@dataclasses.dataclass(frozen=True)
class Tokens:
    """What stands at each position of each row."""

    real: np.ndarray  # bool (n, T): what is no padding
    name: Callable[[int, int], str]  # of a row and a position


@dataclasses.dataclass(frozen=True)
class Layer:
    """A float tensor to look at, and the quantised one in its place, if there is one."""

    name: str
    operator: int
    index: int
    tensor: Tensor
    own: Tensor | None


def tokens_of(inputs: Inputs, bundle: Bundle | None) -> Tokens | None:
    """The tokens of rows (n, T); None where no input is `input_ids` of that shape.

    Raises InputError where all of them are padding.

    Args:
        bundle: whose tokeniser names them; their positions do where there is none.
    """
    ids = inputs.get(_IDS)
    if ids is None or ids.ndim != 2:
        return None
    mask = inputs.get(_MASK, ids)
    real = mask != 0 if mask is not ids and mask.shape == ids.shape else np.ones(ids.shape, bool)
    if not real.any():
        raise InputError(f"{_MASK} is 0 at every token: give rows with some that are no padding")
    if bundle is None:
        return Tokens(real, _position)
    encoder = TextEncoder(bundle.tokenizer_json, ids.shape[1])
    return Tokens(real, lambda row, position: encoder.token(int(ids[row, position])))


def float_layers(model: Model, quantised: Model | None, tokens: Tokens | None) -> list[Layer]:
    """The layers of a model that are float and have channels, in their order.

    Raises InputError where there is none.

    Args:
        quantised: whose tensors are looked up by the layers' names.
    """
    file, signature = model
    graph, own = file.subgraphs[signature.subgraph], {}
    if quantised is not None:
        other = quantised[0].subgraphs[quantised[1].subgraph]
        own = {
            name: other.tensors[index]
            for name, (_, index) in layer_outputs(other, quantised[1]).items()
            if other.tensors[index].range is not None
        }
    found = []
    for name, (operator, index) in layer_outputs(graph, signature).items():
        tensor = graph.tensors[index]
        # What is dequantised was integers before, or weights.
        is_float = tensor.is_float and graph.operators[operator].name != "DEQUANTIZE"
        if is_float and _token_axis(tensor.shape, tokens) is not None:
            mine = own.get(name)
            fits = mine is not None and mine.shape == tensor.shape
            found.append(Layer(name, operator, index, tensor, mine if fits else None))
    if not found:
        raise InputError(
            f"{file.path} has no float layer with channels: give the float model that it was made of "
            "with --against X_reference.tflite, which `tfedge convert --keep-reference` writes"
        )
    return found


def integer_layers(model: Model) -> int:
    """How many layers of a model put out integers that stand for real numbers."""
    graph = model[0].subgraphs[model[1].subgraph]
    ends = layer_outputs(graph, model[1]).values()
    return sum(graph.tensors[index].scale is not None for _, index in ends)


def batches(layers: Sequence[Layer], rows: int) -> list[list[Layer]]:
    """Layers whose tensors of all rows fit into memory together; raises InputError for one that is
    too large alone."""
    found: list[list[Layer]] = []
    room = 0
    for layer in layers:
        size = layer.tensor.bytes * rows
        if size > _TENSOR_BYTES:
            raise InputError(
                f"layer {layer.name!r} takes {size / 2**30:.1f} GB for {rows} texts; take fewer "
                "--texts or a shorter --signature"
            )
        if size > room:
            found.append([])
            room = _BATCH_BYTES
        found[-1].append(layer)
        room -= size
    return found


def find_outliers(
    model: Model,
    parts: Sequence[Sequence[Layer]],
    inputs: Inputs,
    tokens: Tokens | None,
    board: Board,
    progress: Progress,
) -> list[LayerOutliers]:
    """Runs a float model on rows, once for each of `parts`, and looks at its layers.

    Raises:
        InputError: a layer has values that are not finite.
        RejectedModelError: the model crashed or was refused.
    """
    found = []
    for part in parts:
        with opened(model, [layer.index for layer in part], board, progress) as read:
            arrays = read(inputs)
        found += [
            layer_outliers(layer, array, tokens) for layer, array in zip(part, arrays, strict=True)
        ]
    return found


def layer_outliers(layer: Layer, array: np.ndarray, tokens: Tokens | None) -> LayerOutliers:
    """What one layer holds; raises InputError where it is not all finite.

    Args:
        array: (n, ...) its values.
    """
    values, places = _vectors(array.astype(np.float32, copy=False), tokens)
    if not np.isfinite(values).all():
        raise InputError(f"layer {layer.name!r} has values that are not finite")
    sizes = np.abs(values)
    channels, positions = sizes.max(axis=0), sizes.max(axis=1)
    channel_median, far_channels = _far(channels)
    token_median, far_tokens = _far(positions)
    if not places[:, 1].any():  # one vector a text is no token
        far_tokens = far_tokens[:0]
    name = tokens.name if tokens else _position
    counts = Counter(name(*map(int, places[index])) for index in far_tokens)
    return LayerOutliers(
        layer=layer.name,
        operator=layer.operator,
        one_scale=_rounding(values, _one_scale(values)),
        own=_rounding(values, layer.own) if layer.own else None,
        channels=len(channels),
        tokens=len(positions),
        peak=float(channels.max()),
        channel_median=channel_median,
        token_median=token_median,
        outlier_channels=len(far_channels),
        outlier_tokens=len(far_tokens),
        largest=[Channel(int(i), float(channels[i])) for i in far_channels[:_CHANNELS]],
        frequent=[Token(*pair) for pair in counts.most_common(_TOKENS)],
    )


def _position(row: int, position: int) -> str:
    return f"position {position}"


def _token_axis(shape: Sequence[int], tokens: Tokens | None) -> int | None:
    """The axis of positions in a graph's tensor (1, ...), all others but the first being channels: 0
    where a row has one position, -1 where all axes but the last are positions. None where there are
    no channels: masks, and the scores of an attention, have one number a pair of tokens."""
    inner, length = tuple(shape[1:]), tokens.real.shape[1] if tokens else -1
    if tokens is None:
        return -1 if len(inner) and inner[-1] > 1 else None
    if length not in inner:
        return 0 if math.prod(inner) > 1 else None
    axis = inner.index(length)
    is_pairs = len(inner) > 2 and inner[-2:] == (length, length)
    return None if axis == len(inner) - 1 or is_pairs or shape[0] != 1 else axis + 1


def _vectors(array: np.ndarray, tokens: Tokens | None) -> tuple[np.ndarray, np.ndarray]:
    """The vector of each real token, (N, C), and its row and position, (N, 2), of (n, 1, ...)."""
    axis = _token_axis(array.shape[1:], tokens)
    if axis == -1:
        array = array.reshape(len(array), -1, array.shape[-1])
    elif not axis:
        array = array.reshape(len(array), 1, -1)
    else:
        array = np.moveaxis(array, axis + 1, 1)
        array = array.reshape(*array.shape[:2], -1)
    real = tokens.real if tokens and axis else np.ones(array.shape[:2], bool)
    return array[real], np.argwhere(real)


def _far(peaks: np.ndarray) -> tuple[float, np.ndarray]:
    """The median peak of those that are not 0, and the indices of those far beyond, largest first."""
    median = float(np.median(peaks[peaks > 0])) if peaks.any() else 0.0
    order = np.argsort(-peaks, kind="stable")
    return median, order[peaks[order] > FAR * median]


def _one_scale(values: np.ndarray) -> Tensor:
    """An int8 tensor in the range of least squared error, which tfedge calibrates by too."""
    histogram = Histogram(float(values.min()), float(values.max()))
    histogram.add(values)
    found = mse_range(histogram)
    return Tensor("", (), "INT8", found.scale, round(-128 - found.min / found.scale), None)


def _rounding(values: np.ndarray, tensor: Tensor) -> Rounding:
    """What is left of values (N, C) in a tensor's integers."""
    assert tensor.scale is not None and tensor.range is not None
    rounded = np.clip(np.rint(values / tensor.scale) * tensor.scale, *tensor.range)
    signal, error = (
        np.einsum("nc,nc->n", part, part, dtype=np.float64) for part in (values, values - rounded)
    )
    shares = error[signal > 0] / signal[signal > 0]
    share = error.sum() / signal.sum() if signal.any() else 0.0
    middle = float(np.median(shares)) if len(shares) else 0.0
    return Rounding(tensor.dtype, tensor.range, _decibels(share), _decibels(middle))


def _decibels(share: float) -> float | None:
    return -10 * math.log10(share) if share > 0 else None
