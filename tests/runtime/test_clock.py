"""The program that answers blocks of texts and times them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from program import TIMEOUT_S, each_runtime, environment

from tfedge.runtime.machine import peak_rss_bytes


def run(model: Path, *blocks: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    defaults = {"runtime": None, "threads": None, "length": None}
    request = {"verb": "clock", "model": str(model), **defaults, **options}
    return subprocess.run(
        [sys.executable, "-m", "tfedge.runtime.worker"],
        input="".join(json.dumps(line) + "\n" for line in (request, *blocks)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@each_runtime
def test_blocks(toys: Path, runtime: str) -> None:
    blocks = [["a good film", "", "dull \ud800", "dull\n\u2028"], [], ["great"]]
    done = run(toys / "classifier.tflite", *blocks, runtime=runtime, threads=1)
    assert (done.returncode, done.stderr) == (0, "")
    about, *answered = map(json.loads, done.stdout.splitlines())
    assert about["threads"] == 1
    assert about["runtime"].startswith(runtime)
    labels = [[answer.get("label") for answer in block["answers"]] for block in answered]
    assert labels == [["positive", None, None, "negative"], [], ["positive"]]
    assert answered[0]["answers"][1] == {"error": "the text is empty"}
    for given, block in zip(blocks, answered, strict=True):
        assert len(block["tokenize_s"]) == len(block["infer_s"]) == len(given)
        assert all(0 <= seconds < 10 for seconds in block["tokenize_s"] + block["infer_s"])
    # A text of which no tokens can be made costs no time before the answer.
    assert answered[0]["tokenize_s"][0] > 0
    assert answered[0]["infer_s"][0] > 0


def test_one_length(toys: Path) -> None:
    long = "good " * 6 + "bad " * 7
    answers = {}
    for length in (None, 8, 16):
        done = run(toys / "buckets.tflite", [long], length=length)
        answers[length] = json.loads(done.stdout.splitlines()[1])["answers"][0]
    assert answers[None] == answers[16]
    assert ("truncated" in answers[8], "truncated" in answers[16]) == (True, False)
    # In 8 tokens there is room for the good words alone.
    assert answers[8]["scores"]["positive"] > answers[16]["scores"]["positive"]


def test_what_cannot_be_run(toys: Path) -> None:
    model = toys / "buckets.tflite"
    for path, options, code, message in (
        (model, {"length": 12}, 2, "the model has no graph for 12 tokens; it has 8, 16"),
        (model, {"threads": 0}, 2, "0 threads asked for; 1 to 64 are allowed"),
        (toys / "none.tflite", {}, 3, "no such file; give the path of a .tflite file"),
        (toys / "future.tflite", {}, 4, "cannot run the model"),
    ):
        done = run(path, **options)
        assert (done.returncode, done.stdout) == (code, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("tfedge: ")
        assert message in line


def test_memory_is_that_of_the_process_itself() -> None:
    """Not of the one that started it, which a process inherits in what getrusage says."""
    child = "from tfedge.runtime.machine import peak_rss_bytes; print(peak_rss_bytes())"
    parent = (
        "import subprocess, sys; ballast = bytearray(400_000_000);"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
    command = [sys.executable, "-c", parent]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert 10_000_000 < int(done.stdout) < 300_000_000


def test_memory_grows() -> None:
    before = peak_rss_bytes()
    assert before is not None
    ballast = bytearray(b"x" * (before + 50_000_000))
    after = peak_rss_bytes()
    assert after is not None
    assert after > len(ballast)
