"""`python -m benchmarks`, without its peers' environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.peers.registry import PEERS
from tfedge.cli.measurement import bench

ROOT = Path(__file__).parents[2]
PEER = ("--peer", "onnxruntime-float")


def benchmarks(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_names_all_peers() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=100).output.splitlines()
    for name, peer in PEERS.items():
        assert any(line.split() == [name, *peer.what.split()] for line in lines), name


def test_it_has_the_options_of_bench() -> None:
    names = {option.name for option in bench.params if not getattr(option, "hidden", False)}
    names -= {"board", "is_estimated"}  # peers run, and on this machine
    assert {option.name for option in main.params} == names | {
        "peer_names",
        "checkpoint",
        "peer_python",
    }


def test_without_the_environment(toys: Path) -> None:
    data = ("--data", ROOT / "tfedge/data/sentences.tsv")
    rest = (*PEER, "--checkpoint", "saved_models/tinybert", "--peer-python", "nowhere")
    done = benchmarks(toys / "classifier.tflite", *data, *rest)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == (
        "tfedge: the peers need an environment of their own, and nowhere is not there: "
        "`make .venv-bench/.done` makes it, or give another Python with --peer-python"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--peer", "torch", "--checkpoint", "x"), "'torch' is not one of 'onnx"),
        (PEER, "Missing option '--checkpoint'"),
        (("--checkpoint", "x"), "Missing option '--peer'"),
    ],
)
def test_usage(options: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(main, ["x.tflite", "--data", "x.tsv", *options])
    assert result.exit_code == 2
    assert message in result.output


def test_unknown_checkpoint(toys: Path) -> None:
    data = ("--data", ROOT / "tfedge/data/sentences.tsv")
    done = benchmarks(toys / "classifier.tflite", *data, *PEER, "--checkpoint", "./nowhere")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("tfedge: no model './nowhere'")
