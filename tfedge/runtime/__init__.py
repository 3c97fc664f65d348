"""Answers texts or images with a converted model; needs numpy, tokenizers and a TFLite runtime (for
image files Pillow too), no TensorFlow.

from tfedge.runtime import load
load("tinybert_int8.tflite")("A fine film.")
"""

from __future__ import annotations

from tfedge.runtime.errors import (
    BackendError,
    ImageError,
    IndexFileError,
    InferenceError,
    ModelFileError,
    OptionError,
    TextError,
    TextTypeError,
)

TYPE_CHECKING = False  # not of typing, see `tfedge.start`
if TYPE_CHECKING:
    from typing import Any

    from tfedge.runtime.pipeline import Pipeline, load

__all__ = [
    "BackendError",
    "ImageError",
    "IndexFileError",
    "InferenceError",
    "ModelFileError",
    "OptionError",
    "Pipeline",
    "TextError",
    "TextTypeError",
    "load",
]


def __dir__() -> list[str]:
    """For completion: `load` and `Pipeline` too, where nobody has asked for them yet."""
    return __all__


def __getattr__(name: str) -> Any:
    """Imports numpy and tokenizers when a model is loaded: `--doctor` works where they do not."""
    if name not in ("Pipeline", "load"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tfedge.runtime import pipeline

    return getattr(pipeline, name)
