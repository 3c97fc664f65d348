"""The Edge TPU's delegate: every way in which there is none, and what is then said."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import join, split

from tfedge.runtime import BackendError, ModelFileError, OptionError, delegate
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.delegate import check, is_edgetpu, load_delegate, refusal
from tfedge.runtime.interpreter import Model

MakeHost = Callable[..., None]


class Runtime:
    """An interpreter module whose delegate finds no device, or hands back what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def load_delegate(self, library: str, options: dict[str, str]) -> Any:
        if self._error:
            raise self._error
        return library, options


def built(folder: Path, body: str) -> str:
    """A library that looks like a delegate."""
    source, made = folder / "plugin.c", folder / "libedgetpu.so.1"
    source.write_text(
        f"void *tflite_plugin_create_delegate(void) {{ {body} }}\n"
        "void tflite_plugin_destroy_delegate(void *delegate) {}\n"
    )
    command = ["cc", "-shared", "-fPIC", "-o", str(made), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs a C compiler")
    return str(made)


@pytest.fixture
def library(tmp_path: Path) -> str:
    return built(tmp_path, "return 0;")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHost:
    """Makes a host with these devices: USB ids, and device files with their modes."""
    usb, files = tmp_path / "sys", tmp_path / "dev"
    usb.mkdir()
    files.mkdir()
    monkeypatch.setattr(delegate, "_USB_DEVICES", usb)
    monkeypatch.setattr(delegate, "_DEVICE_FILES", files)

    def make(ids: tuple[str, str] | None = None, *, pci: bool = False) -> None:
        (usb / "1-0:1.0").mkdir()  # an interface
        if pci:
            (files / "apex_0").touch()
        if ids:
            folder = usb / "1-1"
            folder.mkdir()
            for name, value in zip(("idVendor", "idProduct"), ids, strict=True):
                (folder / name).write_text(f"{value}\n")
            (folder / "busnum").write_text("1\n")
            (folder / "devnum").write_text("4\n")
            (files / "bus" / "usb" / "001").mkdir(parents=True)
            (files / "bus" / "usb" / "001" / "004").touch()

    return make


@pytest.fixture
def plain(toys: Path) -> Bundle:
    return read_bundle(toys / "int8.tflite")


@pytest.fixture
def compiled(toys: Path, tmp_path: Path) -> Bundle:
    """A bundle whose model names the compiler's operator."""
    model, files = split((toys / "int8.tflite").read_bytes())
    model += b"edgetpu-custom-op"
    fields = json.loads(files["tfedge.json"])
    fields |= {"model_bytes": len(model), "model_sha256": hashlib.sha256(model).hexdigest()}
    path = tmp_path / "x_edgetpu.tflite"
    path.write_bytes(join(model, {**files, "tfedge.json": json.dumps(fields).encode()}))
    return read_bundle(path)


def failure(library: str, device: str | None = None) -> str:
    runtime = Runtime(ValueError("Failed to load delegate from libedgetpu.so.1\n"))
    with pytest.raises(BackendError) as raised:
        load_delegate(runtime, library, device)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_what_is_the_edge_tpus() -> None:
    assert is_edgetpu("edgetpu")
    assert is_edgetpu("/usr/lib/libedgetpu.so.1")
    assert not is_edgetpu("/edgetpu/libvx_delegate.so")
    assert not is_edgetpu(None)


def test_model_and_delegate_must_fit(plain: Bundle, compiled: Bundle) -> None:
    check(plain, None, None)
    check(compiled, "edgetpu", "usb:0")
    with pytest.raises(ModelFileError, match="tfedge edgetpu compile"):
        check(plain, "edgetpu", None)
    with pytest.raises(BackendError, match="--delegate edgetpu"):
        check(compiled, None, None)


@pytest.mark.parametrize("device", ["", "usb:", "usb:x", "gpu", "pci:-1", "usb:0 "])
def test_device_that_is_none(compiled: Bundle, device: str) -> None:
    with pytest.raises(OptionError, match=r"usb, pci, usb:N or pci:N"):
        check(compiled, "edgetpu", device)


def test_device_needs_the_delegate(plain: Bundle) -> None:
    with pytest.raises(OptionError, match="--delegate edgetpu"):
        check(plain, None, "usb")


def test_device_is_handed_on(library: str) -> None:
    assert load_delegate(Runtime(), library, "pci:1") == (library, {"device": "pci:1"})
    assert load_delegate(Runtime(), library, None) == (library, {})


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegate, "_LIBRARY", "libedgetpu-that-is-not.so.1")
    with pytest.raises(BackendError, match=r"libedgetpu1-std.*rebuilt"):
        load_delegate(Runtime(), "edgetpu", None)


def test_no_device(library: str, host: MakeHost) -> None:
    host()
    assert "none on USB and no /dev/apex_*" in failure(library)
    assert "no Edge TPU on USB" in failure(library, "usb")
    assert "no driver or no card" in failure(library, "pci:0")


@pytest.mark.parametrize("ids", [("1a6e", "089a"), ("18d1", "9302")])
def test_device_that_may_not_be_opened(
    library: str, host: MakeHost, ids: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host(ids)
    assert "usb/001/004 is there; another program may be using it (" in failure(library)
    assert "using it, or usb:1 is not its number" in failure(library, "usb:1")
    monkeypatch.setattr(delegate.os, "access", lambda *_: False)
    assert "group plugdev" in failure(library, "usb")


def test_card_that_may_not_be_opened(
    library: str, host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host(pci=True)
    monkeypatch.setattr(delegate.os, "access", lambda *_: False)
    assert "group apex" in failure(library)


def test_model_that_does_not_start() -> None:
    """The wording of google-coral/edgetpu#435 and google-coral/pycoral#1."""
    newer = (
        "Failed to prepare for TPU. Failed precondition: Package requires runtime version (14), which "
        "is newer than this runtime version (13).Node number 2 (EdgeTpuDelegateForCustomOp) failed"
    )
    text = refusal(newer, "tflite-runtime 2.14.0")
    assert "needs Edge TPU runtime 14, and libedgetpu is 13" in text
    other = (
        "Internal: Unsupported data type in custom op handler: 0Node number 1 failed to prepare."
    )
    text = refusal(other, "tflite-runtime 2.14.0")
    assert "may not fit tflite-runtime 2.14.0" in text
    assert "rebuilt" in text


def test_library_that_crashes(compiled: Bundle, tmp_path: Path, in_process: str) -> None:
    library = built(tmp_path, "return *(void *volatile *)8;")
    with pytest.raises(BackendError, match=r"crashes in .*SIGSEGV.*rebuilt"):
        Model(compiled, in_process, 1, library)


def test_library_that_makes_no_delegate(
    compiled: Bundle, library: str, host: MakeHost, in_process: str
) -> None:
    host()
    with pytest.raises(BackendError, match="no Edge TPU can be opened"):
        Model(compiled, in_process, 1, library)


def test_device_that_does_not_answer(
    compiled: Bundle, tmp_path: Path, in_process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegate, "_PROBE_SECONDS", 1)
    library = built(tmp_path, "for (;;) ;")
    with pytest.raises(BackendError, match="does not answer within 1 seconds"):
        Model(compiled, in_process, 1, library)
