"""Loads delegate libraries, the Edge TPU's above all, and says what is missing where that fails.

As a program, `python -m tfedge.runtime.delegate`, it is what `probe` starts.

Sources: libedgetpu's tflite plugin (values of `device`), google-coral/edgetpu#435 (a model that needs
a newer Edge TPU runtime), google-coral/pycoral#1 and google-coral/edgetpu#744 (a library built for
another TensorFlow).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.errors import (
    BackendError,
    InferenceError,
    ModelFileError,
    OptionError,
    one_line,
)
from tfedge.runtime.runtimes import import_runtime, runtime_name

EDGETPU = "edgetpu"
_LIBRARIES = {"darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}
_LIBRARY = "libedgetpu.so.1"
_DEVICE = re.compile(r"(usb|pci)(:\d{1,2})?")
_COMPILED = b"edgetpu-custom-op"
# Before and after libedgetpu has sent the stick its firmware.
_USB_IDS = (("1a6e", "089a"), ("18d1", "9302"))
_USB_DEVICES = Path("/sys/bus/usb/devices")
_DEVICE_FILES = Path("/dev")
_NEW_RUNTIME = re.compile(r"runtime version \((\d+)\).*?this runtime version \((\d+)\)")
_PROBE_SECONDS = 60  # a stick gets its firmware first, which takes a few
_REBUILT = (
    "the vendor's libedgetpu of 2021 is for tflite-runtime 2.5; 2.12 and later, and LiteRT, need one "
    "rebuilt for the same TensorFlow (github.com/feranick/libedgetpu has such packages)"
)
_LIBRARY_ADVICE = (
    "; install the Edge TPU runtime: on Debian libedgetpu1-std, from the vendor's apt repository"
    f" (https://packages.cloud.google.com/apt coral-edgetpu-stable); {_REBUILT}"
)


def is_edgetpu(delegate: str | None) -> bool:
    """Whether a delegate, `edgetpu` or a library, is the Edge TPU's."""
    return delegate is not None and EDGETPU in Path(delegate).name


def is_compiled(bundle: Bundle) -> bool:
    """Whether a model has parts that only an Edge TPU runs."""
    with (
        open(bundle.path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(_COMPILED, 0, bundle.manifest.model_bytes) >= 0


def check(bundle: Bundle, delegate: str | None, device: str | None) -> None:
    """Refuses what could only fail, or would run on the CPU without a word.

    Raises:
        OptionError: `device` is none, or is given without the Edge TPU's delegate.
        BackendError: the model is compiled for the Edge TPU, but that is not asked for.
        ModelFileError: the Edge TPU is asked for and the model is not compiled for it.
    """
    if device is not None and not _DEVICE.fullmatch(device):
        raise OptionError(f"device {device!r}; give usb, pci, usb:N or pci:N, N counting from 0")
    if device is not None and not is_edgetpu(delegate):
        raise OptionError("a device is for --delegate edgetpu; give both or neither")
    compiled = is_compiled(bundle)
    if compiled and not is_edgetpu(delegate):
        raise BackendError(
            f"{bundle.path}: compiled for the Edge TPU and only runs there; give --delegate edgetpu,"
            " or the model that it was made from"
        )
    if is_edgetpu(delegate) and not compiled:
        raise ModelFileError(
            f"{bundle.path}: not compiled for the Edge TPU, which would run none of it; make"
            " X_edgetpu.tflite with `tfedge edgetpu compile`, or leave --delegate out"
        )


def load_delegate(module: Any, delegate: str, device: str | None) -> Any:
    """Loads a delegate library, telling apart a missing library and a missing device.

    The library is opened here first, because `load_delegate` prints a traceback of its destructor
    where that fails. Raises BackendError where it does not load.

    Args:
        module: the interpreter module of a runtime.
        delegate: a library, or `edgetpu` for the host's libedgetpu.
        device: which Edge TPU; None takes any.
    """
    path = _LIBRARIES.get(sys.platform, _LIBRARY) if delegate == EDGETPU else delegate
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        advice = _LIBRARY_ADVICE if is_edgetpu(delegate) else ""
        raise BackendError(
            f"delegate {path}: not a loadable library: {one_line(error)}{advice}"
        ) from error
    if not hasattr(library, "tflite_plugin_create_delegate"):
        raise BackendError(f"delegate {path}: a library, but not a TensorFlow Lite delegate")
    try:
        return module.load_delegate(path, {"device": device} if device else {})
    except (ValueError, RuntimeError) as error:
        reason = (
            f"no Edge TPU can be opened: {_device_advice(device)}"
            if is_edgetpu(delegate)
            else "the library is there, but finds no device; is one connected, and may you use it?"
        )
        raise BackendError(f"delegate {path}: {reason} ({one_line(error)})") from error


def probe(path: str, runtime: str, delegate: str, device: str | None) -> None:
    """Starts a model on the Edge TPU in a process of its own first, because libedgetpu may crash.

    Built for another TensorFlow than the runtime it ends the process instead of reporting an error
    (google-coral/edgetpu#744), which no program can explain after the fact. Other errors are left
    to whoever loads it next. Raises BackendError where it crashes, or does not finish.
    """
    command = [sys.executable, "-m", __name__, path, runtime, delegate, device or ""]
    try:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise BackendError(
            f"delegate {delegate}: the Edge TPU does not answer within {_PROBE_SECONDS} seconds;"
            " unplug it and plug it in again"
        ) from None
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        raise BackendError(
            f"delegate {delegate}: libedgetpu crashes in {runtime_name(runtime)}"
            f" ({known.get(-code, -code)}); {_REBUILT}"
        )


def refusal(message: str, runtime: str) -> str:
    """What to say where a compiled model does not start on the Edge TPU.

    Args:
        message: the runtime's.
        runtime: its name and version.
    """
    if versions := _NEW_RUNTIME.search(message):
        return (
            f"the model needs Edge TPU runtime {versions[1]}, and libedgetpu is {versions[2]};"
            f" upgrade libedgetpu, or compile for it (edgetpu_compiler -m {versions[2]})"
        )
    return f"{message}; libedgetpu may not fit {runtime}: {_REBUILT}"


def _device_advice(device: str | None) -> str:
    """What can be seen of Edge TPUs on a Linux host."""
    kind = device.partition(":")[0] if device else None
    pci = sorted(_DEVICE_FILES.glob("apex_*")) if kind != "usb" else []
    usb = _usb_files() if kind != "pci" else []
    closed = [path for path in (*pci, *usb) if not os.access(path, os.R_OK | os.W_OK)]
    if not pci and not usb:
        seen = {"usb": "no Edge TPU on USB", "pci": "no /dev/apex_*, so no driver or no card"}
        where = seen.get(kind or "", "none on USB and no /dev/apex_*")
        return f"{where}; plug it in, and for PCIe install gasket-dkms"
    if closed:
        group = "apex" if closed[0] in pci else "plugdev"
        return (
            f"{closed[0]} may not be opened by this user; add yourself to the group {group}"
            f" (sudo adduser $USER {group}), install libedgetpu's udev rules and log in again"
        )
    names = ", ".join(str(path) for path in (*pci, *usb))
    number = f", or {device} is not its number" if device else ""
    return f"{names} is there; another program may be using it{number}"


def _usb_files() -> list[Path]:
    """The device files of Edge TPUs on USB."""
    found = []
    for folder in sorted(_USB_DEVICES.glob("*")):
        try:
            vendor, product, bus, number = (
                (folder / name).read_text().strip()
                for name in ("idVendor", "idProduct", "busnum", "devnum")
            )
        except OSError:  # an interface, not a device
            continue
        if (vendor, product) in _USB_IDS:
            found.append(_DEVICE_FILES / "bus" / "usb" / f"{int(bus):03}" / f"{int(number):03}")
    return found


def main(arguments: list[str]) -> int:
    """Loads the delegate and starts the model; returns whether that failed."""
    path, runtime, delegate, device = arguments
    try:
        module = import_runtime(runtime)
        loaded = load_delegate(module, delegate, device or None)
        interpreter = module.Interpreter(model_path=path, experimental_delegates=[loaded])
        interpreter.allocate_tensors()
    except (InferenceError, ValueError, RuntimeError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
