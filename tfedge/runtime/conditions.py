"""What may make times of a machine unsteady: others at work, its clock, heat, its supply."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path

from tfedge.runtime.machine import ROOT, read_machine

LOOK_S = 1.0


@dataclasses.dataclass(frozen=True)
class Conditions:
    """A machine at a moment; what it does not report is None."""

    processor: str
    processors: int  # that this process may use
    load: float  # how many of them others keep busy
    governor: str | None  # of the clock
    megahertz: int | None  # the slowest core's clock
    celsius: float | None  # the hottest zone's
    # What holds the processor back now, and has since its start; of boards that tell.
    held_back: tuple[str, ...] | None
    held_back_before: tuple[str, ...] | None


def look(root: Path = ROOT) -> Conditions:
    """Looks for a second, in which this process does nothing.

    Args:
        root: the folder that has /proc and /sys.
    """
    load = _busy_processors(root)
    machine = read_machine(root, shutil.which("vcgencmd"))
    return Conditions(
        processor=", ".join(machine.cores),
        processors=len(os.sched_getaffinity(0)),
        load=load,
        governor=next(iter(machine.governors), None),
        megahertz=_megahertz(root),
        celsius=max(machine.temperatures.values(), default=None),
        held_back=machine.throttled,
        held_back_before=machine.throttled_since_start,
    )


def _busy_processors(root: Path) -> float:
    """The mean number of busy processors while this process does nothing for a second.

    The load average of the system would count what was done here before, as the making of peers.
    """
    before = _processor_seconds(root)
    started = time.perf_counter()
    time.sleep(LOOK_S)
    return (_processor_seconds(root) - before) / (time.perf_counter() - started)


def _processor_seconds(root: Path) -> float:
    """Of all processors since the start of the system, but for idle ones and those that wait."""
    first, *_ = (root / "proc/stat").read_text(encoding="ascii").splitlines()
    user, nice, system, _, _, interrupts, soft, steal = map(int, first.split()[1:9])
    ticks = user + nice + system + interrupts + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _megahertz(root: Path) -> int | None:
    found = []
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        try:
            found.append(int(path.read_text(encoding="ascii")) // 1000)
        except (OSError, ValueError):
            continue
    return min(found, default=None)
