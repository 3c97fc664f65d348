"""Answers texts or images with a checkpoint in Keras, in float32: the reference of converted models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfedge.data.batches import padded_length
from tfedge.data.tokenizer import load_tokenizer, text_encoder
from tfedge.measure.accuracy import Answer
from tfedge.models.blocks import NORMALISED, GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, task_and_labels
from tfedge.models.folder import transformer_folder
from tfedge.models.preprocessor import pixels, read_preprocessor
from tfedge.runtime import tasks
from tfedge.runtime.errors import TextError
from tfedge.runtime.image import ImageEncoder
from tfedge.runtime.inputs import IMAGE, PAIR
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
        self._task = tasks.find(self._task_name)
        config = checkpoint.config
        self._max_length = min(max_length, config.max_position_embeddings)
        self._encoder: TextEncoder | ImageEncoder
        made_of = NORMALISED
        if config.reads_images:
            settings = read_preprocessor(folder, config)
            made_of = pixels(settings)
            self._encoder = ImageEncoder(settings, config.max_position_embeddings)
        else:
            tokenizer = load_tokenizer(folder, config.vocab_size)
            self._encoder = text_encoder(tokenizer, self._max_length, self._task.input is PAIR)
        options = GraphOptions(pixels=made_of)
        model = build(config, self._task_name, len(self._labels), options).model
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
        """What the model answers to each text or path, as `tfedge-infer --json` gives it."""
        result = []
        for text in texts:
            key = self._task.input.key
            result.append({key: text, **self._answer(text)})
            progress(1)
        return result

    def _answer(self, text: str) -> Answer:
        try:
            encoded = self._encoder.encode(text)
        except TextError as error:
            return {"error": str(error)}
        arrays = encoded.arrays(padded_length([len(encoded)], limit=self._max_length))
        dtype = np.float32 if self._task.input is IMAGE else np.int32
        outputs = self._run({name: arrays[name].astype(dtype) for name in self._names})
        numpy_outputs = {name: value.numpy() for name, value in outputs.items()}
        return self._task.answer(numpy_outputs, encoded, text, self._labels)
