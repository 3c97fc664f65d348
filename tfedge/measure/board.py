"""Runs converted models as a board would: by tfedge's runtime, in a process of its own.

A crash of the runtime ends that process, not this one, and TensorFlow is never loaded beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.errors import MissingPackageError, RejectedModelError, TfedgeError

Progress = Callable[[int], None]
Answer = dict[str, Any]

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
_LACKS_RUNTIME = 4  # exit code of tfedge-infer


@dataclasses.dataclass(frozen=True)
class Board:
    """Where and how a model is run.

    Attributes:
        python: the command that starts a Python with tfedge's base install; this one's by default,
            an emulated board's or `ssh board python3` as well.
        runtime: `tflite-runtime` or `litert`; None takes the first that the model allows.
        threads: of the runtime; None leaves it the choice.
    """

    python: tuple[str, ...] = (sys.executable,)
    runtime: str | None = None
    threads: int | None = None

    @staticmethod
    def command(text: str | None) -> tuple[str, ...]:
        """`python` from what a user typed."""
        return tuple(shlex.split(text)) if text else (sys.executable,)

    def answers(
        self, model: str | Path, texts: Sequence[Any], progress: Progress = lambda count: None
    ) -> list[Answer]:
        """What `tfedge-infer` answers to each text (or [question, context]), in order.

        Raises:
            RejectedModelError: the runtime crashed or refused the model.
            MissingPackageError: the runtime is not installed.
        """
        command = [*self._start("tfedge.runtime.infer"), "--model", str(model), "--json", "--jsonl"]
        with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
            for text in texts:
                lines.write(json.dumps(_line(text)) + "\n")
            lines.seek(0)
            answers = []
            for line in self._run(command, model, progress, lines):
                answers.append(json.loads(line))
        return answers

    def outputs(
        self,
        model: str | Path,
        inputs: Mapping[str, np.ndarray],
        progress: Progress = lambda count: None,
    ) -> dict[str, np.ndarray]:
        """The model's outputs by name, float32 (n, ...), for inputs int32 (n, length).

        Raises:
            RejectedModelError: the runtime crashed or refused the model.
            MissingPackageError: the runtime is not installed.
        """
        with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
            given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
            np.savez(given, **inputs)
            start = self._start("tfedge.runtime.execute")
            for _ in self._run([*start, str(model), str(given), str(made)], model, progress):
                pass
            with np.load(made, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}

    def _start(self, module: str) -> list[str]:
        command = [*self.python, "-m", module]
        if self.runtime:
            command += ["--runtime", self.runtime]
        if self.threads:
            command += ["--threads", str(self.threads)]
        return command

    def _run(
        self, command: list[str], model: str | Path, progress: Progress, stdin: Any = None
    ) -> list[str]:
        """The lines that the command prints; each one is progress."""
        # The child must find this tfedge, whichever folder it was started in. ARM_PATH is what the
        # emulated boards of the test suite take instead.
        paths = [_PACKAGE_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "ARM_PATH": _PACKAGE_ROOT,
        }
        lines = []
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=stdin or subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                )
            except OSError as error:
                raise TfedgeError(f"cannot start {command[0]}: {error.strerror}") from error
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line.decode())
                    progress(1)
                code = process.wait()
            finally:
                process.kill()
                process.wait()
                process.stdout.close()
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
        self._check(code, message, model, answered=bool(lines))
        return lines

    def _check(self, code: int, message: str, model: str | Path, answered: bool) -> None:
        last = message.splitlines()[-1] if message else "it said nothing"
        # 1 is "some texts could not be answered": the answers say which.
        if code == 0 or (code == 1 and answered):
            return
        where = self.runtime or "the runtime"
        # A shell between, as an emulator's wrapper is one, reports a signal as 128 + its number.
        number = -code if code < 0 else code - 128 if code > 128 else 0
        if number:
            name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
            raise RejectedModelError(f"{model}: {where} crashed running it ({name})")
        if code == _LACKS_RUNTIME and "not installed" in last:
            raise MissingPackageError(last)
        raise RejectedModelError(f"{model}: {where} does not run it: {last}")


def _line(text: Any) -> Any:
    if isinstance(text, str):
        return {"text": text}
    question, context = text
    return {"question": question, "context": context}
