"""How the loss of a training went, and whether it ended before all was learnt."""

from __future__ import annotations

import dataclasses

import numpy as np

# Of the texts trained on so many are labelled rightly by what has learnt them; where it is more, a loss
# that falls says nothing.
_LOW, _HIGH = 0.75, 0.95
# What the last quarter's loss is at most of the one before, where it still falls clearly.
_FALLS = 0.9
_LITTLE = 0.1  # of the first loss: what is left then does not matter


@dataclasses.dataclass
class Course:
    """The figures of a run of so many `steps`, as they are told."""

    steps: int
    told: list[tuple[int, dict[str, float]]] = dataclasses.field(default_factory=list)

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Notes means since the step before, `loss` and perhaps `accuracy`, 0..1, among them."""
        self.told.append((step, figures))

    def undertrained(self) -> str | None:
        """By what it shows that there was more to learn, in words; None where nothing does."""
        last, before = self._mean("loss", 0.75, 1.0), self._mean("loss", 0.5, 0.75)
        right = self._mean("accuracy", 0.75, 1.0)
        if last is None or (right is not None and right > _HIGH):
            return None
        signs = []
        if right is not None and right < _LOW:
            signs.append(f"{100 * right:.0f} % of the texts trained on were labelled rightly")
        is_much = last > _LITTLE * self.told[0][1].get("loss", 0.0)
        if before is not None and last < _FALLS * before and is_much:
            signs.append(f"the loss still fell, from {before:.3g} to {last:.3g}")
        return f"in the last quarter {' and '.join(signs)}" if signs else None

    def _mean(self, name: str, begin: float, end: float) -> float | None:
        """Of a figure between two shares of the steps."""
        values = [
            figures[name]
            for step, figures in self.told
            if begin * self.steps < step <= end * self.steps and name in figures
        ]
        return float(np.mean(values)) if values else None
