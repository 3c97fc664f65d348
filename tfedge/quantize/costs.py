"""What it costs to compute an operation in floating point instead of in integers, by board.

`costs.toml` has instructions and says how they were counted; `auto` goes by them only where the time
of a model's operators cannot be estimated (see `tfedge.conversion.pricing`).
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tfedge.architectures.kinds import Probabilities
from tfedge.errors import InputError
from tfedge.models.blocks import SiteKind
from tfedge.models.build import Encoder
from tfedge.quantize.mixed import PRECISIONS, Precision

_FILE = Path(__file__).with_name("costs.toml")
# Milliseconds, estimated, or million instructions, counted.
CostUnit = Literal["ms", "minsn"]


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a precision adds to int8, for one board and runtime.

    Attributes:
        table: of one unit, by kind of site and precision, in millionths of `unit`.
    """

    board: str
    unit: CostUnit
    table: Mapping[str, Mapping[str, float]]

    def cheapest(self, kind: SiteKind, units: int) -> tuple[float, Precision]:
        """Of what sites of a kind best compute in where that is not int8, what it adds, below 0
        where int8 is the slower one, and the precision."""
        known = self.table[kind]
        return min((known[item] * units / 1e6, item) for item in PRECISIONS[1:] if item in known)


def read_costs(runtime: str, board: str | None = None) -> Costs:
    """The instructions on a board, by default on the first that the table has for `runtime`; raises
    InputError where the table has no such board for this runtime."""
    tables: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"))[runtime]
    board = board or next(iter(tables))
    if board not in tables:
        raise InputError(
            f"no costs are known for {board} with {runtime}, which auto chooses by; known are "
            f"{', '.join(tables)}"
        )
    return Costs(board, "minsn", tables[board])


def units_of(encoder: Encoder) -> dict[str, int]:
    """How much each site of a static graph computes, in the units of `costs.toml`.

    Multiply-accumulates of a dense layer; probabilities of an attention; values of a norm's or the
    pooling's output.
    """
    model = encoder.model
    units: dict[str, int] = {}
    for site, kind in encoder.sites.items():
        if kind == "dense":
            layer = model.get_layer(site)
            units[site] = math.prod(layer.kernel.shape) * math.prod(layer.output.shape[:-1])
        elif kind == "attention":
            units[site] = sum(
                math.prod(encoder.tapped[name].shape)
                for name, kind in encoder.kinds.items()
                if isinstance(kind, Probabilities) and kind.attention == site
            )
        else:
            units[site] = math.prod(encoder.tapped[site].shape)
    return units
