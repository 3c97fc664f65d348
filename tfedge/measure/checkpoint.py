"""Answers texts or images with a checkpoint in Keras, in float32: the reference of converted models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfedge import tasks
from tfedge.data.batches import padded_length
from tfedge.data.reader import open_reader
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build, traced
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import text_length
from tfedge.models.folder import transformer_folder
from tfedge.progress import Progress, unheard
from tfedge.runtime.errors import TextError
from tfedge.runtime.tasks.base import Answer
from tfedge.runtime.wanted import WHOLE, Wanted


def checkpoint_answers(
    folder: Path,
    items: Sequence[Any],
    progress: Progress = unheard,
    max_length: int = 512,
    task: str | None = None,
    wanted: Wanted = WHOLE,
) -> list[Answer]:
    """What a checkpoint answers to each text, pair or path, as `tfedge-infer --json` gives it.

    It has the tokenising and the answers of the board's runtime. Raises CheckpointError where the
    folder does not load.

    Args:
        task: by default that of the checkpoint's head.
        wanted: of the answers.
    """
    folder = transformer_folder(folder)
    checkpoint = Checkpoint(folder)
    config = checkpoint.config
    name, labels = tasks.task_and_labels(checkpoint, task)
    known = tasks.find(name)
    cut_at = text_length(folder, known.is_embedding) or max_length
    max_length = min(max_length, cut_at, config.architecture.lengths(config)[1])
    reader = open_reader(folder, config, known)
    encoder = known.input.encoder(**reader.encoding(), max_length=max_length)
    model = build(config, name, len(labels), GraphOptions(pixels=reader.pixels)).model
    load_weights(model, checkpoint, name)
    dtypes = {tensor.name: tensor.dtype.as_numpy_dtype for tensor in model.inputs}
    run = traced(model, model.input)

    def answer(item: Any) -> Answer:
        try:
            encoded = encoder.encode(*(item if isinstance(item, tuple) else (item,)))
        except TextError as error:
            return {"error": str(error)}
        arrays = encoded.arrays(padded_length([len(encoded)], limit=max_length))
        outputs = run({name: arrays[name].astype(dtype) for name, dtype in dtypes.items()})
        found = {name: value.numpy() for name, value in outputs.items()}
        return known.answer(found, encoded, item, labels, wanted)

    answers = []
    for item in items:
        answers.append({**known.input.named(item), **answer(item)})
        progress(1)
    return answers
