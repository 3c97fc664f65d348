"""Task heads: hidden states -> the named outputs that the board's runtime turns into answers."""

from __future__ import annotations

from collections.abc import Callable

from tfedge.architectures.base import EncoderConfig
from tfedge.models import layers
from tfedge.models.blocks import Blocks, Symbolic
from tfedge.models.pooling import CLS, check_pooling

Outputs = dict[str, Symbolic]


def classification(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`logits` (B, num_labels) of a whole text or image, the mean over the classifiers."""
    del inputs
    summary = blocks.config.architecture.summary(blocks, hidden)
    logits = [
        blocks.dense(name, num_labels, read)
        for name, read in zip(blocks.config.classifiers, summary, strict=True)
    ]
    return {"logits": blocks.per_text(blocks.mean("logits", *logits))}


def token_classification(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`logits` (B, S, num_labels), one row a token."""
    del inputs
    logits = blocks.dense("classifier", num_labels, blocks.dropout("classifier", hidden))
    return {"logits": blocks.per_token(logits)}


def question_answering(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`start_logits` and `end_logits`, (B, S) each."""
    del inputs, num_labels
    spans = blocks.per_token(blocks.dense("qa_outputs", 2, hidden))
    names = ("start_logits", "end_logits")
    return {
        name: layers.Channel(index, name=f"{name}.channel")(spans)
        for index, name in enumerate(names)
    }


def sentence_embedding(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`embedding` (B, C): the mean of the real tokens' hidden states or that of [CLS], of length 1.

    Raises:
        CheckpointError: the checkpoint asks for another pooling.
    """
    del num_labels
    check_pooling(blocks.config.pooling)
    if blocks.config.pooling == CLS:
        pooled = blocks.per_text(blocks.token(hidden))
    else:
        pooled = blocks.mean_pooling(hidden, inputs["attention_mask"])
    return {"embedding": blocks.normalized(pooled) if blocks.options.normalize else pooled}


Head = Callable[[Blocks, Symbolic, dict[str, Symbolic], int], Outputs]

HEADS: dict[str, Head] = {
    "text-classification": classification,
    "sentence-embedding": sentence_embedding,
    "token-classification": token_classification,
    "question-answering": question_answering,
    "image-classification": classification,
}


def logits_modules(task: str, config: EncoderConfig) -> tuple[str, ...]:
    """The dense layers that have an output for each label; none of a task without labels."""
    if HEADS[task] is classification:
        return config.classifiers
    return ("classifier",) if HEADS[task] is token_classification else ()


def head_modules(task: str, config: EncoderConfig) -> tuple[str, ...]:
    """The modules that belong to a task's head: trained with the task, so absent from a pretrained
    checkpoint and unused by another task."""
    if HEADS[task] is question_answering:
        return ("qa_outputs",)
    summary = config.architecture.summary_modules if HEADS[task] is classification else ()
    return (*summary, *logits_modules(task, config))


# What pretraining leaves in a checkpoint and no task here reads.
PRETRAINING_MODULES = (
    "cls",
    "lm_head",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector",
    "fit_dense",
    "fit_denses",
    "pooler",
)
