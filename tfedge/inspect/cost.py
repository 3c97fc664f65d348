"""What one operator costs: multiply-accumulates or elements, and bytes moved.

Counts from shapes alone, padding included; not time, of which they explain most on one kernel and
little across kernels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

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
# Of which sizes of the weights each element of the result is a sum.
_SUMMED = {
    "FULLY_CONNECTED": slice(-1, None),  # (units, depth)
    "CONV_2D": slice(1, None),  # (out, height, width, in)
    "CONV_3D": slice(-1),  # (depth, height, width, in, out)
    "DEPTHWISE_CONV_2D": slice(1, 3),  # (1, height, width, out)
}
_LOOK_UPS = {"GATHER": 0, "EMBEDDING_LOOKUP": 1, "GATHER_ND": 0}  # which operand is the table


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one operator costs."""

    macs: int | None  # multiply-accumulates; None for an operator that is counted in elements
    elements: int  # written, or read by a reduction
    bytes: int  # read and written

    @property
    def units(self) -> int:
        return self.elements if self.macs is None else self.macs


def lacks_operand(operator: Operator) -> InputError:
    """What is said of an operator whose rules ask for more than it has."""
    return InputError(
        f"damaged: {operator.name} lacks an operand or has one of an impossible shape; convert it "
        "again"
    )


def operator_cost(operator: Operator, subgraph: Subgraph) -> Cost:
    """The cost of one operator, see `MODEL`; raises InputError where an operand is missing or has
    an impossible shape."""
    operands = [subgraph.tensors[index] if index >= 0 else None for index in operator.inputs]
    results = [subgraph.tensors[index] for index in operator.outputs]
    written = sum(tensor.elements for tensor in results)
    try:
        shapes = [tensor.shape for tensor in operands if tensor]
        macs = _macs(operator, shapes, results)
    except IndexError as error:
        raise lacks_operand(operator) from error
    table = _LOOK_UPS.get(operator.name)
    moved = sum(tensor.bytes for tensor in results)
    for position, tensor in enumerate(operands):
        if tensor:
            moved += results[0].bytes if position == table and results else tensor.bytes
    read = operands[0].elements if operands and operands[0] else 0
    return Cost(macs, read if operator.name in _REDUCTIONS else written, moved)


def _macs(
    operator: Operator, shapes: Sequence[Sequence[int]], results: Sequence[Tensor]
) -> int | None:
    """Multiply-accumulates by the operands' shapes; None for an operator that has none."""
    if operator.name == "BATCH_MATMUL":
        return results[0].elements * shapes[0][-2 if operator.options.get("AdjX") else -1]
    if operator.name == "TRANSPOSE_CONV":  # every element read meets the kernel
        out, height, width, _ = (shapes[1][position] for position in range(4))
        return math.prod(shapes[2]) * out * height * width
    if operator.name not in _SUMMED:
        return None
    if not shapes[1]:
        raise IndexError("weights without a shape")
    return results[0].elements * math.prod(shapes[1][_SUMMED[operator.name]])
