"""Racing toys beside peers whose Python is a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import talker
import toy_folders
from bars import Bars

from benchmarks import peer as peer_module
from benchmarks.bench import bench
from benchmarks.peer import PeerOptions, fastest
from benchmarks.peers.registry import PEERS
from tfedge.data.texts import Texts
from tfedge.errors import InputError, MissingPackageError, TfedgeError
from tfedge.measure.race import BLOCK, BenchOptions
from tfedge.records import as_json

TEXTS = Texts(["a good film", "awful", "dull", "\0"], ["1", "0", "1", "0"], "toy.tsv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_folders.write_folder(tmp_path / "toy", small=True)


ONNX = {"torch": "2", "transformers": "5", "onnx": "1", "onnxruntime": "1"}


def peer_python(
    folder: Path,
    export: str = "",
    milliseconds: str = "plain) ms=5;; *) ms=7",
    packages: dict[str, str] = ONNX,
) -> Path:
    """A Python that exports empty files and answers as a talker does.

    Args:
        export: what it does instead of exporting.
        milliseconds: cases of the shell, from a variant to the `ms` it takes.
        packages: those that it has.
    """
    script = folder / "python"
    script.write_text(
        f"""#!/bin/sh
echo "$@" >> {folder}/arguments
case "$2" in
*installed) echo '{json.dumps(packages)}';;
*export_onnx)
  {export or "true"}
  out=$4
  for kind in float dynamic; do
    mkdir -p "$out/$kind"
    for variant in plain plain-per-channel fused fused-per-channel; do
      echo 1234 > "$out/$kind/$variant.onnx"
    done
  done;;
*)
  test -s "$5" || exit 9
  case "$(basename "$4" .onnx)" in {milliseconds};; esac
  exec {sys.executable} {talker.PROGRAM} \\
    "{{\\"ms\\": [$ms], \\"label\\": \\"negative\\"}}";;
esac
"""
    )
    script.chmod(0o700)
    return script


def with_peer(toys: Path, folder: Path, python: Path | str, **changes: Any) -> dict[str, Any]:
    return run(toys / "classifier.tflite", folder, python, **changes)


def run(
    model: Path,
    folder: Path,
    python: Path | str,
    peers: tuple[str, ...] = ("onnxruntime-dynamic",),
    threads: tuple[int, ...] = (1,),
) -> dict[str, Any]:
    asked = PeerOptions(peers, folder, str(python), threads)
    content: dict[str, Any] = as_json(
        bench([str(model)], TEXTS, BenchOptions((), threads, 2), asked, Bars())
    )
    return content


def test_peers(toys: Path, folder: Path, tmp_path: Path) -> None:
    cases = "plain) ms=5;; plain-per-channel) ms=4;; fused) ms=9;; *) ms=7"
    python = peer_python(tmp_path, milliseconds=cases)
    both = ("onnxruntime-dynamic", "onnxruntime-float")
    result = with_peer(toys, folder, python, peers=both, threads=(3,))
    assert result["variants"] == {
        "onnxruntime-dynamic": pytest.approx(
            {"plain": 5, "plain-per-channel": 4, "fused": 9, "fused-per-channel": 7}
        ),
        "onnxruntime-float": pytest.approx({"plain": 5, "fused": 9}),
    }
    ours, dynamic, plain = result["contestants"]
    assert dynamic["name"] == "onnxruntime-dynamic plain-per-channel"
    assert plain["name"] == "onnxruntime-float plain"
    assert (dynamic["mean_ms"], plain["mean_ms"]) == pytest.approx((4, 5))
    assert (dynamic["accuracy"], dynamic["size_bytes"]) == (2 / 4, 5)
    # Of 4 texts ours says positive to one and nothing to another.
    assert (ours["disagreement"], dynamic["disagreement"]) == (0, 2 / 4)
    assert result["float"] == str(toys / "classifier.tflite")
    assert (plain["kind"], plain["peer"], plain["variant"], plain["mode"]) == (
        "peer",
        "onnxruntime-float",
        "plain",
        "float",
    )
    assert result["left_out"] == {}
    _, export, *starts = (tmp_path / "arguments").read_text().splitlines()
    module, checkpoint, scratch, settings, *rest = export.split()[1:]
    assert (module, checkpoint) == ("benchmarks.peers.export_onnx", str(folder))
    assert settings == str(Path(scratch).with_name("peer.json"))
    assert rest == ["--kind", "dynamic", "--kind", "float"]
    assert all(" benchmarks.peers.answer onnx " in start for start in starts)
    assert all(start.endswith("--threads 3") for start in starts)
    assert not Path(scratch).exists()


def test_each_number_of_threads(toys: Path, folder: Path, tmp_path: Path) -> None:
    result = with_peer(toys, folder, peer_python(tmp_path), threads=(1, 2))
    assert list(result["variants"]) == [
        "onnxruntime-dynamic, 1 threads",
        "onnxruntime-dynamic, 2 threads",
    ]
    assert len(result["contestants"]) == 4


def test_all_that_are_installed(
    toys: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peers without their packages, and those that fail, are named and not in the table."""
    onnx = {name: peer for name, peer in PEERS.items() if peer.engine in ("onnx", "torch")}
    monkeypatch.setattr(peer_module, "PEERS", {**onnx, "openvino-int8": PEERS["openvino-int8"]})
    result = with_peer(toys, folder, peer_python(tmp_path), peers=("installed",))
    assert [row["name"].split()[0] for row in result["contestants"][1:]] == [
        "onnxruntime-dynamic",
        "onnxruntime-float",
    ]
    left_out = result["left_out"]
    assert set(left_out) == {"torch-dynamic", "torch-float", "openvino-int8"}
    assert left_out["openvino-int8"].startswith("openvino-int8 needs openvino nncf, which ")
    assert left_out["openvino-int8"].endswith("/python -m pip install openvino nncf")
    assert left_out["torch-float"] == "benchmarks.peers.export_torch wrote no dynamic/eager.pt"


def test_peers_without_what_they_need(toys: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match=r"`make \.venv-bench/\.done` makes it, or give"):
        with_peer(toys, folder, tmp_path / "none" / "python")
    with pytest.raises(InputError, match=r"^no peer answers token-classification, only .*--peer$"):
        run(toys / "tagger.tflite", folder, sys.executable)


@pytest.mark.parametrize(
    ("export", "kind", "message"),
    [
        (
            "echo a; echo no weights >&2; exit 3",
            InputError,
            "/toy cannot be used by benchmarks.peers.export_onnx: no weights",
        ),
        (
            "echo onnx is not installed >&2; exit 4",
            MissingPackageError,
            "python: onnx is not installed",
        ),
        ("exit 1", TfedgeError, "export_onnx failed on .*/toy: it said nothing"),
        ("kill -SEGV $$", TfedgeError, "export_onnx failed on .*/toy: it said nothing"),
    ],
)
def test_export_that_fails(
    toys: Path, folder: Path, tmp_path: Path, export: str, kind: type[TfedgeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        with_peer(toys, folder, peer_python(tmp_path, export=export))


def test_python_without_the_packages(toys: Path, folder: Path) -> None:
    """The host's own has no torch."""
    message = r"onnxruntime-dynamic needs torch.* which .*python.* lacks: .* -m pip install torch"
    with pytest.raises(MissingPackageError, match=message):
        with_peer(toys, folder, sys.executable)


def test_what_is_no_python(toys: Path, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "sh"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o700)
    with pytest.raises(TfedgeError, match="/sh does not run as a Python"):
        with_peer(toys, folder, other)


def test_fastest(tmp_path: Path) -> None:
    """The least of the rounds counts: a program that is held up now and then is still fast."""
    candidates = [
        talker.talker(tmp_path, "even", ms=[9, 9, 3]),
        talker.talker(tmp_path, "held up", ms=[9, 9, 80, 2, 80]),
        talker.talker(tmp_path, "slow", ms=[9, 9, 5]),
    ]
    bars = Bars()
    best, means = fastest(candidates, [*"abcde"], bars)
    assert best.name == "held up"
    assert means == pytest.approx([3, 2, 5])
    assert [(bar.total, bar.done) for bar in bars] == [(75, 75)]


def test_fastest_looks_at_a_few_texts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fastest([talker.talker(tmp_path, "A", log=str(log))], ["a"] * 500, Bars())
    assert log.read_text().splitlines()[3:] == [f"A {BLOCK + 1}"] * 5
