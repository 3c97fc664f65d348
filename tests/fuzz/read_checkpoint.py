"""Reads the folder of a checkpoint as conversions and trainings do, up to where a model would be
built.

TensorFlow is loaded once, by the fork server.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tfedge import cli
from tfedge.data.tokenizer import load_tokenizer
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import embedding_length, pooling_of
from tfedge.tasks import task_and_labels


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def read(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    task_and_labels(checkpoint)
    for name in checkpoint.names:
        checkpoint.read(name)
    load_tokenizer(folder)
    pooling_of(folder)
    embedding_length(folder)


def main(arguments: list[str]) -> int:
    """Ends as `tfedge` does."""
    sys.argv = ["tfedge", *arguments]
    cli.run(read, "tfedge")
    return 0
