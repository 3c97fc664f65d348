"""Mixed precision: layers that compute in bfloat16, with weights and losses in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tf_keras as keras

from tfedge.train.training import TrainingOptions


@contextlib.contextmanager
def precision(options: TrainingOptions) -> Iterator[None]:
    """Within it layers are made that compute as `options` say."""
    before = keras.mixed_precision.global_policy()
    if options.mixed_precision:
        # bfloat16 has the exponents of float32, so that no loss need be scaled.
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
