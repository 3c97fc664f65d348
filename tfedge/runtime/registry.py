"""Finds the tasks that the modules of a folder hold, each when it is first asked for."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from tfedge.runtime.tasks.base import Task

T = TypeVar("T", bound="Task")


class Registry(Generic[T]):
    """What modules of a package define as `TASK`, by its name: `text-classification`, say, in the
    module `text_classification`.

    Modules without it are helpers of the others. `path` is the package's `__path__`.
    """

    def __init__(self, package: str, path: Sequence[str]) -> None:
        self._package, self._path = package, path
        self._found: dict[str, T] = {}

    def find(self, name: str) -> T | None:
        """What is called so, or None. Only its own module is imported."""
        module = name.replace("-", "_")
        # The name may come from a file of anybody: nothing but a module of the folder is imported.
        if name not in self._found and module in self._modules():
            self._load(module)
        return self._found.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        for module in self._modules():
            self._load(module)
        return tuple(sorted(self._found))

    def register(self, item: T) -> None:
        """Adds what no module of the folder holds."""
        self._found[item.name] = item

    def _modules(self) -> list[str]:
        return [module.name for module in pkgutil.iter_modules(self._path)]

    def _load(self, module: str) -> None:
        found = importlib.import_module(f"{self._package}.{module}")
        item: T | None = getattr(found, "TASK", None)
        if item is not None:
            self._found[item.name] = item
