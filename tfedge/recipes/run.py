"""Runs a recipe: each stage that has to, in a process of its own, as its command line would."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import InputError, TfedgeError
from tfedge.measure.child import environment
from tfedge.recipes.plan import Hashes, Record, StageReport, Step, decide, hash_outputs
from tfedge.recipes.recipe import Recipe
from tfedge.runtime.apart import end_with_parent

Say = Callable[[str], None]


class StageError(TfedgeError):
    """A stage failed; it has said why itself."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What `tfedge run` tells."""

    recipe: str
    output: str
    dry_run: bool
    stages: Sequence[StageReport]


def run(recipe: Recipe, dry: bool, say: Say) -> RunReport:
    """Runs what has to run, or where `dry` only finds that out; a killed run goes on where it was.

    Raises InputError where a file is missing, or another run of this recipe is in progress,
    StageError with the exit code of a stage that failed.
    """
    if not dry:
        files.check_folder(recipe.output)
    reports = []
    with contextlib.nullcontext() if dry else _locked(recipe.output):
        before: Step | None = None
        hashes = Hashes()
        for number, stage in enumerate(recipe.stages, start=1):
            step = decide(recipe, stage, before, hashes)
            done = step.record if step.action == "skip" else None
            if not dry:
                does = "skipped" if done else step.action
                say(f"[{number}/{len(recipe.stages)}] {stage.name}: {does}, {step.reason}")
                done = done or _execute(step)
                step = dataclasses.replace(step, record=done)
            report = StageReport(
                stage=stage.name,
                action=step.action,
                reason=step.reason,
                command=["tfedge", *step.arguments],
                output=str(step.product or step.folder),
                result=(done.result or {}) if done else None,
            )
            reports.append(report)
            before = step
    return RunReport(str(recipe.path), str(recipe.output), dry, reports)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second run out of a folder; the lock goes with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Not through a link, nor into a pipe, that somebody else has put there.
        descriptor = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise InputError(
            f"{folder / 'run.lock'} cannot be locked ({error.strerror}); move it away, or choose "
            "another output"
        ) from error
    with open(descriptor) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"another `tfedge run` works in {folder}; wait for it, or choose another output"
            ) from error
        yield


def _execute(step: Step) -> Record:
    if step.action == "run":
        shutil.rmtree(step.folder, ignore_errors=True)
    # With the key, so that what is resumed later is what was begun.
    Record(step.key).write(step.folder)
    result = _call(step)
    done = Record(step.key, hash_outputs(step.folder), result)
    done.write(step.folder)
    return done


def _call(step: Step) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", *step.arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=_die_with_parent,
    ) as process:
        try:
            printed, _ = process.communicate()
        except BaseException:
            process.terminate()
            raise
    name = step.stage.name
    if process.returncode:
        raise StageError(
            f"[{name}] ended with exit code {process.returncode}; what the stages before it made is "
            "kept, and the same command continues from there",
            process.returncode if process.returncode > 0 else TfedgeError.exit_code,
        )
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError as error:
        raise TfedgeError(f"[{name}] printed no report but {printed[:200]!r}") from error
    return found


def _die_with_parent() -> None:
    """Lets a killed run leave no stage behind that goes on writing."""
    end_with_parent(signal.SIGTERM)
