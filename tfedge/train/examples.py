"""Tokenised texts, and one way to run a model over all of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge.data.batches import Batch, pad, padded_length
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import text_encoder
from tfedge.models.build import traced
from tfedge.models.layers import PositionEmbedding
from tfedge.progress import Progress, unheard

_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Examples:
    """Tokenised texts, as `TextEncoder.encode_batch` gives them, and their labels as indices, int32
    (len(sequences),)."""

    sequences: list[np.ndarray]
    labels: np.ndarray
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(sequence) for sequence in self.sequences]

    @property
    def are_pairs(self) -> bool:
        """Whether token types stand beside the tokens."""
        return self.sequences[0].ndim == 2

    @property
    def token_ids(self) -> np.ndarray:
        """The tokens that occur, sorted."""
        ids = (sequence if sequence.ndim == 1 else sequence[:, 0] for sequence in self.sequences)
        return np.unique(np.concatenate([*ids]))

    @property
    def sha256(self) -> str:
        """Hash of tokens and labels, in their order."""
        digest = hashlib.sha256(np.asarray(self.lengths, "<i8").tobytes())
        for values in (*self.sequences, self.labels):
            digest.update(np.asarray(values, "<i4").tobytes())
        return digest.hexdigest()

    def drawn(self, count: int, seed: int) -> Examples:
        """`count` of the texts, drawn by `seed`; all where there are no more."""
        if len(self) <= count:
            return self
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        sequences = [self.sequences[index] for index in chosen]
        return dataclasses.replace(self, sequences=sequences, labels=self.labels[chosen])

    def inputs(self, indices: np.ndarray, names: Sequence[str], limit: int) -> Batch:
        """The model's inputs for some of the texts, none longer than `limit`; see `pad`."""
        sequences = [self.sequences[index] for index in indices]
        length = padded_length([len(sequence) for sequence in sequences], limit=limit)
        return pad(sequences, length, names, self.pad_id)


def tokenize(
    texts: Texts, tokenizer: Tokenizer, labels: Sequence[str] | None, max_length: int
) -> Examples:
    """Texts as examples, cut to `max_length` tokens; of a pair the longer text is cut first.

    Without `labels`, the names of the logits, those of the texts are not read, and all are 0. Raises
    InputError as `Texts.label_ids`.
    """
    label_ids = np.zeros(len(texts), np.int32)
    if labels is not None:
        label_ids = np.asarray(texts.label_ids(labels), np.int32)
    encoder = text_encoder(tokenizer, max_length)
    return Examples(encoder.encode_batch(texts.texts), label_ids, encoder.pad_id)


def by_length(examples: Examples, model: keras.Model) -> Iterator[tuple[np.ndarray, Batch]]:
    """All texts once, from the shortest to the longest, in padded batches: indices and inputs."""
    names = tuple(model.input_names)
    tables = (layer for layer in model.layers if isinstance(layer, PositionEmbedding))
    limit = next(tables).max_positions
    order = np.argsort(examples.lengths, kind="stable")
    for start in range(0, len(order), _BATCH_SIZE):
        indices = order[start : start + _BATCH_SIZE]
        yield indices, examples.inputs(indices, names, limit)


def run_over(
    examples: Examples,
    model: keras.Model,
    function: Callable[[dict[str, tf.Tensor]], tf.Tensor],
    progress: Progress = unheard,
) -> Callable[[], np.ndarray]:
    """What computes `function`, from a batch of inputs to (B, ...), for all texts as `model` then is.

    Returns:
        A function that gives the rows of all texts, in their order, and tells `progress` how many
        more have run.
    """
    run = traced(function, model.input)

    def compute() -> np.ndarray:
        places, rows = [], []
        for indices, batch in by_length(examples, model):
            places.append(indices)
            rows.append(run(batch).numpy())
            progress(len(indices))
        return np.concatenate(rows)[np.argsort(np.concatenate(places))]

    return compute


def accuracy_on(model: keras.Model, examples: Examples) -> Callable[[], float]:
    """A function that measures the share of `examples` that `model` now labels rightly, 0..1."""
    predicted = run_over(
        examples, model, lambda inputs: tf.argmax(model(inputs, training=False)["logits"], -1)
    )
    return lambda: int((predicted() == examples.labels).sum()) / len(examples)
