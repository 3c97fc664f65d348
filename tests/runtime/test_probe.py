"""Models from elsewhere are run in a process of their own first: once, and without harm to this one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import forge
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from program import each_runtime, infer

from tfedge.runtime import BackendError, ModelFileError, OptionError, apart, load, probe
from tfedge.runtime.bundle import TOKENIZER_FILE, read_bundle
from tfedge.runtime.runtimes import RUNTIMES

FILL, INT32 = 94, 2  # of TFLite's schema
TRIED = "tried in a process of its own before it is loaded, "


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what has passed, which does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tfedge" / "tried"


@pytest.fixture
def doom(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the process end as doomed.py does."""

    def end(how: str) -> None:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        monkeypatch.setenv("DOOM", how)
        monkeypatch.setattr(probe, "_PROGRAM", "doomed")

    return end


def greedy(model: bytes, sides: list[int]) -> bytes:
    """A graph that fills a tensor of these sides, of which it says that it has one."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(model), 0))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = FILL
    tree.operatorCodes.append(code)
    tensors = tree.subgraphs[0].tensors

    def add(shape: list[int], content: list[int] | None = None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = shape, INT32, 0
        if content is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.array(content, np.int32).tobytes(), np.uint8)
            tree.buffers.append(buffer)
            tensor.buffer = len(tree.buffers) - 1
        tensors.append(tensor)
        return len(tensors) - 1

    operator = schema.OperatorT()
    operator.opcodeIndex = len(tree.operatorCodes) - 1
    operator.inputs, operator.outputs = [add([len(sides)], sides), add([], [1])], [add([1])]
    tree.subgraphs[0].operators.insert(0, operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@each_runtime
@pytest.mark.parametrize("sides", [[1 << 15, 1 << 15], [1 << 20, 1 << 20]])
def test_a_graph_that_asks_for_gigabytes(
    toys: Path, tmp_path: Path, cache: Path, runtime: str, sides: list[int]
) -> None:
    """It passes verification; 4 GB there would be."""
    good = (toys / "int8_output.tflite").read_bytes()
    path = tmp_path / "model.tflite"
    path.write_bytes(forge.with_graph(good, greedy(forge.split(good)[0], sides)))
    result = infer("--model", path, "--runtime", runtime, "good")
    assert (result.lines, len(result.errors)) == ([], 1)
    assert result.code == (3 if runtime == "tflite-runtime" else 4)  # LiteRT gives no reason
    assert not cache.exists()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", r"it crashes, or asks for more than \d+ MB of memory \(SIGSEGV\)"),
        ("turn", "it takes more than 1 seconds of the processor"),
        ("sleep", "it takes more than 1 seconds"),
    ],
)
def test_what_ends_there(
    toys: Path,
    cache: Path,
    doom: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    in_process: str,
    how: str,
    reason: str,
) -> None:
    doom(how)
    monkeypatch.setattr(probe, "_SECONDS", 1)
    if how == "sleep":
        monkeypatch.setattr(apart.Limits, "wait_seconds", 1)
    path = toys / "classifier.tflite"
    with pytest.raises(ModelFileError, match=f"^{path}: {TRIED}{reason}; get it from elsewhere or"):
        load(path, in_process)
    assert not cache.exists()
    with load(path, in_process, trust=True) as model:
        assert model("good")["label"] == "positive"
    assert not cache.exists()


def test_where_it_cannot_be_tried(
    toys: Path, doom: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, in_process: str
) -> None:
    """What memory is asked for beyond the limit is an error of Python there."""
    doom("grow")
    with pytest.raises(BackendError, match="the process that was to try it ended with 1: no word"):
        load(toys / "classifier.tflite", in_process)
    doom("quit")
    with pytest.raises(BackendError, match="the process that was to try it ended with 7: no word"):
        load(toys / "classifier.tflite", in_process)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(BackendError, match=r"no process can be started: .*No such file"):
        load(toys / "classifier.tflite", in_process)


def test_once(
    toys: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, in_process: str, tmp_path: Path
) -> None:
    """Wherever the file lies; not of another graph, tokeniser, or list of graphs."""
    load(toys / "buckets.tflite", in_process).close()
    (kept,) = cache.iterdir()
    assert kept.stat().st_size == 0
    runs: list[str] = []
    monkeypatch.setattr(apart, "run", lambda *asked: runs.append(asked[1][0]) or (0, ""))
    content = (toys / "buckets.tflite").read_bytes()
    copy, other = tmp_path / "copy.tflite", tmp_path / "other.tflite"
    copy.write_bytes(content)
    load(copy, in_process).close()
    assert not runs
    signatures = json.loads(forge.split(content)[1]["tfedge.json"])["signatures"]
    signatures.pop(next(iter(signatures)))
    other.write_bytes(forge.with_manifest(content, signatures=signatures, max_length=8))
    load(other, in_process).close()
    load(toys / "classifier.tflite", in_process).close()
    assert runs == [str(other), str(toys / "classifier.tflite")]
    assert len(list(cache.iterdir())) == 3


def test_each_runtime_for_itself(toys: Path, cache: Path) -> None:
    installed = [name for name, runtime in RUNTIMES.items() if runtime.installed()]
    for count, name in enumerate(installed, 1):
        for _ in range(2):
            assert infer("--model", toys / "int8.tflite", "--runtime", name, "good").code == 0
            assert len(list(cache.iterdir())) == count


def test_a_cache_that_cannot_be_written(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: str
) -> None:
    """It is tried each time."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    runs: list[str] = []
    monkeypatch.setattr(apart, "run", lambda *asked: runs.append(asked[1][0]) or (0, ""))
    for _ in range(2):
        load(toys / "classifier.tflite", in_process).close()
    assert len(runs) == 2


def test_who_made_it_has_run_it(
    toys: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, in_process: str
) -> None:
    probe.trust(read_bundle(toys / "classifier.tflite"))
    assert len(list(cache.iterdir())) == 2  # its runtimes
    monkeypatch.setattr(apart, "run", None)
    load(toys / "classifier.tflite", in_process).close()


def test_errors_of_loading_are_the_same(toys: Path, cache: Path, in_process: str) -> None:
    """Though they arise in the other process."""
    for options, kind in (({"num_threads": 65}, OptionError), ({"device": "usb"}, OptionError)):
        said = []
        for trust in (False, True):
            with pytest.raises(kind) as caught:
                load(toys / "classifier.tflite", in_process, trust=trust, **options)  # type: ignore[arg-type]
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert not cache.exists()


def _with(content: bytes, **changes: Any) -> bytes:
    """The bundle with these parts in its tokeniser."""
    graph, files = forge.split(content)
    tokenizer = {**json.loads(files[TOKENIZER_FILE]), **changes}
    return forge.join(graph, {**files, TOKENIZER_FILE: json.dumps(tokenizer).encode()})


_SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
_GROWING = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 99}


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"pre_tokenizer": {**_SPLIT, "pattern": {"Regex": "(a+)+$"}}}, "Regex search error"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [_GROWING] * 2}},
            "by more than 1000 others",
        ),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "non-zero"),
    ],
)
def test_a_tokeniser_that_breaks(
    toys: Path, tmp_path: Path, cache: Path, part: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(_with((toys / "classifier.tflite").read_bytes(), **part))
    result = infer("--model", path, "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert reason in result.errors[0]
    assert not cache.exists()
