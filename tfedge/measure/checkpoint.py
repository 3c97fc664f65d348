"""Answers texts with a checkpoint in Keras, in float32: the reference of converted models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from tfedge.data.batches import padded_length
from tfedge.data.tokenizer import load_tokenizer
from tfedge.measure.accuracy import Answer
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, task_and_labels
from tfedge.models.pooling import transformer_folder
from tfedge.runtime.errors import TextError
from tfedge.runtime.tasks import TASKS
from tfedge.runtime.tokenizer import TextEncoder


class CheckpointAnswers:
    """A checkpoint with the tokenising and the answers of the board's runtime.

    Raises:
        CheckpointError: the folder does not load.
    """

    def __init__(self, folder: Path, max_length: int = 512) -> None:
        folder = transformer_folder(folder)
        checkpoint = Checkpoint(folder)
        self._task_name, self._labels = task_and_labels(checkpoint)
        self._task = TASKS[self._task_name]
        self._max_length = min(max_length, checkpoint.config.max_position_embeddings)
        tokenizer = load_tokenizer(folder, checkpoint.config.vocab_size).to_str().encode()
        self._encoder = TextEncoder(tokenizer, self._max_length, pairs=self._task.pairs)
        model = build(checkpoint.config, self._task_name, len(self._labels)).model
        load_weights(model, checkpoint, self._task_name)
        self._names = model.input_names
        self._run = tf.function(model, reduce_retracing=True, autograph=False)

    @staticmethod
    def task_of(folder: Path) -> tuple[str, list[str]]:
        """The task and the labels of a checkpoint's folder."""
        return task_and_labels(Checkpoint(transformer_folder(folder)))

    def answers(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda count: None
    ) -> list[Answer]:
        """What the model answers to each text, as `tfedge-infer --json` gives it."""
        result = []
        for text in texts:
            result.append({"text": text, **self._answer(text)})
            progress(1)
        return result

    def _answer(self, text: str) -> Answer:
        try:
            encoded = self._encoder.encode(text)
        except TextError as error:
            return {"error": str(error)}
        arrays = encoded.arrays(padded_length([len(encoded)], limit=self._max_length))
        outputs = self._run({name: arrays[name] for name in self._names})
        numpy_outputs = {name: value.numpy() for name, value in outputs.items()}
        return self._task.answer(numpy_outputs, encoded, self._labels, None)
