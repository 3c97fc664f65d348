"""Named, complete settings: architecture, checkpoint, task, length and quantisation, as TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tfedge.errors import InputError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that converting a named model needs.

    Attributes:
        checkpoint: folder under `saved_models/` with the weights, or None.
        buckets: lengths of shorter graphs for shorter texts in the same file.
        package: Python package that carries the weights in its folder `model`, or None.
        hub_id: repository on the Hugging Face hub.
        labels: names of the logits where the checkpoint names none.
        config: the `config.json` of the architecture.
        distillation: settings of `tfedge distill`, or None where the model is not made here.
    """

    name: str
    description: str
    task: str
    sequence_length: int
    buckets: tuple[int, ...]
    quantization: str
    hub_id: str
    config: Mapping[str, Any]
    checkpoint: str | None = None
    package: str | None = None
    labels: tuple[str, ...] | None = None
    calibration: str = "sentences.tsv"
    distillation: Mapping[str, Any] | None = None


def recipe_names() -> list[str]:
    """The names of all recipes."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".toml")
    )


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in recipe_names():
        raise InputError(f"unknown recipe {name!r}; known are {', '.join(recipe_names())}")
    content = tomllib.loads(
        (resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    )
    for key in ("labels", "buckets"):
        if key in content:
            content[key] = tuple(content[key])
    return Recipe(name=name, **content)
