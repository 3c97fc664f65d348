"""Races models: all answer the same texts, taking turns, in processes that stay.

Times of one run on one machine are worth little: the clock, the caches and other programs change
them. So the contestants take turns block by block (A B C A B C ...), whatever drifts hits all alike,
and the figures to read are ratios to the first contestant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.data.texts import Texts
from tfedge.measure.accuracy import Answer, accuracy, disagreement
from tfedge.measure.contestant import Contestant, Running
from tfedge.progress import MakeBar

# Texts that a contestant answers before it is the next one's turn: about half a second of a small
# model, so that a drift of the clock finds all in one state.
BLOCK = 50
_LOOK_S = 1.0


@dataclasses.dataclass
class Record:
    """What one contestant did.

    Attributes:
        tokenize_s, infer_s: seconds by round and text, float64 (rounds, texts).
        answers: of the last round.
    """

    running: Running
    tokenize_s: np.ndarray
    infer_s: np.ndarray
    answers: list[Answer]
    peak_rss_bytes: int | None = None

    def total_s(self) -> np.ndarray:
        """Seconds by round and text, float64 (rounds, texts)."""
        return self.tokenize_s + self.infer_s


def race(
    contestants: Sequence[Contestant],
    texts: Texts,
    labels: Sequence[str] | None,
    rounds: int,
    make_bar: MakeBar,
) -> dict[str, Any]:
    """Answers all texts `rounds` times with every contestant, in turns.

    Args:
        labels: the labels of a text classifier, or None; with them and labelled texts the accuracy
            is measured.

    Returns:
        A JSON object: `data`, `texts`, `rounds`, `machine`, `float` (the name of the first
        contestant in float32, or None), and `contestants`, each with `name`, what its `facts` say
        (`kind`, `model`, `mode` ...), `runtime`, `threads`; milliseconds a text `mean_ms`,
        `median_ms`, `p90_ms` (of the texts' medians over the rounds), `tokenize_ms` and `infer_ms`
        (their means); `ratios` of these to the first contestant, `ratio_range` of the mean over the
        rounds; `start_ms`, `peak_rss_bytes`, `size_bytes`; `unanswered`, `accuracy` where there are
        labels, `disagreement` with the first contestant and `float_disagreement` with that in
        float32.

    Raises:
        InputError: a label that the model does not know.
        RejectedModelError, MissingPackageError, TfedgeError: see `Running`.
    """
    truth = texts.label_ids(labels) if labels is not None and texts.labels is not None else None
    machine = _machine()
    with make_bar("answering in turns", len(contestants) * rounds * len(texts)) as bar:
        records = take_turns(contestants, texts.texts, rounds, bar.advance)
    rows = [_figures(record) for record in records]
    reference = next((record for record in records if record.running.contestant.is_float), None)
    for row, record in zip(rows, records, strict=True):
        row |= _against(record, row, records[0], rows[0])
        if reference is not None:
            row["float_disagreement"] = disagreement(record.answers, reference.answers)
        if truth is not None and labels is not None:
            row["accuracy"] = accuracy(record.answers, truth, labels).accuracy
    return {
        "data": texts.source,
        "texts": len(texts),
        "rounds": rounds,
        "machine": machine,
        "float": reference.running.contestant.name if reference else None,
        "contestants": rows,
    }


def take_turns(
    contestants: Sequence[Contestant],
    texts: Sequence[str],
    rounds: int,
    progress: Callable[[int], None],
) -> list[Record]:
    """Starts all contestants, has them answer all texts in turns, and ends them.

    Args:
        progress: is told how many texts have been answered.

    Raises:
        RejectedModelError, MissingPackageError, TfedgeError: see `Running`.
    """
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(texts), BLOCK)]
    records = []
    with contextlib.ExitStack() as stack:
        for contestant in contestants:
            # The first start brings its files into the page cache, where those of another may be.
            Running(contestant, texts[0]).close()
            running = stack.enter_context(Running(contestant, texts[0]))
            running.answer(texts[: blocks[0].stop])  # buffers, threads
            empty = np.zeros((rounds, len(texts)))
            records.append(Record(running, empty, empty.copy(), [{}] * len(texts)))
        for number, block in itertools.product(range(rounds), blocks):
            for record in records:
                _take_turn(record, number, block, texts)
                progress(len(texts[block]))
    return records


def _take_turn(record: Record, number: int, block: slice, texts: Sequence[str]) -> None:
    given = texts[block]
    # The first text of a turn is answered twice: the caches are full of another's weights.
    done = record.running.answer([given[0], *given])
    record.tokenize_s[number, block] = done.tokenize_s[1:]
    record.infer_s[number, block] = done.infer_s[1:]
    record.answers[block] = done.answers[1:]
    record.peak_rss_bytes = done.peak_rss_bytes


def _figures(record: Record) -> dict[str, Any]:
    """What is measured of one contestant alone."""
    running = record.running
    seconds = np.median(record.total_s(), axis=0)  # (texts,)
    return {
        "name": running.contestant.name,
        **running.contestant.facts,
        "runtime": running.runtime,
        "threads": running.threads,
        "mean_ms": float(seconds.mean()) * 1e3,
        "median_ms": float(np.median(seconds)) * 1e3,
        "p90_ms": float(np.percentile(seconds, 90)) * 1e3,
        "tokenize_ms": float(np.median(record.tokenize_s, axis=0).mean()) * 1e3,
        "infer_ms": float(np.median(record.infer_s, axis=0).mean()) * 1e3,
        "start_ms": running.start_s * 1e3,
        "peak_rss_bytes": record.peak_rss_bytes,
        "size_bytes": running.contestant.size_bytes,
        "unanswered": sum("error" in answer for answer in record.answers),
    }


def _against(
    record: Record, row: dict[str, Any], first: Record, first_row: dict[str, Any]
) -> dict[str, Any]:
    """One contestant's figures by the first one's."""
    by_round = record.total_s().mean(1) / first.total_s().mean(1)  # (rounds,)
    names = ("mean", "median", "p90", "infer")
    return {
        "ratios": {name: row[f"{name}_ms"] / first_row[f"{name}_ms"] for name in names},
        "ratio_range": [float(by_round.min()), float(by_round.max())],
        "disagreement": disagreement(record.answers, first.answers),
    }


def _machine() -> dict[str, Any]:
    """What the times belong to; `load` is how many processors others kept busy just before."""
    name = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if "model name" in line), "")
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "processor": name,
        "processors": len(os.sched_getaffinity(0)),
        "governor": governor.read_text().strip() if governor.is_file() else None,
        "load": _busy_processors(),
    }


def _busy_processors() -> float:
    """The mean number of busy processors while this process does nothing for a second.

    The load average of the system would count what was done here before, as the making of peers.
    """
    before = _processor_seconds()
    started = time.perf_counter()
    time.sleep(_LOOK_S)
    return (_processor_seconds() - before) / (time.perf_counter() - started)


def _processor_seconds() -> float:
    """Of all processors since the start of the system, but for idle ones and those that wait."""
    first, *_ = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    user, nice, system, _, _, interrupts, soft, steal = map(int, first.split()[1:9])
    ticks = user + nice + system + interrupts + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")
