"""The host's side of peers: has their files made and picks the fastest form of each."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.make_peers import Kitchen, missing_packages
from benchmarks.peers.registry import INSTALLED, PEERS, TFLITE, Peer
from tfedge import tasks
from tfedge.errors import InputError, MissingPackageError, TfedgeError
from tfedge.measure.contestant import CLOCK, Contestant, Facts, clock_request
from tfedge.measure.race import BLOCK, take_turns
from tfedge.models.config import pooling_of
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import Bundle
from tfedge.tasks.sentence_embedding import MEAN

_TRIAL_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class PeerOptions:
    """What is asked for.

    Attributes:
        names: keys of `PEERS`, or `INSTALLED`.
        checkpoint: the Hugging Face folder that the model was converted from.
        python: of the environment that has the peers' packages.
        threads: each peer takes part once for each of these.
    """

    names: Sequence[str]
    checkpoint: Path
    python: str
    threads: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Peers:
    """Who takes part.

    Attributes:
        variants: by name, the mean ms a text of each form that was tried; where there are several
            numbers of threads, those are in the name.
        left_out: by name, why a peer does not take part.
    """

    contestants: list[Contestant] = dataclasses.field(default_factory=list)
    variants: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def peers(
    options: PeerOptions, bundle: Bundle, texts: Sequence[str], make_bar: MakeBar
) -> Iterator[Peers]:
    """Contestants of the same weights, tokeniser and labels as a converted model.

    Args:
        bundle: the converted model.
        texts: the first of them choose the fastest variant.

    Yields:
        The contestants. Their files are there until the block ends.

    Raises:
        MissingPackageError: there is no such environment, or it lacks a package.
        InputError: no peer does the task, or the checkpoint cannot be used by one.
        RejectedModelError: a peer's runtime crashed or refused the model.
    """
    lenient = INSTALLED in options.names
    chosen = [PEERS[name] for name in (PEERS if lenient else dict.fromkeys(options.names))]
    _check_task(bundle, options.checkpoint)
    _check_python(chosen, options.python)
    result = Peers(left_out=missing_packages(chosen, options.python))
    if result.left_out and not lenient:
        raise MissingPackageError(next(iter(result.left_out.values())))
    chosen = [peer for peer in chosen if peer.name not in result.left_out]
    with tempfile.TemporaryDirectory(prefix="tfedge-peers-") as scratch:
        kitchen = Kitchen(options.checkpoint, bundle, options.python, Path(scratch))
        for group in _by_maker(chosen):
            try:
                kitchen.make(group, make_bar)
            except TfedgeError as error:
                if not lenient:
                    raise
                result.left_out.update({peer.name: str(error) for peer in group})
        for peer in chosen:
            if peer.name in result.left_out:
                continue
            try:
                _choose(result, peer, kitchen, options.threads, texts, make_bar)
            except TfedgeError as error:
                if not lenient:
                    raise
                result.left_out[peer.name] = str(error)
        yield result


def _check_task(bundle: Bundle, checkpoint: Path) -> None:
    task = tasks.find(bundle.manifest.task)
    if not task.in_peers:
        known = " and ".join(other.name for other in tasks.every() if other.in_peers)
        raise InputError(f"no peer answers {task.name}, only {known}; leave out --peer")
    if task.is_embedding and (pooling := pooling_of(checkpoint)) != MEAN:
        raise InputError(
            f"the peers embed by the mean of tokens, not by {pooling}; leave out --peer"
        )


def _check_python(chosen: Sequence[Peer], python: str) -> None:
    if not Path(python).is_file() and not all(peer.on_host for peer in chosen):
        raise MissingPackageError(
            f"the peers need an environment of their own, and {python} is not there: "
            "`make .venv-bench/.done` makes it, or give another Python with --peer-python"
        )


def _by_maker(chosen: Sequence[Peer]) -> list[list[Peer]]:
    ordered = sorted(chosen, key=lambda peer: peer.maker)
    return [list(group) for _, group in itertools.groupby(ordered, lambda peer: peer.maker)]


def _choose(
    result: Peers,
    peer: Peer,
    kitchen: Kitchen,
    threads: Sequence[int],
    texts: Sequence[str],
    make_bar: MakeBar,
) -> None:
    """Adds the fastest form of a peer, for each number of threads."""
    for count in threads:
        candidates = _candidates(peer, kitchen, count)
        best, means = fastest(candidates, texts, make_bar)
        name = peer.name if len(threads) == 1 else f"{peer.name}, {count} threads"
        result.variants[name] = dict(zip(peer.variants, means, strict=True))
        result.contestants.append(best)


def fastest(
    candidates: Sequence[Contestant], texts: Sequence[str], make_bar: MakeBar
) -> tuple[Contestant, list[float]]:
    """The candidate that answers the first texts in the least time, and each one's mean ms.

    The time of a text is its least over some rounds: other programs only ever add to it, and a
    short trial has no room to average them away.
    """
    few = texts[:BLOCK]
    with make_bar("choosing the fastest form", len(candidates) * _TRIAL_ROUNDS * len(few)) as bar:
        records = take_turns(candidates, few, _TRIAL_ROUNDS, bar.advance)
    means = [float(record.total_s().min(0).mean()) * 1e3 for record in records]
    return candidates[int(np.argmin(means))], means


def _candidates(peer: Peer, kitchen: Kitchen, threads: int) -> list[Contestant]:
    candidates = []
    for variant, file in zip(peer.variants, kitchen.files(peer), strict=True):
        model = kitchen.bundle.manifest.name
        facts = Facts(kind="peer", model=model, mode=peer.kind, peer=peer.name, variant=variant)
        name = f"{peer.name} {variant}"
        if peer.engine == TFLITE:
            request = clock_request(file, "litert", threads)
            candidates.append(Contestant(name, CLOCK, file, facts, request))
        else:
            command = _command(peer, file, kitchen, threads)
            candidates.append(Contestant(name, command, file, facts))
    return candidates


def _command(peer: Peer, file: Path, kitchen: Kitchen, threads: int) -> tuple[str, ...]:
    module = "benchmarks.peers.answer"
    start = (kitchen.python, "-m", module, peer.engine, str(file), str(kitchen.settings))
    return (*start, "--threads", str(threads))
