"""A machine as it is now, read from folders that look like those of a Raspberry Pi."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfedge.runtime import conditions
from tfedge.runtime.conditions import look


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(conditions, "LOOK_S", 0.01)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  100 0 50 900 10 5 5 0 0 0\ncpu0 1 2 3\n")
    return tmp_path


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_a_raspberry_pi(root: Path) -> None:
    cpus = "sys/devices/system/cpu"
    write(
        root,
        **{
            f"{cpus}/cpu0/cpufreq/scaling_cur_freq": "1800000",
            f"{cpus}/cpu1/cpufreq/scaling_cur_freq": "600000",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "ondemand",
            "sys/class/thermal/thermal_zone0/temp": "61300",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0x50005",
            "proc/cpuinfo": "processor: 0\nCPU implementer: 0x41\nCPU part: 0xd08",
        },
    )
    found = look(root)
    assert (found.processor, found.governor) == ("Cortex-A72", "ondemand")
    assert (found.megahertz, found.celsius, found.load) == (600, 61.3, 0.0)
    assert found.held_back == found.held_back_before == ("under-voltage", "throttled")


def test_a_machine_that_says_nothing(root: Path) -> None:
    write(root, **{"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "unknown"})
    found = look(root)
    assert (found.governor, found.megahertz, found.celsius, found.held_back) == (None,) * 4
    assert found.processors > 0


def test_others_at_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a second by the clock, one by the processors; idle ones and those that wait do not count."""
    ticks = conditions.os.sysconf("SC_CLK_TCK")
    moments = iter([0.0, 1.0])
    monkeypatch.setattr(conditions.time, "perf_counter", lambda: next(moments))

    def work(seconds: float) -> None:
        write(root, **{"proc/stat": f"cpu  {100 + ticks} 0 50 {900 + ticks} 99 5 5 0 0 0"})

    monkeypatch.setattr(conditions.time, "sleep", work)
    assert look(root).load == pytest.approx(1.0)
