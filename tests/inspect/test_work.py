"""What kind of work operators are and how much of it, by their tensors."""

from __future__ import annotations

import pytest

from tfedge.errors import InputError
from tfedge.inspect.graph import Operator, Subgraph, Tensor
from tfedge.inspect.work import extent, kind_of, runs_each_time, sizes_of, weighted


def alone(
    name: str, operands: list[Tensor], result: Tensor, **options: int
) -> tuple[Operator, Subgraph]:
    """A graph of one operator."""
    operator = Operator(name, 1, tuple(range(len(operands))), (len(operands),), options)
    return operator, Subgraph([*operands, result], [operator], (0,), (len(operands),))


def tensor(*shape: int, dtype: str = "FLOAT32", constant: bool = False) -> Tensor:
    return Tensor("", shape, dtype, None, None, 4 if constant else None)


def whole(*values: int) -> Tensor:
    """A constant of axes, a permutation or a shape."""
    return Tensor("", (len(values),), "INT32", None, None, 4 * len(values), values=values)


def test_a_dense_layer() -> None:
    found = alone(
        "CONV_2D",
        [tensor(1, 16, 1, 312, dtype="INT8"), Tensor("", (7, 1, 1, 312), "INT8", 0.1, 0, 4)],
        tensor(1, 16, 1, 7, dtype="INT8"),
    )
    assert kind_of(*found) == "CONV_2D 1x1 INT8 INT8* > INT8"
    assert sizes_of(*found) == {
        **{"call": 1, "rows": 16, "out": 112, "in": 16 * 312, "weights": 7 * 312},
        **{"macs": 16 * 7 * 312, "again": 0},
    }


@pytest.mark.parametrize(("dtype", "again"), [("FLOAT32", 128 * 3072 * 768), ("INT8", 0)])
def test_rows_that_no_cache_holds(dtype: str, again: int) -> None:
    """128 rows of 3072 floats are 1.5 MiB."""
    operands = [tensor(128, 3072, dtype=dtype), tensor(768, 3072, constant=True)]
    found = alone("FULLY_CONNECTED", operands, tensor(128, 768, dtype=dtype))
    assert sizes_of(*found)["again"] == again


@pytest.mark.parametrize(
    ("depth", "dtype", "is_again"),
    [(3072, "FLOAT32", True), (3071, "FLOAT32", False), (3072, "INT8", False)],
)
def test_long_rows_are_fetched_again(depth: int, dtype: str, is_again: bool) -> None:
    """A row of 3072 floats has 12 KiB: sixteen of them were fetched again on an emulated Cortex-A72."""
    operands = [tensor(16, depth, dtype=dtype), tensor(768, depth, constant=True)]
    found = sizes_of(*alone("FULLY_CONNECTED", operands, tensor(16, 768, dtype=dtype)))
    assert found["again"] == (found["macs"] if is_again else 0)


@pytest.mark.parametrize(("scale", "units"), [(None, 7), (0.1, 1), (None, 1)])
def test_a_scale_for_each_channel(scale: float | None, units: int) -> None:
    weights = Tensor("", (units, 312), "INT8", scale, 0, 4)
    found = alone("FULLY_CONNECTED", [tensor(16, 312), weights], tensor(16, units))
    assert kind_of(*found) == "FULLY_CONNECTED channels FLOAT32 INT8* > FLOAT32"


def test_patches_are_another_kind() -> None:
    kernel = tensor(8, 4, 4, 3, constant=True)
    found = alone("CONV_2D", [tensor(1, 8, 8, 3), kernel], tensor(1, 2, 2, 8))
    assert kind_of(*found) == "CONV_2D 4x4 FLOAT32 FLOAT32* > FLOAT32"
    assert sizes_of(*found)["macs"] == 32 * 48


def test_products_of_two_activations() -> None:
    queries, keys = tensor(1, 12, 16, 26), tensor(1, 12, 16, 26)
    found = alone("BATCH_MATMUL", [queries, keys], tensor(1, 12, 16, 16), AdjX=0, AdjY=1)
    assert kind_of(*found) == "BATCH_MATMUL AdjY FLOAT32 FLOAT32 > FLOAT32"
    sizes = sizes_of(*found)
    assert (sizes["rows"], sizes["macs"]) == (12 * 16, 12 * 16 * 16 * 26)
    assert (sizes["in"], sizes["weights"]) == (12 * 16 * 26, 12 * 16 * 26)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((2, 3, 4), "same"),
        ((), "scalar"),
        ((1, 1), "scalar"),
        ((4,), "row"),
        ((1, 1, 4), "row"),
        ((2, 3, 1), "column"),
        ((2, 1, 4), "else"),
        ((3, 1), "else"),
    ],
)
def test_how_the_smaller_operand_is_repeated(second: tuple[int, ...], expected: str) -> None:
    for operands in ([tensor(2, 3, 4), tensor(*second)], [tensor(*second), tensor(2, 3, 4)]):
        found = alone("MUL", operands, tensor(2, 3, 4))
        assert kind_of(*found) == f"MUL {expected} FLOAT32 FLOAT32 > FLOAT32"


def test_axes_of_length_1_do_not_count() -> None:
    heads = alone("TRANSPOSE", [tensor(1, 16, 12, 26), whole(0, 2, 1, 3)], tensor(1, 12, 16, 26))
    assert kind_of(*heads) == "TRANSPOSE 102 FLOAT32 > FLOAT32"
    same = alone("TRANSPOSE", [tensor(16, 1, 26), whole(1, 0, 2)], tensor(1, 16, 26))
    assert kind_of(*same) == "TRANSPOSE 01 FLOAT32 > FLOAT32"


def test_reductions() -> None:
    last = alone("MEAN", [tensor(1, 16, 312), whole(-1)], tensor(1, 16, 1))
    assert kind_of(*last) == "MEAN last FLOAT32 > FLOAT32"
    assert sizes_of(*last)["in"] == 16 * 312
    tokens = alone("MEAN", [tensor(1, 16, 312), whole(1)], tensor(1, 312))
    assert kind_of(*tokens) == "MEAN others FLOAT32 > FLOAT32"


def test_look_ups_read_rows() -> None:
    table = tensor(30522, 312, dtype="INT8", constant=True)
    found = alone("GATHER", [table, tensor(1, 16, dtype="INT32")], tensor(1, 16, 312, dtype="INT8"))
    assert kind_of(*found) == "GATHER INT8* INT32 > INT8"
    assert sizes_of(*found) == {"call": 1, "rows": 16, "out": 16 * 312, "in": 0}


def test_what_runs_once() -> None:
    unpacked = alone("DEQUANTIZE", [tensor(4, 4, dtype="FLOAT16", constant=True)], tensor(4, 4))
    assert not runs_each_time(*unpacked)
    assert runs_each_time(*alone("DEQUANTIZE", [tensor(4, 4, dtype="INT8")], tensor(4, 4)))


@pytest.mark.parametrize("name", ["CONV_2D", "BATCH_MATMUL", "TRANSPOSE", "MEAN", "ADD"])
def test_a_missing_operand(name: str) -> None:
    found = alone(name, [tensor(2, 3)], tensor(2, 3))
    with pytest.raises(InputError, match=f"damaged: {name} lacks an operand"):
        kind_of(*found), sizes_of(*found)


def test_extent() -> None:
    assert extent({"call": 1, "out": 10, "in": 30}) == 30
    assert extent({"call": 1, "out": 10, "in": 30, "macs": 300}) == 300


def test_sums_over_sizes() -> None:
    assert weighted({"call": 1, "out": 10, "macs": 100}, {"call": 5, "macs": 0.5}) == 55
