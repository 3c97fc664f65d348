"""Stands in for `tfedge.runtime.rehearsal`, and ends as DOOM says."""

from __future__ import annotations

import os
import signal
import sys

from tfedge.runtime import apart

apart.limit(*sys.argv[1:3])
doom = os.environ["DOOM"]
if doom == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
while doom == "turn":
    pass
if doom == "sleep":
    signal.pause()
if doom == "grow":
    bytearray(int(sys.argv[2]) + (64 << 20))
sys.exit(7)
