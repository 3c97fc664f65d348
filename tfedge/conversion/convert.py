"""The whole way from a checkpoint to a measured .tflite: calls the stages in their order."""

from __future__ import annotations

import dataclasses
import gzip
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import files
from tfedge.conversion.candidates import bundle, candidates
from tfedge.conversion.job import ConvertOptions, Job
from tfedge.conversion.judge import Judge, check_error, difference
from tfedge.conversion.result import (
    Choices,
    Conversion,
    Evaluation,
    Figures,
    Origin,
    Quantization,
    Refused,
    versions,
)
from tfedge.data.unknown import unknown_share
from tfedge.errors import CheckpointError, RejectedModelError
from tfedge.inspect.contents import contents
from tfedge.inspect.estimate import times_of
from tfedge.models import cost
from tfedge.notes import note
from tfedge.progress import MakeBar
from tfedge.quantize.prepare import Shape, float_graphs
from tfedge.records import as_json
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.machine import needed_bytes
from tfedge.runtime.probe import trust
from tfedge.targets import INTEGER
from tfedge.tflite.metadata import set_runtimes
from tfedge.tflite.tflite import to_tflite

__all__ = ["ConvertOptions", "convert"]

_FLOAT_CHECK_TEXTS = 8
_PACKAGES = ("tensorflow", "tf-keras", "transformers", "tflite-runtime", "ai-edge-litert", "numpy")


def convert(model: str, options: ConvertOptions, make_bar: MakeBar) -> Conversion:
    """Converts `model`, runs the result in the runtime it is meant for, judges it, and reports.

    Writes `<output>/<name>/<name>_<quantization>.tflite` and a `.json` beside it, and with
    `keep_reference` also `<name>_<quantization>_reference.tflite`, which is not measured. A target
    with a graph of its own has that in the file's name: `<name>_edgetpu_<quantization>.tflite`.

    Raises:
        InputError, MissingPackageError: see `Job`.
        RejectedModelError: the converted model crashed or lost too much; it is kept with the
            suffix `.rejected`, its report beside it.
    """
    job = Job(model, options, make_bar)
    files.check_folder(job.folder)
    name = job.name
    with tempfile.TemporaryDirectory(prefix="tfedge-") as work:
        reference = Path(work) / "float32.tflite"
        float_error = _convert_float(job, reference)
        candidate, attempts = reference, iter([Choices(None)])
        if job.quantization != "float32":
            candidate = Path(work) / f"{name}.tflite"
            attempts = candidates(job, candidate)
        judge = Judge(job, reference)
        for found in attempts:
            choices, (figures, reason) = found, judge.measure(candidate)
            # What chance could have lost is no reason to reject the last, but one to try the next.
            if reason is None and not _warning(job, figures):
                break
        if reason is not None and isinstance(figures[job.runtime], Figures):
            reason += f"; {judge.advice(Path(work) / 'other.tflite')}"
        if reason is None:
            set_runtimes(candidate, [runtime for runtime in figures if figures[runtime].passed])
        target = job.folder / (f"{name}.tflite" if reason is None else f"{name}.tflite.rejected")
        files.write_bytes(target, candidate.read_bytes())
    if reason is None:
        for suffix in (".tflite.rejected", ".tflite.rejected.json"):
            (job.folder / f"{name}{suffix}").unlink(missing_ok=True)
        trust(read_bundle(target))
        if warning := _warning(job, figures):
            note(warning)
    drawn_from = job.available if job.available > len(job.rows.items) else None
    length, items = job.shape.sequence_length, job.rows.items
    unknown = unknown_share(job.task.input, job.reader.encoding(), length, items)
    measured = Evaluation(job.rows.source, figures, drawn_from, unknown)
    report = _report(job, target, float_error, choices, measured)
    report = dataclasses.replace(report, rejected=reason)
    name = f"{target.name.removesuffix('.tflite')}.json"
    files.write_json(target.with_name(name), as_json(report))
    if reason is not None:
        raise RejectedModelError(f"{reason}; the file is kept as {target}")
    return report


def _warning(job: Job, figures: Mapping[str, Figures | Refused]) -> str | None:
    """What there is to warn of in the runtime that the file is made for."""
    found = figures[job.runtime]
    return found.warning if isinstance(found, Figures) else None


def _convert_float(job: Job, path: Path) -> float:
    """Writes the float32 model and returns its largest difference from Keras.

    Raises CheckpointError where the model's outputs are not finite, RejectedModelError where the
    difference is above 1e-4, relative to outputs larger than 1.
    """
    inputs: dict[int, dict[str, np.ndarray]] = {}
    expected: dict[int, dict[str, np.ndarray]] = {}
    shape = job.shape if job.quantization == "float32" else _reference_shape(job.shape)
    with job.make_bar("building and converting the float model", 2) as bar:
        graphs = float_graphs(job.checkpoint, shape)
        for length, model in graphs.items():
            samples = job.reader.samples(job.rows.items[:_FLOAT_CHECK_TEXTS], length)
            inputs[length] = job.reader.inputs(samples, length, model.input_names)
            expected[length] = _run_rows(model, inputs[length])
            if not all(np.isfinite(values).all() for values in expected[length].values()):
                raise CheckpointError(
                    f"{job.source.folder}: the model answers with numbers that are not finite; "
                    "look for NaN or infinity among its weights"
                )
        bar.advance()
        bundle(job, to_tflite(graphs, "float32", job.runtime), path, "float32", shape)
        bar.advance()
    keras.backend.clear_session()
    board = job.board()
    errors = []
    for length, values in expected.items():
        outputs = board.outputs(path, inputs[length])
        with board.believed():
            errors += [difference(outputs[name], values[name]) for name in values]
    return check_error(errors, "float32 .tflite", "converter", f" in {job.runtime}")


def _reference_shape(shape: Shape) -> Shape:
    """Two lengths of what is only compared with: most texts are short, and each takes its time."""
    buckets = sorted(shape.buckets)
    return dataclasses.replace(shape, buckets=tuple(buckets[len(buckets) // 2 :][:1]))


def _run_rows(model: keras.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a graph that takes one text or image, by name, for all rows of `inputs`."""
    count = len(next(iter(inputs.values())))
    run = tf.function(model, autograph=False)  # layer by layer, a deep encoder takes seconds a text
    rows = [
        run({name: tf.constant(array[row : row + 1]) for name, array in inputs.items()})
        for row in range(count)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _report(
    job: Job, path: Path, float_error: float, choices: Choices, measured: Evaluation
) -> Conversion:
    content = path.read_bytes()
    held = contents(content)
    config = job.checkpoint.config
    return Conversion(
        model=job.source.name,
        file=path.name,
        size_bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        board_memory_bytes=needed_bytes(len(content)),
        sha256=files.sha256(path),
        source=Origin(job.source.origin, job.checkpoint.sha256),
        task=job.shape.task,
        labels=job.labels,
        sequence_length=job.shape.sequence_length,
        buckets=job.shape.buckets,
        parameters=cost.parameters(config),
        flops=cost.flops(config, job.shape.sequence_length),
        quantization=Quantization(
            mode=job.quantization,
            graph=job.shape.graph,
            activations_by_dtype=held.activations,
            constant_bytes_by_dtype=held.constants,
            operators=held.operators,
            float_operators=sum(held.float_operators.values()),
            operator_versions=held.versions,
            choices=choices,
        ),
        inputs=held.inputs,
        outputs=held.outputs,
        float32_tflite_error=float_error,
        evaluation=measured,
        # What an Edge TPU takes is not what its graph takes on a processor.
        estimates=times_of(path, read_bundle(path)) if job.shape.graph == INTEGER else [],
        options={**vars(job.options), "runtime": job.runtime, "max_drop": job.max_drop},
        versions={"python": platform.python_version(), **versions(_PACKAGES)},
        rejected=None,
    )
