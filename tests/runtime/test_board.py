"""What a board has: few packages, a slow processor, another architecture."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from program import ROOT, each_runtime, environment, infer

MODULES = {"tflite-runtime": "tflite_runtime", "litert": "ai_edge_litert"}
# What the base install brings besides numpy, tokenizers, click and one runtime. LiteRT's own
# requirements are not named here: its interpreter is to work without most of them.
BASE = ("tfedge", "numpy", "tokenizers", "click")

BLOCKED = """
import sys
from importlib.machinery import PathFinder

class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        found = PathFinder.find_spec(name) if path is None and name not in ALLOWED else None
        if found is not None and "site-packages" in str(found.origin):
            raise ImportError(f"{name} is not on the board")

sys.meta_path.insert(0, OnlyTheBase())
from tfedge.runtime import infer, load

print(load(MODEL, RUNTIME)("a good film")["label"], flush=True)
sys.exit(infer.run(["--model", MODEL, "--runtime", RUNTIME, "a dull film"]))
"""


@each_runtime
def test_base_install_is_enough(toys: Path, runtime: str) -> None:
    names = {
        "ALLOWED": (*BASE, MODULES[runtime]),
        "MODEL": str(toys / "buckets.tflite"),
        "RUNTIME": runtime,
    }
    code = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + BLOCKED
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["positive", "negative"]


def test_import_is_light() -> None:
    """Processor time, because the machine that tests may be busy; the best of three."""
    code = "import sys; from tfedge.runtime import load; print(*sys.modules)"
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {*MODULES.values(), "tensorflow", "transformers", "torch", "flatbuffers"}
    assert min(seconds) < 0.5


@pytest.mark.slow
def test_memory_and_first_answer_of_tinybert() -> None:
    """The base install, so tflite-runtime; a text of each length. Processor time, see above."""
    pytest.importorskip("tflite_runtime")
    model = os.environ.get("TFEDGE_MODEL", str(ROOT / "saved_models/tinybert/tinybert_int8.tflite"))
    if not Path(model).is_file():
        pytest.fail(f"{model} does not exist; run make convert MODEL=tinybert, or set TFEDGE_MODEL")
    options = ("--model", model, "--runtime", "tflite-runtime", "--threads", "1", "--json")
    texts = ["a good film " * count for count in (1, 5, 8, 12, 18, 40)]
    (timing,) = infer(*options, "--benchmark", "12", *texts).objects
    assert timing["peak_rss_bytes"] < 80_000_000
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert infer(*options, "a good film").code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def arm_run() -> Path:
    """The program that runs the emulated board's Python."""
    path = Path(os.environ.get("TFEDGE_ARM_RUN") or ROOT.parent / "shared" / "arm" / "run")
    if not path.exists():
        pytest.skip(f"no emulated board: {path} does not exist (TFEDGE_ARM_RUN names another)")
    return path


@pytest.mark.arm
@each_runtime
@pytest.mark.parametrize("name", ["classifier", "int8", "buckets", "tagger"])
def test_same_answers_on_arm(toys: Path, runtime: str, name: str) -> None:
    model = ("--model", str(toys / f"{name}.tflite"), "--runtime", runtime, "--json")
    texts = ["a good film", "Ada was bad bad bad bad bad bad .", "", "\0"]
    board = subprocess.run(
        [str(arm_run()), "rpi4", "-m", "tfedge.runtime.infer", *model],
        input="\n".join(texts).encode(),
        env={**os.environ, "ARM_PATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    host = infer(*model, stdin="\n".join(texts).encode())
    assert (board.returncode, host.code) == (1, 1), board.stderr
    answers = [json.loads(line) for line in board.stdout.splitlines()]
    assert len(answers) == len(texts)
    for answer, expected in zip(answers, host.objects, strict=True):
        assert answer.keys() == expected.keys()
        assert answer.get("label") == expected.get("label")
        assert answer.get("score") == pytest.approx(expected.get("score"), abs=1e-4)
        tokens = [(token["token"], token["label"]) for token in answer.get("tokens", [])]
        assert tokens == [(token["token"], token["label"]) for token in expected.get("tokens", [])]
