"""What a checkpoint's classifier says of its labels, as transformers decides it.

Source: transformers 5.23, `TextClassificationPipeline.postprocess`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.checkpoint import Checkpoint

SINGLE_LABEL = "single_label_classification"
MULTI_LABEL = "multi_label_classification"
REGRESSION = "regression"
SCORE = "score"  # no `problem_type` of transformers: one label, whose logit a sigmoid makes a score
NAMED = (MULTI_LABEL, REGRESSION)  # that must be named, or transformers would take another one
_TYPES = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)


def problem_of(checkpoint: Checkpoint, count: int) -> str:
    """The problem of a checkpoint with `count` labels; raises CheckpointError for an unknown one."""
    named = checkpoint.config.source.get("problem_type")
    if named is not None and named not in _TYPES:
        raise CheckpointError(
            f"config.json has problem_type {named!r}; transformers knows {', '.join(_TYPES)}"
        )
    if named == REGRESSION:
        return REGRESSION
    if count == 1:
        return SCORE
    return MULTI_LABEL if named == MULTI_LABEL else SINGLE_LABEL
