"""Makes what the fuzzers spoil: `make_seeds(folder)`, toys converted and written as real ones are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import toy_folders
from fuzz_entries import Seeds
from oracle import ROOT

MODELS = ("classifier", "int8", "buckets", "tagger", "reader", "embedder")
RECIPE = b"""name = "mine"
[defaults]
data = "a.tsv"
eval = "a.tsv"
seed = 3
[finetune]
model = "c"
epochs = 1
max_length = 16
learning_rate = 1e-4
[convert]
quant = "int8"
seq_len = 16
buckets = [8, 16]
[eval]
"""


def _program(*arguments: str) -> str:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def make_seeds(folder: Path, toys: Path | None = None) -> Seeds:
    """Makes all seeds in `folder`.

    Args:
        toys: the folder of toy models, where they have been made already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if toys is None:
        toys = folder / "toys"
        toys.mkdir(exist_ok=True)
        if not (toys / "reader.tflite").exists():  # the last of them
            _program(str(ROOT / "tests/toys.py"), str(toys))
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    toy_folders.write_folder(checkpoint, small=True)
    table = toy_folders.write_sentences(folder / "a.tsv")
    index = folder / "i.npz"
    index.unlink(missing_ok=True)
    model = ["--model", str(toys / "embedder.tflite")]
    _program(
        "-m",
        "tfedge.runtime.infer",
        "index",
        *model,
        "--index",
        str(index),
        "--by",
        "line",
        str(table),
    )
    results = json.loads(
        _program("-m", "tfedge.cli", "inspect", str(toys / "int8.tflite"), "--json")
    )
    return Seeds(
        models={name: (toys / f"{name}.tflite").read_bytes() for name in MODELS},
        checkpoint={path.name: path.read_bytes() for path in checkpoint.iterdir()},
        texts=table.read_bytes(),
        index=index.read_bytes(),
        recipe=RECIPE,
        results=json.dumps(results).encode(),
    )
