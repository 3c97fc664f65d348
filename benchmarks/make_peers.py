"""Has peers' files made, each by a maker in a process of its own, from one checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.installed import installed
from benchmarks.peers.registry import PLAIN, TFLITE, Peer
from benchmarks.peers.settings import EXIT_INPUT, EXIT_MISSING, Settings
from tfedge.data.texts import package_texts
from tfedge.errors import InputError, MissingPackageError, TfedgeError
from tfedge.measure import child
from tfedge.progress import MakeBar
from tfedge.runtime.bundle import Bundle
from tfedge.tflite.flatbuffer import parse, text
from tfedge.tflite.metadata import write_bundle
from tfedge.tflite.tflite_metadata import BundleSpec

SETTINGS_FILE = "peer.json"
_MAKE = "`make .venv-bench/.done` makes one that has all"
_CALIBRATED = 100  # texts, as tutorials take


@dataclasses.dataclass(frozen=True)
class Kitchen:
    """Where peers' files are made, and of what.

    Attributes:
        checkpoint: the Hugging Face folder that the model was converted from.
        bundle: the converted model.
        python: of the environment that has the peers' packages.
        folder: an empty one, which gets the files.
    """

    checkpoint: Path
    bundle: Bundle
    python: str
    folder: Path

    @property
    def settings(self) -> Path:
        """PEER.json, see `benchmarks.peers.settings`."""
        return self.folder / SETTINGS_FILE

    def files(self, peer: Peer) -> list[Path]:
        """What holds the weights of each variant of a peer."""
        folder = self._output(peer.maker) / peer.kind
        return [folder / f"{variant}{peer.suffix}" for variant in peer.variants]

    def make(self, peers: Sequence[Peer], make_bar: MakeBar) -> None:
        """Writes the files of peers that have one maker.

        Raises:
            MissingPackageError: the environment lacks a package.
            InputError: the checkpoint cannot be used by the maker.
            TfedgeError: the maker failed.
        """
        self.settings.write_text(json.dumps(dataclasses.asdict(_settings(self.bundle))))
        first = peers[0]
        source = self.checkpoint
        if first.source is not None:
            source = self._output(PLAIN) / first.source / f"{first.variants[0]}.tflite"
            self._run(PLAIN, sys.executable, self.checkpoint, [first.source], 1, make_bar)
        python = sys.executable if first.on_host else self.python
        kinds = [peer.kind for peer in peers]
        steps = sum(len(peer.variants) for peer in peers)
        self._run(first.maker, python, source, kinds, steps, make_bar)
        for path in itertools.chain.from_iterable(map(self.files, peers)):
            if not path.exists():
                raise TfedgeError(f"{first.maker} wrote no {path.parent.name}/{path.name}")
            if first.engine == TFLITE:
                _add_metadata(path, self.bundle)

    def _output(self, maker: str) -> Path:
        return self.folder / maker.rpartition(".")[2]

    def _run(
        self,
        maker: str,
        python: str,
        source: Path,
        kinds: Sequence[str],
        steps: int,
        make_bar: MakeBar,
    ) -> None:
        command = [python, "-m", maker, str(source), str(self._output(maker)), str(self.settings)]
        for kind in kinds:
            command += ["--kind", kind]
        what = maker.rpartition(".")[2].replace("_", " ")
        with make_bar(f"making peers: {what}", steps) as bar:
            ended = child.run(command, bar.advance)
        if ended.code == EXIT_INPUT:
            raise InputError(f"{self.checkpoint} cannot be used by {maker}: {ended.last}")
        if ended.code == EXIT_MISSING:
            raise MissingPackageError(f"{python}: {ended.last}; {_MAKE}")
        if ended.code:
            failed = shlex.join(command[:3])
            raise TfedgeError(f"{failed} failed on {self.checkpoint}: {ended.last}")


def missing_packages(peers: Sequence[Peer], python: str) -> dict[str, str]:
    """By name the peers that cannot run, each with what is missing and what would install it.

    Raises:
        TfedgeError: `python` is no Python.
    """
    here = [peer for peer in peers if peer.on_host or peer.source is not None]
    there = [peer for peer in peers if not peer.on_host]
    found: dict[str, Mapping[str, str | None]] = {}
    if there:
        packages = sorted({package for peer in there for package in peer.packages})
        found[python] = _installed(python, packages)
    reasons: dict[str, str] = {}
    for peer in there:
        lacking = [package for package in peer.packages if not found[python].get(package)]
        if lacking:
            reasons[peer.name] = _lacks(peer, lacking, python)
    for peer in here:
        packages = list(peer.packages) if peer.on_host else ["tensorflow", "ai-edge-litert"]
        lacking = [package for package, version in installed(packages).items() if version is None]
        if lacking:
            reasons.setdefault(peer.name, _lacks(peer, lacking, sys.executable))
    return reasons


def _lacks(peer: Peer, packages: Sequence[str], python: str) -> str:
    names = " ".join(packages)
    return f"{peer.name} needs {names}, which {python} lacks: {python} -m pip install {names}"


def _installed(python: str, packages: Sequence[str]) -> dict[str, str | None]:
    """What another Python has; nothing where it is not there."""
    if not Path(python).is_file():
        return {}
    command = [python, "-m", "benchmarks.peers.installed", *packages]
    try:
        done = subprocess.run(
            command, env=child.environment(), capture_output=True, text=True, check=True
        )
        found: dict[str, str | None] = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise TfedgeError(f"{python} does not run as a Python: {error}") from error
    return found


def _settings(bundle: Bundle) -> Settings:
    manifest = bundle.manifest
    return Settings(
        task=manifest.task,
        labels=list(manifest.labels) if manifest.labels else None,
        max_length=manifest.max_length,
        normalize=manifest.normalize,
        lengths=sorted(manifest.signatures.values()),
        tokenizer=bundle.tokenizer_json.decode(),
        calibration=package_texts().texts[:_CALIBRATED],
    )


def _add_metadata(path: Path, bundle: Bundle) -> None:
    """Gives a bare .tflite the tokeniser and the labels of another, so that our runtime runs it."""
    content = path.read_bytes()
    tree, _ = parse(content)
    signatures = {}
    for signature in tree.signatureDefs:
        tensors = tree.subgraphs[signature.subgraphIndex].tensors
        shape = tensors[signature.inputs[0].tensorIndex].shape
        signatures[text(signature.signatureKey)] = int(shape[1])
    manifest = bundle.manifest
    spec = BundleSpec(
        name=manifest.name,
        task=manifest.task,
        labels=manifest.labels,
        signatures=signatures,
        runtimes=["litert"],
        quantization=path.parent.name,
        normalize=manifest.normalize,
        tokenizer_json=bundle.tokenizer_json,
    )
    write_bundle(content, spec, path)
