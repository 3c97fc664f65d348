"""Float islands and their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trees import FLOAT32, INT8, operator, tensor

from tfedge.inspect.graph import read_model
from tfedge.inspect.islands import Island, float_islands


def islands(path: Path) -> list[Island]:
    return float_islands(read_model(path).subgraphs[0])


def test_islands_by_hand(tree: Any, make_file: Any) -> None:
    assert islands(make_file(tree)) == [
        # GELU and RSQRT, between the look-up and the convolution: 24 elements in, 24 out.
        Island([2, 3], entries=[0], exits=[5], dequantize=1, quantize=1, converted_elements=48),
        Island([7], entries=[], exits=[], dequantize=0, quantize=0, converted_elements=0),
    ]


def test_conversions_alone_are_no_island(tree: Any, make_file: Any) -> None:
    """Back to integers at once, as between two scales of old converters."""
    graph = tree.subgraphs[0]
    graph.operators = [graph.operators[0], graph.operators[1], operator(4, [3], [6])]
    assert islands(make_file(tree)) == []


def test_readers_of_one_tensor_belong_together(tree: Any, make_file: Any) -> None:
    graph = tree.subgraphs[0]
    graph.operators[3] = operator(3, [3], [5])  # reads what GELU reads, not what it writes
    first, _ = islands(make_file(tree))
    assert first.operators == [2, 3]


def test_weights_join_nothing(tree: Any, make_file: Any) -> None:
    """Two operators that share a float constant are not connected by it."""
    graph = tree.subgraphs[0]
    graph.tensors += [tensor("w", [9], FLOAT32, buffer=1), tensor("y", [1], FLOAT32)]
    graph.tensors += [tensor("z", [1], FLOAT32), tensor("i", [1], INT8)]
    graph.operators = [operator(0, [11, 14], [12]), operator(0, [11, 14], [13])]
    assert [island.operators for island in islands(make_file(tree))] == [[0], [1]]


def test_a_float_model_is_one_island(toys: Path) -> None:
    (island,) = islands(toys / "classifier.tflite")
    assert len(island.operators) == len(
        read_model(toys / "classifier.tflite").subgraphs[0].operators
    )
