"""What runs apart ends with the process that waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

STARTS = """
import sys
from tfedge.runtime import apart
apart.run("sleeper", [sys.argv[1]], apart.Limits(60, 1 << 30))
"""


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if happens():
            return True
        time.sleep(0.02)
    return happens()


def _runs(number: int) -> bool:
    try:
        state = (
            Path(f"/proc/{number}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
        )
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such signal")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_trial_whose_parent_ends(tmp_path: Path, how: signal.Signals) -> None:
    told = tmp_path / "number"
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(map(str, (Path(__file__).parent, root)))
    with subprocess.Popen(
        [sys.executable, "-c", STARTS, told], env={**os.environ, "PYTHONPATH": paths}
    ) as parent:
        assert _within(60, lambda: told.is_file() and bool(told.read_text()))
        number = int(told.read_text())
        assert _runs(number)
        parent.send_signal(how)
    assert _within(10, lambda: not _runs(number))
