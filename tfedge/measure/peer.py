"""The host's side of peers: makes a checkpoint's ONNX files and picks the fastest of each kind."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tfedge.errors import InputError, MissingPackageError, TfedgeError
from tfedge.measure.board import child_environment
from tfedge.measure.contestant import Contestant
from tfedge.measure.peers.export_onnx import TASKS, variants
from tfedge.measure.race import fastest
from tfedge.models.pooling import MEAN, pooling_of
from tfedge.runtime.bundle import Bundle

MakeBar = Callable[[str, int], AbstractContextManager[Any]]

# What a user calls a peer -> the kind of its files.
PEERS: Mapping[str, str] = {"onnxruntime-dynamic": "dynamic", "onnxruntime-float": "float"}
PYTHON = ".venv-bench/bin/python"
_MAKE = "`make .venv-bench/.done` makes it"


@contextlib.contextmanager
def peers(
    names: Sequence[str],
    checkpoint: Path,
    bundle: Bundle,
    texts: Sequence[str],
    python: str,
    threads: int,
    make_bar: MakeBar,
) -> Iterator[tuple[list[Contestant], dict[str, dict[str, float]]]]:
    """Contestants of the same weights, tokeniser and labels as a converted model.

    Args:
        names: keys of `PEERS`.
        checkpoint: the Hugging Face folder that the model was converted from.
        bundle: the converted model.
        texts: the first of them choose the fastest variant.
        python: of the environment that has torch and ONNX Runtime.

    Yields:
        The contestants, and by name the mean ms a text of each variant tried. Their files are
        there until the block ends.

    Raises:
        MissingPackageError: there is no such environment, or it lacks a package.
        InputError: no peer does the task, or the checkpoint cannot be exported.
        RejectedModelError: ONNX Runtime crashed or refused the model.
    """
    task = bundle.manifest.task
    if task not in TASKS:
        raise InputError(f"no peer answers {task}, only {' and '.join(TASKS)}; leave out --peer")
    if task == "sentence-embedding" and (pooling := pooling_of(checkpoint)) != MEAN:
        raise InputError(
            f"the peers embed by the mean of tokens, not by {pooling}; leave out --peer"
        )
    if not Path(python).is_file():
        raise MissingPackageError(
            f"the peers need an environment of their own, and {python} is not there: {_MAKE}, "
            "or give another Python with --peer-python"
        )
    with tempfile.TemporaryDirectory(prefix="tfedge-peers-") as scratch:
        folder = Path(scratch)
        _export(python, checkpoint, folder, bundle, [PEERS[name] for name in names], make_bar)
        (folder / "peer.json").write_text(json.dumps(_settings(bundle)), encoding="utf-8")
        chosen: list[Contestant] = []
        tried: dict[str, dict[str, float]] = {}
        for name in names:
            candidates = _candidates(name, python, folder, threads)
            best, means = fastest(candidates, texts, make_bar)
            tried[name] = dict(zip(variants(PEERS[name]), means, strict=True))
            chosen.append(best)
        yield chosen, tried


def _settings(bundle: Bundle) -> dict[str, Any]:
    """What `tfedge.measure.peers.answer_onnx` must know."""
    manifest = bundle.manifest
    return {
        "task": manifest.task,
        "labels": manifest.labels,
        "max_length": manifest.max_length,
        "normalize": manifest.normalize,
        "tokenizer": bundle.tokenizer_json.decode(),
    }


def _candidates(name: str, python: str, folder: Path, threads: int) -> list[Contestant]:
    start = (python, "-m", "tfedge.measure.peers.answer_onnx")
    files = [folder / PEERS[name] / f"{variant}.onnx" for variant in variants(PEERS[name])]
    options = (str(folder / "peer.json"), "--threads", str(threads))
    return [
        Contestant(f"{name} {file.stem}", (*start, str(file), *options), file) for file in files
    ]


def _export(
    python: str,
    checkpoint: Path,
    folder: Path,
    bundle: Bundle,
    kinds: Sequence[str],
    make_bar: MakeBar,
) -> None:
    command = [python, "-m", "tfedge.measure.peers.export_onnx", str(checkpoint), str(folder)]
    labels = len(bundle.manifest.labels or ())
    command += ["--task", bundle.manifest.task, "--labels", str(labels)]
    for kind in kinds:
        command += ["--kind", kind]
    with (
        make_bar("exporting to ONNX", sum(len(variants(kind)) for kind in kinds)) as bar,
        tempfile.TemporaryFile() as errors,
    ):
        code = _run(command, errors, lambda: bar.advance(1))
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
    last = message.splitlines()[-1] if message else "it said nothing"
    if code == 3:
        raise InputError(f"{checkpoint} cannot be exported to ONNX: {last}")
    if code == 4:
        raise MissingPackageError(f"{python}: {last}; {_MAKE}")
    if code:
        raise TfedgeError(f"{shlex.join(command[:3])} failed on {checkpoint}: {last}")


def _run(command: Sequence[str], errors: Any, progress: Callable[[], None]) -> int:
    """Runs a command, a line that it prints being one step; returns its exit code."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(),
        )
    except OSError as error:
        raise TfedgeError(f"cannot start {command[0]}: {error.strerror}") from error
    assert process.stdout is not None
    try:
        for _ in process.stdout:
            progress()
        return process.wait()
    finally:
        process.kill()
        process.communicate()
