"""Answers texts or images with a checkpoint in Keras, in float32: the reference of converted models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfedge import tasks
from tfedge.data.batches import padded_length
from tfedge.data.reader import open_reader
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.folder import transformer_folder
from tfedge.runtime.errors import TextError
from tfedge.runtime.tasks.base import Answer


class CheckpointAnswers:
    """A checkpoint with the tokenising and the answers of the board's runtime.

    Raises:
        CheckpointError: the folder does not load.
    """

    def __init__(self, folder: Path, max_length: int = 512) -> None:
        folder = transformer_folder(folder)
        checkpoint = Checkpoint(folder)
        config = checkpoint.config
        name, self._labels = tasks.task_and_labels(checkpoint)
        self._task = tasks.find(name)
        self._max_length = min(max_length, config.architecture.lengths(config)[1])
        reader = open_reader(folder, config)
        self._encoder = self._task.input.encoder(**reader.encoding(), max_length=self._max_length)
        options = GraphOptions(pixels=reader.pixels)
        model = build(config, name, len(self._labels), options).model
        load_weights(model, checkpoint, name)
        self._inputs = {tensor.name: tensor.dtype.as_numpy_dtype for tensor in model.inputs}
        self._run = tf.function(model, reduce_retracing=True, autograph=False)

    def answers(
        self, items: Sequence[Any], progress: Callable[[int], None] = lambda count: None
    ) -> list[Answer]:
        """What the model answers to each text, pair or path, as `tfedge-infer --json` gives it."""
        result = []
        for item in items:
            result.append({**self._task.input.named(item), **self._answer(item)})
            progress(1)
        return result

    def _answer(self, item: Any) -> Answer:
        try:
            encoded = self._encoder.encode(*(item if isinstance(item, tuple) else (item,)))
        except TextError as error:
            return {"error": str(error)}
        arrays = encoded.arrays(padded_length([len(encoded)], limit=self._max_length))
        outputs = self._run(
            {name: arrays[name].astype(dtype) for name, dtype in self._inputs.items()}
        )
        found = {name: value.numpy() for name, value in outputs.items()}
        return self._task.answer(found, encoded, item, self._labels)
