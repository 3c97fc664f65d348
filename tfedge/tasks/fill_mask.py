"""Guesses the words that masks stand for, with the head of an encoder's pretraining."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.errors import CheckpointError, InputError
from tfedge.runtime.masks import ASKED, MASKS
from tfedge.runtime.tasks import fill_mask as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, losses
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Task, Truth

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint

_WORD = re.compile(r"\w+")
_TIED = "tie_word_embeddings"


class FillMask(Task, board.FillMask):
    """`logits` (B, vocabulary) of the position that is asked: a dense layer, a norm, and the product
    with the word table."""

    kind = "ForMaskedLM"
    wanted = "the column text"
    score = "accuracy"
    example = '"Paris is the [MASK] of France."'
    max_drop = 5.0  # of the best words, the second best of which may be as good
    extra_inputs = (ASKED,)
    trains = False

    def check(self, config: EncoderConfig) -> None:
        """Refuses encoders whose head of words is not known, or has a table of its own, too."""
        super().check(config)
        if config.architecture.word_head is None:
            raise InputError(f"a {config.model_type} cannot be used for {self.name} yet")
        if config.source.get(_TIED) is False:
            raise CheckpointError(
                f"config.json says {_TIED}: false; only heads whose table is that of the words are "
                f"read for {self.name}"
            )

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        names = config.architecture.word_head
        return () if names is None else (names.bias, names.decoder, names.norm, names.dense)

    def fit(self, checkpoint: Checkpoint) -> int:
        """1 of an encoder that is named so, and not of sentence-transformers: most are published with
        this head, and those that were trained on have another beside it."""
        has_head = checkpoint.config.architecture.word_head is not None and super().fit(checkpoint)
        return int(bool(has_head and self.is_named(checkpoint) and not checkpoint.modules))

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        config = blocks.config
        names = config.architecture.word_head
        assert names is not None  # see `check`
        x = blocks.token_at(hidden, inputs[ASKED])
        width = config.architecture.table_width(config)
        x = blocks.activated_dense(names.dense, names.activation or config.hidden_act, width, x)
        x = blocks.dense(names.decoder, config.vocab_size, blocks.norm(names.norm, x))
        return {"logits": blocks.per_text(x)}

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Soft cross-entropy of the words."""
        return losses.soft_cross_entropies(output["logits"], target["logits"], temperature)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """Whether the best words differ."""
        return losses.others(output["logits"], target["logits"])

    def as_read(self, texts: Texts) -> Texts:
        """Texts without a mask get one in place of a word."""
        texts = super().as_read(texts)
        if any(mask in text for text in texts.texts for mask in MASKS):
            return texts
        columns.tell(texts.source, "a word of each text is masked", ())
        return dataclasses.replace(texts, texts=[masked(text)[0] for text in texts.texts])

    def read(self, data: Data) -> Rows:
        """Texts with masks; or others, a word of which is masked and the truth."""
        texts = columns.texts_alone(data, self.name, self.wanted)
        if any(mask in text for text in texts.texts for mask in MASKS):
            return self.rows(texts)
        words = [masked(text)[1] for text in texts.texts]
        return dataclasses.replace(self.rows(texts), truth=words)

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """The share of masked words that are the best guess, upper and lower case alike.

        A word of several pieces cannot be guessed, and counts as wrong.
        """
        right = sum(
            _best(answer)[:1] == [word.lower()] for answer, word in zip(answers, truth, strict=True)
        )
        return {"words": len(truth), "accuracy": right / len(truth)}

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        return [f"{100 * figures['accuracy']:.2f} % of {figures['words']} masked words guessed"]

    def difference(self, answer: Answer, other: Answer) -> float:
        """The share of masks whose best words differ."""
        return float(np.mean([a != b for a, b in zip(_best(answer), _best(other), strict=True)]))


def masked(text: str) -> tuple[str, str]:
    """A text with a mask in place of one of its words, always the same, and the word; in place of the
    whole text, where it has none."""
    found = list(_WORD.finditer(text))
    if not found:
        return MASKS[0], text
    chosen = found[zlib.crc32(text.encode()) % len(found)]
    return f"{text[: chosen.start()]}{MASKS[0]}{text[chosen.end() :]}", chosen[0]


def _best(answer: Answer) -> list[str]:
    """The best word of each mask, small; none of an error."""
    return [mask["words"][0]["word"].lower() for mask in answer.get("masks", ())]


TASK = FillMask()
