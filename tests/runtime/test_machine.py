"""What is read from made-up /proc and /sys trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfedge.runtime.machine import Machine, peak_rss_bytes, read_machine

GIB = 1 << 30
# As a Raspberry Pi 5's kernel prints a processor; the features are those that matter.
CORTEX_A76 = """processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
CORTEX_A55 = CORTEX_A76.replace("0xd0b", "0xd05").replace(" asimddp", "")
X86 = """processor\t: {number}
model name\t: Intel(R)  N100
flags\t\t: fpu sse2 avx2 fma avx_vnni
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def cpuinfo(*processors: str) -> str:
    texts = (text.format(number=number) for number, text in enumerate(processors))
    return "\n".join(texts) + "\nRevision\t: c04170\nModel\t\t: Raspberry Pi 5\n"


def pi5(root: Path, **changes: str) -> Path:
    files = {
        "proc/cpuinfo": cpuinfo(*[CORTEX_A76] * 4),
        "proc/meminfo": "MemTotal:        8245760 kB\nMemAvailable:    2097152 kB\n",
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "sys/class/thermal/thermal_zone0/temp": "61250\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver": "cpufreq-dt\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "ondemand\n",
    }
    return write(root, {**files, **changes})


def test_raspberry_pi(tmp_path: Path) -> None:
    machine = read_machine(pi5(tmp_path), architecture="aarch64")
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cores == {"Cortex-A76": 4}
    assert machine.features == {"asimd": True, "asimdhp": True, "asimddp": True, "i8mm": False}
    assert (machine.has_dot_products, machine.int8_products) == (
        *(True, "8-bit dot products (asimddp)"),
    )
    assert machine.memory_bytes == 8245760 << 10
    assert machine.available_bytes == 2 * GIB
    assert machine.temperatures == {"cpu-thermal": 61.25}
    assert machine.throttled == machine.throttled_since_start == ("under-voltage", "throttled")
    assert (machine.governors, machine.scales_by_itself) == (("ondemand",), False)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, architecture="riscv64")
    assert machine == Machine(
        board=None,
        architecture="riscv64",
        python_bits=machine.python_bits,
        cores={},
        features={},
        memory_bytes=None,
        available_bytes=None,
        temperatures={},
        throttled=None,
        throttled_since_start=None,
        governors=(),
        scales_by_itself=False,
    )
    assert machine.int8_products is None
    assert peak_rss_bytes(tmp_path) is None


def test_cores_of_two_kinds_have_the_features_of_both(tmp_path: Path) -> None:
    kinds = cpuinfo(CORTEX_A55, CORTEX_A76, CORTEX_A76)
    root = pi5(tmp_path, **{"proc/cpuinfo": kinds})
    machine = read_machine(root, architecture="aarch64")
    assert machine.cores == {"Cortex-A55": 1, "Cortex-A76": 2}
    assert (machine.features["asimddp"], machine.features["asimdhp"]) == (False, True)
    assert machine.int8_products == "NEON, no 8-bit dot products (asimddp)"


def test_32_bits(tmp_path: Path) -> None:
    cortex_a7 = CORTEX_A76.replace("0xd0b", "0xc07").replace("fp asimd evtstrm", "vfp neon vfpv4")
    named = cortex_a7 + "model name\t: ARMv7 Processor rev 5 (v7l)\n"
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo(named.replace(" asimddp", ""))})
    machine = read_machine(root, architecture="armv7l")
    assert machine.cores == {"Cortex-A7": 1}
    assert machine.int8_products == "NEON, no 8-bit dot products (asimddp)"


def test_other_processors(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo(X86, X86)})
    machine = read_machine(root, architecture="x86_64")
    assert machine.cores == {"Intel(R) N100": 2}
    assert machine.int8_products == "8-bit dot products (avx_vnni)"
    unknown = CORTEX_A76.replace("0xd0b", "0xfff")
    foreign = CORTEX_A76.replace("0x41", "0x51").replace("0xd0b", "nonsense")
    write(root, {"proc/cpuinfo": cpuinfo(unknown, foreign)})
    cores = read_machine(root, architecture="aarch64").cores
    assert cores == {"implementer 0x41 part 0xfff": 1, "implementer 0x51 part nonsense": 1}


# As the kernel (hexadecimal without a prefix) and as the program print it -> now, since the start.
THROTTLED = {
    "0": ((), ()),
    "throttled=0x0": ((), ()),
    "throttled=0x50000": ((), ("under-voltage", "throttled")),
    "a0002": (("frequency capped",), ("frequency capped", "soft temperature limit")),
    "throttled=0x80008": (("soft temperature limit",), ("soft temperature limit",)),
}


@pytest.mark.parametrize("printed", THROTTLED)
def test_throttling(tmp_path: Path, printed: str) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] && echo {printed}\n')
    program.chmod(0o755)
    root = tmp_path / "without"
    machine = read_machine(root, vcgencmd=str(program))
    assert (machine.throttled, machine.throttled_since_start) == THROTTLED[printed]
    firmware = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    told = read_machine(write(tmp_path / "with", {firmware: f"{printed}\n"}))
    assert told.throttled == machine.throttled


def test_vcgencmd_that_fails(tmp_path: Path) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    program.chmod(0o755)
    assert read_machine(tmp_path, vcgencmd=str(program)).throttled is None
    assert read_machine(tmp_path, vcgencmd=str(tmp_path / "absent")).throttled is None


def test_sensors_that_say_absurd_things(tmp_path: Path) -> None:
    zones = {"zone0": "-274000", "zone1": "nothing", "zone2": "45000", "zone3": "50000"}
    files = {f"sys/class/thermal/thermal_{zone}/temp": text for zone, text in zones.items()}
    types = {f"sys/class/thermal/thermal_zone{number}/type": "soc" for number in (0, 1, 3)}
    assert read_machine(write(tmp_path, {**files, **types})).temperatures == {
        "thermal_zone2": 45,
        "soc": 50,
    }
