"""What a board has: few packages, a slow processor, another architecture."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import ROOT, Result, each_runtime, environment, infer

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


def test_openssl_stays_out_of_memory(toys: Path) -> None:
    code = """
import sys
from tfedge.runtime import infer

code = infer.run(["--model", sys.argv[1], "a good film"])
assert code == 0, code
assert "libcrypto" not in open("/proc/self/maps").read()
"""
    model = str(toys / "buckets.tflite")
    subprocess.run([sys.executable, "-c", code, model], env=environment(), check=True)


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


def on_board(emulator: Path, board: str, *arguments: str, stdin: bytes = b"") -> Result:
    """Runs `tfedge-infer` on an emulated board, where a process can start none to try a model in."""
    trust = [] if "--doctor" in arguments else ["--trust"]
    done = subprocess.run(
        [str(emulator), board, "-m", "tfedge.runtime.infer", *trust, *arguments],
        input=stdin,
        env={**os.environ, "ARM_PATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    lines, errors = (text.decode().splitlines() for text in (done.stdout, done.stderr))
    return Result(done.returncode, lines, errors)


SHORT = ("int8", "buckets", "tagger")
LONG = ("classifier", "int8_output", "two_inputs", "embedder")
TOYS = (*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG))


@pytest.mark.arm
@each_runtime
@pytest.mark.parametrize("name", TOYS)
def test_same_answers_on_arm(toys: Path, emulator: Path, runtime: str, name: str) -> None:
    model = ("--model", str(toys / f"{name}.tflite"), "--runtime", runtime, "--json")
    texts = ["a good film", "Ada was bad bad bad bad bad bad .", "", "\0"]
    stdin = "\n".join(texts).encode()
    board, host = on_board(emulator, "rpi4", *model, stdin=stdin), infer(*model, stdin=stdin)
    assert (board.code, host.code) == (1, 1), board.errors
    assert board.errors == host.errors
    assert len(board.lines) == len(texts)
    for answer, expected in zip(board.objects, host.objects, strict=True):
        assert answer.keys() == expected.keys()
        assert answer.get("label") == expected.get("label")
        assert answer.get("score") == pytest.approx(expected.get("score"), abs=1e-4)
        assert answer.get("embedding") == pytest.approx(expected.get("embedding"), abs=1e-4)
        tokens = [(token["token"], token["label"]) for token in answer.get("tokens", [])]
        assert tokens == [(token["token"], token["label"]) for token in expected.get("tokens", [])]


@pytest.mark.arm
@pytest.mark.slow
@each_runtime
def test_questions_on_arm(toys: Path, emulator: Path, runtime: str) -> None:
    model = ("--model", str(toys / "reader.tflite"), "--runtime", runtime)
    result = on_board(emulator, "rpi4", *model, stdin=b"Who?\tBob was born\nWho?\n")
    assert [line.split("\t")[0] for line in result.lines] == ["Bob", "error"]
    assert result.code == 1


@pytest.mark.arm
@each_runtime
def test_stream_on_arm(toys: Path, emulator: Path, runtime: str) -> None:
    """Answers while standard input is open; SIGTERM ends it."""
    arguments = ("--trust", "--model", str(toys / "int8.tflite"), "--runtime", runtime)
    with subprocess.Popen(
        [str(emulator), "rpi4", "-m", "tfedge.runtime.infer", *arguments],
        env={**os.environ, "ARM_PATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        for text, label in ((b"good\n", b"positive"), (b"dull\n", b"negative")):
            process.stdin.write(text)
            assert process.stdout.readline().startswith(label)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        assert process.stderr is not None
        assert (code, process.stderr.read()) == (0, b"")


BAD = {
    "damaged": ("int8", lambda good: good[:-100], 3, "no tfedge metadata at its end"),
    "flipped": ("int8", lambda good: good[:200] + b"\xff" + good[201:], 3, "damaged"),
    "lacking": ("lacking", lambda good: good, 4, "lacks the operation Betainc"),
    "future": ("future", lambda good: good, 4, "version 99"),
}


@pytest.mark.arm
@pytest.mark.slow
@each_runtime
@pytest.mark.parametrize("kind", BAD)
def test_bad_files_on_arm(
    toys: Path, tmp_path: Path, emulator: Path, runtime: str, kind: str
) -> None:
    name, spoil, code, message = BAD[kind]
    path = tmp_path / "model.tflite"
    path.write_bytes(spoil((toys / f"{name}.tflite").read_bytes()))
    result = on_board(emulator, "rpi4", "--model", str(path), "--runtime", runtime, "good")
    assert (result.code, result.lines, len(result.errors)) == (code, [], 1)
    assert message in result.errors[0]


# What a board's processor has of 8-bit dot products.
BOARDS = [
    ("rpi4", "Cortex-A72", False),
    ("rpi5", "Cortex-A76", True),
    pytest.param("jetson-nano", "Cortex-A57", False, marks=pytest.mark.slow),
    pytest.param("rpi2", "Cortex-A7", False, marks=pytest.mark.slow),
]


@pytest.mark.arm
@pytest.mark.parametrize(("board", "core", "dot_products"), BOARDS)
def test_doctor_on_arm(
    toys: Path, emulator: Path, board: str, core: str, dot_products: bool
) -> None:
    model = str(toys / "int8.tflite")
    result = on_board(emulator, board, "--doctor", "--json", "--model", model)
    assert result.code == 0, result.errors
    (report,) = result.objects
    assert report["machine"]["cores"] == {core: 4}
    assert report["machine"]["features"]["asimddp"] is dot_products
    assert report["answer"]["model"] == "int8"
    advised = [
        finding for finding in report["findings"] if "LiteRT runs int8" in finding["problem"]
    ]
    assert len(advised) == dot_products
