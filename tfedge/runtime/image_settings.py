"""How an image becomes what a model reads, as it stands in the manifest of a bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

# By the names of Pillow's filters.
RESAMPLES = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
MAX_SIDE = 1 << 12  # pixels
_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """How an image becomes what a model reads. Making one checks it.

    The image is resized, and its middle cut out where that is larger; where it is smaller, it gets
    a black edge. The model itself makes (pixel - mean) / std of its red, green and blue, 0 to 255.
    Raises ValueError where a field has an impossible value.
    """

    # Of what the model reads, in pixels.
    height: int
    width: int
    # Height and width that the image gets first, or the length of its shorter side alone, or None
    # where it stays as it is.
    resize: tuple[int, ...] | None
    resample: str  # one of `RESAMPLES`
    # Of red, green and blue, for people and other programs; the runtime ignores them.
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        resize = (1,) if self.resize is None else self.resize
        if not isinstance(resize, tuple) or len(resize) not in (1, 2):
            raise ValueError(f"resize is {resize!r}; 1 or 2 numbers are possible")
        sides = (self.height, self.width, *resize)
        if not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
            raise ValueError(f"sides of images are {sides}; 1 to {MAX_SIDE} pixels are possible")
        if self.resample not in RESAMPLES:
            raise ValueError(f"resample {self.resample!r} is none of {', '.join(RESAMPLES)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if (
                not isinstance(values, tuple)
                or len(values) != _CHANNELS
                or not all(type(value) in (int, float) and abs(value) < 1e6 for value in values)
            ):
                raise ValueError(f"{name} is {values}, not {_CHANNELS} numbers")
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; it must be above 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the pixels that the model reads."""
        return self.height, self.width, _CHANNELS

    @classmethod
    def from_json(cls, content: Any) -> ImageSettings:
        """Makes settings of a JSON object; raises ValueError where a field is missing or impossible."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(content, dict) or not names <= set(content):
            raise ValueError(f"settings of images need {', '.join(sorted(names))}")
        fields: dict[str, Any] = {
            name: tuple(content[name]) if isinstance(content[name], list) else content[name]
            for name in names
        }
        return cls(**fields)
