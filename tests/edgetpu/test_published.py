"""The prediction against what the compiler did: pairs of models, and logs with their wording.

`pairs.json` holds the operators of public models (dtype, shape, version, options; no weights) and
`left`, those that are still there in the model that was published beside it, compiled.
"""

from __future__ import annotations

from typing import Any

import pytest
from graphs import PAIRS, chain, predicted, published

from tfedge.edgetpu.result import CPU

MAPPED = "Mapped to Edge TPU"
ONCE = "More than one subgraph is not supported"
DTYPE = "Operation is working on an unsupported data type"
LIMIT = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
TABLE = "Operation not supported"
CONSTANT = "Filter, bias, or other param is not constant at compile-time"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"

KERNEL, BIAS = "=i8 8x3x3x8", "=i32 8"
MAP = "i8 1x8x8x8"


def log(*steps: Any) -> dict[tuple[str, str], int]:
    """The prediction as the compiler's log has it."""
    summary = predicted(chain(*steps)).summary
    return {(row.operator, row.status): row.count for row in summary}


@pytest.mark.parametrize("pair", PAIRS, ids=[pair["name"] for pair in PAIRS])
def test_published_pair(pair: dict[str, Any]) -> None:
    assert pair["source"].startswith("https://")
    report = predicted(published(pair))
    assert report.problems == []
    left = [row.index for row in report.operators if row.class_ == CPU]
    assert left == pair["left"]
    assert report.counts["unproven"] == 0


def test_pairs_are_of_both_kinds() -> None:
    assert len(PAIRS) >= 10
    assert sum(bool(pair["left"]) for pair in PAIRS) >= 5


def test_log_of_float_inputs_and_outputs() -> None:
    """github.com/system-software-lab/nrf20, convert/quantize/README.md: mnist4.tflite, 15.0."""
    found = log(
        ("f32 1x28x28x1",),
        ("QUANTIZE", "i8 1x28x28x1"),
        ("CONV_2D", "i8 1x26x26x32", "=i8 32x3x3x1", "=i32 32"),
        ("MAX_POOL_2D", "i8 1x13x13x32"),
        ("CONV_2D", "i8 1x11x11x64", "=i8 64x3x3x32", "=i32 64"),
        ("MAX_POOL_2D", "i8 1x5x5x64"),
        ("RESHAPE", "i8 1x1600", "=i32 2 1,1600"),
        ("FULLY_CONNECTED", "i8 1x64", "=i8 64x1600", "=i32 64"),
        ("FULLY_CONNECTED", "i8 1x10", "=i8 10x64", "=i32 10"),
        ("SOFTMAX", "i8 1x10"),
        ("DEQUANTIZE", "f32 1x10"),
    )
    assert found == {
        ("RESHAPE", MAPPED): 1,
        ("CONV_2D", MAPPED): 2,
        ("SOFTMAX", MAPPED): 1,
        ("QUANTIZE", LIMIT): 1,
        ("DEQUANTIZE", DTYPE): 1,
        ("MAX_POOL_2D", MAPPED): 2,
        ("FULLY_CONNECTED", MAPPED): 2,
    }


def test_log_of_a_chain_broken_early() -> None:
    """yolov3-tiny, 15.0.340273435: the first partition is kept, of one convolution; shortened."""
    found = log(
        ("f32 1x8x8x8",),
        ("QUANTIZE", MAP),
        ("CONV_2D", MAP, KERNEL, BIAS),
        ("QUANTIZE", MAP),
        ("LEAKY_RELU", MAP),
        ("MAX_POOL_2D", MAP),
        ("CONV_2D", MAP, KERNEL, BIAS),
        ("LEAKY_RELU", MAP),
        ("QUANTIZE", MAP),
        ("DEQUANTIZE", "f32 1x8x8x8"),
    )
    assert found == {
        ("QUANTIZE", LIMIT): 1,
        ("CONV_2D", MAPPED): 1,
        ("QUANTIZE", MAPPED): 1,
        ("LEAKY_RELU", TABLE): 2,
        ("MAX_POOL_2D", ONCE): 1,
        ("CONV_2D", ONCE): 1,
        ("QUANTIZE", ONCE): 1,
        ("DEQUANTIZE", DTYPE): 1,
    }


@pytest.mark.parametrize(
    ("source", "steps", "expected"),
    [
        (
            "google-coral/edgetpu#25",
            [("i8 1x64",), ("FULLY_CONNECTED", "i8 1x64", "i8 64x64", "=i32 64")],
            ("FULLY_CONNECTED", CONSTANT),
        ),
        (
            "google-coral/edgetpu#27",
            [("i8 8x64",), ("FULLY_CONNECTED", "i8 8x64", "=i8 64x64")],
            ("FULLY_CONNECTED", LIMIT),
        ),
        (
            "frigate-detector-edgetpu-yolo9: GATHER 6",
            [("i8 1x64x8",), ("GATHER", "i8 1x4x8", "=i32 4 0,1,2,3")],
            ("GATHER", TABLE),
        ),
        (
            "efficientdet_coral_v2, 16.0: CUSTOM 1",
            [("i8 1x64x4",), ("CUSTOM:TFLite_Detection_PostProcess", "f32 1x25x4")],
            ("CUSTOM", DTYPE),
        ),
        (
            "google-coral/edgetpu#708: RESHAPE 4",
            [("i8 1x64x4",), ("RESHAPE", "i8 2x4x4x4x2", "=i32 5 2,4,4,4,2")],
            ("RESHAPE", RANK),
        ),
        (
            "google-coral/edgetpu#461: the mean of the whole input",
            [("i8 1x256x128x3",), ("MEAN", "i8 1x3", "=i32 2 1,2")],
            ("MEAN", LIMIT),
        ),
        (
            "google-coral/edgetpu#461: of a part of it",
            [("i8 1x64x128x3",), ("MEAN", "i8 1x3", "=i32 2 1,2")],
            ("MEAN", MAPPED),
        ),
        (
            "yolov5s, 15.0: STRIDED_SLICE 4",
            [("i8 1x8x8x4",), ("STRIDED_SLICE", "i8 1x4x4x4", *["=i32 4 0,0,0,0"] * 2)],
            ("STRIDED_SLICE", "Only Strided-Slice with unitary strides supported"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wording_of_logs(source: str, steps: list[Any], expected: tuple[str, str]) -> None:
    if expected[0] == "STRIDED_SLICE":
        steps = [steps[0], (*steps[1], "=i32 4 1,2,2,1")]
    assert log(*steps) == {expected: 1}, source


@pytest.mark.parametrize(
    ("source", "operator", "message"),
    [
        ("edgetpu#879", "QUANTIZE@3", "builtin opcode 'QUANTIZE' version '3'"),
        ("edgetpu#631", "CONV_2D@6", "builtin opcode 'CONV_2D' version '6'"),
        ("edgetpu#845", "TRANSPOSE_CONV@4", "builtin opcode 'TRANSPOSE_CONV' version '4'"),
        ("fast-plate-ocr#38", "TRANSPOSE@6", "builtin opcode 'TRANSPOSE' version '6'"),
        ("libedgetpu#71", "EXP@2", "builtin opcode 'EXP' version '2'"),
        ("edgetpu#667", "GELU@1", "Op builtin_code out of range: 150."),
    ],
)
def test_files_that_the_compiler_could_not_parse(source: str, operator: str, message: str) -> None:
    shape = "=i32 4 1,8,8,8"
    (problem,) = predicted(chain((MAP,), (operator, MAP, shape, shape))).problems
    assert message in problem.message, source
    assert problem.count == 1


def test_file_with_sizes_known_when_it_runs() -> None:
    """google-coral/edgetpu#829: static-sized tensors only."""
    report = predicted(chain((MAP,), ("RESHAPE", "i8 1x512", "i32 2")))
    (problem,) = report.problems
    assert "only supports static-sized tensors" in problem.message
