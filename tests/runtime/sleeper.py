"""A program that limits itself as a trial does, writes its number into a file and sleeps."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tfedge.runtime import apart

apart.limit(*sys.argv[1:3])
Path(sys.argv[3]).write_text(str(os.getpid()), encoding="ascii")
time.sleep(60)
