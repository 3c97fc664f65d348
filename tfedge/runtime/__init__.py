"""Answers texts with a converted model; needs numpy, tokenizers and a TFLite runtime, no TensorFlow.

from tfedge.runtime import load
load("tinybert_int8.tflite")("A fine film.")
"""

from tfedge.runtime.errors import (
    BackendError,
    InferenceError,
    ModelFileError,
    OptionError,
    TextError,
)
from tfedge.runtime.pipeline import Pipeline, load

__all__ = [
    "BackendError",
    "InferenceError",
    "ModelFileError",
    "OptionError",
    "Pipeline",
    "TextError",
    "load",
]
