"""What the outputs of a model mean: a module a task, found by walking this folder.

A module defines a class that inherits `tfedge.runtime.tasks.base.Task`, and `TASK`, one of it. None
imports numpy before it answers: `--doctor` reads models where numpy is broken.
"""

from __future__ import annotations

from tfedge.runtime.registry import Registry
from tfedge.runtime.tasks.base import Task

_REGISTRY: Registry[Task] = Registry(__name__, __path__)

names = _REGISTRY.names
register = _REGISTRY.register


def find(name: str) -> Task:
    """The task of a name; raises ValueError where there is none."""
    task = _REGISTRY.find(name)
    if task is None:
        raise ValueError(f"task {name!r} is none of {', '.join(names())}")
    return task
