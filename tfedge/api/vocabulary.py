"""The result of what makes a vocabulary smaller, without TensorFlow."""

from __future__ import annotations

from tfedge.api.shown import Folder
from tfedge.cli.summary import trimming_summary
from tfedge.train import trim


class Trimming(Folder, trim.Trimming):
    """A checkpoint with a smaller vocabulary."""

    def _summary(self) -> str:
        return trimming_summary(self)
