"""Progress bars that keep what they were told."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Bar:
    """As `tfedge.progress.ProgressBar`: steps announced and steps done."""

    description: str
    total: int
    done: int = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, done: int) -> None:
        self.done = done

    def advance(self, count: int = 1) -> None:
        self.done += count


class Bars(list[Bar]):
    """All bars that were made, in their order."""

    def __call__(self, description: str, total: int) -> Bar:
        self.append(Bar(description, total))
        return self[-1]
