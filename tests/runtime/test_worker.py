"""What the program that takes requests says of those that it cannot do; see also test_board.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import TIMEOUT_S, environment


def ask(folder: Path, inputs: dict[str, np.ndarray] | bytes, **fields: Any) -> tuple[int, str]:
    """The exit code and the last line on standard error of a request."""
    arrays = folder / "in.npz"
    if isinstance(inputs, bytes):
        arrays.write_bytes(inputs)
    else:
        named: dict[str, Any] = {f"input:{name}": array for name, array in inputs.items()}
        np.savez(arrays, **named)
    request = {"arrays": str(arrays), "result": str(folder / "out.npz"), **fields}
    done = subprocess.run(
        [sys.executable, "-m", "tfedge.runtime.worker"],
        input=json.dumps(request),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    *_, line = done.stderr.splitlines()
    assert line.startswith("tfedge: ")
    assert not (folder / "out.npz").exists()
    return done.returncode, line


IDS = np.zeros((2, 16), np.int32)
PLACE = {"runtime": "litert", "threads": 1}


def test_requests_of_another_version(tmp_path: Path) -> None:
    assert ask(tmp_path, {}, verb="sing") == (
        2,
        "tfedge: no verb 'sing'; this worker has outputs, tensors, grams, turns, clock, look",
    )
    code, line = ask(tmp_path, {"input_ids": IDS}, verb="outputs")
    assert (code, "no 'model'; use the same version" in line) == (2, True)
    turns = {"verb": "turns", "signatures": ["serving_default"], "rounds": 1, "model": "x.tflite"}
    code, line = ask(tmp_path, {}, **turns, threads=1, runtime=None)
    assert (code, "names no runtime" in line) == (2, True)


@pytest.mark.parametrize("verb", ["outputs", "tensors", "grams", "turns"])
def test_arrays_that_cannot_be_read(toys: Path, tmp_path: Path, verb: str) -> None:
    entry = {"signature": "serving_default", "subgraph": 0, "indices": [0]}
    turns = {"signatures": ["serving_default"], "rounds": 1}
    model = str(toys / "classifier.tflite")
    code, line = ask(tmp_path, b"junk", verb=verb, model=model, **PLACE, **entry, **turns)
    assert (code, "not a readable .npz file" in line) == (2, True)


def test_arrays_that_do_not_fit(toys: Path, tmp_path: Path) -> None:
    model = {"verb": "outputs", "model": str(toys / "classifier.tflite"), **PLACE}
    for inputs, message in (
        ({}, "needs at least one array, all of one shape"),
        ({"a": IDS, "b": IDS[:1]}, "needs at least one array, all of one shape"),
        ({"input_ids": IDS[:, :9]}, "has no signature for inputs of shape (1, 9)"),
    ):
        code, line = ask(tmp_path, inputs, **model)
        assert (code, message in line) == (2, True)


@pytest.mark.parametrize("verb", ["tensors", "grams", "turns"])
def test_arrays_that_do_not_fit_a_signature(toys: Path, tmp_path: Path, verb: str) -> None:
    entry = {"signature": "serving_default", "subgraph": 0, "indices": [0]}
    turns = {"signatures": ["serving_default"], "rounds": 1}
    request = {"verb": verb, "model": str(toys / "classifier.tflite"), **PLACE, **entry, **turns}
    code, line = ask(tmp_path, {"input_ids": IDS}, **request)
    assert (code, "is not among ['input_ids']" in line) == (2, True)
    inputs = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), IDS[:, :9])
    code, line = ask(tmp_path, inputs, **request)
    assert (code, "is (1, 16), not (1, 9)" in line) == (2, True)
