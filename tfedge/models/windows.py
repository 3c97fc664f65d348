"""Attention within the windows of an image (Liu et al. 2021, arXiv:2103.14030): an image cut into
windows and put together again, and what scores get beside the products.

Hidden states are (B, S, C) with the tokens of an image row by row, or (B, S, 1, C) in graphs of
integers; tensors in between have four dimensions, as many as old kernels take.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfedge.architectures import kinds
from tfedge.architectures.parts import Grid, Windows
from tfedge.models.layers import op
from tfedge.models.options import Symbolic
from tfedge.models.taps import Taps


class WindowBlocks(Taps):
    """Builds what encoders of images in windows have."""

    score_axes: tuple[int, ...]

    def windows(self, name: str, cut: Windows, x: Symbolic) -> Symbolic:
        """The tokens of each window, shifted before: (B, S, ..., C) -> (B * windows, side * side, ...,
        C)."""
        return op(name, windows_of, cut=cut)(x)

    def whole(self, name: str, cut: Windows, x: Symbolic) -> Symbolic:
        """`windows` taken back."""
        return op(name, whole_of, cut=cut)(x)

    def merged(self, name: str, grid: Grid, x: Symbolic) -> Symbolic:
        """The channels of two by two tokens side by side, row by row: (B, S, ..., C) -> (B, S / 4, ...,
        4 C)."""
        return op(name, merged, grid=grid)(x)

    def shift_mask(self, name: str, cut: Windows, x: Symbolic) -> Symbolic:
        """What keeps tokens from others that the shift brought into their window from the far side, for
        the images of x: (B * windows, 1, side * side, side * side)."""
        options = {"mask_value": self.options.mask_value, "perm": self.score_axes}
        return self.tap(name, op(name, shift_mask, cut=cut, **options)(x), kinds.MASK)


def windows_of(x: tf.Tensor, cut: Windows) -> tf.Tensor:
    """See `WindowBlocks.windows`; where windows do not fill a side, zeros do."""
    channels, side = x.shape[-1], cut.side
    image = tf.reshape(x, (-1, *cut.grid, channels))
    down, across = (size - own for size, own in zip(cut.filled, cut.grid, strict=True))
    if down or across:
        image = tf.pad(image, ((0, 0), (0, down), (0, across), (0, 0)))
    image = _rolled(image, cut.shift)
    count = cut.filled[1] // side
    strips = tf.reshape(image, (-1, side, count, side * channels))  # (B * down, ...)
    turned = tf.transpose(strips, (0, 2, 1, 3))
    return tf.reshape(turned, (-1, side * side, *x.shape[2:]))


def whole_of(x: tf.Tensor, cut: Windows) -> tf.Tensor:
    """See `WindowBlocks.whole`."""
    channels, side = x.shape[-1], cut.side
    strips = tf.reshape(x, (-1, cut.filled[1] // side, side, side * channels))
    turned = tf.transpose(strips, (0, 2, 1, 3))
    image = _rolled(tf.reshape(turned, (-1, *cut.filled, channels)), -cut.shift)
    if cut.filled != cut.grid:
        image = image[:, : cut.grid[0], : cut.grid[1]]
    return tf.reshape(image, (-1, cut.grid[0] * cut.grid[1], *x.shape[2:]))


def _rolled(image: tf.Tensor, shift: int) -> tf.Tensor:
    """(B, height, width, C), moved up and to the left, what leaves coming in on the other side."""
    if shift:
        image = tf.concat((image[:, shift:], image[:, :shift]), axis=1)
        image = tf.concat((image[:, :, shift:], image[:, :, :shift]), axis=2)
    return image


def merged(x: tf.Tensor, grid: Grid) -> tf.Tensor:
    """See `WindowBlocks.merged`; an odd side is filled up with zeros."""
    (height, width), channels = grid, x.shape[-1]
    image = tf.reshape(x, (-1, height, width, channels))
    if height % 2 or width % 2:
        image = tf.pad(image, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    down, across = -(-height // 2), -(-width // 2)
    pairs = tf.transpose(tf.reshape(image, (-1, 2, across, 2 * channels)), (0, 2, 1, 3))
    return tf.reshape(pairs, (-1, down * across, *x.shape[2:-1], 4 * channels))


def shift_mask(x: tf.Tensor, cut: Windows, mask_value: float, perm: Sequence[int]) -> tf.Tensor:
    """See `WindowBlocks.shift_mask`; its axes in the order of `perm`."""
    mask = np.float32(mask_value) * parted(cut)[:, np.newaxis]
    constant = tf.constant(np.transpose(mask, perm))
    if x.shape[0] == 1:
        return constant
    return tf.tile(constant, (tf.shape(x)[0], 1, 1, 1))


def parted(cut: Windows) -> np.ndarray:
    """Which queries (rows) and keys of each window come from different sides of the image, bool
    (windows, side * side, side * side)."""
    sides = []
    for size in cut.filled:
        place = np.arange(size)
        sides.append((place >= size - cut.side) + 1 * (place >= size - cut.shift))
    region = 3 * sides[0][:, np.newaxis] + sides[1]
    down, across = (size // cut.side for size in cut.filled)
    strips = region.reshape(down, cut.side, across, cut.side).transpose(0, 2, 1, 3)
    rows = strips.reshape(down * across, cut.side * cut.side)
    return np.asarray(rows[:, :, np.newaxis] != rows[:, np.newaxis])
