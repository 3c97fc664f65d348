"""What one operator costs: multiply-accumulates or elements, and bytes moved.

Counts from shapes alone, padding included; not time, of which they explain most on one kernel and
little across kernels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tfedge.errors import InputError
from tfedge.inspect.graph import Operator, Subgraph, Tensor

MODEL = (
    "cost = multiply-accumulates of FULLY_CONNECTED, CONV_2D, CONV_3D, DEPTHWISE_CONV_2D, "
    "TRANSPOSE_CONV and BATCH_MATMUL; of any other operator the elements that it writes, of a "
    "reduction those that it reads; bytes = operands and results, of a look-up only the rows taken"
)
_REDUCTIONS = frozenset(
    ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL")
) | {"ARG_MAX", "ARG_MIN"}
_LOOK_UPS = {"GATHER": 0, "EMBEDDING_LOOKUP": 1, "GATHER_ND": 0}  # which operand is the table


@dataclasses.dataclass(frozen=True)
class Cost:
    """Attributes:
    macs: multiply-accumulates; None for an operator that is counted in elements.
    elements: written, or read by a reduction.
    bytes: read and written.
    """

    macs: int | None
    elements: int
    bytes: int

    @property
    def units(self) -> int:
        return self.elements if self.macs is None else self.macs


def operator_cost(operator: Operator, subgraph: Subgraph) -> Cost:
    """The cost of one operator, see `MODEL`.

    Raises:
        InputError: an operand is missing or has an impossible shape.
    """
    operands = [subgraph.tensors[index] if index >= 0 else None for index in operator.inputs]
    results = [subgraph.tensors[index] for index in operator.outputs]
    written = sum(tensor.elements for tensor in results)
    macs = None
    if count := _MACS.get(operator.name):
        try:
            macs = count(operator, [tensor.shape for tensor in operands if tensor], results[0])
        except IndexError as error:
            raise InputError(
                f"damaged: {operator.name} lacks an operand or has one of an impossible shape; "
                "convert it again"
            ) from error
    table = _LOOK_UPS.get(operator.name)
    moved = sum(tensor.bytes for tensor in results)
    for position, tensor in enumerate(operands):
        if tensor is not None:
            moved += results[0].bytes if position == table and results else tensor.bytes
    read = operands[0].elements if operands and operands[0] else 0
    return Cost(macs, read if operator.name in _REDUCTIONS else written, moved)


_Shapes = list[tuple[int, ...]]


def _fully_connected(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    return result.elements * operands[1][-1]  # weights (units, depth)


def _convolution(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    _, *kernel = operands[1]  # (out, height, width, in)
    return result.elements * math.prod(kernel)


def _convolution_3d(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    *kernel, _ = operands[1]  # (depth, height, width, in, out)
    return result.elements * math.prod(kernel)


def _depthwise(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    return result.elements * operands[1][1] * operands[1][2]  # (1, height, width, out)


def _transposed(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    out, height, width, _ = operands[1][0], operands[1][1], operands[1][2], operands[1][3]
    return math.prod(operands[2]) * out * height * width  # every element read meets the kernel


def _batch_matmul(operator: Operator, operands: _Shapes, result: Tensor) -> int:
    return result.elements * operands[0][-2 if operator.adjoint else -1]


_MACS: dict[str, Callable[[Operator, _Shapes, Tensor], int]] = {
    "FULLY_CONNECTED": _fully_connected,
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _batch_matmul,
}
