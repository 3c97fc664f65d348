"""What Linux says of the machine: board, processor, memory, heat, supply.

All of it is read from files below /proc and /sys. What a machine does not report is None or empty,
never a guess.
"""

from __future__ import annotations

import dataclasses
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/")

# Arm's numbers of its cores (CPU part of implementer 0x41) on boards that run Linux.
_ARM = 0x41
_CORES = {
    0xC07: "Cortex-A7",
    0xC08: "Cortex-A8",
    0xC09: "Cortex-A9",
    0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD44: "Cortex-X1",
    0xD49: "Neoverse-N2",
}
# What decides which kernels run, by the name of an architecture. The first feature present among
# INT8_PRODUCTS is what int8 matrix products are made of.
FEATURES: Mapping[str, tuple[str, ...]] = {
    "aarch64": ("asimd", "asimdhp", "asimddp", "i8mm"),
    "arm": ("neon", "asimddp", "i8mm"),
    "x86_64": ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni"),
}
INT8_PRODUCTS: Mapping[str, str] = {
    "i8mm": "8-bit matrix products (i8mm)",
    "asimddp": "8-bit dot products (asimddp)",
    "avx512_vnni": "8-bit dot products (avx512_vnni)",
    "avx_vnni": "8-bit dot products (avx_vnni)",
    "avx512f": "AVX-512, no 8-bit dot products",
    "avx2": "AVX2, no 8-bit dot products",
    "asimd": "NEON, no 8-bit dot products (asimddp)",
    "neon": "NEON, no 8-bit dot products (asimddp)",
}

# The firmware's bits (Raspberry Pi documentation, vcgencmd get_throttled); 16 higher: since start.
_THROTTLE_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_START = 16
_PROCESS_BYTES = 64 << 20
_PLAUSIBLE_CELSIUS = (-40.0, 150.0)  # zones without a sensor say absurd things
_BOARD_FILES = ("proc/device-tree/model", "sys/class/dmi/id/product_name")


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is known of a machine."""

    board: str | None  # as its device tree or its firmware names it
    architecture: str  # of the kernel, e.g. "aarch64"
    python_bits: int  # 64, or 32
    cores: Mapping[str, int]  # name of a kind of processor core -> how many there are
    features: Mapping[str, bool]  # those of `FEATURES` -> whether all cores have it
    memory_bytes: int | None  # of the machine
    available_bytes: int | None  # that a new program could use
    temperatures: Mapping[str, float]  # thermal zone -> degrees Celsius
    # What holds the processor back now; None where the board does not say.
    throttled: tuple[str, ...] | None
    # What has held it back since it started; None likewise.
    throttled_since_start: tuple[str, ...] | None
    governors: tuple[str, ...]  # frequency governors in use
    scales_by_itself: bool  # whether the processor, not the governor, picks the frequency

    @property
    def int8_products(self) -> str | None:
        """What int8 matrix products are made of here; None where that is not known."""
        return next((text for name, text in INT8_PRODUCTS.items() if self.features.get(name)), None)

    @property
    def has_dot_products(self) -> bool:
        return any(self.features.get(name) for name in ("i8mm", "asimddp"))


def read_machine(
    root: Path = ROOT, vcgencmd: str | None = None, architecture: str | None = None
) -> Machine:
    """Reads what the machine reports.

    Args:
        root: the folder that has /proc and /sys.
        vcgencmd: the Raspberry Pi's program, for kernels that do not report throttling.
        architecture: of the kernel; None asks it.
    """
    architecture = architecture or platform.machine()
    # Other paragraphs than those of processors are about the machine.
    paragraphs = map(_fields, re.split(r"\n\s*\n", _text(root / "proc/cpuinfo")))
    processors = [fields for fields in paragraphs if "processor" in fields]
    memory = _fields(_text(root / "proc/meminfo"))
    bits = _throttle_bits(root, vcgencmd)
    policies = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    governors, drivers = (
        [_text(policy / name) for policy in policies]
        for name in ("scaling_governor", "scaling_driver")
    )
    return Machine(
        board=next(filter(None, (_text(root / name) for name in _BOARD_FILES)), None),
        architecture=architecture,
        python_bits=64 if sys.maxsize > 2**32 else 32,
        cores=dict(Counter(filter(None, map(_core, processors)))),
        features=_features(architecture, processors),
        memory_bytes=_bytes(memory.get("MemTotal")),
        available_bytes=_bytes(memory.get("MemAvailable")),
        temperatures=_temperatures(root),
        throttled=None if bits is None else _decoded(bits),
        throttled_since_start=None if bits is None else _decoded(bits >> _SINCE_START),
        governors=tuple(dict.fromkeys(filter(None, governors))),
        scales_by_itself=any(name.startswith(("intel_pstate", "amd-pstate")) for name in drivers),
    )


def needed_bytes(file_bytes: int) -> int:
    """About the memory that a program takes which runs a file of this size, rather more than less.

    Kernels keep weights in an order of their own beside the file's. Resident with tinybert in int8 are
    70 MB, 45 of them before any model is loaded.
    """
    return _PROCESS_BYTES + 2 * file_bytes


def peak_rss_bytes(root: Path = ROOT) -> int | None:
    """The most memory that this process has had resident; None where the system does not say.

    Read from Linux itself: `getrusage` gives the memory of the process that started this one where
    that was larger.
    """
    return _bytes(_fields(_text(root / "proc/self/status")).get("VmHWM"))


def _text(path: Path) -> str:
    """The contents of a file; empty where it cannot be read, as some in /sys cannot."""
    try:
        return path.read_bytes().decode(errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def _fields(text: str) -> dict[str, str]:
    """`NAME : VALUE` lines."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _bytes(field: str | None) -> int | None:
    """Of `1234 kB`."""
    match = re.fullmatch(r"(\d+) kB", field or "")
    return int(match[1]) << 10 if match else None


def _core(fields: Mapping[str, str]) -> str | None:
    implementer, part = fields.get("CPU implementer"), fields.get("CPU part")
    if implementer is None or part is None:  # not ARM, where a name is only "ARMv7 Processor"
        return " ".join(fields.get("model name", "").split()) or None
    try:
        known = _CORES.get(int(part, 16)) if int(implementer, 16) == _ARM else None
    except ValueError:
        known = None
    return known or f"implementer {implementer} part {part}"


def _features(architecture: str, processors: list[dict[str, str]]) -> dict[str, bool]:
    family = "arm" if architecture.startswith("armv") else architecture
    sets = [set((item.get("Features") or item.get("flags") or "").split()) for item in processors]
    if not any(sets):
        return {}
    # A thread may run on any core, so the runtimes use what all of them have.
    common = set.intersection(*sets)
    return {name: name in common for name in FEATURES.get(family, ())}


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        try:
            celsius = int(_text(zone / "temp")) / 1000
        except ValueError:
            continue
        name = _text(zone / "type") or zone.name
        if _PLAUSIBLE_CELSIUS[0] <= celsius <= _PLAUSIBLE_CELSIUS[1]:
            found[name] = max(celsius, found.get(name, celsius))
    return found


def _throttle_bits(root: Path, vcgencmd: str | None) -> int | None:
    files = (root / "sys/devices/platform").glob("*/*firmware/get_throttled")
    texts = [_text(path) for path in sorted(files)]
    if not any(texts) and vcgencmd is not None:
        texts = [_vcgencmd(vcgencmd)]
    for text in texts:
        if match := re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text):
            return int(match[1], 16)
    return None


def _vcgencmd(program: str) -> str:
    """What it prints; empty where it fails, as it does for users outside of the group video."""
    command = [program, "get_throttled"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def _decoded(bits: int) -> tuple[str, ...]:
    return tuple(text for bit, text in enumerate(_THROTTLE_BITS) if bits >> bit & 1)
