"""What `convert --target edgetpu` does after converting, with and without a compiler."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_folders
from click.testing import CliRunner
from program import INSTALLED
from test_compile import Tell, compiled, said, tell  # noqa: F401  (a fixture)

from tfedge.cli import main
from tfedge.conversion.job import ConvertOptions, Job
from tfedge.edgetpu.check import check
from tfedge.edgetpu.compile import deliver
from tfedge.errors import InputError, MissingPackageError, RejectedModelError
from tfedge.progress import ProgressBar
from tfedge.records import as_json


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy's folder and texts beside it."""
    root = tmp_path_factory.mktemp("deliver")
    toy_folders.write_folder(root / "toy", small=True)
    toy_folders.write_sentences(root / "toy.tsv", 12)
    return root / "toy"


@pytest.fixture(scope="module")
def converted(toy: Path) -> tuple[int, str, Path]:
    """The exit code and the output of a conversion without a compiler, and the folder written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EDGETPU_COMPILER", raising=False)
        patch.setenv("PATH", "/usr/bin:/bin")
        arguments = ["convert", str(toy), "--target", "edgetpu", "--seq-len", "16"]
        arguments += ["--calibration", f"{toy}.tsv", "--max-drop", "100"]
        result = CliRunner().invoke(main, [*arguments, "--output", str(toy.parent / "out")])
    assert isinstance(result.exception, MissingPackageError)
    return result.exception.exit_code, result.output, toy.parent / "out" / "toy"


def test_without_a_compiler_nothing_is_lost(converted: tuple[int, str, Path]) -> None:
    code, output, folder = converted
    path = folder / "toy_edgetpu_int8.tflite"
    assert code == 4
    assert f"NOT COMPILED, {path} is kept" in output
    assert "partitions: 1 can be mapped" in output
    report = json.loads((folder / "toy_edgetpu_int8.json").read_text())
    assert report["quantization"]["graph"] == "edgetpu"
    assert report["sequence_length"] == 16
    assert report["buckets"] == []
    section = report["edgetpu"]
    assert section["compile"] is None
    assert "neither in PATH nor named by EDGETPU_COMPILER" in section["not_compiled"]
    rows = check(path).operators
    assert [row.class_ for row in rows] == [row["class"] for row in section["check"]["operators"]]
    assert {row.operator for row in rows if row.class_ == "CPU"} == {
        "CAST",
        "GATHER",
        "QUANTIZE",
    }
    for figures in report["evaluation"]["runtimes"].values():
        assert "error" not in figures


def test_with_a_compiler(
    converted: tuple[int, str, Path],
    tmp_path: Path,
    tell: Tell,  # noqa: F811
) -> None:
    path = converted[2] / "toy_edgetpu_int8.tflite"
    predicted = check(path)
    left = {row.index for row in predicted.operators if row.class_ == "CPU"}
    tell(print=said(predicted, left), compiled=str(compiled(path, tmp_path, left)))
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    delivery, failure = deliver(copy)
    assert failure is None
    section = as_json(delivery)
    assert section["not_compiled"] is None
    assert section["compile"]["agrees"] is True
    assert section["compile"]["on_cpu"] == len(left)
    assert check(copy.with_name(f"{copy.stem}_edgetpu.tflite")).compiled is True


def test_compiler_that_fails(
    converted: tuple[int, str, Path],
    tmp_path: Path,
    tell: Tell,  # noqa: F811
) -> None:
    path = tmp_path / "toy.tflite"
    path.write_bytes((converted[2] / "toy_edgetpu_int8.tflite").read_bytes())
    tell(print="broken", code=1)
    delivery, failure = deliver(path)
    assert isinstance(failure, RejectedModelError)
    assert delivery.compile is None
    assert "failed (exit code 1): broken" in str(delivery.not_compiled)


def test_target_is_settled_by_its_file(toy: Path) -> None:
    job = Job(str(toy), ConvertOptions(target="edgetpu", sequence_length=16), ProgressBar)
    assert (job.name, job.runtime, job.shape.buckets) == (
        "toy_edgetpu_int8",
        INSTALLED[0],
        (),
    )
    job = Job("tinybert", ConvertOptions(target="edgetpu-plain"), ProgressBar)
    assert (job.name, job.shape.lengths) == ("tinybert_edgetpu-plain_int8", (64,))
    with pytest.raises(InputError, match=r"computes in int8 only, not dynamic; leave out --quant"):
        options = ConvertOptions(target="edgetpu", quantization="dynamic")
        Job(str(toy), options, ProgressBar)
