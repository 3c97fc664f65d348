"""What all results have in common: how they are shown, as JSON, and as a path for what comes next."""

from __future__ import annotations

import abc
from typing import Any, TypeVar

from tfedge.records import as_json, taken

Kind = TypeVar("Kind", bound="Shown")


class Shown(abc.ABC):
    """A dataclass that is shown, in a terminal and in a notebook, as the command prints it."""

    @abc.abstractmethod
    def _summary(self) -> str:
        """What the command prints."""

    @classmethod
    def of(cls: type[Kind], report: object) -> Kind:
        """What a command reported, so that it is shown."""
        return taken(cls, report)

    def to_dict(self) -> dict[str, Any]:
        """What the command prints with --json."""
        content: dict[str, Any] = as_json(self)
        return content

    def __str__(self) -> str:
        return self._summary()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' '.join(self._summary().splitlines()[0].split())}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show of a cell's last value."""
        for number, line in enumerate(self._summary().splitlines()):
            if number:
                printer.break_()
            printer.text(line)


class Folder(Shown):
    """Taken for the checkpoint's folder where one is asked for."""

    output: str

    def __fspath__(self) -> str:
        return self.output
