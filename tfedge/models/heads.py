"""Task heads: hidden states -> the named outputs that the board's runtime turns into answers."""

from __future__ import annotations

from collections.abc import Callable

import tf_keras as keras

from tfedge.models import layers
from tfedge.models.blocks import Blocks, Symbolic
from tfedge.models.config import TWO_CLASSIFIERS
from tfedge.models.pooling import CLS, check_pooling
from tfedge.models.vit import FINAL_NORM

Outputs = dict[str, Symbolic]


def text_classification(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`logits` (B, num_labels) from the [CLS] position."""
    del inputs
    config = blocks.config
    first = blocks.token(hidden)
    if config.model_type == "distilbert":
        pooled = blocks.activated_dense("pre_classifier", "relu", config.hidden_size, first)
    elif config.model_type == "mobilebert" and not config.classifier_activation:
        pooled = first
    else:
        tanh = keras.layers.Activation("tanh", name="pooler.act")
        pooled = tanh(blocks.dense("pooler.dense", config.hidden_size, first))
        pooled = blocks.tap("pooler.act", pooled)
    pooled = blocks.dropout("pooler", pooled)
    return {"logits": blocks.per_text(blocks.dense("classifier", num_labels, pooled))}


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


def image_classification(
    blocks: Blocks, hidden: Symbolic, inputs: dict[str, Symbolic], num_labels: int
) -> Outputs:
    """`logits` (B, num_labels): of each classifier from its token, normalised; then their mean."""
    del inputs
    states = blocks.norm(FINAL_NORM, blocks.read_rows(hidden))
    logits = [
        blocks.dense(name, num_labels, blocks.token(states, index))
        for index, name in enumerate(blocks.config.classifiers)
    ]
    return {"logits": blocks.per_text(blocks.mean("logits", *logits))}


Head = Callable[[Blocks, Symbolic, dict[str, Symbolic], int], Outputs]

HEADS: dict[str, Head] = {
    "text-classification": text_classification,
    "sentence-embedding": sentence_embedding,
    "token-classification": token_classification,
    "question-answering": question_answering,
    "image-classification": image_classification,
}

# The modules that belong to each head, by the names of the checkpoint: trained with the task, so
# absent from a pretrained checkpoint and unused by another task.
HEAD_MODULES: dict[str, tuple[str, ...]] = {
    "text-classification": ("pooler.dense", "pre_classifier", "classifier"),
    "sentence-embedding": (),
    "token-classification": ("classifier",),
    "question-answering": ("qa_outputs",),
    "image-classification": ("classifier", *TWO_CLASSIFIERS),
}

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
