"""The models that have a name, with what they cost."""

from __future__ import annotations

from typing import Any

from tfedge.models import cost
from tfedge.models.config import parse_config
from tfedge.recipes import load_recipe, recipe_names


def catalogue(sequence_length: int) -> list[dict[str, Any]]:
    """One row a recipe; sizes are of the weights alone, in bytes."""
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        config = parse_config(recipe.config)
        parameters = cost.parameters(config, pooler=config.model_type == "bert")
        rows.append(
            {
                "name": name,
                "task": recipe.task,
                "parameters": parameters,
                "flops": cost.flops(config, sequence_length),
                "float32_bytes": 4 * parameters,
                "int8_bytes": parameters,
                "weights": recipe.checkpoint or recipe.package or recipe.hub_id,
                "hub_id": recipe.hub_id,
                "description": recipe.description,
            }
        )
    return rows
