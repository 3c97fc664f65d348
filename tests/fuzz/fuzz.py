"""Sends spoilt files and lines into tfedge: `python tests/fuzz/fuzz.py --help`; `make fuzz`.

Each mutant runs in a process of its own (fork_server.py). What has to hold of it is in oracle.py:
an answer, or one line and a known exit code, within 10 s of processor time and 200 MB, with nothing
written but where it was told to. A finding is made smaller and kept, and printed with the seed that
finds it again.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import hashlib
import json
import math
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for place in (".", "../models", "..", "../runtime", "../.."):
    sys.path.insert(0, str(Path(__file__).parent / place))

from fuzz_entries import ENTRIES, Cases, Seeds  # noqa: E402
from fuzz_seeds import make_seeds  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from oracle import ACCEPTED, Case, Outcome, Server  # noqa: E402

ROUND = 200  # mutants of one seed
START_S = 15  # of a server, for less than which no more time is dealt out
SHRINKS = 150  # runs to make a finding smaller, by simpler choices and then by leaving out bytes


class _Enough(BaseException):
    """Ends a round."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """A kind of failure, and the smallest run that has been seen of it."""

    entry: str
    seed: int
    outcome: Outcome
    case: Case

    def save(self, folder: Path) -> Path:
        """Writes the files, the arguments and what was printed."""
        name = re.sub(r"\W+", "-", f"{self.entry} {self.outcome.finding}")[:80].strip("-")
        digest = hashlib.sha256(str(self.outcome.finding).encode()).hexdigest()[:6]
        place = folder / f"{name}-{digest}"
        for file, content in self.case.files.items():
            path = place / "in" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (place / "stdin").write_bytes(self.case.stdin)
        about = {"argv": list(self.case.argv), "finding": self.outcome.finding, "seed": self.seed}
        about["stdin"] = base64.b64encode(self.case.stdin[:2000]).decode()
        (place / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        (place / "said.txt").write_text(self.outcome.detail, errors="backslashreplace")
        return place


@dataclasses.dataclass
class Tally:
    """What came of the mutants so far.

    `codes` counts outcomes by entry and exit code, `rounds` the seeds that an entry has used.
    """

    codes: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)
    rounds: Counter[str] = dataclasses.field(default_factory=Counter)
    findings: dict[tuple[str, str], Finding] = dataclasses.field(default_factory=dict)
    again: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)

    @property
    def mutants(self) -> int:
        return sum(self.codes.values())

    def of(self, entry: str) -> int:
        """The mutants of an entry."""
        return sum(count for (name, _), count in self.codes.items() if name == entry)

    def add(self, other: Tally) -> None:
        self.codes += other.codes
        self.rounds += other.rounds
        self.findings |= other.findings
        self.again += other.again


@dataclasses.dataclass
class _Round:
    """The mutants of one seed; a finding that was made before only counts."""

    entry: str
    number: int
    run: Callable[[Case], Outcome]
    tally: Tally
    best: Finding | None = None
    shrinks: int = 0

    def try_one(self, case: Case) -> None:
        outcome = self.run(case)
        if self.best is None:
            self.tally.codes[self.entry, str(outcome.code)] += 1
        else:
            self.shrinks += 1
        if outcome.finding is not None:
            self._look(case, outcome)
        if self.shrinks > SHRINKS:
            raise _Enough

    def _look(self, case: Case, outcome: Outcome) -> None:
        assert outcome.finding is not None
        key = (self.entry, outcome.finding)
        if self.best is None and key in self.tally.findings:
            self.tally.again[key] += 1
            return
        if self.best is not None and self.best.outcome.finding != outcome.finding:
            return  # another one than is being made smaller
        if self.best is None or case.size <= self.best.case.size:
            self.best = Finding(self.entry, self.number, outcome, case)
        raise AssertionError(outcome.finding)


def fuzz_round(
    entry: str, number: int, count: int, cases: Cases, run: Callable[[Case], Outcome], tally: Tally
) -> Finding | None:
    """Runs up to `count` mutants of seed `number`; returns a finding of a new kind, made smaller."""
    this = _Round(entry, number, run, tally)

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Case) -> None:
        this.try_one(case)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files being long to print
            one()
    except _Enough:
        pass
    except Exception:  # what Hypothesis makes of a finding
        if this.best is None:
            raise
    if this.best is not None:
        this.best = _cut(this.best, run)
        assert this.best.outcome.finding is not None
        tally.findings[entry, this.best.outcome.finding] = this.best
    return this.best


def _cut(found: Finding, run: Callable[[Case], Outcome]) -> Finding:
    """The finding without those bytes of its files that it does not need, as far as runs allow."""
    left = SHRINKS
    for name in sorted(found.case.files, key=lambda name: len(found.case.files[name])):
        step = len(found.case.files[name])
        while step and left:
            content, start = found.case.files[name], 0
            while start < len(content) and left:
                shorter = content[:start] + content[start + step :]
                case = dataclasses.replace(found.case, files={**found.case.files, name: shorter})
                outcome, left = run(case), left - 1
                if outcome.finding == found.outcome.finding:
                    content, found = shorter, dataclasses.replace(found, case=case, outcome=outcome)
                else:
                    start += step
            step //= 2
    return found


@dataclasses.dataclass(frozen=True)
class Job:
    """The mutants of an entry, or as many as its time allows."""

    entry: str
    seeds: Seeds
    seed: int
    mutants: int
    seconds: float
    keep: Path

    def run(self) -> Tally:
        """Runs them in a fork server of their own, and tells of each finding as it is made."""
        tally = Tally()
        entry = ENTRIES[self.entry]
        cases = entry.cases(self.seeds)
        with tempfile.TemporaryDirectory(prefix="tfedge-fuzz-") as home:
            server = Server(entry.program, Path(home))
            end = time.monotonic() + self.seconds
            try:
                while tally.mutants < self.mutants and time.monotonic() < end:
                    count = min(ROUND, self.mutants - tally.mutants)
                    number = self.seed + tally.rounds[self.entry]
                    found = fuzz_round(self.entry, number, count, cases, server.run, tally)
                    if found is not None:
                        self._tell(found)
                    tally.rounds[self.entry] += 1
            finally:
                server.close()
        self._sum_up(tally, time.monotonic() - end + self.seconds)
        return tally

    def _tell(self, found: Finding) -> None:
        place = found.save(self.keep)
        words = f"{found.outcome.finding}; {found.case.size} bytes in {place}"
        again = f"make fuzz FUZZ_ARGS='--entry {self.entry} --seed {found.seed} --mutants {ROUND}'"
        print(f"FOUND {self.entry} seed {found.seed}: {words}\n      {again}", flush=True)

    def _sum_up(self, tally: Tally, seconds: float) -> None:
        codes = ", ".join(
            f"{count} {'let in' if code == str(ACCEPTED) else f'with {code}'}"
            for (_, code), count in sorted(tally.codes.items())
        )
        done = f"{tally.mutants:6} of {self.mutants} mutants in {seconds:.0f} s"
        print(f"{self.entry:13} {done}: {codes}", flush=True)


def jobs(given: argparse.Namespace, seeds: Seeds, so_far: Tally, seconds: float) -> list[Job]:
    """One for each entry that has not had all its mutants, the longest first; mutants and the seconds
    that are left are dealt out by their shares."""
    shares = sum(ENTRIES[name].share for name in given.entries)
    wanted = {
        name: math.ceil(given.mutants * ENTRIES[name].share / shares) - so_far.of(name)
        for name in given.entries
    }
    names = sorted(
        (name for name, count in wanted.items() if count > 0),
        key=lambda name: -ENTRIES[name].share,
    )
    waiting = sum(ENTRIES[name].share for name in names)
    return [
        Job(
            entry=name,
            seeds=seeds,
            seed=given.seed + so_far.rounds[name],
            mutants=wanted[name],
            seconds=seconds * min(given.jobs, len(names)) * ENTRIES[name].share / waiting,
            keep=given.keep,
        )
        for name in names
    ]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000, help="over all entries")
    parser.add_argument(
        "--seconds", type=float, default=600, help="after which it ends, with fewer"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="entries at once")
    parser.add_argument("--entry", action="append", dest="entries", choices=list(ENTRIES))
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz/found"), help="where findings go"
    )
    parser.add_argument("--toys", type=Path, help="toy models that have been made already")
    found = parser.parse_args(arguments)
    found.entries = found.entries or list(ENTRIES)
    return found


def main(arguments: list[str]) -> int:
    """The program; returns 1 where there is a finding."""
    given, total = parse(arguments), Tally()
    end = time.monotonic() + given.seconds
    with tempfile.TemporaryDirectory(prefix="tfedge-fuzz-") as scratch:
        seeds = make_seeds(Path(scratch), given.toys)
    with ProcessPoolExecutor(given.jobs) as pool:
        # Time that some leave over is for those that ran out of theirs.
        while (left := end - time.monotonic()) > START_S and (
            todo := jobs(given, seeds, total, left)
        ):
            for tally in pool.map(Job.run, todo):
                total.add(tally)
    found = len(total.findings)
    print(f"{total.mutants} mutants over {len(given.entries)} entries, {found} kinds of findings")
    for (name, finding), count in total.again.items():
        print(f"      {name}: {finding}, {count} times more")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
