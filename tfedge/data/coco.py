"""Reads boxes around objects as COCO has them (Lin et al. 2014)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfedge import files
from tfedge.data.tables import LARGEST_FILE_BYTES
from tfedge.errors import InputError

SUFFIX = ".json"


class Boxes(NamedTuple):
    """Paths of images, and what is in each: `label`, `box` with its ends in pixels, `crowd`."""

    images: list[str]
    objects: list[list[dict[str, Any]]]


def read_boxes(path: Path) -> Boxes:
    """What a file with `images`, `annotations` and `categories` has; images lie where their `file_name`
    says, as seen from the file's own folder. Raises InputError where it is missing or another kind of
    JSON."""
    content = files.read_bytes(path, LARGEST_FILE_BYTES)
    try:
        source = json.loads(content)
        names = {each["id"]: str(each["name"]) for each in source["categories"]}
        objects: dict[Any, list[dict[str, Any]]] = {each["id"]: [] for each in source["images"]}
        for each in source["annotations"]:
            objects[each["image_id"]].append(_object(each, names))
        images = [str(path.parent / each["file_name"]) for each in source["images"]]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not JSON as COCO's, with images, annotations and categories "
            f"({type(error).__name__}: {error}); give such a file, or a folder of images"
        ) from error
    if len(objects) != len(images) or not images:
        raise InputError(
            f"{path} has {len(images)} images of {len(objects)} ids; give each its own"
        )
    if not any(objects.values()):
        raise InputError(f"{path} has no annotations; give a folder of images where there are none")
    return Boxes(images, [*objects.values()])


def _object(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any]:
    left, top, width, height = map(float, annotation["bbox"])
    ends = (left, top, left + width, top + height)
    if not all(map(math.isfinite, ends)) or width < 0 or height < 0:
        raise ValueError(f"bbox is {annotation['bbox']!r:.80}")
    return {
        "label": names[annotation["category_id"]],
        "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True)),
        "crowd": bool(annotation.get("iscrowd", False)),
    }
