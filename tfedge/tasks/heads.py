"""Heads that a checkpoint has and no task reads: refused by name where its task is guessed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfedge.architectures.base import is_within
from tfedge.errors import CheckpointError
from tfedge.tasks.base import Task

if TYPE_CHECKING:
    from tfedge.models.checkpoint import Checkpoint

# Classes of transformers for other tasks whose tensors are called as those of a classifier.
_LOOKALIKES = ("ForMultipleChoice",)
_WAY_OUT = (
    "give --task sentence-embedding to convert or export the encoder alone, or train a head with "
    "tfedge finetune"
)


def refuse_unread(checkpoint: Checkpoint, task: Task, known: Iterable[Task]) -> None:
    """Raises CheckpointError where a checkpoint has another head than that of `task`, its guess.

    An encoder of sentence-transformers is for embeddings whatever its class is, and so is a bare one
    (`BertModel`).

    Args:
        known: all tasks.
    """
    classes = checkpoint.config.source.get("architectures")
    named = str(classes[0]) if isinstance(classes, list) and classes else ""
    if task.modules(checkpoint.config):
        if named.endswith(_LOOKALIKES):
            _refuse_head(checkpoint, named, task.modules(checkpoint.config)[-1:])
        return
    if checkpoint.head_files:
        _refuse_files(checkpoint)
    is_bare = named.endswith("Model") and not named.endswith("LMHeadModel")
    dropped = _dropped(checkpoint, known)
    if dropped and not is_bare and not checkpoint.modules:
        _refuse_head(checkpoint, named, dropped)


def _dropped(checkpoint: Checkpoint, known: Iterable[Task]) -> list[str]:
    """The modules of heads that the weights hold."""
    config = checkpoint.config
    architecture = config.architecture
    heads = {module for task in known for module in task.modules(config)}
    heads |= {*architecture.pretraining_heads}
    names = [name for name in checkpoint.names if not is_within(name, architecture.encoder_modules)]
    return sorted({name.split(".")[0] for name in names if is_within(name, heads)})


def _refuse_head(checkpoint: Checkpoint, named: str, modules: Iterable[str]) -> None:
    whose = f"of a {named}" if named else "in its weights"
    raise CheckpointError(
        f"{checkpoint.folder}: the head {whose} ({', '.join(modules)}) is of no task that tfedge has: "
        f"{_WAY_OUT}; for other commands save the encoder alone where transformers is installed: "
        "AutoModel.from_pretrained(folder).save_pretrained(another)"
    )


def _refuse_files(checkpoint: Checkpoint) -> None:
    raise CheckpointError(
        f"{checkpoint.folder} is a SetFit classifier ({', '.join(checkpoint.head_files)}), whose head "
        "is not read: model_head.pkl is a pickle, which can run any code when opened. Either "
        f"{_WAY_OUT}; coef_ and intercept_ of SetFit's logistic regression can be applied to the "
        "embeddings by a program of your own"
    )
