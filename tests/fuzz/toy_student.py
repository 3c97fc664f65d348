"""`tfedge` with a toy for every preset, which `distil` makes a student of; see kills.py."""

from __future__ import annotations

import sys
from pathlib import Path

for place in ("../models", "..", "../.."):
    sys.path.insert(0, str(Path(__file__).parent / place))

import toy_folders  # noqa: E402

import tfedge.presets  # noqa: E402

if __name__ == "__main__":
    config = toy_folders.config(small=True, hidden_size=16, intermediate_size=24)
    toy = tfedge.presets.Preset(
        "toy", "A toy.", "text-classification", 16, "int8", "no/toy", config
    )
    tfedge.presets.load_preset = lambda name: toy  # type: ignore[assignment, misc]
    from tfedge.cli import run

    run()
