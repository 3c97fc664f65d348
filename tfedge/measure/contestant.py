"""A model that is compared with others: what starts it, and its process, which stays alive."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.boards.errors import silent
from tfedge.boards.hearing import LastWords, Patience
from tfedge.boards.remote import Remote
from tfedge.boards.ssh import LINE_S
from tfedge.errors import InputError, RejectedModelError, TfedgeError, board_errors
from tfedge.measure import child
from tfedge.measure.board import WORKER, as_asked, failure, images_among, parse_answer
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.tasks.base import Answer

_LONGEST_LINE = 256 << 20  # bytes of a block of answers
_MOST_DIGITS = 9  # of a number of tokens
CLOCK = (sys.executable, *WORKER)  # answers texts with a converted model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What a contestant is."""

    kind: str  # "tfedge" or "peer"
    model: str  # its name, without the mode
    mode: str  # how it is quantised
    lengths: Sequence[int] | None = None  # of its graphs, in tokens
    # The peer's name, and which of its forms this is.
    peer: str | None = None
    variant: str | None = None


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model and the program that answers texts with it."""

    name: str  # as the user gave it, for reports
    # Starts a program that speaks as the verb `clock` of `tfedge.runtime.worker`.
    command: tuple[str, ...]
    file: Path  # what holds the weights, a file or a folder
    facts: Facts  # what it is, for programs
    # The line of JSON that the program is to be given first, if any.
    request: Mapping[str, Any] | None = None
    # The board on which the command runs, and where images of this machine lie there.
    remote: Remote | None = None
    places: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """The size of its file, or of all files in its folder."""
        if not self.file.is_dir():
            return self.file.stat().st_size
        return sum(file.stat().st_size for file in self.file.rglob("*") if file.is_file())

    @property
    def is_float(self) -> bool:
        """Whether it computes as the checkpoint does, in float32."""
        return self.facts.mode in ("float32", "float")


def converted(given: str, runtime: str | None, threads: int) -> tuple[Contestant, Bundle]:
    """A converted model as a contestant.

    Args:
        given: the path of a .tflite; with `@128` behind it all texts run in its graph for 128
            tokens, without in the shortest that holds them.
        runtime: `tflite-runtime` or `litert`; None takes the first that the model allows.

    Raises:
        InputError: the file is no bundle, has no graph of that length.
    """
    path, length = _split(given)
    with board_errors():
        bundle = read_bundle(path)
    manifest = bundle.manifest
    lengths = sorted(manifest.signatures.values())
    if length is not None and length not in lengths:
        raise InputError(
            f"{path} has no graph for {length} tokens; it has {', '.join(map(str, lengths))}"
        )
    lengths = lengths if length is None else [length]
    mode = manifest.quantization
    facts = Facts(kind="tfedge", model=manifest.name, mode=mode, lengths=lengths)
    request = clock_request(path, runtime, threads, length)
    return Contestant(given, CLOCK, path, facts, request), bundle


def clock_request(
    path: Path, runtime: str | None, threads: int, length: int | None = None
) -> dict[str, Any]:
    """What `CLOCK` is asked to answer texts with a converted model."""
    about = {"runtime": runtime, "threads": threads, "length": length}
    return {"verb": "clock", "model": str(path), **about}


@contextlib.contextmanager
def on_board(
    contestants: Sequence[Contestant], remote: Remote, items: Sequence[Any]
) -> Iterator[list[Contestant]]:
    """Converted models that run on a board while the block does.

    Args:
        items: all that they will be asked.

    Raises:
        MissingPackageError: a runtime is not there.
        BoardError: the board cannot be reached, has another tfedge, or no room.
    """
    requests = [contestant.request or {} for contestant in contestants]
    for contestant, request in zip(contestants, requests, strict=True):
        with board_errors():
            allowed = read_bundle(contestant.file).manifest.runtimes
        remote.chosen(request["runtime"], allowed)
    models = list(dict.fromkeys(contestant.file for contestant in contestants))
    images = images_among(models[0], items)
    with remote.holding([*models, *images]) as there:
        paths = dict(zip(models, there, strict=False))
        places = dict(zip(map(str, images), there[len(models) :], strict=True))
        yield [
            dataclasses.replace(
                contestant,
                command=tuple(remote.command(*WORKER)),
                request={**request, "model": paths[contestant.file]},
                remote=remote,
                places=places,
            )
            for contestant, request in zip(contestants, requests, strict=True)
        ]


def _split(given: str) -> tuple[Path, int | None]:
    """The path and the length of `X.tflite@128`; a file may have such a name itself."""
    path, at, digits = given.rpartition("@")
    if at and digits.isdecimal() and len(digits) < _MOST_DIGITS and not Path(given).exists():
        return Path(path), int(digits)
    return Path(given), None


@dataclasses.dataclass(frozen=True)
class Block:
    """The answers to some texts."""

    answers: list[Answer]
    tokenize_s: np.ndarray  # seconds for the tokens of each text, float64 (n,)
    infer_s: np.ndarray  # seconds from the tokens of each text to its answer, float64 (n,)
    peak_rss_bytes: int | None  # the most memory that the process has had so far; None if unknown


@contextlib.contextmanager
def running(contestant: Contestant, text: Any) -> Iterator[Running]:
    """Starts a contestant's process, which answers `text`; it ends with the block.

    Raises:
        RejectedModelError: the runtime crashed or refused the model.
        MissingPackageError: the runtime is not installed.
        TfedgeError: the program does not start, or speaks another language.
    """
    begin = time.perf_counter()
    with child.started(contestant.command, subprocess.PIPE) as (process, last):
        try:
            yield Running(contestant, process, last, text, begin)
        finally:
            process.kill()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Running:
    """A contestant's process that answers.

    Attributes:
        contestant: which one it is.
        runtime: what answers, with its version.
        threads: of the runtime.
        start_s: seconds from the start of the process to its answer to `text`.
    """

    def __init__(
        self,
        contestant: Contestant,
        process: subprocess.Popen[bytes],
        last: LastWords,
        text: Any,
        begin: float,
    ) -> None:
        self.contestant, self.process, self._last = contestant, process, last
        self._patience = Patience(process)
        if contestant.request is not None:
            self._write(contestant.request)
        about = self._read()
        self.answer([text])
        self.start_s = time.perf_counter() - begin
        with self._understood():
            self.runtime, self.threads = str(about["runtime"]), int(about["threads"])

    def answer(self, texts: Sequence[Any]) -> Block:
        """Answers texts, one after the other; raises as `running`."""
        asked = as_asked(self.contestant.file, texts)
        places = self.contestant.places
        self._write([places.get(item, item) for item in asked] if places else asked)
        content = self._read()
        with self._understood():
            block = Block(
                [dict(answer) for answer in content["answers"]],
                np.asarray(content["tokenize_s"], np.float64),
                np.asarray(content["infer_s"], np.float64),
                None if (peak := content["peak_rss_bytes"]) is None else int(peak),
            )
        if {len(block.answers), *block.tokenize_s.shape, *block.infer_s.shape} != {len(texts)}:
            raise RejectedModelError(
                f"{self.contestant.name} answered {len(block.answers)} of {len(texts)} texts"
            )
        return block

    def _write(self, content: Any) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        try:
            with self._in_time():
                stdin.write(json.dumps(content).encode() + b"\n")
                stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        with self._in_time():
            line = self.process.stdout.readline(_LONGEST_LINE)
        if not line:
            raise self._failure()
        return parse_answer(line, self.contestant.command[0])

    def _in_time(self) -> contextlib.AbstractContextManager[None]:
        """Of a board, a block that it lets wait for ever ends all the same."""
        return self._patience.within(LINE_S) if self.contestant.remote else contextlib.nullcontext()

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Says that what the program wrote has not the form that it should have."""
        try:
            yield
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            raise TfedgeError(
                f"{self.contestant.name}: its program gave no proper answer "
                f"({type(error).__name__}: {error}); is it from this version of tfedge?"
            ) from error

    def _failure(self) -> TfedgeError:
        """Why the process ended, which it has, or is about to: its output is closed."""
        remote = self.contestant.remote
        with self._in_time():
            code = self.process.wait()
        last = self._last.line or "it said nothing"
        if remote is not None:
            if self._patience.is_over:
                return silent(remote.name, LINE_S)
            if told := remote.failure(code, last):
                return told
            last = last.replace(str((self.contestant.request or {}).get("model")), "it")
        return failure(code, last, self.contestant.name, "its runtime")
