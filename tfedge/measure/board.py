"""Runs converted models as a board would: by tfedge's runtime, in a process of its own.

A crash of the runtime ends that process, not this one, and TensorFlow is never loaded beside it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import itertools
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np

from tfedge import tasks
from tfedge.boards.errors import SSH_FAILED, is_of_ssh, shell_failure, ssh_failure
from tfedge.boards.remote import Remote
from tfedge.errors import (
    InputError,
    MissingPackageError,
    RejectedModelError,
    TfedgeError,
    board_errors,
)
from tfedge.measure import child
from tfedge.progress import Progress, unheard
from tfedge.records import read_record
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.conditions import Conditions, look
from tfedge.runtime.npz import DAMAGE, read_npz, write_npz
from tfedge.runtime.runtimes import (
    RUNTIMES,
    choose_runtime,
    default_runtime,
    default_threads,
    how_to_install,
)
from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.worker import ARCHIVE, INPUT, SECONDS, UNWRITTEN, WARM_UP_ROUNDS
from tfedge.targets import Target

Inputs = Mapping[str, np.ndarray]
Arrays = dict[str, np.ndarray]
Graph = tuple[str, int]  # the key of its signature, and its index

# What follows a Python to start the program that takes requests.
WORKER = ("-m", "tfedge.runtime.worker")
_LACKS = 4  # exit code of tfedge-infer: a runtime, or room
_LEAST_SHARE = 32  # texts; a process takes as long to start as to answer these


def check_runtime(wanted: str | None, remote: Remote | None = None) -> None:
    """Raises InputError where a model cannot be made for a runtime, None for the default one, since it
    is none, MissingPackageError where it could not be tried, here or on a board."""
    runtime = wanted or default_runtime()
    if runtime not in RUNTIMES:
        raise InputError(f"unknown runtime {runtime!r}; known are {', '.join(RUNTIMES)}")
    if remote is not None:
        remote.check(runtime)
    elif not RUNTIMES[runtime].installed():
        others = [name for name in RUNTIMES if RUNTIMES[name].installed()]
        raise MissingPackageError(
            f"{runtime} is not installed, so the model could not be tried in it: "
            f"{how_to_install([runtime])}"
            + "".join(f"; or give --runtime {name}" for name in others)
        )


def wanted_runtime(given: str | None, target: Target | None, remote: Remote | None) -> str:
    """The runtime that a model is made for: that given, of its board, of its target, or the first."""
    known = [given, remote and remote.entry.runtime, target and target.runtime]
    if remote is not None and not any(known):
        known += remote.facts["runtimes"]
    return str(next(filter(None, known), default_runtime()))


@dataclasses.dataclass(frozen=True)
class Board:
    """Where and how a model is run. All that run one raise what `answers` does."""

    # The command that starts a Python with tfedge's base install; this one's by default, an
    # emulated board's or `ssh board python3` as well.
    python: tuple[str, ...] = (sys.executable,)
    # `tflite-runtime` or `litert`; None takes the first that the model allows.
    runtime: str | None = None
    threads: int | None = None  # of the runtime; None leaves it the choice
    processes: int = 1  # that share the texts to answer, where there are enough of them
    remote: Remote | None = None  # a board that ssh reaches, whose Python is taken then

    @classmethod
    def here(cls, runtime: str | None) -> Board:
        """This machine, each core with texts of its own.

        Small matrices gain little by threads, and lose much where these wait for each other in busy
        loops: tflite-runtime, with as many threads as cores, beside any other program.
        """
        return cls(runtime=runtime, threads=1, processes=default_threads())

    @classmethod
    def on(cls, remote: Remote | None, runtime: str | None) -> Board:
        """A board that ssh reaches, the runtime with as many threads as it takes by itself there; this
        machine where there is none."""
        return cls.here(runtime) if remote is None else cls(runtime=runtime, remote=remote)

    @staticmethod
    def command(text: str | None) -> tuple[str, ...]:
        """`python` from what a user typed; raises InputError for a quotation without its end."""
        try:
            words = shlex.split(text or "")
        except ValueError as error:
            raise InputError(f"the command {text!r} cannot be read: {error}") from error
        return tuple(words) or (sys.executable,)

    def answers(
        self,
        model: Path,
        texts: Sequence[Any],
        progress: Progress = unheard,
        asked: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[Answer]:
        """What `tfedge-infer` answers to each text, pair of texts or path of an image.

        Args:
            asked: its options, by the names of `tfedge.runtime.wanted`, flags that are on as True.

        Raises:
            RejectedModelError: the runtime crashed or refused the model.
            MissingPackageError: the runtime is not installed.
            TfedgeError: `python` does not start, or is something else.
            BoardError: the board cannot be reached, or is no longer.
        """
        options = ["--runtime", self.runtime] if self.runtime else []
        options += ["--threads", str(self.threads)] if self.threads else []
        flags = ["--json", "--jsonl", "--trust"]
        for name, value in asked.items():
            flags += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        images = []
        if self.remote is not None:
            images = images_among(model, texts)
            self.remote.chosen(self.runtime, read_bundle(model).manifest.runtimes)
        with self._holding([model, *images]) as (path, *places), contextlib.ExitStack() as stack:
            there = dict(zip(map(str, images), places, strict=True))
            shares = self._shares([there.get(text, text) for text in texts] if there else texts)
            lines = [as_asked(model, share) for share in shares]
            files = [stack.enter_context(_as_lines(share)) for share in lines]
            words = ["-m", "tfedge.runtime.infer", *options, "--model", path, *flags]
            command, afar = self._command(*words), self._afar(max(map(len, shares)))
            processes = child.run_together(command, progress, files, afar=afar)
        answers: list[Answer] = []
        for share, ended in zip(shares, processes, strict=True):
            self._check(ended, model, path)
            found = [parse_answer(line, self._program) for line in ended.lines]
            if len(found) != len(share):
                raise RejectedModelError(
                    f"{model}: {self._where} answered {len(found)} of {len(share)} texts: {ended.last}"
                )
            answers += found
        return answers

    def _shares(self, texts: Sequence[Any]) -> list[Sequence[Any]]:
        """Parts of `texts` in their order, for a process each; none of them very few."""
        count = max(1, min(self.processes, len(texts) // _LEAST_SHARE))
        bounds = [len(texts) * number // count for number in range(count + 1)]
        return [texts[start:end] for start, end in itertools.pairwise(bounds)]

    def outputs(self, model: Path, inputs: Inputs, progress: Progress = unheard) -> Arrays:
        """The outputs by name, float32 (n, ...), for int32 (n, length), or (n, height, width, 3)."""
        return self._ask("outputs", model, inputs, progress)

    def tensors(
        self, model: Path, graph: Graph, inputs: Inputs, indices: Sequence[int], progress: Progress
    ) -> list[np.ndarray]:
        """Outputs of a graph of any .tflite by their indices, run without the default delegate.

        Args:
            inputs: (n, ...) by name, a row each run, as real values.

        Returns:
            (n, ...) for each of `indices`, in the tensors' own dtypes.
        """
        arrays = self._ask("tensors", model, inputs, progress, **_entry(graph, indices))
        return [arrays[str(index)] for index in indices]

    def grams(
        self, model: Path, graph: Graph, inputs: Inputs, indices: Sequence[int], progress: Progress
    ) -> dict[int, np.ndarray]:
        """As `tensors`, but of float tensors anywhere in the graph, for `tfedge.quantize.weights.gptq`.

        Returns:
            By index the sum of x x^T over the vectors x of the tensor's last axis, float32 (C, C).
            Padding, where the input `attention_mask` is 0, has no say.
        """
        arrays = self._ask("grams", model, inputs, progress, **_entry(graph, indices))
        return {index: arrays[str(index)] for index in indices}

    def seconds(
        self, model: Path, keys: Sequence[str], inputs: Inputs, rounds: int, progress: Progress
    ) -> np.ndarray:
        """What each signature of any .tflite takes, all run in turns with the default delegate.

        Args:
            keys: of the signatures.
            inputs: as `tensors` takes them.

        Returns:
            Seconds, float64 (rounds, signatures).
        """
        arrays = self._ask("turns", model, inputs, progress, signatures=[*keys], rounds=rounds)
        with self.believed():
            if (times := arrays[SECONDS]).shape != (rounds, len(keys)) or not (times >= 0).all():
                raise ValueError(f"times of shape {times.shape}, or below 0")
            return times

    def _ask(
        self, verb: str, model: Path, inputs: Inputs, progress: Progress, **options: Any
    ) -> Arrays:
        """The arrays that `tfedge.runtime.worker` makes of a request; `options` are its verb's."""
        with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
            given, made = Path(folder) / "in.npz", Path(folder) / "out.npz"
            arrays = {f"{INPUT}{name}": array for name, array in inputs.items()}
            write_npz(given, arrays)
            about = {"runtime": self.runtime, "threads": self.threads}
            with self._holding([model, given]) as (path, arrays_there):
                # On another machine there is no place of ours: what was made comes as a line.
                result = None if self.remote else str(made)
                place = {"model": path, "arrays": arrays_there, "result": result}
                steps = max(*map(len, inputs.values()), options.get("rounds", 0)) + WARM_UP_ROUNDS
                with _as_lines([{"verb": verb, **about, **place, **options}]) as lines:
                    command, afar = self._command(*WORKER), self._afar(steps + 1)
                    ended = child.run(command, progress, lines, is_step, afar)
                self._check(ended, model, path)
            try:
                return read_arrays(ended.lines[-1] if self.remote else made)
            except (OSError, IndexError, *DAMAGE) as error:
                raise TfedgeError(
                    f"{self._program} wrote no outputs ({ended.last}); is it a Python on this machine?"
                ) from error

    def look(self) -> Conditions:
        """What may make its times unsteady, at this moment; raises as `answers` does."""
        if self.python == (sys.executable,) and not self.remote:
            return look()
        with _as_lines([{"verb": "look"}]) as lines:
            ended = child.run(self._command(*WORKER), unheard, lines, afar=self._afar(1))
        self._check(ended, "looking at the board")
        found = parse_answer(b"".join(ended.lines[-1:]), self._program)
        return read_record(found, Conditions, self._program, "tfedge.runtime.worker")

    @contextlib.contextmanager
    def believed(self) -> Iterator[None]:
        """A block that reads answers; raises TfedgeError where these, of another Python than this one,
        are not what `tfedge-infer` answers."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, TfedgeError) or not (
                self.remote or self.python != (sys.executable,)
            ):
                raise
            raise TfedgeError(
                f"{self._program} gives answers that tfedge-infer does not ({type(error).__name__}: "
                f"{error}); is it from this version of tfedge?"
            ) from error

    @property
    def _program(self) -> str:
        """What is to be a Python, for messages."""
        return f"{self.remote.name}'s {self.remote.entry.python}" if self.remote else self.python[0]

    def _command(self, *arguments: str) -> list[str]:
        """Starts its Python with these arguments."""
        return self.remote.command(*arguments) if self.remote else [*self.python, *arguments]

    def _afar(self, lines: int) -> child.Afar | None:
        """What bounds that which a board prints: `lines` at most."""
        return child.Afar(self.remote.name, lines) if self.remote else None

    def _holding(self, paths: Sequence[Path]) -> contextlib.AbstractContextManager[list[str]]:
        """Where files of this machine lie for its Python, while a block runs."""
        if self.remote is None:
            return contextlib.nullcontext(list(map(str, paths)))
        self.remote.check(self.runtime)
        return self.remote.holding(paths)

    def chosen(self, allowed: Sequence[str]) -> str:
        """The runtime that answers for a model that was verified on `allowed`; of another machine the
        first of these, though it may lack that one."""
        if self.remote is not None:
            return self.remote.chosen(self.runtime, allowed)
        if self.runtime or self.python != (sys.executable,):
            return self.runtime or allowed[0]
        return choose_runtime(None, allowed)

    @property
    def _where(self) -> str:
        return self.runtime or "the runtime"

    def _check(self, ended: child.Ended, model: str | Path, there: str = "") -> None:
        """Raises what became of a process; `there` is the model's path on the board."""
        # 1 is "some texts could not be answered": the answers say which.
        if ended.code and not (ended.code == 1 and ended.lines):
            if self.remote and (told := self.remote.failure(ended.code, ended.last)):
                raise told
            last = ended.last.replace(there, str(model)) if there else ended.last
            raise failure(ended.code, last, model, self._where)


def parse_answer(line: bytes, program: str) -> Answer:
    """A JSON object that `program` printed; raises TfedgeError where it is none."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        start = line.decode(errors="replace").rstrip()[:40]
        raise TfedgeError(f"{program} printed {start!r}, which is not an answer; is it a Python?")
    return answer


def failure(code: int, last: str, model: str | Path, where: str) -> TfedgeError:
    """What to raise for a process that ran `model` and ended early.

    Args:
        code: its exit code, as subprocess gives it.
        last: its last line on standard error.
        where: what ran the model, for the message.
    """
    if code == SSH_FAILED and is_of_ssh(last):
        return ssh_failure("the board", last, was_reached=True)
    if told := shell_failure("the board", None, code, last):
        return told
    # A shell between, as an emulator's wrapper is one, reports a signal as 128 + its number.
    number = -code if code < 0 else code - 128
    if 0 < number < signal.NSIG:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        return RejectedModelError(f"{model}: {where} crashed running it ({name})")
    if code == _LACKS and "not installed" in last:
        return MissingPackageError(last)
    if code == _LACKS and UNWRITTEN in last:
        return InputError(f"{last}; free some room there, or name another folder in TMPDIR")
    return RejectedModelError(f"{model}: {where} does not run it: {last}")


@contextlib.contextmanager
def _as_lines(items: Iterable[Any]) -> Iterator[IO[str]]:
    """A file with a line of JSON for each item."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        for item in items:
            lines.write(json.dumps(item) + "\n")
        lines.seek(0)
        yield lines


def is_step(line: bytes) -> bool:
    """Whether a line of a worker is a step done."""
    return not line.startswith(ARCHIVE)


def read_arrays(made: bytes | Path) -> Arrays:
    """The arrays that a worker has written, into a file or as a line; raises as `read_npz`."""
    if isinstance(made, bytes):
        return read_npz(io.BytesIO(base64.b64decode(made.removeprefix(ARCHIVE))))
    return read_npz(made)


def images_among(model: Path, items: Sequence[Any]) -> list[Path]:
    """The files that a model is asked, one each; none of a model of texts. Raises InputError where the
    model cannot be read."""
    with board_errors():
        task = tasks.find(read_bundle(model).manifest.task)
    return [] if task.input.has_tokenizer else list(dict.fromkeys(map(Path, items)))


def as_asked(model: Path, items: Sequence[Any]) -> list[Any]:
    """Items for JSON: texts, and paths, as they are, of a pair an object with the names that the
    model's task has; raises InputError where it cannot be read."""
    if all(isinstance(item, str) for item in items):
        return list(items)
    with board_errors():
        asks = tasks.find(read_bundle(model).manifest.task).input
    return [
        item if isinstance(item, str) else dict(zip((asks.key, asks.second), item, strict=True))
        for item in items
    ]


def _entry(graph: Graph, indices: Sequence[int]) -> dict[str, Any]:
    """Which tensors of which graph, for a request."""
    key, subgraph = graph
    return {"signature": key, "subgraph": int(subgraph), "indices": list(map(int, indices))}
