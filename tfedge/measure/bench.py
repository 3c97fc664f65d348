"""Compares converted models with each other and with peers: who takes part, then the race."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from tfedge import __version__
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure.contestant import converted
from tfedge.measure.peer import PeerOptions, peers
from tfedge.measure.race import race
from tfedge.models.hub import resolve
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import Bundle

FORMAT = 1  # of the JSON object; fields are added to it, and none gets another meaning


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What `tfedge bench` is told besides models and texts.

    Attributes:
        peers: names of `tfedge.measure.peer.PEERS`, or `INSTALLED` for all that are.
        checkpoint: what the first model was converted from; a name, a folder or a hub id.
        peer_python: of the environment that has the peers' packages.
        runtimes: of the converted models, each of which takes part once in each; none takes the
            first that each allows.
        threads: each contestant takes part once for each of these.
        rounds: how often each answers each text.
    """

    peers: tuple[str, ...]
    checkpoint: str | None
    peer_python: str
    runtimes: tuple[str, ...]
    threads: tuple[int, ...]
    rounds: int


def bench(
    models: Sequence[str], texts: Texts, options: BenchOptions, make_bar: MakeBar
) -> dict[str, Any]:
    """Races converted models, then the peers; the first model is what all are compared with.

    Args:
        models: as `tfedge.measure.contestant.converted` takes them.

    Returns:
        What `tfedge.measure.race.race` gives, `format` and `tfedge`, the version, and, where
        there are peers, `variants`: by peer the mean milliseconds of each form of it that was
        tried; and `left_out`: by peer why it does not take part.

    Raises:
        InputError: a model, the labels or the checkpoint cannot be used.
        MissingPackageError: a runtime or the peers' environment is not installed.
        RejectedModelError: a model crashed in its runtime.
    """
    if options.peers and options.checkpoint is None:
        raise InputError(
            "--peer needs the weights: give what the first model was converted from with "
            "--checkpoint"
        )
    entries = [
        converted(given, runtime, threads)
        for given, runtime, threads in itertools.product(
            models, options.runtimes or (None,), options.threads
        )
    ]
    contestants = [contestant for contestant, _ in entries]
    bundles = [bundle for _, bundle in entries]
    _check_same_task(bundles)
    labels = bundles[0].manifest.labels
    if labels is not None and texts.labels is not None:
        texts.label_ids(labels)  # before anything slow
    about: dict[str, Any] = {"format": FORMAT, "tfedge": __version__}
    with contextlib.ExitStack() as stack:
        if options.peers and options.checkpoint is not None:
            asked = PeerOptions(
                options.peers,
                resolve(options.checkpoint).folder,
                options.peer_python,
                options.threads,
            )
            others = stack.enter_context(peers(asked, bundles[0], texts.texts, make_bar))
            contestants += others.contestants
            about |= {"variants": others.variants, "left_out": others.left_out}
        return {**race(contestants, texts, labels, options.rounds, make_bar), **about}


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
