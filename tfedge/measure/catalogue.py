"""The models that have a name, with what they cost."""

from __future__ import annotations

import dataclasses

from tfedge.models import cost
from tfedge.models.config import preset_config
from tfedge.presets import load_preset, preset_names
from tfedge.records import taken


@dataclasses.dataclass(frozen=True)
class Listed:
    """A preset."""

    name: str
    task: str
    parameters: int
    flops: int  # of a text or an image
    # Of the weights alone.
    float32_bytes: int
    int8_bytes: int
    weights: str | None  # where they come from
    hub_id: str | None
    description: str


def catalogue(sequence_length: int) -> list[Listed]:
    """All presets; FLOPs are for texts of `sequence_length` tokens."""
    rows = []
    for name in preset_names():
        preset = load_preset(name)
        config = preset_config(preset)
        parameters = cost.parameters(config, pooler=config.architecture.counts_summary)
        row = taken(
            Listed,
            preset,
            parameters=parameters,
            flops=cost.flops(config, sequence_length),
            float32_bytes=4 * parameters,
            int8_bytes=parameters,
            weights=preset.checkpoint or preset.package or preset.hub_id,
        )
        rows.append(row)
    return rows
