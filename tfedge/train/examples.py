"""Tokenised texts, and one way to run a model over all of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge.data import unknown
from tfedge.data.batches import Batch, pad, padded_length
from tfedge.data.tokenizer import answering_encoder, text_encoder
from tfedge.models.build import traced
from tfedge.models.layers import PositionEmbedding
from tfedge.progress import Progress, unheard
from tfedge.tasks.base import Rows, Task
from tfedge.tasks.losses import IGNORED

_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Examples:
    """Tokenised texts, as `TextEncoder.encode_batch` gives them, and what is learned of each, see
    `tfedge.tasks.base.Task.lessons`; of one label a text its index, int32 (len(sequences),)."""

    sequences: list[np.ndarray]
    labels: np.ndarray
    pad_id: int = 0
    are_of_tokens: bool = False  # whether a row of `labels` has one for each token
    texts_a_row: int = 1  # how many sequences, one after the other, are trained on together

    def __len__(self) -> int:
        return len(self.sequences) // self.texts_a_row

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text, of several a row those of the longest."""
        return [max(map(len, self.row(index))) for index in range(len(self))]

    def row(self, index: int) -> list[np.ndarray]:
        """The sequences of a row."""
        start = index * self.texts_a_row
        return self.sequences[start : start + self.texts_a_row]

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
        for values in self.sequences:
            digest.update(np.asarray(values, "<i4").tobytes())
        digest.update(self.labels.astype(self.labels.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def drawn(self, count: int, seed: int) -> Examples:
        """`count` of the texts, drawn by `seed`; all where there are no more."""
        if len(self) <= count:
            return self
        chosen = np.random.default_rng(seed).permutation(len(self))[:count]
        sequences = [sequence for index in chosen for sequence in self.row(index)]
        return dataclasses.replace(self, sequences=sequences, labels=self.labels[chosen])

    def inputs(self, indices: np.ndarray, names: Sequence[str], limit: int | None) -> Batch:
        """The model's inputs for some of the texts, none longer than `limit`; see `pad`."""
        sequences = [sequence for index in indices for sequence in self.row(index)]
        length = padded_length([len(sequence) for sequence in sequences], limit=limit)
        return pad(sequences, length, names, self.pad_id)

    def aims(self, indices: np.ndarray, length: int) -> np.ndarray:
        """What is learned of some of the texts, those of tokens for `length` of them."""
        found = self.labels[indices]
        if not self.are_of_tokens:
            return found
        missing = max(length - found.shape[1], 0)
        return np.pad(found[:, :length], [(0, 0), (0, missing)], constant_values=IGNORED)

    def input_signature(self, names: Sequence[str]) -> dict[str, tf.TensorSpec]:
        """Of what `inputs` gives."""
        return dict.fromkeys(names, tf.TensorSpec((None, None), tf.int32))

    @property
    def signature(self) -> tf.TensorSpec:
        """Of what `aims` gives."""
        shape = [None, *self.labels.shape[1:]]
        if self.are_of_tokens:
            shape[1] = None
        return tf.TensorSpec(shape, tf.as_dtype(self.labels.dtype))


def tokenize(
    rows: Rows, task: Task, tokenizer: Tokenizer, labels: Sequence[str] | None, max_length: int
) -> Examples:
    """Texts as examples, cut to `max_length` tokens; of a pair the longer text is cut first.

    Without `labels`, the names of the logits, the truth of the rows is not read, and all are 0. Raises
    InputError as `Task.lessons`.
    """
    if labels is None:
        encoder = text_encoder(tokenizer, max_length, task.input.is_pair)
        none = np.zeros(len(rows.items), np.int32)
        sequences = encoder.encode_batch(rows.items)
        unknown.tell(encoder.unknown_share(sequences), rows.source)
        return Examples(sequences, none, encoder.pad_id)
    encoder = answering_encoder(tokenizer, max_length, task.input.is_pair)
    sequences, aims = task.lessons(rows, encoder, labels)
    unknown.tell(encoder.unknown_share(sequences), rows.source)
    return Examples(
        sequences, aims, encoder.pad_id, task.has_aims_of_tokens, len(sequences) // len(aims)
    )


def by_length(examples: Examples, model: keras.Model) -> Iterator[tuple[np.ndarray, Batch]]:
    """All texts once, from the shortest to the longest, in padded batches: indices and inputs."""
    names = tuple(model.input_names)
    tables = (layer for layer in model.layers if isinstance(layer, PositionEmbedding))
    limit = next((table.max_positions for table in tables), None)  # an image has no such table
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
