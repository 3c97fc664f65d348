"""Races models: all answer the same texts, taking turns, in processes that stay.

Times of one run on one machine are worth little: the clock, the caches and other programs change
them. So the contestants take turns block by block (A B C A B C ...), whatever drifts hits all alike,
and the figures to read are ratios to the first contestant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Len

from tfedge import __version__, tasks
from tfedge.boards.remote import Remote
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.measure.contestant import Contestant, Facts, Running, converted, on_board, running
from tfedge.measure.steadiness import Surroundings, surroundings
from tfedge.progress import MakeBar, Progress
from tfedge.records import Count, NotNegative, Positive, Share, taken
from tfedge.runtime.bundle import Bundle
from tfedge.runtime.tasks.base import Answer
from tfedge.tasks.base import Task, disagreement

# Texts that a contestant answers before it is the next one's turn: about half a second of a small
# model, so that a drift of the clock finds all in one state.
BLOCK = 50
FORMAT = 1  # of the JSON object; fields are added to it, and none gets another meaning
BUSY = 0.5  # processors; below, what a machine does by itself


@dataclasses.dataclass(frozen=True)
class Machine:
    """What the times belong to; `load` is how many processors others kept busy just before."""

    processor: str
    processors: Count
    governor: str | None
    load: float


@dataclasses.dataclass(frozen=True)
class Times:
    """Of a text, in milliseconds or by the first contestant's: of the texts' medians over the rounds
    the mean, the median and the 90th percentile; and the mean without the tokeniser."""

    mean: Positive
    median: Positive
    p90: Positive
    infer: Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing(Facts):
    """What is measured of one contestant."""

    name: str
    runtime: str
    threads: Count
    # Milliseconds a text, of the texts' medians over the rounds.
    mean_ms: Positive
    median_ms: Positive
    p90_ms: Positive
    # Their means.
    tokenize_ms: NotNegative
    infer_ms: NotNegative
    ratios: Times
    # The least and the largest ratio of the means in a round.
    ratio_range: Annotated[Sequence[Positive], Len(2, 2)]
    start_ms: Positive
    peak_rss_bytes: Count | None
    size_bytes: Count
    unanswered: Count
    accuracy: Share | None = None  # where there are labels, and the task has one
    # With the first contestant and with that in float32.
    disagreement: float
    float_disagreement: float | None = None


@dataclasses.dataclass(frozen=True)
class Race:
    """All figures."""

    data: str
    texts: Count
    rounds: Count
    machine: Machine
    float_: str | None  # the name of the first contestant in float32
    contestants: Annotated[Sequence[Standing], Len(1)]
    # `FORMAT` and the version of tfedge.
    format: int | None = None
    tfedge: str | None = None
    # By peer, the mean milliseconds of each form of it that was tried.
    variants: Mapping[str, Mapping[str, float]] | None = None
    left_out: Mapping[str, str] | None = None  # by peer, why it does not take part
    surroundings: Surroundings | None = None


def busy_note(machine: Machine) -> str:
    """Says that others kept the machine busy."""
    return (
        f"{machine.load:.1f} processors were busy before this began: the times are unreliable; "
        "repeat it on an idle machine"
    )


@dataclasses.dataclass
class Record:
    """What one contestant did."""

    running: Running
    # Seconds by round and text, float64 (rounds, texts).
    tokenize_s: np.ndarray
    infer_s: np.ndarray
    answers: list[Answer]  # of the last round
    peak_rss_bytes: int | None = None

    def total_s(self) -> np.ndarray:
        """Seconds by round and text, float64 (rounds, texts)."""
        return self.tokenize_s + self.infer_s


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What `tfedge bench` is told besides models and texts."""

    # Each model takes part once in each of these; none takes the first that each allows.
    runtimes: tuple[str, ...]
    threads: tuple[int, ...]  # each contestant takes part once for each of these
    rounds: int  # how often each answers each text


def bench(
    models: Sequence[str],
    texts: Texts,
    options: BenchOptions,
    make_bar: MakeBar,
    remote: Remote | None = None,
) -> Race:
    """Races converted models; all are compared with the first.

    Args:
        models: as `tfedge.measure.contestant.converted` takes them.
        remote: the board on which they run; this machine where there is none.

    Raises:
        InputError: a model or the labels cannot be used.
        MissingPackageError: a runtime is not installed.
        RejectedModelError: a model crashed in its runtime.
        BoardError: the board cannot be reached, or is no longer.
    """
    if remote is not None:
        given = options.runtimes or tuple(filter(None, [remote.entry.runtime]))
        options = dataclasses.replace(options, runtimes=given)
    contestants, first = entrants(models, texts, options)
    labels, task = first.manifest.labels, tasks.find(first.manifest.task)
    with contextlib.ExitStack() as stack:
        if remote is not None:
            items = task.rows(texts).items
            contestants = stack.enter_context(on_board(contestants, remote, items))
        return race(contestants, texts, labels, options.rounds, make_bar, task)


def entrants(
    models: Sequence[str], texts: Texts, options: BenchOptions
) -> tuple[list[Contestant], Bundle]:
    """The converted models, once for each runtime and number of threads, and the first model;
    raises InputError where a model or the labels cannot be used."""
    asked = itertools.product(models, options.runtimes or (None,), options.threads)
    entries = list(itertools.starmap(converted, asked))
    first = entries[0][1]
    _check_same_task([bundle for _, bundle in entries])
    task = tasks.find(first.manifest.task)
    task.truth(task.rows(texts), first.manifest.labels or ())  # before anything slow
    return [contestant for contestant, _ in entries], first


def _check_same_task(bundles: Sequence[Bundle]) -> None:
    first = bundles[0]
    for bundle in bundles[1:]:
        for what in ("task", "labels"):
            one, other = (getattr(item.manifest, what) for item in (first, bundle))
            if one != other:
                raise InputError(
                    f"{first.path} has the {what} {one} and {bundle.path} {other}; give models of "
                    f"one {what}"
                )


def race(
    contestants: Sequence[Contestant],
    texts: Texts,
    labels: Sequence[str] | None,
    rounds: int,
    make_bar: MakeBar,
    task: Task,
) -> Race:
    """Answers all texts `rounds` times with every contestant, in turns.

    Args:
        labels: those of the models, or None; with them and labelled texts the accuracy is measured.
        task: of the models.

    Raises:
        InputError: a label that the model does not know.
        RejectedModelError, MissingPackageError, TfedgeError: see `running`.
    """
    asked = task.rows(texts)
    truth = task.truth(asked, labels) if labels is not None else None
    board = Board(remote=contestants[0].remote)
    before = board.look()
    with make_bar("answering in turns", len(contestants) * rounds * len(asked.items)) as bar:
        records = take_turns(contestants, asked.items, rounds, bar.advance)
    around = surroundings(before, board.look(), records[0].total_s().mean(1))
    reference = next((record for record in records if record.running.contestant.is_float), None)
    rows = []
    for record in records:
        known: dict[str, float] = {}
        if truth is not None:
            figures = task.metric(record.answers, truth, labels or ())
            known |= {name: figures[name] for name in ("accuracy",) if name in figures}
        if reference is not None:
            known["float_disagreement"] = disagreement(task, record.answers, reference.answers)
        rows.append(_standing(record, records[0], task, **known))
    return Race(
        data=texts.source,
        texts=len(texts),
        rounds=rounds,
        machine=taken(Machine, before),
        float_=reference.running.contestant.name if reference else None,
        contestants=rows,
        format=FORMAT,
        tfedge=__version__,
        surroundings=around,
    )


def take_turns(
    contestants: Sequence[Contestant], texts: Sequence[str], rounds: int, progress: Progress
) -> list[Record]:
    """Starts all contestants, has them answer all texts in turns, and ends them.

    Args:
        progress: is told how many texts have been answered.

    Raises:
        RejectedModelError, MissingPackageError, TfedgeError: see `running`.
    """
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(texts), BLOCK)]
    records = []
    with contextlib.ExitStack() as stack:
        for contestant in contestants:
            # The first start brings its files into the page cache, where those of another may be.
            with running(contestant, texts[0]):
                pass
            process = stack.enter_context(running(contestant, texts[0]))
            process.answer(texts[: blocks[0].stop])  # buffers, threads
            empty = np.zeros((rounds, len(texts)))
            records.append(Record(process, empty, empty.copy(), [{}] * len(texts)))
        for number, block in itertools.product(range(rounds), blocks):
            for record in records:
                given = texts[block]
                # The first text of a turn is answered twice: the caches are full of another's weights.
                done = record.running.answer([given[0], *given])
                record.tokenize_s[number, block] = done.tokenize_s[1:]
                record.infer_s[number, block] = done.infer_s[1:]
                record.answers[block] = done.answers[1:]
                record.peak_rss_bytes = done.peak_rss_bytes
                progress(len(given))
    return records


def _times(record: Record) -> Times:
    """Milliseconds a text."""
    seconds = np.median(record.total_s(), axis=0)  # (texts,)
    return Times(
        mean=float(seconds.mean()) * 1e3,
        median=float(np.median(seconds)) * 1e3,
        p90=float(np.percentile(seconds, 90)) * 1e3,
        infer=float(np.median(record.infer_s, axis=0).mean()) * 1e3,
    )


def _standing(record: Record, first: Record, task: Task, **known: Any) -> Standing:
    """One contestant's figures, alone and by the first one's; `known` are those with the truth."""
    running, times, firsts = record.running, _times(record), _times(first)
    by_round = record.total_s().mean(1) / first.total_s().mean(1)  # (rounds,)
    return Standing(
        **vars(running.contestant.facts),
        **{f"{name}_ms": value for name, value in vars(times).items()},
        name=running.contestant.name,
        runtime=running.runtime,
        threads=running.threads,
        tokenize_ms=float(np.median(record.tokenize_s, axis=0).mean()) * 1e3,
        ratios=Times(**{name: vars(times)[name] / value for name, value in vars(firsts).items()}),
        ratio_range=[float(by_round.min()), float(by_round.max())],
        start_ms=running.start_s * 1e3,
        peak_rss_bytes=record.peak_rss_bytes,
        size_bytes=running.contestant.size_bytes,
        unanswered=sum("error" in answer for answer in record.answers),
        disagreement=disagreement(task, record.answers, first.answers),
        **known,
    )
