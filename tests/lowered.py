"""Toy checkpoints lowered to integers, once for all tests of a process that only look at them."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from once import digest

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.calibrate import Calibration
from tfedge.quantize.prepare import Lowering, Prepared, Shape, prepare

_LOWERINGS: dict[str, Lowering] = {}
_CALIBRATIONS: dict[str, Calibration] = {}


def lowered(checkpoint: Checkpoint, shape: Shape, samples: Sequence[np.ndarray]) -> Lowering:
    """A `Lowering` with decisions of its own, which a test may change; its graphs are shared."""
    key = _key(checkpoint, shape, samples)
    if key not in _LOWERINGS:
        _LOWERINGS[key] = Lowering(checkpoint, shape, samples)
    return _copy(_LOWERINGS[key], shape)


def prepared(checkpoint: Checkpoint, shape: Shape, samples: Sequence[np.ndarray]) -> Prepared:
    """What `prepare` makes, as `lowered` shares it."""
    key = _key(checkpoint, shape, samples)
    if key not in _CALIBRATIONS:
        made = prepare(checkpoint, shape, samples)
        _LOWERINGS[key], _CALIBRATIONS[key] = made.lowering, made.calibration
    return Prepared(_copy(_LOWERINGS[key], shape), _CALIBRATIONS[key])


def _key(checkpoint: Checkpoint, shape: Shape, samples: Sequence[np.ndarray]) -> str:
    """All that decides: shorter graphs are made of what the longest is."""
    read = hashlib.sha256(
        b"".join(len(item).to_bytes(4, "big") + item.tobytes() for item in samples)
    )
    shape = dataclasses.replace(shape, buckets=())
    return f"{digest(checkpoint.folder)} {shape} {read.hexdigest()}"


def _copy(lowering: Lowering, shape: Shape) -> Lowering:
    own = copy.copy(lowering)
    own.shape, own.decided = shape, dict(lowering.decided)
    return own
