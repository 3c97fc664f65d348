"""What may be asked of an answer; each is for some tasks only."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from tfedge.runtime.entities import STRATEGIES
from tfedge.runtime.errors import OptionError


@dataclasses.dataclass(frozen=True)
class Wanted:
    """None where nothing is asked; see `Pipeline.__call__`. A task names in `options` which it has."""

    top_k: int | None = None
    aggregation: str | None = None
    no_answer: bool | None = None

    def check(self, task: str, options: Collection[str]) -> None:
        """Raises OptionError where something is asked that the task does not have among its options,
        or that is out of range."""
        for name, value in vars(self).items():
            if value is not None and name not in options:
                raise OptionError(f"{name} does not apply to {task}; leave it out")
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"top_k is {self.top_k}; at least 1 label must be asked for")
        if self.aggregation not in (None, *STRATEGIES):
            known = ", ".join(STRATEGIES)
            raise OptionError(f"aggregation is {self.aggregation!r}; it must be one of {known}")


WHOLE = Wanted()  # the whole answer, as it comes
