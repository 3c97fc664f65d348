"""Choosing a runtime, and integers on both sides of it."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfedge.runtime import BackendError, OptionError, load, runtimes
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.interpreter import Model, dequantise, drop_pages, quantise
from tfedge.runtime.runtimes import choose_runtime

BOTH = ("tflite-runtime", "litert")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The runtimes that seem to be installed, in Python 3.11; the test fills it."""
    monkeypatch.setattr(sys, "version_info", (3, 11, 0, "final", 0))
    names: set[str] = set()
    modules = {runtime.module: name for name, runtime in runtimes.RUNTIMES.items()}
    monkeypatch.setattr(
        runtimes.importlib.util,
        "find_spec",
        lambda module: object() if modules[module] in names else None,
    )
    return names


def test_first_verified_runtime_that_is_installed(installed: set[str]) -> None:
    installed |= {"litert"}
    assert choose_runtime(None, BOTH) == "litert"
    installed |= {"tflite-runtime"}
    assert choose_runtime(None, BOTH) == "tflite-runtime"
    assert choose_runtime(None, BOTH[::-1]) == "litert"
    assert choose_runtime("litert", BOTH) == "litert"


# wanted, verified, installed -> what the message must tell.
NONE_SUITABLE = [
    ("tflite-runtime", ["litert"], BOTH, ["--runtime tflite-runtime`", "--runtime litert"]),
    ("tflite-runtime", BOTH, ["litert"], ["`pip install tflite-runtime`"]),
    (None, ["litert"], ["tflite-runtime"], ["ai-edge-litert`", "--runtime tflite-runtime`"]),
    (None, BOTH, [], ["`pip install tflite-runtime` or `pip install ai-edge-litert`"]),
    (None, [], BOTH, ["no runtime"]),
    (None, ["later"], BOTH, ["later", "tfedge convert --runtime"]),
]


@pytest.mark.parametrize(("wanted", "verified", "present", "messages"), NONE_SUITABLE)
def test_no_suitable_runtime(
    installed: set[str],
    wanted: str | None,
    verified: list[str],
    present: list[str],
    messages: list[str],
) -> None:
    installed |= set(present)
    with pytest.raises(BackendError) as caught:
        choose_runtime(wanted, verified)
    assert all(message in str(caught.value) for message in messages)


# Python 3.x, wanted, installed -> what the message must tell where both would do.
ADVICE = [
    (13, None, [], "is not installed: `pip install ai-edge-litert`"),
    (
        13,
        "tflite-runtime",
        ["litert"],
        "no wheel fits this Python here; tflite-runtime needs Python",
    ),
    (13, "tflite-runtime", ["litert"], "convert it with `tfedge convert --runtime litert`"),
    (9, "litert", [], "no wheel fits this Python here; litert needs a 64-bit Python 3.10 or later"),
]


@pytest.mark.parametrize(("minor", "wanted", "present", "message"), ADVICE)
def test_advice_can_be_followed_on_that_python(
    installed: set[str],
    monkeypatch: pytest.MonkeyPatch,
    minor: int,
    wanted: str | None,
    present: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, minor, 0, "final", 0))
    installed |= set(present)
    with pytest.raises(BackendError) as caught:
        choose_runtime(wanted, BOTH)
    assert message in str(caught.value)
    assert "pip install tflite-runtime" not in str(caught.value)


@pytest.mark.parametrize(
    ("minor", "present", "runtime"),
    [
        (11, BOTH, "tflite-runtime"),
        (11, ["litert"], "litert"),
        (13, ["litert"], "litert"),
        (11, [], "tflite-runtime"),
        (13, [], "litert"),
    ],
)
def test_default_is_what_can_be_installed(
    installed: set[str],
    monkeypatch: pytest.MonkeyPatch,
    minor: int,
    present: list[str],
    runtime: str,
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, minor, 0, "final", 0))
    installed |= set(present)
    assert runtimes.default_runtime() == runtime


def test_unknown_runtime() -> None:
    with pytest.raises(OptionError, match="known are tflite-runtime, litert"):
        choose_runtime("onnx", BOTH)


def test_unverified_runtime_is_refused(toys: Path, tmp_path: Path) -> None:
    """It could crash: tflite-runtime 2.14 does on ARM, on weights quantised per channel."""
    import forge

    path = tmp_path / "model.tflite"
    good = (toys / "classifier.tflite").read_bytes()
    path.write_bytes(forge.with_manifest(good, runtimes=["litert"]))
    with pytest.raises(BackendError, match="not verified on tflite-runtime, only on litert"):
        load(path, "tflite-runtime")


def test_tflite_runtime_beside_tensorflow(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite_runtime")
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    with pytest.raises(BackendError, match="load the model in another process or, "):
        load(toys / "classifier.tflite", "tflite-runtime")


def test_tflite_runtime_with_numpy_2(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tflite_runtime")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(BackendError, match="numpy<2"):
        load(toys / "classifier.tflite", "tflite-runtime")


def test_runtime_that_cannot_be_imported(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise ImportError("libfoo.so:\n cannot open")

    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(runtimes.importlib, "import_module", fail)
    with pytest.raises(BackendError, match=r"cannot be imported: libfoo\.so: cannot open"):
        load(toys / "classifier.tflite", "litert")


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_number_of_threads(toys: Path, in_process: str, threads: int) -> None:
    with pytest.raises(OptionError, match="1 to 64"):
        load(toys / "classifier.tflite", in_process, num_threads=threads)


def test_default_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, threads in ((1, 1), (3, 3), (64, 4)):
        usable = set(range(processors))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, usable=usable: usable, raising=False)
        assert runtimes.default_threads() == threads


@pytest.mark.parametrize("name", ["int8_output", "int8"])
def test_outputs_are_float32(toys: Path, in_process: str, name: str) -> None:
    model = Model(read_bundle(toys / f"{name}.tflite"), in_process, num_threads=1)
    inputs = {key: np.ones((1, 16), np.int32) for key in ("input_ids", "attention_mask")}
    inputs["token_type_ids"] = np.zeros((1, 16), np.int32)
    logits = model.run("serving_default", inputs)["logits"]
    assert (logits.dtype, logits.shape) == (np.float32, (1, 2))


DETAILS = {
    "int8": {"dtype": np.int8, "quantization": (0.5, -3)},
    "uint8": {"dtype": np.uint8, "quantization": (0.25, 128)},
    "int16": {"dtype": np.int16, "quantization": (0.001, 0)},
}


@pytest.mark.parametrize("kind", DETAILS)
def test_quantise_and_back(kind: str) -> None:
    detail = DETAILS[kind]
    values = np.linspace(-10, 10, 101, dtype=np.float32)
    quantised = quantise(values, detail)
    assert quantised.dtype == detail["dtype"]
    restored = dequantise(quantised, detail)
    assert restored.dtype == np.float32
    assert np.abs(restored - values).max() <= detail["quantization"][0] / 2 + 1e-6


def test_quantise_saturates() -> None:
    detail = DETAILS["int8"]
    assert quantise(np.array([-1e9, 1e9]), detail).tolist() == [-128, 127]
    # -128 - (-3) does not fit into int8.
    assert dequantise(np.array([-128], np.int8), {**detail, "quantization": (1.0, 100)}) == -228


def test_pixels_are_taken_as_they_are() -> None:
    """To round what is whole took as long as half a layer of a DeiT-tiny."""
    pixels = np.arange(256, dtype=np.uint8)
    assert quantise(pixels, {"dtype": np.uint8, "quantization": (1.0, 0)}) is pixels
    assert quantise(pixels, {"dtype": np.uint8, "quantization": (1.0, 1)}).tolist() == [
        *range(1, 256),
        255,
    ]
    assert quantise(pixels, {"dtype": np.int8, "quantization": (1.0, 0)})[-1] == 127


def test_plain_tensors_are_cast() -> None:
    plain = {"dtype": np.int64, "quantization": (0.0, 0)}
    assert quantise(np.array([1, 2], np.int32), plain).dtype == np.int64
    assert dequantise(np.array([1.5], np.float16), plain).dtype == np.float32


def _resident(path: Path) -> int:
    """Kilobytes of a file that this process holds mapped."""
    _, _, rest = Path("/proc/self/smaps").read_text().partition(f"{path}\n")
    return int(rest.partition("\nRss:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_file_are_dropped_and_come_back(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(bytes(range(256)) * 4096)
    link.symlink_to(path)
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert sum(content[:]) == 255 * 128 * 4096
    assert _resident(path) == 1024
    drop_pages(str(link))
    assert _resident(path) == 0
    assert sum(content[:]) == 255 * 128 * 4096
