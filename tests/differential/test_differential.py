"""Drawn checkpoints say in tfedge what they say in transformers and sentence-transformers.

`make parity` draws the seeds from 0 on; `make parity SEED=random DRAW=1000` others, and
`make parity SEED=4711 DRAW=1` one of them again. `python tests/differential/drawn.py 4711 FOLDER`
writes the checkpoint of a seed.
"""

from __future__ import annotations

from typing import Any

import comparison
import drawn
import in_keras
import pytest
import workers

CONVERTED = 20  # of all that are drawn
SHOWN = 5  # differences of one checkpoint


def _fail(seed: int, lines: list[str]) -> None:
    shown = "\n".join(line[:1000] for line in lines[:SHOWN])
    pytest.fail(f"{drawn.draw(seed)}\n{len(lines)} differences:\n{shown}", pytrace=False)


def _compare(answered: Any, seed: int, ours: dict[str, Any]) -> None:
    five, four = (answered.read(seed, f"{name}.json") for name in ("five", "four"))
    found = comparison.compare(answered.jobs[seed], ours, five, four)
    if found.differences:
        _fail(seed, found.differences)


@pytest.mark.torch
def test_a_drawn_checkpoint_says_the_same(answered: Any, seed: int) -> None:
    ours = answered.ours[seed]
    if "crashed" in ours:
        _fail(seed, [ours["crashed"]])
    if "refused" not in ours:
        _compare(answered, seed, ours)


@pytest.mark.torch
def test_few_are_refused(answered: Any) -> None:
    refused = [seed for seed, ours in answered.ours.items() if "refused" in ours]
    assert len(refused) <= max(1, 0.03 * len(answered.ours)), refused


@pytest.mark.torch
def test_converted_files_say_the_same(answered: Any) -> None:
    """The whole way of some, in a process without TensorFlow."""
    taken = [seed for seed, ours in answered.ours.items() if "answers" in ours]
    taken = taken[:: max(1, len(taken) // CONVERTED)]
    for seed in taken:
        options = in_keras.options(answered.jobs[seed]["length"])
        workers.convert_in(answered.folder(seed), options)
    folders = [answered.folder(seed) for seed in taken]
    workers.wait(workers.start_runtimes(folders, ["litert"]))
    for seed in taken:
        _compare(answered, seed, answered.read(seed, "litert.json"))
