"""Finds out whether texts can be answered here, by what, and what to fix: `tfedge-infer --doctor`.

Whatever could crash is tried in a process of its own. Nothing here needs more than Python itself,
because numpy, tokenizers or the runtime may be what is broken.
"""

from __future__ import annotations

import ctypes.util
import dataclasses
import importlib
import importlib.metadata
import multiprocessing
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tfedge import __version__
from tfedge.runtime import tasks
from tfedge.runtime.benchmark import benchmark
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.delegate import EDGETPU, is_compiled
from tfedge.runtime.errors import InferenceError, one_line
from tfedge.runtime.machine import ROOT, Machine, needed_bytes, read_machine
from tfedge.runtime.runtimes import RUNTIMES, choose_runtime

# Packages of the base install that are not runtimes -> what pip is to install.
PACKAGES: Mapping[str, str] = {
    "numpy": "numpy",
    "tokenizers": "tokenizers>=0.20,<1",
    "click": "click>=8.1,<9",
}
TFLITE_RUNTIME, LITERT = "tflite-runtime", "litert"

_RUNS = 5
_SECONDS = 120  # for a child; a board in a power-saving mode takes a while to import numpy
_HOT_CELSIUS = 80.0  # where a Raspberry Pi begins to slow down


@dataclasses.dataclass(frozen=True)
class Installed:
    """A package: its version, None where it is absent; why it cannot be imported, if so."""

    version: str | None
    error: str | None = None

    @property
    def usable(self) -> bool:
        return self.version is not None and self.error is None


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something to fix."""

    problem: str  # what is wrong
    mend: str  # a command, or where none helps, what to do
    prevents: bool = False  # whether no text can be answered before it is mended


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found."""

    tfedge: str
    python: str
    packages: Mapping[str, Installed]  # of the base install and the runtimes, by name
    runtime: str | None  # the one that would answer; None where there is none
    kernels: str | None  # what its int8 matrix products are made of
    # Name, task, quantization, verified runtimes and lengths of the model, if one is given.
    model: Mapping[str, Any] | None
    # The fields of a `Timing` of the built-in sentence or image; None where it was not answered.
    answer: Mapping[str, Any] | None
    machine: Machine
    libedgetpu: str | None  # the Edge TPU's library, if there is one
    findings: tuple[Finding, ...]

    @property
    def can_answer(self) -> bool:
        return not any(finding.prevents for finding in self.findings)


def examine(model: str | None = None, root: Path = ROOT, **loading: Any) -> Report:
    """Looks at packages, model and machine, and answers a sentence if a model is given.

    Args:
        root: the folder that has /proc and /sys.
        loading: what `load` would be given besides the model.
    """
    machine = read_machine(root, shutil.which("vcgencmd"))
    packages = {name: _installed(name, name) for name in PACKAGES}
    runtimes = {name: _installed(item.package, item.interpreter) for name, item in RUNTIMES.items()}
    findings = [*_of_packages(packages, runtimes)]
    bundle, runtime = None, None
    try:
        bundle = read_bundle(model) if model is not None else None
        allowed = bundle.manifest.runtimes if bundle else tuple(RUNTIMES)
        if any(item.usable for item in runtimes.values()):
            runtime = choose_runtime(loading.get("runtime"), allowed)
    except InferenceError as error:
        findings.append(_refused(error))
    answer = None
    if bundle and runtime and not any(finding.prevents for finding in findings):
        answer, refused = _try(bundle.path, loading)
        findings += refused
    libedgetpu = ctypes.util.find_library(EDGETPU)
    findings += _of_machine(machine, bundle)
    findings += _of_choice(machine, runtime, runtimes, bundle)
    if bundle:
        findings += _of_model(bundle, libedgetpu)
    return Report(
        tfedge=__version__,
        python=".".join(map(str, sys.version_info[:3])),
        packages={**packages, **runtimes},
        runtime=runtime,
        kernels=_kernels(runtime, machine),
        model=_described(bundle) if bundle else None,
        answer=answer,
        machine=machine,
        libedgetpu=libedgetpu,
        findings=tuple(findings),
    )


def _installed(package: str, module: str) -> Installed:
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return Installed(None)
    return Installed(version, _apart(_import, module)[1])


def _import(module: str) -> None:
    importlib.import_module(module)


def _apart(task: Callable[..., Any], *arguments: Any) -> tuple[Any, str | None]:
    """What `task` returns in a process of its own, and why it failed there, if it did.

    The process is a fork, which an emulated board can start as well; nothing that has threads of its
    own has been loaded before it.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_report, args=(sender, task, arguments))
    process.start()
    sender.close()
    try:
        if receiver.poll(_SECONDS):
            return receiver.recv()
        return None, f"it does not finish within {_SECONDS} seconds"
    except EOFError:
        process.join()
        known = {-item.value: item.name for item in signal.Signals}
        ending = known.get(process.exitcode or 0, f"exit code {process.exitcode}")
        return None, f"it crashes ({ending})"
    finally:
        process.kill()
        process.join()


def _report(sender: Any, task: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Sends what `_apart` returns. The chatter of packages that start goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    try:
        result: tuple[Any, str | None] = (task(*arguments), None)
    except Exception as error:  # of any package, which is what is being found out
        result = None, one_line(error) or type(error).__name__
    sender.send(result)


def _pip(*packages: str, force: bool = False) -> str:
    options = ["--force-reinstall"] if force else []
    return shlex.join([sys.executable, "-m", "pip", "install", *options, *packages])


def _of_packages(
    packages: Mapping[str, Installed], runtimes: Mapping[str, Installed]
) -> Iterator[Finding]:
    wheels = {**PACKAGES, **{name: item.package for name, item in RUNTIMES.items()}}
    none_runs = not any(found.usable for found in runtimes.values())
    numpy_2 = (packages["numpy"].version or "").startswith("2.")
    for name, found in {**packages, **runtimes}.items():
        if found.error is not None:
            mend = _pip(wheels[name], force=True)
            if name == TFLITE_RUNTIME and numpy_2:
                mend = _pip("numpy<2")
            problem = f"{name} {found.version}: {found.error}"
            yield Finding(problem, mend, prevents=name in packages or none_runs)
        elif found.version is None and name in packages:
            yield Finding(f"{name} is not installed", _pip(wheels[name]), prevents=True)
    if all(found.version is None for found in runtimes.values()):
        yield Finding("there is no TFLite runtime", _runtime_to_install(), prevents=True)


def _runtime_to_install() -> str:
    """The command that installs a runtime that has a wheel for this Python and this system."""
    if RUNTIMES[TFLITE_RUNTIME].has_wheel():
        return _pip("tflite-runtime", "numpy<2")
    if RUNTIMES[LITERT].has_wheel():
        return _pip(RUNTIMES[LITERT].package)
    needs = "; ".join(f"{name} needs {runtime.needs}" for name, runtime in RUNTIMES.items())
    return f"upgrade the system: {needs}; Raspberry Pi OS bookworm (64 bit) suits both"


def _refused(error: object) -> Finding:
    """An error of `load`, which says in one line what is wrong and, after it, what to do."""
    problem, semicolon, mend = str(error).rpartition("; ")
    return Finding(problem if semicolon else mend, mend if semicolon else "see above", True)


def _try(model: str, loading: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Finding]]:
    """Answers the built-in sentence, in a process of its own."""
    timing, error = _apart(_answer, model, loading)
    if error is not None and error.startswith("it crashes"):
        error = (
            f"answering a sentence: {error}; convert the model for this board"
            " (`tfedge convert --target`) or give another --runtime"
        )
    return timing, [] if error is None else [_refused(error)]


def _answer(model: str, loading: Mapping[str, Any]) -> dict[str, Any]:
    from tfedge.runtime.pipeline import load

    loading = {**loading, "trust": True}  # this is a process of its own
    return dataclasses.asdict(benchmark(load(model, **loading), [], _RUNS))


def _described(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "task": manifest.task,
        "sample": tasks.find(manifest.task).input.sample,
        "quantization": manifest.quantization,
        "verified": list(manifest.runtimes),
        "lengths": sorted(manifest.signatures.values()),
        "size_bytes": os.stat(bundle.path).st_size,
    }


def _kernels(runtime: str | None, machine: Machine) -> str | None:
    if runtime is None:
        return None
    if runtime == TFLITE_RUNTIME:  # 2.14 leaves int8 to TFLite's own kernels
        return "int8: TFLite's own kernels; float: XNNPACK"
    return f"XNNPACK; int8: {machine.int8_products or 'by a processor that is not known'}"


def _of_machine(machine: Machine, bundle: Bundle | None) -> list[Finding]:
    needed = needed_bytes(os.stat(bundle.path).st_size if bundle else 0)
    available = needed if machine.available_bytes is None else machine.available_bytes
    now, before = machine.throttled or (), machine.throttled_since_start or ()
    when = "now" if "under-voltage" in now else "since the board was started"
    hottest = max(machine.temperatures.values(), default=0.0)
    checks = [
        (
            machine.python_bits == 32,
            "this Python is a 32-bit program: half the registers, and no wheel of LiteRT",
            "install the 64-bit system (Raspberry Pi OS, 64 bit)",
        ),
        (
            available < needed,
            f"{available >> 20} MB of memory are available, about {needed >> 20} are needed",
            "end other programs; `ps -eo rss,comm --sort=-rss | head` lists the largest",
        ),
        (
            "under-voltage" in (*now, *before),
            f"under-voltage {when}: the processor slows down",
            "use the board's own power supply and a short cable, then look again:"
            " `vcgencmd get_throttled`",
        ),
        (
            hottest >= _HOT_CELSIUS or "soft temperature limit" in now,
            f"the processor is hot ({hottest:.0f} °C) and slows down",
            "give it a heat sink or a fan; `cat /sys/class/thermal/thermal_zone*/temp` says how hot",
        ),
        (
            "powersave" in machine.governors and not machine.scales_by_itself,
            "the governor powersave keeps the processor at its lowest frequency",
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
    ]
    return [Finding(problem, mend) for applies, problem, mend in checks if applies]


def _of_model(bundle: Bundle, libedgetpu: str | None) -> Iterator[Finding]:
    """What this model needs besides the base install."""
    if is_compiled(bundle) and libedgetpu is None:
        yield Finding(
            "the model is compiled for the Edge TPU and there is no libedgetpu",
            "install libedgetpu1-std, built for the TensorFlow of the runtime"
            " (github.com/feranick/libedgetpu has such packages)",
            prevents=True,
        )
    for package, module in tasks.find(bundle.manifest.task).input.packages.items():
        if not (found := _installed(package, module)).usable:
            problem = f"Pillow reads image files, and {found.error or 'it is not installed'}"
            yield Finding(problem, _pip("pillow>=10.4"), prevents=True)


def _of_choice(
    machine: Machine, runtime: str | None, runtimes: Mapping[str, Installed], bundle: Bundle | None
) -> Iterator[Finding]:
    """LiteRT in place of tflite-runtime on a processor whose dot products only it makes the most of."""
    verified = bundle.manifest.runtimes if bundle else RUNTIMES
    if runtime != TFLITE_RUNTIME or not machine.has_dot_products or LITERT not in verified:
        return
    problem = (
        f"LiteRT runs int8 models faster here, thanks to {machine.int8_products}: it takes a third"
        " of the instructions of tflite-runtime on a Cortex-A76"
    )
    if runtimes[LITERT].usable:
        yield Finding(problem, "tfedge-infer --runtime litert ...")
    elif RUNTIMES[LITERT].has_wheel():
        yield Finding(problem, f"{_pip(RUNTIMES[LITERT].package)} && tfedge-infer --runtime litert")
