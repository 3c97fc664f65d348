"""The result of tfedge.convert. Its parts import TensorFlow."""

from __future__ import annotations

import os

from tfedge.api.shown import Shown
from tfedge.cli.summary import conversion_summary
from tfedge.conversion import result


class Conversion(Shown, result.Conversion):
    """A converted model; taken for its `path`, the .tflite, where one is asked for."""

    def _summary(self) -> str:
        return conversion_summary(self)

    def __fspath__(self) -> str:
        return os.fspath(self.path)
