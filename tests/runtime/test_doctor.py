"""`tfedge-infer --doctor`: on this machine, on made-up ones, and with packages missing or broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import forge
import pytest
from program import ROOT, TIMEOUT_S, each_runtime, infer
from test_machine import CORTEX_A76, cpuinfo, pi5

from tfedge.runtime import doctor, render, runtimes
from tfedge.runtime.doctor import Installed, Report, examine


@each_runtime
def test_on_this_machine(toys: Path, runtime: str) -> None:
    options = ("--doctor", "--model", toys / "int8.tflite", "--runtime", runtime, "--threads", "1")
    result = infer(*options, "--json")
    assert result.code == 0, result.errors
    (report,) = result.objects
    assert report["can_answer"] is True
    assert report["runtime"] == runtime
    assert report["model"]["verified"] == ["tflite-runtime", "litert"]
    assert report["model"]["lengths"] == [16]
    assert report["packages"][runtime]["error"] is None
    assert report["packages"]["click"]["version"]
    assert (report["answer"]["model"], report["answer"]["threads"]) == ("int8", 1)
    assert report["answer"]["runtime"].startswith(runtime)
    assert report["machine"]["memory_bytes"] > report["machine"]["available_bytes"] > 0
    assert not any(finding["prevents"] for finding in report["findings"])


def test_without_a_model() -> None:
    result = infer("--doctor")
    assert result.code == 0
    names = [line.split()[0] for line in result.lines if line]
    assert {"runtime", "kernels", "installed", "processor", "memory"} <= set(names)
    assert "answers" not in names


def test_damaged_model(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes((toys / "int8.tflite").read_bytes()[:-100])
    result = infer("--doctor", "--json", "--model", path)
    assert result.code == 4
    (report,) = result.objects
    assert report["can_answer"] is False
    (finding,) = [finding for finding in report["findings"] if finding["prevents"]]
    assert "no tfedge metadata at its end" in finding["problem"]
    assert report["model"] is report["answer"] is None


def test_model_of_another_runtime(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    good = (toys / "classifier.tflite").read_bytes()
    path.write_bytes(forge.with_manifest(good, runtimes=["litert"]))
    result = infer("--doctor", "--model", path, "--runtime", "tflite-runtime")
    assert result.code == 4
    text = "\n".join(result.lines)
    assert "To fix before anything can be answered:" in text
    assert "1. the model was not verified on tflite-runtime, only on litert" in text
    assert "--runtime litert" in text


def test_operation_that_the_runtime_lacks(toys: Path) -> None:
    result = infer("--doctor", "--json", "--model", toys / "lacking.tflite")
    assert result.code == 4
    (finding,) = [item for item in result.objects[0]["findings"] if item["prevents"]]
    assert "lacks the operation Betainc" in finding["problem"]
    assert "tfedge convert" in finding["mend"]


@pytest.fixture
def bare(tmp_path: Path) -> Callable[..., tuple[int, Any, str]]:
    """Runs the program in a Python that has click and whatever the test puts into `site`."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    site = tmp_path / "site"
    site.mkdir()
    # A copy: what a test writes must never reach the packages of this Python.
    shutil.copytree(Path(click.__file__).parent, site / "click")

    def run(*arguments: str, **packages: str) -> tuple[int, Any, str]:
        for name, code in packages.items():
            _package(site, name, code)
        done = subprocess.run(
            [str(tmp_path / "venv/bin/python"), "-m", "tfedge.runtime.infer", *arguments],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{site}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, json.loads(done.stdout or "null"), done.stderr

    return run


def _package(site: Path, name: str, code: str) -> None:
    """A package of version 2.0 that does `code` when it is imported."""
    module = name.replace("-", "_")
    (site / module).mkdir(exist_ok=True)
    (site / module / "__init__.py").write_text(code)
    (site / module / "interpreter.py").write_text("")
    metadata = site / f"{module}-2.0.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")


Run = Callable[..., tuple[int, Any, str]]


def test_nothing_is_installed(bare: Run) -> None:
    code, report, _ = bare("--doctor", "--json")
    assert code == 4
    assert report["runtime"] is None
    found = {finding["problem"]: finding["mend"] for finding in report["findings"]}
    has_wheel = runtimes.RUNTIMES["tflite-runtime"].has_wheel()
    for problem, package in (
        ("numpy is not installed", "numpy"),
        ("tokenizers is not installed", "'tokenizers>=0.20,<1'"),
        (
            "there is no TFLite runtime",
            "tflite-runtime 'numpy<2'" if has_wheel else "ai-edge-litert",
        ),
    ):
        assert found[problem].endswith(f"venv/bin/python -m pip install {package}")


def test_answering_with_a_package_missing(bare: Run, toys: Path) -> None:
    code, printed, errors = bare("--model", str(toys / "int8.tflite"), "good")
    assert (code, printed) == (4, None)
    assert errors.count("\n") == 1
    assert "No module named 'numpy'; `tfedge-infer --doctor` says how to fix it" in errors


def test_packages_that_are_broken(bare: Run) -> None:
    code, report, _ = bare(
        *("--doctor", "--json"),
        numpy="raise ImportError('libfoo.so: cannot open\\nshared object')",
        tokenizers="import os; os.abort()",
        tflite_runtime="",
    )
    assert code == 4
    assert report["packages"]["numpy"]["version"] == "2.0"
    found = {finding["problem"]: finding["mend"] for finding in report["findings"]}
    assert "--force-reinstall numpy" in found["numpy 2.0: libfoo.so: cannot open shared object"]
    assert "--force-reinstall" in found["tokenizers 2.0: it crashes (SIGABRT)"]
    assert report["runtime"] == "tflite-runtime"


def test_runtime_that_does_not_fit_numpy(bare: Run) -> None:
    code, report, _ = bare(
        *("--doctor", "--json"),
        **{"numpy": "", "tokenizers": ""},
        **{"tflite-runtime": "raise ImportError('numpy.core.multiarray failed to import')"},
    )
    assert code == 4
    (finding,) = [item for item in report["findings"] if item["problem"].startswith("tflite")]
    assert finding["mend"].endswith("pip install 'numpy<2'")
    assert finding["prevents"] is True


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package is there; none is tried."""
    monkeypatch.setattr(doctor, "_installed", lambda package, module: Installed("1.0"))
    monkeypatch.setattr(doctor, "choose_runtime", lambda wanted, allowed: wanted or allowed[0])
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    read = doctor.read_machine
    monkeypatch.setattr(doctor, "read_machine", lambda *given: read(*given, "aarch64"))


def problems(report: Report) -> list[str]:
    return [finding.problem for finding in report.findings]


def test_board_in_trouble(healthy: None, tmp_path: Path) -> None:
    trouble = {
        "sys/class/thermal/thermal_zone0/temp": "84000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "proc/meminfo": "MemTotal: 500000 kB\nMemAvailable: 20000 kB\n",
        "proc/cpuinfo": cpuinfo(*[CORTEX_A76.replace(" asimddp", "")] * 4),
    }
    report = examine(root=pi5(tmp_path, **trouble))
    assert report.can_answer  # slowly
    found = problems(report)
    assert len(found) == 4
    for text in ("19 MB of memory", "under-voltage now", "hot (84 °C)", "governor powersave"):
        assert any(text in problem for problem in found)
    assert all(finding.mend for finding in report.findings)
    assert "4 x Cortex-A76" in (text := render.report_as_text(report))
    assert "throttled  under-voltage, throttled (since the start: under-voltage" in text
    assert json.loads(render.report_as_json(report))["machine"]["throttled"] == [
        *("under-voltage", "throttled")
    ]


def test_dot_products_that_the_runtime_does_not_use(healthy: None, tmp_path: Path) -> None:
    calm = {"sys/devices/platform/soc/soc:firmware/get_throttled": "0"}
    root = pi5(tmp_path, **calm)
    (finding,) = examine(root=root, runtime="tflite-runtime").findings
    assert "dot products (asimddp)" in finding.problem
    assert "--runtime litert" in finding.mend
    report = examine(root=root, runtime="litert")
    assert report.findings == ()
    assert report.kernels == "XNNPACK; int8: 8-bit dot products (asimddp)"


def test_model_larger_than_memory(healthy: None, toys: Path, tmp_path: Path) -> None:
    root = pi5(tmp_path, **{"proc/meminfo": "MemTotal: 90000 kB\nMemAvailable: 65537 kB\n"})
    model = str(toys / "int8.tflite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "_try", lambda model, loading: ({}, []))
        assert any("MB of memory" in text for text in problems(examine(model, root)))
    assert not any("MB of memory" in text for text in problems(examine(root=root)))


# Python, glibc, whether it has 64 bits -> what is to be installed.
CHOICES = [
    ((3, 11), (2, 36), True, "pip install tflite-runtime 'numpy<2'"),
    ((3, 13), (2, 41), True, "pip install ai-edge-litert"),
    ((3, 11), (2, 31), True, "pip install ai-edge-litert"),
    ((3, 9), (2, 31), True, "upgrade the system"),
    ((3, 13), (2, 41), False, "upgrade the system"),
]


@pytest.mark.parametrize(("python", "glibc", "wide", "command"), CHOICES)
def test_runtime_that_has_a_wheel(
    monkeypatch: pytest.MonkeyPatch,
    python: tuple[int, int],
    glibc: tuple[int, int],
    wide: bool,
    command: str,
) -> None:
    monkeypatch.setattr(sys, "version_info", (*python, 0, "final", 0))
    monkeypatch.setattr(runtimes, "_glibc", lambda: glibc)
    monkeypatch.setattr(runtimes, "_BITS", 64 if wide else 32)
    assert command in doctor._runtime_to_install()


def test_child_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SECONDS", 0.2)
    error = "it does not finish within 0.2 seconds"
    assert doctor._apart(time.sleep, 60) == (None, error)


def test_child_that_ends_early() -> None:
    assert doctor._apart(os._exit, 3) == (None, "it crashes (exit code 3)")
    assert doctor._apart(signal.raise_signal, signal.SIGKILL) == (None, "it crashes (SIGKILL)")
    assert doctor._apart(dict, {"a": 1}) == ({"a": 1}, None)
    assert doctor._apart(int, "x")[1] == "invalid literal for int() with base 10: 'x'"


def test_glibc_of_this_machine() -> None:
    version = runtimes._glibc()
    if not sys.platform.startswith("linux") or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        pytest.skip("no GNU C library here")
    assert version is not None
    assert version >= (2, 17)


def test_edge_tpu_library(healthy: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: f"lib{name}.so.1")
    report = examine(root=tmp_path)
    assert report.libedgetpu == "libedgetpu.so.1"
    assert "libedgetpu.so.1" in render.report_as_text(report)
