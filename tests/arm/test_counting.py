"""What is made of an emulator's counts, which a script here invents."""

from __future__ import annotations

from pathlib import Path

import answers
import count as count_module
import mission
import pytest
from count import Count, count_lengths, per_inference, table


def emulator(folder: Path, lines: str, code: int = 0) -> Path:
    """An emulator that prints `lines` on standard error, and its arguments into a file."""
    path = folder / "run"
    path.write_text(
        f"#!/bin/sh\necho $ARM_PATH $@ > {folder}/arguments\nprintf '{lines}' >&2\nexit {code}\n"
    )
    path.chmod(0o700)
    return path


def test_marks(tmp_path: Path) -> None:
    """Two for each length, an inference between them; another process tells its end too."""
    lines = r"MARK 1000000\nINSNS 7\nMARK 2000000\nMARK 9000000\nMARK 9500000\nINSNS 99000000\n"
    run = emulator(tmp_path, lines)
    site = tmp_path / "site"
    assert per_inference(run, "rpi4", "onnx", Path("x.onnx"), [16, 64], site) == {16: 1, 64: 0.5}
    paths, *arguments = (tmp_path / "arguments").read_text().split()
    assert paths.endswith(f":{site}")
    assert arguments[0] == "rpi4"
    assert arguments[2:] == ["onnx", "x.onnx", "1", "16", "64"]


def test_whole_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four marks each: of the answer and, within it, of the graph."""
    marks = [0, 1, 6, 7, 10, 12, 18, 20, 30, 31, 49, 50]
    lines = "".join(rf"MARK {mark}000000\n" for mark in marks)
    monkeypatch.setattr(answers, "read_bundle", lambda path: None)
    monkeypatch.setattr(answers, "_graphs", lambda bundle, texts: iter((12, 12, 16)))
    run = emulator(tmp_path, lines + r"INSNS 51000000\n")
    found = answers.count_answers(run, "rpi5", "litert", Path("x.tflite"), ["a", "b", "c"])
    assert found == [
        answers.Answer(12, 7.0, 5.0),
        answers.Answer(12, 10.0, 6.0),
        answers.Answer(16, 20.0, 18.0),
    ]
    assert list(answers.table(found)) == [
        "12\t2\t8.50\t5.50\t35.3 %",
        "16\t1\t20.00\t18.00\t10.0 %",
        "all\t3\t12.33\t9.67\t21.6 %",
    ]
    run = emulator(tmp_path, r"it was made for litert\nMARK 1\nINSNS 5\n", code=5)
    with pytest.raises(RuntimeError, match=r"^it was made for litert$"):
        answers.count_answers(run, "rpi5", "tflite-runtime", Path("x.tflite"), ["a", "b"])


def test_failures(tmp_path: Path) -> None:
    run = emulator(tmp_path, r"no such operation\nMARK 1\nINSNS 5\n", code=4)
    (count,) = count_lengths(run, "rpi4", "litert", Path("x.tflite"), [16], name="peer")
    assert count == Count("rpi4", "litert", "peer", 16, None, "no such operation")
    run = emulator(tmp_path, r"INSNS 5\n")
    with pytest.raises(RuntimeError, match=r"/run counts without marks; those of tests/arm/run"):
        per_inference(run, "rpi4", "litert", Path("x.tflite"), [16])


def test_what_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_module, "_SECONDS", 0.1)
    run = tmp_path / "run"
    run.write_text("#!/bin/sh\nexec sleep 60\n")
    run.chmod(0o700)
    with pytest.raises(RuntimeError, match=r"longer than 0\.1 s"):
        per_inference(run, "rpi4", "litert", Path("x.tflite"), [16])


def test_table() -> None:
    counts = [
        Count("rpi4", "litert", "a", 64, 70.0),
        Count("rpi4", "litert", "a", 16, 15.0),
        Count("rpi4", "onnx", "b", 16, 20.0),
        Count("rpi4", "onnx", "b", 64, 60.0),
        Count("rpi4", "mnn", "b", 16, 5.0),
        Count("rpi4", "onnx", "c", 16, None, "failed"),
        Count("rpi5", "onnx", "b", 16, 5.0),
    ]
    assert table(counts) == [
        "rpi4, tokens:\t16\t64",
        "b, onnx\t20.0\t60.0",
        "a, litert\t15.0\t70.0",
        "b, mnn\t5.0\t",
        "rpi5, tokens:\t16",
        "b, onnx\t5.0",
    ]


def test_table_of_architectures(toys: Path) -> None:
    rows = {
        "tinybert": {
            **{"parameters": 14_350_000, "flops": 1.25e9},
            "minsn": {"float32": 200.0, "int8": 100.0},
        },
        "bert-base": {"parameters": 1e8, "flops": 2e10, "minsn": {"float32": 3000.0}},
    }
    # The toy's graphs take 8 and 16 tokens; a text of four words has six.
    counts = [Count("rpi4", "litert", "x", 8, 10.0), Count("rpi4", "litert", "x", 16, 20.0)]
    data = toys.parent / "texts.txt"
    data.write_text("a good dull film\n" + "good " * 10 + "\n")
    rows["tinybert"]["texts"] = mission._mean_of_texts(toys / "buckets.tflite", counts, str(data))
    mission._add_speed_ups(rows)
    result = {"board": "rpi4", "tokens": 128, "base": "bert-base", "models": rows}
    assert mission._table(result).splitlines() == [
        "rpi4, 128 tokens\tparameters\tGFLOPs\tMinsn float32\tMinsn int8\tspeed-up",
        "tinybert\t14.3M\t1.25\t200.0\t100.0\t30.0",
        f"tinybert on 2 texts of {data}: 15.0 Minsn a text, 200.0 times fewer than bert-base on "
        "128 tokens",
        "bert-base\t100.0M\t20.00\t3000.0\t\t1.0",
    ]
