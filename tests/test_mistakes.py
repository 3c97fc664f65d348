"""Mistakes that users make most: each is told in one line that names the way out, at once."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINYBERT = ROOT / "saved_models" / "tinybert"
# Of the processor; TensorFlow alone takes three. Beside other tests the same takes longer.
SECONDS = 1.4 if "PYTEST_XDIST_WORKER" in os.environ else 0.7

# What is wrong -> the command line (of a folder that `place` makes), its exit code, the way out.
MISTAKES: dict[str, tuple[str, int, str]] = {
    "misspelt command": ("tfedge convrt tinybert", 2, "Did you mean 'convert'?"),
    "misspelt option": ("tfedge convert tinybert --quantt int8", 2, "'--quant'"),
    "misspelt model": ("tfedge convert tinybrt", 3, "did you mean tinybert?"),
    "misspelt model to train": (
        "tfedge finetune TinyBERT-small --data train.csv --output out",
        3,
        "none of the names ",
    ),
    "misspelt preset to distil": (
        "tfedge distil tinybrt --teacher checkpoint --data train.csv --output out",
        3,
        "did you mean tinybert?",
    ),
    "unknown mode": ("tfedge convert tinybert --quant int3", 2, "is not one of 'int8', "),
    "unknown board": ("tfedge convert tinybert --target rpi3", 2, "'rpi4', 'rpi5'"),
    "number out of range": (
        "tfedge convert tinybert --seq-len 1024",
        2,
        "is not in the range 3<=x<=512",
    ),
    "folder without config.json": (
        "tfedge convert empty",
        3,
        "a checkpoint is a folder with config.json, model.safetensors and tokenizer.json",
    ),
    "weights as a pickle": ("tfedge convert pickled", 3, "safe_serialization=True"),
    "another architecture": ("tfedge convert gpt2", 3, "supported are "),
    "ONNX": ("tfedge convert model.onnx", 3, "give the folder that holds config.json"),
    "Keras": ("tfedge export model.h5 --format onnx --output out", 3, "give the folder that holds"),
    "SavedModel": ("tfedge convert saved", 3, "give the folder that holds config.json"),
    "converted model to convert": (
        "tfedge convert model.tflite",
        3,
        "`tfedge-infer --model` answers with it",
    ),
    **{
        f"name that is too long, {what}": (command.replace("LONG", "a" * 300), 3, "too long; give")
        for what, command in {
            "of a model": "tfedge convert LONG",
            "of texts": "tfedge finetune checkpoint --data LONG --output out",
            "of an output": "tfedge finetune checkpoint --data train.csv --output LONG",
            "of calibration": "tfedge convert checkpoint --calibration LONG",
        }.items()
    },
    "id on the hub without the hub": (
        "tfedge convert owner/name",
        3,
        "check the name and the connection, or download it elsewhere and give the folder",
    ),
    "output into a file": (
        "tfedge convert tinybert --output out/tinybert.tflite",
        3,
        "give the folder in which MODEL/MODEL_QUANT.tflite is written: --output out",
    ),
    "missing calibration data": (
        "tfedge convert tinybert --calibration trian.csv",
        3,
        "trian.csv does not exist, did you mean train.csv?",
    ),
    "missing data": (
        "tfedge eval --model checkpoint --data trian.csv",
        3,
        "did you mean train.csv?",
    ),
    "data in another format": (
        "tfedge eval --model checkpoint --data train.xlsx",
        3,
        "the name must end in .tsv, .csv, .jsonl, .txt",
    ),
    "unknown column to measure on": (
        "tfedge eval --model checkpoint --data reviews.csv",
        3,
        "(or give --text-column)",
    ),
    "unknown column to convert with": (
        "tfedge convert checkpoint --eval reviews.csv",
        3,
        "name the one with the text 'text' (or give --text-column)",
    ),
    "unknown column to train on": (
        "tfedge finetune tinybert --data train.csv --label-column stars --output out",
        3,
        "its columns are ['label', 'text']",
    ),
    "no labels to train on": (
        "tfedge finetune tinybert --data texts.txt --output out",
        3,
        "it needs the columns text and label",
    ),
    "output that exists": (
        "tfedge finetune tinybert --data train.csv --output checkpoint",
        3,
        "choose another --output, or --force to replace it",
    ),
    "no texts": ("tfedge eval --model checkpoint", 2, "Missing option '--data'"),
    "missing model to inspect": (
        "tfedge inspect no.tflite",
        3,
        "no such file; give the path of a .tflite file",
    ),
    "recipe that is not there": ("tfedge run no.toml", 3, "no.toml cannot be read: No such file"),
    "checkpoint to answer with": (
        "tfedge-infer --model checkpoint text",
        3,
        "the folder of a checkpoint: `tfedge convert checkpoint` makes the .tflite",
    ),
    "no model to answer with": ("tfedge-infer text", 2, "Missing option '--model'"),
    "name of a model to answer with": (
        "tfedge-infer --model tinybert text",
        3,
        "no such file; give the path of a .tflite file",
    ),
}
PROGRAMS = {"tfedge": "tfedge.cli", "tfedge-infer": "tfedge.runtime.infer"}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended, and what it took of the processor."""

    code: int
    lines: list[str]
    errors: list[str]
    seconds: float


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command lines name."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("model.onnx", "model.h5", "train.xlsx", "saved/saved_model.pb"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0" * 64)
    (folder / "model.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\0" * 64)
    for name in ("empty", "pickled", "gpt2"):
        (folder / name).mkdir()
    config = json.loads((TINYBERT / "config.json").read_text(encoding="utf-8"))
    (folder / "pickled" / "config.json").write_text(json.dumps(config))
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"PK")
    (folder / "gpt2" / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    (folder / "checkpoint").symlink_to(TINYBERT)
    (folder / "train.csv").write_text("text,label\na good film,positive\nawful,negative\n")
    (folder / "reviews.csv").write_text("review,stars\na good film,5\nawful,1\n")
    (folder / "texts.txt").write_text("a good film\nawful\n")
    return folder


def ended(command: str, folder: Path) -> Ended:
    """Runs a command line in a folder, without the hub."""
    name, *words = command.split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": "hub"}
    with subprocess.Popen(
        [sys.executable, "-m", PROGRAMS[name], *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        errors, lines = process.stderr.read(), process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = used.ru_utime + used.ru_stime
    return Ended(process.returncode, lines.splitlines(), errors.splitlines(), seconds)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_with_the_way_out_at_once(place: Path, mistake: str) -> None:
    command, code, way_out = MISTAKES[mistake]
    found = ended(command, place)
    assert (found.code, found.lines) == (code, [])
    assert len(found.errors) == 1
    assert found.errors[0].startswith(f"{command.split()[0]}: ")
    assert way_out in found.errors[0]
    # On a machine that is busy with others the same may take longer once.
    assert found.seconds <= SECONDS or ended(command, place).seconds <= SECONDS
    assert not (place / "out").exists()
