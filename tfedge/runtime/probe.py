"""Starts a model on the Edge TPU in a process of its own first, because libedgetpu may crash.

Built for another TensorFlow than the runtime it ends the process instead of reporting an error
(google-coral/edgetpu#744), which no program can explain after the fact.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

from tfedge.runtime.delegate import REBUILT, load_delegate
from tfedge.runtime.errors import BackendError, InferenceError
from tfedge.runtime.runtimes import import_runtime

_SECONDS = 60  # a stick gets its firmware first, which takes a few


def probe(path: str, runtime: str, name: str, delegate: str, device: str | None) -> None:
    """Fails if the delegate crashes. Other errors are left to whoever loads it next.

    Args:
        path: the model.
        runtime: a key of `RUNTIMES`.
        name: the same with its version, for people.

    Raises:
        BackendError: it crashes, or does not come to an end.
    """
    command = [sys.executable, "-m", "tfedge.runtime.probe", path, runtime, delegate, device or ""]
    try:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise BackendError(
            f"delegate {delegate}: the Edge TPU does not answer within {_SECONDS} seconds; unplug it"
            " and plug it in again"
        ) from None
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        raise BackendError(
            f"delegate {delegate}: libedgetpu crashes in {name} ({known.get(-code, -code)}); {REBUILT}"
        )


def main(arguments: list[str]) -> int:
    """Loads the delegate and starts the model; returns whether that failed."""
    path, runtime, delegate, device = arguments
    try:
        module: Any = import_runtime(runtime)
        loaded = load_delegate(module, delegate, device or None)
        interpreter = module.Interpreter(model_path=path, experimental_delegates=[loaded])
        interpreter.allocate_tensors()
    except (InferenceError, ValueError, RuntimeError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
