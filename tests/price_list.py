"""A table of costs that knows every operator of some models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfedge.inspect import estimate
from tfedge.inspect.graph import read_model
from tfedge.inspect.work import kind_of

_BOARD = {
    **{"ghz": 2.0, "error": 0.2, "litert_rows": 4},
    **{"mca": 1.0, "refill_cycles": 5.0, "dram_ns": 10.0},
}


def know_all(monkeypatch: pytest.MonkeyPatch, *models: Path) -> None:
    """Has every operator of the models take a thousand instructions for an element that it writes."""
    graphs = [graph for model in models for graph in read_model(model).subgraphs]
    cost: dict[str, Any] = {"most": 1 << 62, "instructions": {"out": 1000.0}}
    cost |= {"mca": {"call": 1.0}, "refills": {}, "lines": {}}
    kinds = {kind_of(item, graph): cost for graph in graphs for item in graph.operators}
    tables: dict[str, Any] = {
        "boards.toml": {
            name: _BOARD | {"instructions": cycles}
            for name, cycles in (("rpi4", 1.0), ("rpi5", 0.5))
        },
        "operators.toml": {estimate.RUNTIME: {"rpi4": kinds, "rpi5": kinds}},
    }
    monkeypatch.setattr(estimate, "_read", tables.__getitem__)
