"""How fast a loaded model answers on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfedge.runtime.machine import peak_rss_bytes
from tfedge.runtime.runtimes import runtime_name

if TYPE_CHECKING:
    from tfedge.runtime.pipeline import Input, Pipeline

MAX_RUNS = 1_000_000
_WARM_UP_RUNS = 5  # first calls allocate memory, start threads and fill caches


@dataclasses.dataclass(frozen=True)
class Timing:
    """What `benchmark` measured. A run is one text, tokenising included, or one image, reading it
    included."""

    model: str
    runtime: str
    threads: int
    runs: int
    texts: int
    median_ms: float
    p90_ms: float
    texts_per_s: float  # runs by the whole time
    # Tokens that the model saw, special ones included and padding left out, by the whole time.
    tokens_per_s: float
    peak_rss_bytes: int | None  # the most memory that the process has had resident; None if unknown


def benchmark(pipeline: Pipeline, texts: Sequence[Input], runs: int) -> Timing:
    """Times `runs` answers, the texts taking turns, after a warm-up that answers each at least once.

    Where there is no text, a built-in sentence or image is answered. Raises TextError where a text
    cannot be.
    """
    import numpy as np

    texts = texts or [pipeline.example]
    tokens = [pipeline.count_tokens(text) for text in texts]
    for run in range(max(_WARM_UP_RUNS, len(texts))):
        pipeline(texts[run % len(texts)])
    seconds = np.empty(runs)
    for run in range(runs):
        start = time.perf_counter()
        pipeline(texts[run % len(texts)])
        seconds[run] = time.perf_counter() - start
    return Timing(
        model=pipeline.manifest.name,
        runtime=runtime_name(pipeline.runtime),
        threads=pipeline.num_threads,
        runs=runs,
        texts=len(texts),
        median_ms=float(np.median(seconds)) * 1e3,
        p90_ms=float(np.percentile(seconds, 90)) * 1e3,
        texts_per_s=runs / float(seconds.sum()),
        tokens_per_s=sum(tokens[run % len(texts)] for run in range(runs)) / float(seconds.sum()),
        peak_rss_bytes=peak_rss_bytes(),
    )
