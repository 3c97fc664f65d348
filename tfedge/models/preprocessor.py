"""Reads `preprocessor_config.json`: how a checkpoint's images are resized, cut and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.fields import LARGEST_SIDE, read_object
from tfedge.errors import CheckpointError
from tfedge.models.folder import PREPROCESSOR
from tfedge.models.options import Pixels
from tfedge.runtime.image_settings import RESAMPLES, ImageSettings

# Pillow's numbers of its filters, in the order of their names.
_RESAMPLES = dict(zip((0, 4, 2, 5, 3, 1), RESAMPLES, strict=True))
_HALF = (0.5, 0.5, 0.5)
_CHANNELS = 3

# What transformers' processors do where the file says nothing.
_VIT: Mapping[str, Any] = {
    "do_resize": True,
    "size": 224,
    "resample": 2,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": _HALF,
    "image_std": _HALF,
}
_DEIT: Mapping[str, Any] = {
    **_VIT,
    "size": 256,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": 224,
}
# Of DINOv2, whose file names BiT's processor, and of CLIP.
_BIT: Mapping[str, Any] = {
    **_VIT,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": 224,
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_BICUBIC: Mapping[str, Any] = {**_VIT, "resample": 3}
# Of DINOv3, which resizes numbers that are not rounded.
_DINOV3: Mapping[str, Any] = {
    **_VIT,
    "image_mean": (0.485, 0.456, 0.406),
    "image_std": (0.229, 0.224, 0.225),
}
# Of YOLOS, whose images keep their shape: those of the usual one are made, see `_of_usual_shape`.
_YOLOS: Mapping[str, Any] = {**_DINOV3, "size": 800, "max_size": 1333}
_USUAL = (480, 640)  # pixels down and across, as cameras and COCO have
_PARTS = 16  # of which that processor makes whole numbers
# By what the names of processors start with.
_DEFAULTS = {"DeiT": _DEIT, "Bit": _BIT, "CLIP": _BIT, "Siglip": _BICUBIC, "Beit": _BICUBIC}
_DEFAULTS |= {"DINOv3": _DINOV3, "Yolos": _YOLOS}


def read_preprocessor(folder: str | Path, config: EncoderConfig) -> ImageSettings:
    """The settings of a checkpoint's folder, whose `config` has images of one size; raises
    CheckpointError where the file is missing or damaged, or makes images of another size."""
    path = Path(folder) / PREPROCESSOR
    why = "a checkpoint of images needs it, as it says how they are resized and normalised"
    source = read_object(path, why)
    try:
        return parse_preprocessor(source, config)
    except OverflowError as error:
        raise CheckpointError(
            f"{path}: it has a number beyond all that pixels are: {error}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def parse_preprocessor(source: Mapping[str, Any], config: EncoderConfig) -> ImageSettings:
    """Turns the content of a `preprocessor_config.json` into settings; raises ValueError where a
    value is impossible, or the result has another size than `config` wants."""
    given = _given(source)
    wanted = _pair(config.architecture.inputs(config)[0].sides[:2])
    resize = _sides("size", given["size"]) if given["do_resize"] else None
    # Images of one shape may come out only by chance; the middle of others is taken.
    height, width = _made_sides(given) or wanted
    if (height, width) != wanted:
        raise ValueError(
            f"it makes images of {height} x {width} pixels, and config.json wants "
            f"{' x '.join(map(str, wanted))}"
        )
    if type(given["resample"]) is not int or given["resample"] not in _RESAMPLES:
        raise ValueError(f"resample is {given['resample']!r}; known are 0 to 5, Pillow's filters")
    mean, std = _normalisation(given)
    return ImageSettings(height, width, resize, _RESAMPLES[given["resample"]], mean, std)


def image_sides(folder: str | Path) -> tuple[int, int] | None:
    """Height and width of the images that the preprocessor of a checkpoint makes, None where they
    depend on the image or nothing says it; raises CheckpointError as `read_preprocessor`."""
    path = Path(folder) / PREPROCESSOR
    if not path.exists():
        return None
    try:
        return made_sides(read_object(path, ""))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def made_sides(source: Mapping[str, Any]) -> tuple[int, int] | None:
    """The same of a file's content; raises ValueError for impossible sizes."""
    return _made_sides(_given(source))


def _given(source: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says, and what transformers' processors do where it says nothing."""
    kind = str(source.get("image_processor_type") or source.get("feature_extractor_type") or "")
    defaults = next((known for name, known in _DEFAULTS.items() if kind.startswith(name)), _VIT)
    given = {**defaults, **{key: value for key, value in source.items() if value is not None}}
    if defaults is _BIT and type(given["size"]) is int:
        given["size"] = {"shortest_edge": given["size"]}  # as these understand one number
    return _of_usual_shape(given) if defaults is _YOLOS else given


def _of_usual_shape(given: dict[str, Any]) -> dict[str, Any]:
    """What YOLOS' processor does to images of the usual shape, to which others are stretched; raises
    ValueError where it would do something else than resize them."""
    if not given["do_resize"] or given.get("pad_size") is not None:
        raise ValueError(
            "images are not resized, or padded to pad_size, and those of a .tflite have one size: "
            'write "do_resize": true and "size": {"height": ..., "width": ...}, without pad_size'
        )
    size = given["size"]
    if type(size) is int:
        size = {"shortest_edge": size, "longest_edge": given["max_size"]}
    if not isinstance(size, Mapping) or {*size} != {"shortest_edge", "longest_edge"}:
        if len(_sides("size", size)) == 1:
            raise ValueError(f"size is {size!r}; it must be height and width, or have longest_edge")
        return given
    short, long = (size[f"{edge}_edge"] for edge in ("shortest", "longest"))
    if not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in (short, long)):
        raise ValueError(f"size is {size!r}; it must be numbers of pixels, 1 to {LARGEST_SIDE}")
    height, width = _USUAL
    exact = long * height / width if short * width / height > long else float(short)
    sides = {"height": round(exact), "width": int(exact * width / height)}
    return {**given, "size": {name: side - side % _PARTS for name, side in sides.items()}}


def _made_sides(given: Mapping[str, Any]) -> tuple[int, int] | None:
    if given["do_center_crop"]:
        sides = _pair(_sides("crop_size", given.get("crop_size", given["size"])))
    elif given["do_resize"] and len(resize := _sides("size", given["size"])) == 2:
        sides = _pair(resize)
    else:
        return None
    if not all(0 < side <= LARGEST_SIDE for side in sides):
        raise ValueError(
            f"it makes images of {sides[0]} x {sides[1]} pixels; 1 to {LARGEST_SIDE} are possible"
        )
    return sides


def pixels(settings: ImageSettings) -> Pixels:
    """What a model reads of a red, green or blue of 0 to 255."""
    scale = tuple(1 / std for std in settings.std)
    offset = (-mean * factor for mean, factor in zip(settings.mean, scale, strict=True))
    return Pixels(scale, tuple(offset))


def _sides(name: str, value: Any) -> tuple[int, ...]:
    """Height and width, or the shorter side alone."""
    sides = [value, value]  # how it was written before the names came
    if isinstance(value, Mapping):
        sides = [value.get("height"), value.get("width")]
        if set(value) == {"shortest_edge"}:
            sides = [value["shortest_edge"]]
    if not all(type(side) is int for side in sides):
        raise ValueError(
            f"{name} is {value!r}; it must be a number of pixels, height and width, or shortest_edge"
        )
    return tuple(sides)


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    return (sides[0], sides[-1])


def _normalisation(given: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of red, green and blue, of 0 to 255."""
    factor = given["rescale_factor"] if given["do_rescale"] else 1.0
    if type(factor) not in (int, float) or not factor > 0:
        raise ValueError(f"rescale_factor is {factor!r}; it must be a number above 0")
    if not given["do_normalize"]:
        return (0.0,) * _CHANNELS, (1 / factor,) * _CHANNELS
    mean, std = (_numbers(name, given[name]) for name in ("image_mean", "image_std"))
    return tuple(value / factor for value in mean), tuple(value / factor for value in std)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    values = [value] * _CHANNELS if type(value) in (int, float) else value
    is_list = isinstance(values, (list, tuple)) and len(values) == _CHANNELS
    if not is_list or not all(type(item) in (int, float) for item in values):
        raise ValueError(f"{name} is {value!r}; it must be {_CHANNELS} numbers")
    return tuple(float(item) for item in values)
