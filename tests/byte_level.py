"""A small byte-level BPE tokeniser, as RoBERTa's, with its special tokens."""

from __future__ import annotations

from collections.abc import Sequence

import toy_folders
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

# By their ids, which are RoBERTa's.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SIZE = 320


def tokenizer(texts: Sequence[str] = (), size: int = SIZE) -> Tokenizer:
    """Trained anew each time, always the same; by default of the toys' texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    made.train_from_iterator(texts or toy_folders.sentences(40).texts, trainer)
    made.post_processor = processors.RobertaProcessing(
        ("</s>", SPECIAL.index("</s>")), ("<s>", SPECIAL.index("<s>")), add_prefix_space=False
    )
    return made
