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
from tfedge.recipes.recipe import Recipe, Stage
from tfedge.recipes.result import RunReport
from tfedge.runtime.apart import end_with_parent

Say = Callable[[str], None]
# Asked every so often while a stage runs, whether it is to be ended.
Ends = Callable[[], bool]
_SECONDS_BETWEEN = 1.0


class StageEnded(Exception):
    """A stage was ended because it was asked for."""


class StageError(TfedgeError):
    """A stage failed; it has said why itself."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run(recipe: Recipe, dry: bool, say: Say, waits: bool = False) -> RunReport:
    """Runs what has to run, or where `dry` only finds that out; a killed run goes on where it was.

    Raises InputError where a file is missing, or another run of this recipe is in progress, for which
    it `waits` otherwise, StageError with the exit code of a stage that failed.
    """
    if not dry:
        files.check_folder(recipe.output)
    reports = []
    with contextlib.nullcontext() if dry else locked(recipe.output, say if waits else None):
        for step in steps(recipe, recipe.stages, None, Hashes(), None if dry else say):
            done = step.record if step.record and step.record.outputs is not None else None
            report = StageReport(
                stage=step.stage.name,
                action=step.action,
                reason=step.reason,
                command=["tfedge", *step.arguments],
                output=str(step.product or step.folder),
                result=(done.result or {})
                if done and not (dry and step.action != "skip")
                else None,
            )
            reports.append(report)
    return RunReport(str(recipe.path), str(recipe.output), dry, reports)


def steps(
    recipe: Recipe,
    stages: Sequence[Stage],
    before: Step | None,
    hashes: Hashes,
    say: Say | None,
    ends: Ends | None = None,
) -> Iterator[Step]:
    """Decides about stages that follow each other, the first of them after `before`, and runs them
    unless `say` is None; each with the record that it has then.

    Raises what `run` does, and StageEnded where `ends` tells so.
    """
    for stage in stages:
        step = decide(recipe, stage, before, hashes)
        if say is not None:
            skips = step.action == "skip"
            number = recipe.stages.index(stage) + 1
            does = "skipped" if skips else step.action
            say(f"[{number}/{len(recipe.stages)}] {stage.name}: {does}, {step.reason}")
            if not skips:
                step = dataclasses.replace(step, record=_execute(step, ends))
        yield step
        before = step


@contextlib.contextmanager
def locked(folder: Path, waits: Say | None = None) -> Iterator[None]:
    """Keeps a second run out of a folder; the lock goes with the process.

    Raises InputError where another run has it, unless `waits` is told that this one waits.
    """
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
            if waits is None:
                raise InputError(
                    f"another `tfedge run` works in {folder}; wait for it, or choose another output"
                ) from error
            waits(f"waiting for another `tfedge run` in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _execute(step: Step, ends: Ends | None) -> Record:
    if step.action == "run":
        shutil.rmtree(step.folder, ignore_errors=True)
    # With the key, so that what is resumed later is what was begun.
    Record(step.key).write(step.folder)
    result = _call(step, ends)
    done = Record(step.key, hash_outputs(step.folder), result)
    done.write(step.folder)
    return done


def relocate(folder: Path, old: Path, new: Path) -> None:
    """Has the record of a finished stage, which was made below `old`, name `new` in its place."""
    record = Record.read(folder)
    if record is None or record.result is None:
        return
    output = str(record.result.get("output", ""))
    result = {**record.result, "output": output.replace(str(old), str(new), 1)}
    dataclasses.replace(record, result=result).write(folder)


def _call(step: Step, ends: Ends | None = None) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", *step.arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        preexec_fn=_die_with_parent,
    ) as process:
        try:
            printed = _printed(process, ends)
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


def _printed(process: subprocess.Popen[bytes], ends: Ends | None) -> bytes:
    """What a stage printed once it has ended; raises StageEnded where it has to before."""
    while True:
        try:
            return process.communicate(timeout=_SECONDS_BETWEEN if ends else None)[0]
        except subprocess.TimeoutExpired:
            if ends and ends():
                raise StageEnded from None


def _die_with_parent() -> None:
    """Lets a killed run leave no stage behind that goes on writing."""
    end_with_parent(signal.SIGTERM)
