"""The report of `tfedge edgetpu check` and its three forms."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import bars
import pytest
from ai_edge_litert import schema_py_generated as schema
from charts import needs_charts
from click.testing import CliRunner
from graphs import chain, predicted, tensor
from trees import CUSTOM, FLOAT32, INT8, code, made, operator, packed
from trees import tensor as table

from tfedge.cli import main
from tfedge.edgetpu.check import check, partition
from tfedge.edgetpu.judge import judge
from tfedge.edgetpu.result import CPU, Check
from tfedge.edgetpu.rules import load_rules
from tfedge.edgetpu.table import page, render, verdict_lines
from tfedge.errors import InputError
from tfedge.inspect.graph import Operator, Subgraph
from tfedge.inspect.report import InspectOptions, inspect
from tfedge.inspect.table import page as inspect_page
from tfedge.inspect.table import render as inspect_table
from tfedge.records import as_json

RULES = load_rules()


def verdict(*steps: Any) -> Any:
    graph = chain(*steps)
    return judge(graph.operators[-1], graph, RULES)


def report_of(path: Path) -> Check:
    report = check(path)
    content = as_json(report)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    return report


# --- rules


def test_every_rule_has_its_source() -> None:
    for rule in RULES.general.values():
        assert rule.status and rule.source and rule.change
    for known in RULES.operators.values():
        assert known.source
        assert known.runtime in (10, 13, 14)
    assert RULES.ceilings["CONV_2D"] == (5, "2.9")


@pytest.mark.parametrize(
    ("steps", "is_mapped", "is_seen"),
    [
        ([("i8 1x16x8",), ("TANH", "i8 1x16x8")], True, False),
        ([("i8 1x16x8",), ("LOGISTIC", "i8 1x16x8")], True, True),
        ([("i8 1x16x8",), ("MEAN", "i8 1x16x1", "=i32 1 2")], True, False),
        ([("i8 1x16x6",), ("MEAN", "i8 1x16x1", "=i32 1 2")], False, False),
        ([("i8 4x16x8",), ("SUM", "i8 16x8", "=i32 1 0")], False, False),
        ([("i8 4x16x8",), ("SUM", "i8 4x16", "=i32 1 -1")], True, False),
        ([("i8 1x16",), ("SOFTMAX", "i8 1x16")], True, True),
        ([("i8 1x16x16",), ("SOFTMAX", "i8 1x16x16")], True, False),
        ([("i8 1x16400",), ("SOFTMAX", "i8 1x16400")], False, False),
        ([("i8 1x8x8x4",), ("PAD", "i8 1x9x9x4", "=i32 4x2 0,0,0,1,0,1,0,0")], True, True),
        ([("i8 1x8x8x4",), ("PAD", "i8 2x8x8x4", "=i32 4x2 0,1,0,0,0,0,0,0")], False, False),
        ([("i8 1x6x6x4",), ("RESIZE_BILINEAR", "i8 1x12x12x4", "=i32 2 12,12")], True, True),
        ([("i8 1x6x6x4",), ("RESIZE_BILINEAR", "i8 1x24x24x4", "=i32 2 24,24")], True, False),
        ([("i8 1x1x1x4",), ("TILE", "i8 1x9x9x4", "=i32 4 1,9,9,1")], True, True),
        ([("i8 1x3x3x4",), ("TILE", "i8 1x9x9x4", "=i32 4 1,3,3,1")], False, False),
        ([("i8 1x4x4",), ("CONCATENATION", "i8 1x4x8", "i8 1x4x4")], True, True),
        ([("i8 1x4x4",), ("CONCATENATION", "i8 1x4x8", "=i8 1x4x4")], True, False),
        ([("i8 1x4x4",), ("CONCATENATION", "i8 1x4x9", "=i8 1x4x4", "i8 1x4x1")], False, False),
        (
            [("i8 1x4x4x4",), ("MAX_POOL_2D", "i8 1x2x2x4", {"FusedActivationFunction": 1})],
            False,
            0,
        ),
        (
            [("i8 1x9x9x4",), ("CONV_2D", "i8 1x9x9x4", "=i8 4x3x3x4", {"DilationHFactor": 2})],
            False,
            0,
        ),
        (
            [("i8 1x9x9x4",), ("CONV_2D", "i8 1x9x9x4", "=i8 4x3x1x4", {"DilationHFactor": 2})],
            True,
            1,
        ),
        ([("i16 1x4x4",), ("ADD", "i16 1x4x4", "=i8 1")], False, False),
        ([("i8 2x1x4x4",), ("ADD", "i8 2x1x4x4", "=i8 1")], False, False),
        ([("i8 1x16",), ("FULLY_CONNECTED", "i8 1x4", "=f32 4x16")], False, False),
    ],
)
def test_operator_by_operator(steps: list[Any], is_mapped: bool, is_seen: bool) -> None:
    found = verdict(*steps)
    assert (found.refused is None, found.seen) == (is_mapped, bool(is_seen))


def test_rule_of_a_size_that_was_seen() -> None:
    found = verdict(("i8 1x256x128x3",), ("MEAN", "i8 1x3", "=i32 2 1,2")).refused
    assert found.rule == "A mean over 32,768 elements has been seen left on the CPU."
    assert "461" in found.source


def test_open_questions_are_counted_both_ways() -> None:
    graph = chain(
        ("i8 1x16x8",),
        ("LOGISTIC", "i8 1x16x8"),
        ("FULLY_CONNECTED", "i8 1x16x16", "=i8 16x8"),
        ("SOFTMAX", "i8 1x16x16"),
        ("BATCH_MATMUL", "i8 1x16x8", "i8 1x16x8"),
        ("LOGISTIC", "i8 1x16x8"),
    )
    report = predicted(graph)
    assert [row.class_ for row in report.operators] == ["mapped", *[CPU] * 4]
    assert report.readings == {"strict": 1, "generous": 5}
    assert [row.counted for row in report.questions] == [CPU, "mapped", CPU]
    assert report.first_break.operator == "FULLY_CONNECTED"
    assert report.first_break.stranded == 2
    assert "1x1" in report.first_break.change


# --- partitions


def test_partition_does_not_depend_on_the_order_of_the_file() -> None:
    """A branch that can be mapped joins the first set, though what cannot stands before it."""
    operators = [
        Operator("ADD", 1, (0,), (1,)),
        Operator("GELU", 1, (1,), (2,)),
        Operator("MUL", 1, (0,), (3,)),
        Operator("SUB", 1, (2, 3), (4,)),
    ]
    graph = Subgraph([tensor("i8 4")] * 5, operators, (0,), (4,))
    found = partition(graph, [True, False, True, True])
    assert [(item.mappable, item.operators) for item in found] == [
        (True, (0, 2)),
        (False, (1,)),
        (True, (3,)),
    ]


def test_partition_of_a_circle_ends() -> None:
    operators = [Operator("ADD", 1, (1,), (0,)), Operator("ADD", 1, (0,), (1,))]
    graph = Subgraph([tensor("i8 4")] * 2, operators, (), (1,))
    (found,) = partition(graph, [True, True])
    assert (found.mappable, found.operators) == (False, (0, 1))


# --- memory and latency


def test_memory_and_latency_by_hand() -> None:
    graph = chain(
        ("i8 1x1x128x256",),
        ("CONV_2D", "i8 1x1x128x512", "=i8 512x1x1x256", "=i32 512"),
        ("GELU", "i8 1x1x128x512"),
    )
    report = predicted(graph)
    assert report.memory.parameter_bytes == 512 * 256 + 4 * 512
    assert (report.memory.fits, report.memory.streamed_bytes) == ("yes", 0)
    found = report.latency
    assert found.macs == 128 * 512 * 256
    assert found.transfer_bytes == 128 * (256 + 512)
    expected = 1e3 * (2 * 128 * 512 * 256 / 4e12 + 128 * 768 / 300e6)
    assert found.milliseconds["usb3"] == pytest.approx(expected)


def test_what_does_not_fit_is_streamed() -> None:
    graph = chain(("i8 1x4096",), ("FULLY_CONNECTED", "i8 1x4096", "=i8 4096x4096"))
    held = predicted(graph).memory
    assert held.fits == "no"
    assert held.streamed_bytes == 4096 * 4096 - held.least_free_bytes


# --- files


def test_model_of_several_lengths(toys: Path) -> None:
    report = report_of(toys / "int8.tflite")
    assert report.graph.index == 0
    assert len(report.operators) == sum(row.count for row in report.summary)
    assert sum(report.counts.values()) == len(report.operators)
    several = report_of(toys / "buckets.tflite")
    assert several.graph.others == ["short"]
    assert "not at short" in render(several)


def test_names_the_target_before_anything_else(toys: Path) -> None:
    """Of a file that the Edge TPU hardly runs; float is all left on the CPU."""
    lines = verdict_lines(report_of(toys / "classifier.tflite"))
    assert "`tfedge convert MODEL --target edgetpu`" in lines[1]
    graph = chain(("i8 1x64",), ("FULLY_CONNECTED", "i8 1x64", "=i8 64x64"))
    assert not any("--target" in line for line in verdict_lines(predicted(graph)))


@needs_charts
def test_compiled_file(tmp_path: Path) -> None:
    graph = made(
        schema.SubGraphT(),
        tensors=[table(name, [1, 4], kind) for name, kind in (("a", INT8), ("b", INT8))]
        + [table("c", [1, 4], FLOAT32)],
        operators=[operator(0, [0], [1]), operator(1, [1], [2])],
        inputs=[0],
        outputs=[2],
    )
    codes = [code(CUSTOM, 1, "edgetpu-custom-op"), code(schema.BuiltinOperator.DEQUANTIZE, 2)]
    tree = made(
        schema.ModelT(),
        version=3,
        operatorCodes=codes,
        subgraphs=[graph],
        buffers=[schema.BufferT()],
    )
    path = tmp_path / "x_edgetpu.tflite"
    path.write_bytes(packed(tree))
    report = report_of(path)
    assert report.compiled is True
    assert report.counts == {"mapped": 1, "unproven": 0, "CPU": 1}
    assert "1 edgetpu-custom-op, 1 operators left" in render(report)
    assert "edgetpu-custom-op" in page(report)
    inspected = inspect(path, InspectOptions(), bars.Bars())
    line = "compiled for the Edge TPU: 1 edgetpu-custom-op, 1 operators left on the CPU"
    assert line in inspect_table(inspected)
    assert line in inspect_page(inspected)


def test_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        check(path)


@pytest.mark.parametrize("name", ["CONV_2D", "PRELU", "SOFTMAX", "SPLIT", "TILE", "MEAN"])
def test_operator_without_operands(name: str) -> None:
    graph = Subgraph([tensor("i8 4")], [Operator(name, 1, (), (0,))], (), (0,))
    with pytest.raises(InputError, match="lacks an operand"):
        predicted(graph)


def test_damaged_files_end_in_one_line(toys: Path, tmp_path: Path) -> None:
    content = (toys / "int8.tflite").read_bytes()
    path, chance = tmp_path / "x.tflite", random.Random(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            render(check(path))
        except InputError as error:
            refused += 1
            assert str(error).startswith(str(path)), error
            assert "\n" not in str(error)
    assert refused


def test_command(toys: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    command = ["edgetpu", "check", str(toys / "int8.tflite"), "--html", str(html)]
    text = CliRunner().invoke(main, command)
    assert text.exit_code == 0
    assert "ESTIMATE, not a measurement" in text.output
    written = html.read_text()
    assert "http" not in written.split("<body>")[0]
    assert "<h2>Operators</h2>" in written
    found = json.loads(CliRunner().invoke(main, [*command[:3], "--json"]).output)
    assert found["compiler"] == RULES.device.compiler
    verdict = found["verdict"]
    mapped = found["counts"]["mapped"] + found["counts"]["unproven"]
    assert verdict["figures"][0]["value"] == mapped
    assert f"{mapped} of {len(found['operators'])} operators predicted" in verdict["sentence"]
    assert verdict["sentence"].endswith("; not measured: accuracy, speed, peers")
    assert text.output.startswith(verdict["sentence"][:60])
    assert verdict["sentence"] in written
