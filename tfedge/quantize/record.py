"""What training with rounding fixed for a checkpoint, kept as JSON beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import CheckpointError
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize import rewrites
from tfedge.quantize.calibrate import Calibration
from tfedge.quantize.graphs import INTEGER
from tfedge.quantize.ranges import Range
from tfedge.quantize.rewrite import Decision, Rewrite, number, numbers

FILE = "tfedge_quantization.json"
_SCHEMA = 1
# MobileBERT's, the largest of those known, is 3 MB.
_LARGEST_BYTES = 32 << 20
_KEYS = {"schema", "task", "graph", "weights_sha256", "mask_value", "ranges"}


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Everything about an int8 graph that is not in the checkpoint.

    Attributes:
        task: what the graph's head is for.
        graph: a key of `tfedge.quantize.graphs.GRAPHS`.
        rewrites: what each rewrite of the graph has decided, by its key.
    """

    task: str
    rewrites: Mapping[str, Decision]
    calibration: Calibration
    graph: str = INTEGER


def write_decisions(folder: Path, decisions: Decisions) -> None:
    """Writes `FILE` into the folder of the checkpoint that the decisions belong to."""
    calibration = decisions.calibration
    content = {
        "schema": _SCHEMA,
        "task": decisions.task,
        "graph": decisions.graph,
        "weights_sha256": Checkpoint(folder).sha256,
        **{
            key: {name: rewrite.write(value) for name, value in decisions.rewrites[key].items()}
            for key, rewrite in _rewrites().items()
        },
        "mask_value": calibration.mask_value,
        "ranges": {name: [item.min, item.max] for name, item in calibration.ranges.items()},
    }
    files.write_json(folder / FILE, content)


def read_decisions(checkpoint: Checkpoint, task: str, graph: str = INTEGER) -> Decisions | None:
    """The decisions beside a checkpoint's weights, or None where there are none.

    Whether they fit the graph, `Lowering` finds out.

    Args:
        task: what the graph is to be built for.
        graph: which one is to be built.

    Raises:
        CheckpointError: the file is damaged, or belongs to other weights, another task or graph.
    """
    path = checkpoint.folder / FILE
    if not path.is_file():
        return None
    try:
        content = _read(path)
        if content["weights_sha256"] != checkpoint.sha256:
            raise ValueError("the weights have changed since it was written")
        if content["task"] != task:
            raise ValueError(f"it is for {content['task']!r:.40}, not {task}")
        if (made_for := content.get("graph", INTEGER)) != graph:
            raise ValueError(
                f"it is for the graph {made_for!r:.40}, not {graph} (convert --target)"
            )
        return Decisions(
            task=task,
            rewrites={
                key: {
                    name: rewrite.read(value, name) for name, value in _object(content, key).items()
                }
                for key, rewrite in _rewrites().items()
            },
            calibration=Calibration(
                ranges={
                    name: _range(value, name) for name, value in _object(content, "ranges").items()
                },
                mask_value=_mask_value(content["mask_value"]),
            ),
            graph=graph,
        )
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be used: {error}; delete it to calibrate the weights as they are, or "
            "repeat tfedge qad"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"it is larger than {_LARGEST_BYTES >> 20} MiB")
    content = json.loads(data)
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ValueError(f"it is no object with schema {_SCHEMA}, which this version reads")
    # Files from before there were other graphs say nothing of theirs.
    if wrong := (content.keys() | {"graph"}) ^ _KEYS ^ _rewrites().keys():
        raise ValueError(f"keys missing or unknown: {', '.join(sorted(wrong)):.200}")
    return content


def _rewrites() -> dict[str, Rewrite]:
    """Those that decide something, by their keys."""
    return {rewrite.key: rewrite for rewrite in rewrites.REWRITES if rewrite.key}


def _object(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key} is no object")
    return value


def _mask_value(value: Any) -> float:
    depth = number(value, "mask_value")
    if not depth < 0:
        raise ValueError(f"mask_value is {depth}; padding is masked by a number below 0")
    return depth


def _range(value: Any, name: str) -> Range:
    bounds = numbers(value, name)
    if len(bounds) != 2:
        raise ValueError(f"{name:.100}: a range has two ends")
    return Range(*bounds)
