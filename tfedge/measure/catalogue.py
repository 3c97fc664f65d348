"""The models that have a name, with what they cost."""

from __future__ import annotations

from typing import Any

from tfedge.models import cost
from tfedge.models.config import parse_config
from tfedge.presets import load_preset, preset_names


def catalogue(sequence_length: int) -> list[dict[str, Any]]:
    """One row a preset; sizes are of the weights alone, in bytes."""
    rows = []
    for name in preset_names():
        preset = load_preset(name)
        config = parse_config(preset.config)
        parameters = cost.parameters(config, pooler=config.architecture.counts_summary)
        rows.append(
            {
                "name": name,
                "task": preset.task,
                "parameters": parameters,
                "flops": cost.flops(config, sequence_length),
                "float32_bytes": 4 * parameters,
                "int8_bytes": parameters,
                "weights": preset.checkpoint or preset.package or preset.hub_id,
                "hub_id": preset.hub_id,
                "description": preset.description,
            }
        )
    return rows
