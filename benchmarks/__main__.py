"""`python -m benchmarks`: `tfedge bench` with other products in the race."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from benchmarks.bench import bench
from benchmarks.peer import PeerOptions
from benchmarks.peers.registry import INSTALLED, PEERS, PYTHON
from tfedge.cli import run
from tfedge.cli.measurement import race_options, run_race
from tfedge.cli.options import verbosity
from tfedge.data.images import Images
from tfedge.data.texts import Texts
from tfedge.measure.race import BenchOptions, Race
from tfedge.models.hub import resolve
from tfedge.progress import MakeBar


@click.command(context_settings={"show_default": True})
@race_options
@click.option(
    "--peer",
    "peer_names",
    required=True,
    multiple=True,
    metavar="PEER",
    type=click.Choice([*PEERS, INSTALLED]),
    help="What else answers, with the weights of --checkpoint; may be repeated. See below. "
    f"{INSTALLED}: all whose packages are there; what fails is left out of the table and named.",
)
@click.option(
    "--checkpoint",
    required=True,
    metavar="MODEL",
    help="What the first model was converted from: a name, a folder or a hub id.",
)
@click.option(
    "--peer-python",
    default=PYTHON,
    help="Python with the peers' packages: `make .venv-bench/.done`, or a virtual environment with "
    "`pip install . -r benchmarks/requirements.txt`.",
)
def main(peer_names: tuple[str, ...], checkpoint: str, peer_python: str, **settings: Any) -> None:
    """Compares how fast converted models and other products answer, on the same weights.

    \b
    python -m benchmarks X_int8.tflite X_float32.tflite --runtime litert --data dev.tsv \\
        --checkpoint X --peer onnxruntime-dynamic

    It is `tfedge bench`, with the same options and output. Peers have the weights of --checkpoint, the
    same tokeniser, texts and threads. Each runs a text at its own length where it can, in the fastest
    of the forms that its tools make:

    \b
PEERS_HELP
    """

    def race(models: Sequence[str], texts: Texts, options: BenchOptions, make_bar: MakeBar) -> Race:
        if isinstance(texts, Images):
            raise click.UsageError("--peer is for models of texts")
        if texts.are_pairs:
            raise click.UsageError(
                f"{texts.source} has pairs of texts, and peers read one: name it with --text-column"
            )
        asked = PeerOptions(peer_names, resolve(checkpoint).folder, peer_python, options.threads)
        return bench(models, texts, options, asked, make_bar)

    run_race(race, **settings)


assert main.help is not None  # its docstring
main.help = main.help.replace(
    "PEERS_HELP", "\n".join(f"    {peer.name:<26}{peer.what}" for peer in PEERS.values())
)

main.params += verbosity

if __name__ == "__main__":
    run(main, "python -m benchmarks")
