"""Draws checkpoints, has transformers and tfedge answer them, and sums up what was found."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import random
import traceback
from pathlib import Path
from typing import Any

import pytest

_SUMMARY: list[str] = []


def seeds() -> list[int]:
    """From TFEDGE_DRAW, `FIRST:COUNT`; FIRST may be `random`."""
    first, _, count = os.environ.get("TFEDGE_DRAW", "0:320").partition(":")
    start = random.SystemRandom().randrange(10**6, 10**9) if first == "random" else int(first)
    return [*range(start, start + int(count or 1))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", metafunc.config.stash.setdefault(_SEEDS, seeds()))


_SEEDS = pytest.StashKey[list[int]]()


@dataclasses.dataclass
class Answered:
    """What became of the drawn checkpoints, by their seeds."""

    root: Path
    jobs: dict[int, dict[str, Any]]
    ours: dict[int, dict[str, Any]]

    def folder(self, seed: int) -> Path:
        return self.root / str(seed)

    def read(self, seed: int, name: str) -> dict[str, Any]:
        """What a process wrote into a checkpoint's folder."""
        content: dict[str, Any] = json.loads((self.folder(seed) / name).read_text("utf-8"))
        return content


@pytest.fixture(scope="session")
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """All answers but those of converted files."""
    import drawn
    import in_keras
    import workers

    workers.check()
    root = tmp_path_factory.mktemp("drawn")
    chosen = request.config.stash[_SEEDS]
    for seed in chosen:
        drawn.draw(seed).write(root / str(seed))
    running = workers.start_transformers([root / str(seed) for seed in chosen])
    result = Answered(root, {}, {})
    for seed in chosen:
        result.jobs[seed] = result.read(seed, "job.json")
        try:
            result.ours[seed] = in_keras.answers(root / str(seed), result.jobs[seed])
        except Exception:
            result.ours[seed] = {"crashed": traceback.format_exc()}
    workers.wait(running)
    _sum_up(result)
    return result


def _sum_up(result: Answered) -> None:
    import comparison
    import workers

    refused: collections.Counter[str] = collections.Counter()
    unanswered: collections.Counter[str] = collections.Counter()
    versions = 0
    for seed, ours in result.ours.items():
        if "answers" not in ours:
            reason = ours.get("refused", "crashed")
            refused[reason.replace(str(result.folder(seed)), "FOLDER")[:200]] += 1
            continue
        five, four = (result.read(seed, f"{name}.json") for name in workers.PYTHONS)
        found = comparison.compare(result.jobs[seed], ours, five, four)
        versions += bool(found.versions)
        unanswered.update(line.rsplit(": ", 1)[-1][:100] for line in found.unanswered)
    texts = sum(len(job["items"]) for job in result.jobs.values())
    _SUMMARY.append(
        f"{len(result.ours)} drawn checkpoints, {texts} texts; {sum(refused.values())} refused; of "
        f"{versions} transformers 4 and 5 make different tokens"
    )
    _SUMMARY.extend(f"refused {count} times: {why}" for why, count in refused.most_common())
    _SUMMARY.extend(f"{count} texts not answered: {why}" for why, count in unanswered.most_common())


@pytest.fixture
def summary() -> list[str]:
    """Lines to print when all tests are through."""
    return _SUMMARY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _SUMMARY:
        terminalreporter.write_line(f"differential: {line}")
