"""What may be asked of an answer; each is for some tasks only."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TypedDict

from tfedge.runtime.entities import STRATEGIES
from tfedge.runtime.errors import OptionError


class Asked(TypedDict, total=False):
    """Keyword arguments of a pipeline; see `Pipeline.__call__`."""

    top_k: int | None
    threshold: float | None
    aggregation: str | None
    no_answer: bool | None
    candidate_labels: str | Sequence[str] | None
    hypothesis_template: str | None
    multi_label: bool | None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """None where nothing is asked; see `Pipeline.__call__`. A task names in `options` which it has."""

    top_k: int | None = None
    threshold: float | None = None
    aggregation: str | None = None
    no_answer: bool | None = None
    candidate_labels: str | Sequence[str] | None = None
    hypothesis_template: str | None = None
    multi_label: bool | None = None

    def check(self, task: str, options: Collection[str]) -> None:
        """Raises OptionError where something is asked that the task does not have among its options,
        or that is out of range."""
        for name, value in vars(self).items():
            if value is not None and name not in options:
                raise OptionError(f"{name} does not apply to {task}; leave it out")
        about_labels = self.hypothesis_template is not None or self.multi_label
        if about_labels and self.candidate_labels is None:
            raise OptionError(
                "hypothesis_template and multi_label need candidate_labels; give these"
            )
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"top_k is {self.top_k}; at least 1 label must be asked for")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise OptionError(f"threshold is {self.threshold}; it must be a number from 0 to 1")
        if self.aggregation not in (None, *STRATEGIES):
            known = ", ".join(STRATEGIES)
            raise OptionError(f"aggregation is {self.aggregation!r}; it must be one of {known}")


WHOLE = Wanted()  # the whole answer, as it comes
