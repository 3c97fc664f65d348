"""Answers of drawn checkpoints by tfedge without a conversion, which would take seconds each.

All but the runtime is what a converted file has: the same job decides of task, labels, tokeniser and
length; the board's own pipeline encodes and answers; only the graph is Keras's, run for all texts at
once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asked
import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.conversion.job import ConvertOptions, Job
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.progress import unheard
from tfedge.quantize.prepare import Shape
from tfedge.runtime import Pipeline, TextError
from tfedge.runtime.bundle import Bundle, Manifest

Arrays = Mapping[str, np.ndarray]


def options(length: int | None) -> ConvertOptions:
    """Those of a conversion of which answers are compared."""
    return ConvertOptions("float32", length, (), runtime="litert", max_drop=100.0)


def answers(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """As `asked.answers`; {"refused": why} where tfedge converts no such checkpoint."""
    try:
        job = Job(str(folder), options(wanted["length"]), unheard)
        model = _filled(job)
    except InputError as error:
        return {"refused": str(error)}
    pipeline = Pipeline(_bundle(job), _Keras(model))  # type: ignore[arg-type]
    _ask_at_once(pipeline, wanted["items"])
    return asked.answers(pipeline, wanted)


@functools.lru_cache(maxsize=64)
def _built(config: EncoderConfig, shape: Shape) -> keras.Model:
    """One model for all checkpoints of a shape: building takes longer than running."""
    return build(config, shape.task, shape.num_labels, shape.options()).model


def _filled(job: Job) -> keras.Model:
    model = _built(job.checkpoint.config, job.shape)
    load_weights(model, job.checkpoint, job.shape.task)
    return model


def _bundle(job: Job) -> Bundle:
    """What a conversion would write, see `tfedge.conversion.candidates.bundle`."""
    length = job.shape.sequence_length
    try:
        manifest = Manifest(
            name=job.source.name,
            task=job.shape.task,
            labels=tuple(job.labels) or None,
            max_length=length,
            inputs=tuple(_built(job.checkpoint.config, job.shape).input_names),
            outputs=tuple(job.task.outputs),
            quantization="float32",
            runtimes=("litert",),
            signatures={"serving_default": length},
            model_bytes=1,
            model_sha256="",
            tfedge_version="",
            normalize=job.task.is_embedding and job.shape.normalize,
        )
    except ValueError as error:
        raise InputError(f"the bundle contradicts itself: {error}") from error
    return Bundle("", manifest, job.reader.encoding()["tokenizer_json"])


class _Keras:
    """In the place of `tfedge.runtime.interpreter.Model`; runs what `add` was given in one batch."""

    runtime, num_threads, has_answered = "keras", 1, True
    map = map

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._inputs: dict[bytes, Arrays] = {}
        self._outputs: dict[bytes, dict[str, np.ndarray]] = {}

    def add(self, inputs: Arrays) -> None:
        for row in range(len(inputs["input_ids"])):
            one = {name: array[row : row + 1] for name, array in inputs.items()}
            self._inputs[_key(one)] = one

    def run(self, key: str, inputs: Arrays) -> dict[str, np.ndarray]:
        if not self._outputs:
            rows = [*self._inputs.values()]
            batch = {
                name: tf.constant(np.concatenate([row[name] for row in rows]))
                for name in self._model.input_names
            }
            found = {name: value.numpy() for name, value in self._model(batch).items()}
            for index, known in enumerate(self._inputs):
                self._outputs[known] = {n: value[index : index + 1] for n, value in found.items()}
        return dict(self._outputs[_key(inputs)])


def _key(inputs: Arrays) -> bytes:
    return inputs["input_ids"].tobytes() + inputs["token_type_ids"].tobytes()


def _ask_at_once(pipeline: Pipeline, items: list[Any]) -> None:
    """Tells the model of all inputs that it will be run on."""
    add: Callable[[Arrays], None] = pipeline._model.add  # type: ignore[attr-defined]
    for item in items:
        try:
            encoded = pipeline.prepare(item if isinstance(item, str) else tuple(item))
        except TextError:
            continue
        add(encoded.arrays(pipeline.max_length))
