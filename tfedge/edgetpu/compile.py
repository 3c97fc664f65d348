"""Runs the vendor's Edge TPU compiler and holds the prediction to what it did."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from tfedge import files
from tfedge.edgetpu.carry import carry_over, read_source
from tfedge.edgetpu.check import check
from tfedge.edgetpu.result import (
    CPU,
    MAPPED,
    Check,
    Compilation,
    Delivery,
    Difference,
    StatusDifference,
)
from tfedge.errors import InputError, MissingPackageError, RejectedModelError, TfedgeError
from tfedge.inspect.graph import EDGETPU_OPERATOR, read_model
from tfedge.records import taken

PROGRAM = "edgetpu_compiler"
VARIABLE = "EDGETPU_COMPILER"
_GRACE_SECONDS = 20  # the compiler's own limit ends only its child
_APT = (
    "curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | gpg --no-default-keyring "
    "--keyring gnupg-ring:/etc/apt/trusted.gpg.d/coral.gpg --import && chmod 644 "
    '/etc/apt/trusted.gpg.d/coral.gpg && echo "deb https://packages.cloud.google.com/apt '
    'coral-edgetpu-stable main" > /etc/apt/sources.list.d/coral-edgetpu.list && '
    "apt-get update && apt-get install -y edgetpu-compiler"
)
_TABLE = re.compile(r"Operator\s+Count\s+Status$")
_ROW = re.compile(r"([A-Z0-9_]+)\s+(\d+)\s+(\S.*)$")
_VALUE = re.compile(r"([^:]+):\s*(\d+(?:\.\d+)?)\s*(|B|KiB|MiB|GiB)$")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_FIELDS = {
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operators",
    "Number of operations that will run on Edge TPU": "on_tpu",
    "Number of operations that will run on CPU": "on_cpu",
    "On-chip memory used for caching model parameters": "cached_bytes",
    "On-chip memory remaining for caching model parameters": "remaining_bytes",
    "Off-chip memory used for streaming uncached model parameters": "streamed_bytes",
}
# How a failure is announced, the most telling first.
_FAILURES = (
    r"ERROR: .*(?:builtin|Op builtin_code|static-sized)",
    r"Compilation failed: ",
    r"Internal compiler error",
    r"ERROR: ",
    r"Invalid model: |Model could not be parsed|Compilation failed!",
)


@dataclasses.dataclass(frozen=True)
class CompilerLog:
    """What a run of the compiler said; None where it did not."""

    version: str  # empty where it said none
    table: Counter[tuple[str, str]]  # by operator and status
    failure: str | None  # the most telling line of a failed run
    subgraphs: int | None = None
    operators: int | None = None
    # From the table where the lines that say so are absent, as they are when all are mapped.
    on_tpu: int | None = None
    on_cpu: int | None = None
    cached_bytes: int | None = None  # of parameters
    remaining_bytes: int | None = None
    streamed_bytes: int | None = None


def find_compiler(model: Path) -> str:
    """The compiler's path: what EDGETPU_COMPILER says, else what PATH has; raises
    MissingPackageError where there is none; the message says how to get it, for this `model`."""
    given = os.environ.get(VARIABLE)
    if found := shutil.which(given or PROGRAM):
        return str(Path(found).absolute())
    if given:
        raise MissingPackageError(f"{VARIABLE}={given} cannot be run; give the path of {PROGRAM}")
    work, name = shlex.quote(f"{model.absolute().parent}:/work"), shlex.quote(model.name)
    script = f"apt-get update && apt-get install -y curl gnupg && {_APT} && {PROGRAM} -s {name}"
    raise MissingPackageError(
        f"{PROGRAM} is neither in PATH nor named by {VARIABLE}. It is for x86-64 Linux, from the "
        f"vendor's apt repository; as root: {_APT}; or in a container: docker run --rm --platform "
        f"linux/amd64 -v {work} -w /work debian:bookworm sh -c {shlex.quote(script)} (that makes a "
        f"file without tfedge's metadata; a script that runs it so, named by {VARIABLE}, keeps them: "
        "docs/coral.md)"
    )


def compile_model(path: Path, output: Path | None = None, timeout: int = 180) -> Compilation:
    """Compiles a .tflite; signatures and tfedge's metadata come along.

    Args:
        output: by default X_edgetpu.tflite beside the model. The compiler's log is written beside
            it, with the suffix .log.
        timeout: seconds that the compiler may take.

    Raises:
        InputError: the file cannot be used, or is compiled already.
        MissingPackageError: there is no compiler.
        RejectedModelError: it failed, took too long or mapped nothing; nothing is written.
    """
    predicted = check(path)  # first of all: a path that is no file may have no name either
    target = output or path.with_name(f"{path.stem}_edgetpu.tflite")
    if predicted.compiled:
        raise InputError(f"{path}: compiled already; give the model that it was made of")
    source = read_source(path)
    compiler = find_compiler(path)
    files.check_folder(target.parent)
    with tempfile.TemporaryDirectory(prefix="tfedge-edgetpu-") as folder:
        Path(folder, "model.tflite").write_bytes(source.flatbuffer)
        code, text = _run(compiler, Path(folder), timeout)
        made, written = (Path(folder, f"model_edgetpu.{kind}") for kind in ("tflite", "log"))
        if written.exists():
            text += written.read_text(encoding="utf-8", errors="replace")
        log = read_log(text)
        _check(path, code, text, log, made.exists(), predicted)
        report = _compare(predicted, log, made, target)
        facts = {"compiler": log.version, "mapped": report.mapped, "on_cpu": log.on_cpu}
        content = carry_over(source, made.read_bytes(), facts)
    files.write_bytes(target, content)
    files.write_bytes(target.with_suffix(".log"), text.encode(errors="backslashreplace"))
    return report


def deliver(path: Path) -> tuple[Delivery, TfedgeError | None]:
    """Predicts what the Edge TPU runs of a converted model, and compiles it; gives what is found,
    and why it was not compiled, or None: the converted model is kept."""
    # The verdict would tell of the .json that this becomes a part of.
    checked = dataclasses.replace(check(path), verdict=None)
    try:
        return Delivery(checked, compile_model(path), None), None
    except (MissingPackageError, RejectedModelError) as error:
        return Delivery(checked, None, str(error)), error


def _run(compiler: str, folder: Path, timeout: int) -> tuple[int, str]:
    """The exit code, negative for a signal, and what was printed."""
    command = [compiler, "-s", "-t", str(timeout), "-o", str(folder), "model.tflite"]
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its children can be ended with it
        )
    except OSError as error:
        raise MissingPackageError(
            f"{compiler} cannot be run: {error.strerror}; it is a program for x86-64 Linux"
        ) from error
    try:
        content, _ = process.communicate(timeout=timeout + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        raise RejectedModelError(
            f"{PROGRAM} was still running after {timeout} seconds; allow more time (--timeout), or "
            "look for large activations with `tfedge edgetpu check`"
        ) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, content.decode(errors="replace")


def read_log(text: str) -> CompilerLog:
    """Reads what the compiler prints: standard output, or a .log file, or both one after the other.

    A search (-d) prints attempts; what is said last counts.
    """
    lines = [line.strip() for line in text.splitlines()]
    found: dict[str, int] = {}
    table: Counter[tuple[str, str]] = Counter()
    version, inside = "", False
    for line in lines:
        if line.startswith("Edge TPU Compiler version "):
            version = line.rpartition(" ")[2]
        if (match := _VALUE.match(line)) and match[1] in _FIELDS:
            found[_FIELDS[match[1]]] = round(float(match[2]) * _UNITS[match[3]])
        if _TABLE.match(line):
            table, inside = Counter(), True
        elif inside and (match := _ROW.match(line)):
            table[match[1], match[3]] += int(match[2])
        elif line:
            inside = False
    if table and "on_tpu" not in found:
        mapped = sum(count for (_, status), count in table.items() if status == MAPPED)
        found |= {"on_tpu": mapped, "on_cpu": table.total() - mapped}
    failures = (line for kind in _FAILURES for line in lines if re.match(kind, line))
    return CompilerLog(version, table, next(failures, None), **found)


def _check(
    path: Path, code: int, text: str, log: CompilerLog, is_there: bool, predicted: Check
) -> None:
    """Raises RejectedModelError unless a model was compiled, and some of it was mapped."""
    hint = "".join(f"; {row.change}" for row in predicted.problems[:1])
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        raise RejectedModelError(f"{path}: {PROGRAM} crashed ({name}){hint}")
    if code or not is_there:
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
        reason = log.failure or last or "it said nothing"
        raise RejectedModelError(f"{path}: {PROGRAM} failed (exit code {code}): {reason}{hint}")
    if not log.on_tpu:
        found = predicted.first_break
        why = f"; {found.operator}: {found.status}; {found.change}" if found else ""
        raise RejectedModelError(
            f"{path}: {PROGRAM} mapped no operator to the Edge TPU{why}; `tfedge edgetpu check` "
            "shows all"
        )


def _compare(predicted: Check, log: CompilerLog, made: Path, target: Path) -> Compilation:
    """What came out otherwise than predicted."""
    differences = _differences(predicted, made)
    summary = Counter({(row.operator, row.status): row.count for row in predicted.summary})
    statuses = [
        StatusDifference(*key, summary[key], log.table[key])
        for key in sorted(set(summary) | set(log.table))
        if summary[key] != log.table[key]
    ]
    return taken(
        Compilation,
        log,
        file=predicted.file,
        output=str(target),
        compiler=log.version,
        operators=len(predicted.operators),
        predicted=sum(row.class_ != CPU for row in predicted.operators),
        mapped=log.on_tpu,
        agrees=not differences and all(row.status != MAPPED for row in statuses),
        differences=differences,
        statuses=statuses,
    )


def _differences(predicted: Check, made: Path) -> list[Difference]:
    """Operators that were predicted on one side and are on the other.

    Those that the compiler left are found again by what they put out, whose name it keeps.
    """
    subgraph = read_model(made).subgraphs[0]
    left = Counter(
        (operator.name, subgraph.result(operator).name)
        for operator in subgraph.operators
        if operator.name != EDGETPU_OPERATOR
    )
    differences = []
    for row in predicted.operators:
        key = (row.operator, row.tensor)
        is_left = left[key] > 0
        left[key] -= is_left
        if is_left != (row.class_ == CPU):
            compiled = "left on the CPU" if is_left else MAPPED
            differences.append(taken(Difference, row, predicted=row.status, compiled=compiled))
    return differences
