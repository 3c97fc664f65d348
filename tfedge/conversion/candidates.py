"""Writes the quantised models of one conversion, each of which the pipeline then measures."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tf_keras as keras

from tfedge.conversion.auto import assignments
from tfedge.conversion.job import Job
from tfedge.conversion.mixture import LEAST_NUMBERS, converted, nearest
from tfedge.conversion.result import Choices, IntegerChoices
from tfedge.measure.board import Board
from tfedge.models.build import input_names
from tfedge.quantize.bias import correct_bias
from tfedge.quantize.lean import RoundedBlocks, lean_graphs, wide_graphs
from tfedge.quantize.modes import (
    INTEGER_QUANTIZATIONS,
    MIXED_QUANTIZATIONS,
    MOST_BITS,
    WEIGHT_QUANTIZATIONS,
)
from tfedge.quantize.prepare import PASSES, Shape, prepare
from tfedge.quantize.record import FILE as RECORD
from tfedge.quantize.record import read_decisions
from tfedge.quantize.weights import RoundedRows, gptq
from tfedge.tflite.metadata import write_bundle
from tfedge.tflite.tflite import signature_name, to_tflite, to_tflite_int16x8
from tfedge.tflite.tflite_metadata import BundleSpec
from tfedge.tflite.weights import Rounding, dense_inputs, quantize_weights


def bundle(
    job: Job, content: bytes, path: Path, quantization: str, shape: Shape | None = None
) -> None:
    """Writes a converted model with all that a board needs; `shape` where it is not the job's."""
    shape = shape or job.shape
    spec = BundleSpec(
        name=job.source.name,
        task=job.shape.task,
        labels=job.labels or None,
        signatures={
            signature_name(length, shape.sequence_length): length for length in shape.lengths
        },
        runtimes=job.runtimes,
        quantization=quantization,
        normalize=job.task.is_embedding and job.shape.normalize,
        logit_bias=job.checkpoint.logit_bias,
        vocab=job.reader.vocab,
        **job.reader.encoding(),
    )
    write_bundle(content, spec, path)


def candidates(job: Job, path: Path) -> Iterator[Choices]:
    """Writes the quantised model; again, slower and more exact, as often as another is asked for.

    Only the quantization `auto` has more than one to offer, float16 where no mixture is exact enough.
    Yields what was chosen of it.
    """
    mode = job.quantization
    if mode in (*INTEGER_QUANTIZATIONS, *MIXED_QUANTIZATIONS):
        yield from _write_integers(job, path)
        if mode != "auto":
            return
        mode = "float16"
    if mode == "int16x8":
        _write_int16x8(job, path)
    elif mode in WEIGHT_QUANTIZATIONS:
        _write_weights(job, path)
    else:
        graphs = lean_graphs(job.checkpoint, job.shape)
        _keep_reference(job, lambda: graphs)
        _write(job, path, lambda: to_tflite(graphs, mode, job.runtime))
    yield Choices(None)


def _write_integers(job: Job, path: Path) -> Iterator[Choices]:
    """The modes that compute in integers, all or some of their operations."""
    samples = job.reader.samples(job.calibration, job.shape.sequence_length)
    decisions = read_decisions(job.checkpoint, job.shape.task, job.shape.graph)
    bits = job.options.weight_bits
    what = f"taking the ranges of {RECORD}" if decisions else "calibrating"
    with job.make_bar(what, PASSES * len(samples)) as bar:
        prepared = prepare(job.checkpoint, job.shape, samples, bar.advance, decisions, bits)
    _keep_reference(job, prepared.references)
    ranges = {name: [item.min, item.max] for name, item in prepared.calibration.ranges.items()}
    found = assignments(job, prepared, samples)
    for precisions, search in found:
        corrected = prepared
        # What was trained with rounding has learnt to keep its means.
        if decisions is None or bits != MOST_BITS:
            with job.make_bar("correcting biases", len(prepared.norms)) as bar:
                corrected = correct_bias(prepared, samples, bar.advance, precisions)
        graphs = corrected.graphs(precisions)
        del corrected
        if job.costs is None:  # nothing is tried after it
            found.close()
            del prepared
        gc.collect()  # of graphs that are done with, whose parts refer to each other
        _write(job, path, functools.partial(converted, job, graphs, precisions))
        yield IntegerChoices(ranges, precisions, search)


def _write_weights(job: Job, path: Path) -> None:
    """Dense weights and tables in integers, the rest in float."""
    graphs = lean_graphs(job.checkpoint, job.shape, RoundedBlocks)
    _keep_reference(job, lambda: graphs)
    content = to_tflite(graphs, "float32", job.runtime)
    keras.backend.clear_session()
    dense: Rounding = nearest
    if job.quantization == "int4":
        dense = _least_change(job, content, path.with_suffix(".float"))
    _write(job, path, lambda: quantize_weights(content, dense, nearest))


def _least_change(job: Job, content: bytes, path: Path) -> Rounding:
    """Rounds to 4 bits so that what the layers of a float model compute changes least; `content`, a
    .tflite, is written to `path` to be run."""
    length = job.shape.sequence_length
    samples = job.reader.samples(job.calibration, length)
    inputs = job.reader.inputs(samples, length, _input_names(job))
    path.write_bytes(content)
    read = dense_inputs(content)
    indices = sorted(set(read.values()))
    signature = (signature_name(length, length), 0)
    with job.make_bar("measuring what the weights are multiplied with", len(samples)) as bar:
        grams = Board.here(job.runtime).grams(path, signature, inputs, indices, bar.advance)
    path.unlink()

    def rounded(name: str, values: np.ndarray) -> RoundedRows | None:
        if values.size < LEAST_NUMBERS:
            return None
        return gptq(values, grams[read[name]], bits=4)

    return rounded


def _write_int16x8(job: Job, path: Path) -> None:
    """Dense weights in 8 bits, all activations in 16."""
    calibrating = job.reader.samples(job.calibration, job.shape.sequence_length)
    with job.make_bar("calibrating", len(calibrating)) as bar:
        graphs = wide_graphs(job.checkpoint, job.shape, calibrating, bar.advance)
    _keep_reference(job, lambda: graphs)

    def samples(length: int) -> Iterator[dict[str, np.ndarray]]:
        names = _input_names(job)
        found = job.reader.samples(job.calibration, length)
        return ({**job.reader.inputs([sample], length, names)} for sample in found)

    _write(job, path, lambda: to_tflite_int16x8(graphs, samples))


def _input_names(job: Job) -> tuple[str, ...]:
    return input_names(job.checkpoint.config, job.task.name)


def _write(job: Job, path: Path, make: Callable[[], bytes]) -> None:
    with job.make_bar(f"converting to {job.quantization}", 1) as bar:
        bundle(job, make(), path, job.quantization)
        bar.advance()
    keras.backend.clear_session()


def _keep_reference(job: Job, make: Callable[[], dict[int, keras.Model]]) -> None:
    """Writes, if asked for, the float32 graphs whose tensors have the names of the quantised ones."""
    if job.options.keep_reference:
        path = job.folder / f"{job.name}_reference.tflite"
        bundle(job, to_tflite(make(), "float32", job.runtime), path, "float32")
