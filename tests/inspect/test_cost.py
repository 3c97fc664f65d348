"""What operators cost, against counts by hand."""

from __future__ import annotations

import pytest

from tfedge.errors import InputError
from tfedge.inspect.cost import Cost, operator_cost
from tfedge.inspect.graph import Operator, Subgraph, Tensor

Shape = tuple[int, ...]

# Operator -> shapes of its operands and of its result, multiply-accumulates.
PRODUCTS: dict[str, tuple[list[Shape], Shape, int]] = {
    "FULLY_CONNECTED": ([(3, 5), (7, 5), (7,)], (3, 7), 3 * 7 * 5),
    "CONV_2D": ([(1, 8, 8, 3), (16, 3, 2, 3)], (1, 6, 7, 16), 6 * 7 * 16 * 3 * 2 * 3),
    "CONV_3D": ([(1, 4, 4, 4, 2), (2, 2, 2, 2, 5)], (1, 3, 3, 3, 5), 27 * 5 * 8 * 2),
    "DEPTHWISE_CONV_2D": ([(1, 8, 8, 4), (1, 3, 2, 4)], (1, 6, 7, 4), 6 * 7 * 4 * 3 * 2),
    # Each of 4 * 4 * 2 numbers read meets 3 * 3 weights of each of 5 channels.
    "TRANSPOSE_CONV": ([(4,), (5, 3, 3, 2), (1, 4, 4, 2)], (1, 9, 9, 5), 4 * 4 * 2 * 3 * 3 * 5),
    "BATCH_MATMUL": ([(2, 3, 5), (2, 5, 7)], (2, 3, 7), 2 * 3 * 7 * 5),
}


def cost(name: str, operands: list[Shape], result: Shape, **options: int) -> Cost:
    tensors = [Tensor("", shape, "INT8", None, None, None) for shape in (*operands, result)]
    last = len(operands)
    operator = Operator(name, 1, tuple(range(last)), (last,), options)
    return operator_cost(operator, Subgraph(tensors, [operator], (), ()))


@pytest.mark.parametrize("name", PRODUCTS)
def test_multiply_accumulates(name: str) -> None:
    operands, result, expected = PRODUCTS[name]
    found = cost(name, operands, result)
    assert found.macs == found.units == expected


def test_transposed_operand() -> None:
    assert cost("BATCH_MATMUL", [(2, 5, 3), (2, 5, 7)], (2, 3, 7), AdjX=1).macs == 2 * 3 * 7 * 5


def test_elements_and_bytes() -> None:
    assert cost("ADD", [(2, 6), (2, 6)], (2, 6)) == Cost(None, 12, 36)
    # A reduction reads all that it adds up.
    assert cost("SUM", [(2, 6), (1,)], (2,)) == Cost(None, 12, 12 + 1 + 2)
    # Of a table of 100 rows only those that are looked up are read.
    assert cost("GATHER", [(100, 4), (3,)], (3, 4)) == Cost(None, 12, 12 + 3 + 12)


@pytest.mark.parametrize("name", PRODUCTS)
def test_missing_operand(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} lacks an operand"):
        cost(name, [()], (1, 2))
    if name != "BATCH_MATMUL":  # its second operand says no more than the result
        with pytest.raises(InputError, match="one of an impossible shape"):
            cost(name, [(2,), ()], (1, 2))
