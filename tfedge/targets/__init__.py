"""Boards by name: what a model for each is best made of, as TOML with the reasons beside it."""

from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources

from tfedge.errors import InputError


@dataclasses.dataclass(frozen=True)
class Target:
    """What a board is best given; options of the user's own come before it.

    Attributes:
        description: the board, for people.
        runtime: what runs the model there.
        quantization: the fastest mode that keeps the accuracy.
        costs: whose costs `auto` chooses by, see `tfedge.quantize.costs`.
        buckets: lengths of shorter graphs, or None for the recipe's.
        sequence_length: tokens of the longest graph, or None for the recipe's.
        graph: what integers compute with, see `tfedge.quantize.graphs`.
    """

    name: str
    description: str
    runtime: str
    quantization: str
    costs: str
    buckets: tuple[int, ...] | None = None
    sequence_length: int | None = None
    graph: str = "integer"


def target_names() -> list[str]:
    """The names of all targets."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".toml")
    )


def load_target(name: str) -> Target:
    """The target called `name`.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if name not in target_names():
        raise InputError(f"unknown target {name!r}; known are {', '.join(target_names())}")
    content = tomllib.loads(
        (resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    )
    if "buckets" in content:
        content["buckets"] = tuple(content["buckets"])
    return Target(name=name, **content)
