"""The fuzzers see what they are to see, and good files pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import mutants
import pytest
from fork_server import ACCEPTED
from fuzz import Tally, fuzz_round, jobs, parse
from fuzz_entries import ENTRIES, Seeds
from fuzz_seeds import make_seeds
from hypothesis import strategies as st
from oracle import Case, Outcome, Server

FAULTS = {
    "well": None,
    "crash": "ends by signal 11",
    "hang": "takes too long",
    "eat": "takes too much memory to refuse",
    "trace": "unexpected: KeyError",
    "told": "unexpected: KeyError at run in tfedge",
    "outside": "changes open outside of its folder",
    "change": "changes its input a.txt",
    "half": "leaves files where it refuses",
    "litter": "leaves temporary files",
    "chatter": "says 2 lines where it refuses",
    "colour": "prints control characters",
    "long": "says a line longer than messages are",
    "code": "exit code 9",
    "silent": "says 0 lines where it refuses",
}


@pytest.fixture(scope="module")
def seeds(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return make_seeds(tmp_path_factory.mktemp("seeds"), toys)


def case(content: bytes) -> Case:
    return Case({"a.txt": content}, ["in/a.txt"])


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str, tmp_path: Path) -> None:
    server = Server(f"planted:{fault}", tmp_path, cpu_s=2)
    try:
        assert server.run(case(b"good")).finding is None
        finding, expected = server.run(case(b"a\xffb")).finding, FAULTS[fault]
        assert finding == expected or (expected and finding and finding.startswith(expected))
        # The server has outlived it, and what it left is gone.
        assert server.run(case(b"good")).finding is None
    finally:
        server.close()


def test_a_fault_is_found_made_small_and_found_again(tmp_path: Path) -> None:
    cases = mutants.spoilt_bytes(bytes(200)).map(case)
    found = []
    for _ in range(2):
        server, tally = Server("planted:trace", tmp_path / "run"), Tally()
        try:
            found.append(fuzz_round("planted", 7, 120, cases, server.run, tally))
            # The same fault is not told again, and the rest of a round still runs.
            assert fuzz_round("planted", 7, 120, cases, server.run, tally) is None
        finally:
            server.close()
        assert sum(tally.again.values()) > 0
    first, second = found
    assert first is not None and second is not None
    assert first.case.files == second.case.files
    assert first.case.files["a.txt"] == b"\xff"
    place = first.save(tmp_path / "kept")
    assert (place / "in/a.txt").read_bytes() == first.case.files["a.txt"]
    assert json.loads((place / "about.json").read_text())["seed"] == 7
    assert "KeyError" in (place / "said.txt").read_text()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    made: dict[str, Server] = {}
    yield made
    for server in made.values():
        server.close()


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_whole_is_let_in(
    name: str, seeds: Seeds, servers: dict[str, Server], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Else the mutants of an entry would all be refused for one reason, and nothing be tried."""
    entry, codes = ENTRIES[name], []
    if entry.program not in servers:
        servers[entry.program] = Server(entry.program, tmp_path_factory.mktemp("runs"))

    def run(one: Case) -> Outcome:
        outcome = servers[entry.program].run(one)
        codes.append(outcome.code)
        assert outcome.finding is None, outcome
        return outcome

    fuzz_round(name, 0, 1, entry.cases(seeds), run, Tally())
    assert codes in ([0], [1], [ACCEPTED])


def test_mutants_and_time_are_dealt_out() -> None:
    given = parse(["--mutants", "1000", "--seconds", "100", "--jobs", "2"])
    seeds, so_far = Seeds({}, {}, b"", b"", b"", b""), Tally()
    dealt = jobs(given, seeds, so_far, given.seconds)
    assert {job.entry for job in dealt} == set(ENTRIES)
    assert 1000 <= sum(job.mutants for job in dealt) <= 1000 + len(ENTRIES)
    assert sum(job.seconds for job in dealt) == pytest.approx(200)
    # What is over when all others are done is for those that ran out of time, with other seeds.
    for job in dealt:
        so_far.codes[job.entry, "3"] = job.mutants
        so_far.rounds[job.entry] = 2
    so_far.codes["graph", "3"] -= 30
    (rest,) = jobs(given, seeds, so_far, 40)
    assert (rest.entry, rest.mutants, rest.seed, rest.seconds) == ("graph", 30, 2, 40)


@pytest.mark.parametrize(
    "strategy",
    [
        mutants.json_bytes({"a": [1, {"b": None}], "c": "x"}),
        mutants.spoilt_words(bytes(range(64))),
        mutants.spoilt_archive({"a": b"1", "b": b"2"}),
        mutants.spoilt_table(b"text\tlabel\na\tb\n"),
        mutants.packed(b"text\na\n"),
    ],
)
def test_mutants_differ(strategy: st.SearchStrategy[bytes]) -> None:
    made: set[bytes] = set()

    def run(one: Case) -> Outcome:
        made.add(one.files["a.txt"])
        return Outcome(0, None)

    fuzz_round("x", 0, 60, strategy.map(case), run, Tally())
    assert len(made) > 30
