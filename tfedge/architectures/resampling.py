"""Resizes tables of positions as torch.nn.functional.interpolate does in its mode bicubic."""

from __future__ import annotations

import numpy as np

# Of Keys' cubic convolution (1981), as torch has it, and as Pillow where it averages.
_SHARPNESS, _SHARPNESS_AVERAGED = -0.75, -0.5


def resampled(table: np.ndarray, sides: tuple[int, int], antialias: bool = False) -> np.ndarray:
    """A table of rows and columns, (h, w, C), as one of other `sides`, float32, with corners that are
    not aligned; averaged over what is left out where `antialias`."""
    down, across = (
        _weights(old, new, antialias) for old, new in zip(table.shape[:2], sides, strict=True)
    )
    return np.einsum("ih,jw,hwc->ijc", down, across, np.float64(table)).astype(np.float32)


def _weights(old: int, new: int, antialias: bool) -> np.ndarray:
    """What each old place has of each new one, float64 (new, old)."""
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    found = np.zeros((new, old))
    if antialias:
        # Those beyond the edge are none, and the others make up for them.
        stretch = max(1.0, old / new)
        distance = (np.arange(old) - centres[:, None]) / stretch
        found = _cubic(distance, _SHARPNESS_AVERAGED)
        return found / found.sum(axis=1, keepdims=True)
    first = np.floor(centres).astype(int)
    for step in range(-1, 3):
        # Those beyond the edge are the one at it.
        place = np.clip(first + step, 0, old - 1)
        np.add.at(found, (np.arange(new), place), _cubic(first + step - centres, _SHARPNESS))
    return found


def _cubic(distance: np.ndarray, sharpness: float) -> np.ndarray:
    x = np.abs(distance)
    near = (sharpness + 2) * x**3 - (sharpness + 3) * x**2 + 1
    far = sharpness * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
