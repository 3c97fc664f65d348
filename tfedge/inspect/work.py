"""What kind of work an operator is, and how much of it: by this a table knows its cost.

Two operators of one kind run in one kernel of a runtime. Their costs then differ by sizes alone, and
are sums over them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tfedge.inspect.cost import lacks_operand
from tfedge.inspect.graph import Operator, Subgraph, Tensor

_PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL")
_DENSE = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_REDUCTIONS = ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "ARG_MAX")
_LOOK_UPS = ("GATHER", "GATHER_ND")  # rows are what is looked up
_CACHE_BYTES = 1 << 20  # the second cache of a Raspberry Pi 4
# Of a row that was seen to be fetched again for each tile of columns, however few rows there are;
# rows of 6 kB were not.
_LONG_ROW_BYTES = 12 << 10
_TILE = (4, 8, 4)  # rows, columns, depth
_INDEX = "INT32"  # of operands that say where and not what: shapes, axes, permutations


def kind_of(operator: Operator, subgraph: Subgraph) -> str:
    """The kind of work, e.g. "CONV_2D 1x1 INT8 INT8* > INT8", where constants have a star; raises
    InputError where an operand is missing."""
    operands, result = subgraph.operands(operator), subgraph.result(operator)
    try:
        variant = _variant(operator, operands, result)
    except IndexError as error:
        raise lacks_operand(operator) from error
    shown = [
        f"{item.dtype}{'*' if item.constant else ''}"
        for place, item in enumerate(operands[:2])
        if place == 0 or item.dtype != _INDEX or operator.name in _LOOK_UPS
    ]
    return " ".join([operator.name, *variant, *shown, ">", result.dtype])


def sizes_of(operator: Operator, subgraph: Subgraph) -> dict[str, int]:
    """How much work it is, for one call.

    Returns:
        `rows` without the last axis, `out` elements written and `in` read that are no constants; of
        products also `weights`, the elements of the second operand, `macs`, the
        multiply-accumulates, and `again`, those of rows too large, or too long, to stay in a cache
        for the next columns; of BATCH_MATMUL also what `_batches` tells. Raises InputError where an
        operand is missing.
    """
    operands, result = subgraph.operands(operator), subgraph.result(operator)
    read = sum(item.elements for item in operands if not item.constant and item.dtype != _INDEX)
    rows = result.elements // max(result.shape[-1] if result.shape else 1, 1)
    if operator.name in _LOOK_UPS and len(operands) > 1:
        rows = operands[1].elements
    sizes = {"call": 1, "rows": rows, "out": result.elements, "in": read}
    if operator.name in _PRODUCTS:
        try:
            first, second = operands[:2]
            depth = first.shape[-2 if operator.options.get("AdjX") else -1]
        except (IndexError, ValueError) as error:
            raise lacks_operand(operator) from error
        if operator.name == "CONV_2D":
            depth = math.prod(second.shape[1:])
        sizes |= {"weights": second.elements, "macs": result.elements * depth, "in": first.elements}
        row = first.bytes * depth // max(first.elements, 1)
        is_again = first.bytes > _CACHE_BYTES or row >= _LONG_ROW_BYTES
        sizes["again"] = sizes["macs"] if is_again else 0
        if operator.name == "BATCH_MATMUL":
            sizes |= _batches(sizes)
    return sizes


def _is_convolution(operator: Operator) -> bool:
    return operator.name != "FULLY_CONNECTED"


def _has_scales(operator: Operator, weights: Tensor) -> bool:
    """Whether a layer has a scale for each channel, for which kernels differ from those for one scale;
    of a single channel it cannot be told, and converters mean the former."""
    if not weights.constant or weights.is_float:
        return False
    channels = weights.shape[-1 if operator.name == "DEPTHWISE_CONV_2D" else 0]
    return weights.scale is None or channels == 1


def _batches(sizes: Mapping[str, int]) -> dict[str, int]:
    """Of products of activations, whose second operand is packed in each call: how many there are,
    their multiply-accumulates in whole tiles, and what is packed element by element at the edges."""
    depth, columns = sizes["in"] // max(sizes["rows"], 1), sizes["out"] // max(sizes["rows"], 1)
    batches = max(sizes["weights"] // max(depth * columns, 1), 1)
    tiles = (sizes["rows"] // batches, columns, depth)
    whole = math.prod(-(-size // tile) * tile for size, tile in zip(tiles, _TILE, strict=True))
    return {
        "batches": batches,
        "tiles": batches * whole,
        "edge": batches * depth * (columns % _TILE[1]),
        "depth_edge": batches * columns * (depth % _TILE[1]),
    }


def _variant(operator: Operator, operands: Sequence[Tensor], result: Tensor) -> list[str]:
    """What tells kernels apart besides dtypes."""
    if operator.name in _DENSE:
        size = ["x".join(map(str, operands[1].shape[1:3]))] if _is_convolution(operator) else []
        return [*size, *(["channels"] if _has_scales(operator, operands[1]) else [])]
    if operator.name == "STRIDED_SLICE":
        strides = operands[3].values or (1,)
        return ["apart"] if strides[-1] != 1 else []
    if operator.name == "BATCH_MATMUL":
        return [name for name in ("AdjX", "AdjY") if operator.options.get(name)]
    if operator.name == "TRANSPOSE":
        return [_permutation(operands[0].shape, operands[1].values or ())]
    if operator.name in _REDUCTIONS:
        return [_axes(operands[0].shape, operands[1].values or ())]
    if operator.name in ("ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM"):
        return [_broadcast(operands[0].shape, operands[1].shape, result.shape)]
    return []


def _permutation(shape: Sequence[int], axes: Sequence[int]) -> str:
    """A permutation of the axes that are longer than 1."""
    long = [axis for axis in axes if shape[axis] > 1]
    return "".join(str(sorted(long).index(axis)) for axis in long)


def _axes(shape: Sequence[int], axes: Sequence[int]) -> str:
    """Whether a reduction runs over the last axis, which lies together, or over others."""
    rank = max(len(shape), 1)
    return "last" if {axis % rank for axis in axes} == {rank - 1} else "others"


def _broadcast(first: Sequence[int], second: Sequence[int], result: Sequence[int]) -> str:
    """How the smaller operand is repeated: not at all, a scalar, a row for all, a column, or else."""
    small = first if math.prod(first) < math.prod(second) else second
    count = math.prod(small)
    if count == math.prod(result):
        return "same"
    if count == 1:
        return "scalar"
    if result and small and count == small[-1] == result[-1]:
        return "row"
    if small and small[-1] == 1 and count * result[-1] == math.prod(result):
        return "column"
    return "else"


def extent(sizes: Mapping[str, int]) -> int:
    """How large an operator is: multiply-accumulates or elements, whichever are more."""
    return max(sizes["out"], sizes["in"], sizes.get("macs", 0))


def weighted(sizes: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """A cost that is a sum over sizes."""
    return sum(weight * sizes[name] for name, weight in weights.items())


def runs_each_time(operator: Operator, subgraph: Subgraph) -> bool:
    """Whether an invocation runs it; one of constants alone runs when the model is loaded."""
    return not all(item.constant for item in subgraph.operands(operator))
