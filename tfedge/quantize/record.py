"""What training with rounding fixed for a checkpoint, kept as JSON beside its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt
from pydantic import AfterValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError

from tfedge import files
from tfedge.errors import CheckpointError
from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.calibrate import Calibration
from tfedge.quantize.compensate import Compensation
from tfedge.quantize.equalize import Centring, Equalisation, Scales
from tfedge.quantize.excess import PATHS
from tfedge.quantize.outliers import Excess
from tfedge.quantize.plan import NormPlans
from tfedge.quantize.ranges import Range
from tfedge.quantize.reads import READS, Reads
from tfedge.quantize.rewrite import LARGEST_NUMBER, Decision, Rewrite
from tfedge.targets import INTEGER

FILE = "tfedge_quantization.json"
# MobileBERT's, the largest of those known, is 3 MB.
_LARGEST_BYTES = 32 << 20
# The changes of the graph that weights ask for, in the order in which they are made.
REWRITES: tuple[Rewrite, ...] = (
    Centring(),
    Scales(),
    Equalisation(),
    NormPlans(),
    Excess(),
    Reads(),
    Compensation(),
)

_Number = Annotated[float, Ge(-LARGEST_NUMBER), Le(LARGEST_NUMBER)]
_Range = Annotated[
    tuple[_Number, _Number],
    AfterValidator(lambda ends: Range(*ends)),
    PlainSerializer(lambda item: (item.min, item.max)),
]


@dataclasses.dataclass(frozen=True)
class Decisions:
    """Everything about an int8 graph that is not in the checkpoint."""

    task: str
    rewrites: Mapping[str, Decision]  # what each has decided, by its key
    calibration: Calibration
    graph: str = INTEGER  # a key of `tfedge.quantize.edgetpu.GRAPHS`


def _content() -> Any:
    """The type of the file's content, a dataclass."""
    fields = {
        "schema": Literal[1],
        "task": str,
        "graph": str,
        "weights_sha256": str,
        **{item.key: dict[str, item.value] for item in REWRITES if item.key},  # type: ignore[name-defined]
        "mask_value": Annotated[_Number, Lt(0)],
        "ranges": dict[str, _Range],
    }
    settings = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    # Files from before there were other graphs, or ways of their own, say nothing of theirs.
    namespace: dict[str, Any] = {"graph": INTEGER, "__pydantic_config__": settings}
    namespace |= {key: dataclasses.field(default_factory=dict) for key in (PATHS, READS)}
    return dataclasses.make_dataclass("Content", fields.items(), namespace=namespace, kw_only=True)


def write_decisions(folder: Path, decisions: Decisions) -> None:
    """Writes `FILE` into the folder of the checkpoint that the decisions belong to."""
    kind = _content()
    content = kind(
        schema=1,
        task=decisions.task,
        graph=decisions.graph,
        weights_sha256=Checkpoint(folder).sha256,
        mask_value=decisions.calibration.mask_value,
        ranges=decisions.calibration.ranges,
        **decisions.rewrites,
    )
    files.write_json(folder / FILE, TypeAdapter(kind).dump_python(content, mode="json"))


def read_decisions(checkpoint: Checkpoint, task: str, graph: str = INTEGER) -> Decisions | None:
    """The decisions beside a checkpoint's weights, or None where there are none.

    Whether they fit the graph that is to be built, `Lowering` finds out.

    Raises:
        CheckpointError: the file is damaged, or belongs to other weights, another task or graph.
    """
    path = checkpoint.folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        if len(data) > _LARGEST_BYTES:
            raise ValueError(f"it is larger than {_LARGEST_BYTES >> 20} MiB")
        content = TypeAdapter(_content()).validate_json(data)
        if content.weights_sha256 != checkpoint.sha256:
            raise ValueError("the weights have changed since it was written")
        if content.task != task:
            raise ValueError(f"it is for {content.task!r:.40}, not {task}")
        if content.graph != graph:
            raise ValueError(
                f"it is for the graph {content.graph!r:.40}, not {graph} (convert --target)"
            )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be used: {_reason(error)}; delete it to calibrate the weights as they "
            "are, or repeat tfedge qad"
        ) from error
    decided = {item.key: getattr(content, item.key) for item in REWRITES if item.key}
    return Decisions(task, decided, Calibration(content.ranges, content.mask_value), graph)


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return f"{where:.100}: {first['msg'].removeprefix('Value error, '):.200}"
