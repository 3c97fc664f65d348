"""Programs that speak on standard output, with native code that prints there too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What C has printed comes out when the process ends, and what a child prints at once.
PROGRAM = """
import ctypes, os
from benchmarks.peers.native import silence_native_output
print("before")
silence_native_output()
silence_native_output()
ctypes.CDLL(None).printf(b"from C\\n")
os.system("echo from a child")
print("after")
"""


def test_only_python_is_heard() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nafter\n", "")
