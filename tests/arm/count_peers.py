"""Counts the instructions of peers on emulated boards, for `count.py --peers`."""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from count import ROOT, Count, count_lengths

from benchmarks.make_peers import Kitchen, missing_packages
from benchmarks.peers.registry import PEERS, PYTHON, TFLITE, Peer
from tfedge.errors import TfedgeError
from tfedge.models.hub import resolve
from tfedge.progress import ProgressBar
from tfedge.runtime.bundle import read_bundle

# What `invoke.py` calls the engine of a peer. torch is not among them: its wheel for boards is as
# large as all else together.
ENGINES = {
    TFLITE: "litert",
    "mnn": "mnn",
    "ctranslate2": "ctranslate2",
    "onnx": "onnx",
    "openvino": "openvino",
}


def count_peers(given: argparse.Namespace, boards: Sequence[str]) -> Iterator[Count]:
    """Makes the files of the peers on this machine and counts each form of each on the boards.

    Args:
        given: the command line of `count.py`.

    Yields:
        Counts; the model is the peer's name and its form.
    """
    subprocess.run([str(ROOT / "tests/arm/setup-peers")], check=True)
    names = given.peer or [name for name, peer in PEERS.items() if peer.engine in ENGINES]
    chosen = [PEERS[name] for name in names]
    python = given.peer_python or str(ROOT / PYTHON)
    bundle = read_bundle(given.models[0])
    checkpoint = resolve(given.checkpoint or bundle.manifest.name).folder
    for name, why in missing_packages(chosen, python).items():
        print(f"left out: {name}: {why}", file=sys.stderr)
        chosen = [peer for peer in chosen if peer.name != name]
    with tempfile.TemporaryDirectory(prefix="tfedge-peers-") as scratch:
        kitchen = Kitchen(checkpoint, bundle, python, Path(scratch))
        by_maker = itertools.groupby(
            sorted(chosen, key=lambda peer: peer.maker), lambda peer: peer.maker
        )
        for _, group in by_maker:
            peers = list(group)
            try:
                kitchen.make(peers, ProgressBar)
            except TfedgeError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            for peer, board in itertools.product(peers, boards):
                yield from _count(peer, board, kitchen, given)


def _count(peer: Peer, board: str, kitchen: Kitchen, given: argparse.Namespace) -> Iterator[Count]:
    home = Path(os.environ.get("TFEDGE_ARM_HOME") or ROOT / "build/arm")
    for variant, file in zip(peer.variants, kitchen.files(peer), strict=True):
        name = f"{peer.name} {variant}"
        if peer.engine == TFLITE:
            lengths, site = read_bundle(file).manifest.signatures.values(), None
        else:
            lengths, site = kitchen.bundle.manifest.signatures.values(), home / "site-peers"
        tokens = sorted(length for length in lengths if length in (given.tokens or lengths))
        if tokens:
            engine = ENGINES[peer.engine]
            yield from count_lengths(given.emulator, board, engine, file, tokens, site, name)
