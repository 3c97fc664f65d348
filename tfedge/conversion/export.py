"""Exports the float model of a checkpoint for other runtimes, and runs the result before it counts.

ONNX is written by tf2onnx, in the form that TensorRT reads. TensorRT 8.2, the last one for the Jetson
Nano, supports "operators up to Opset 13", without Reciprocal:
https://github.com/onnx/onnx-tensorrt/blob/release/8.2-GA/docs/operators.md
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge import files, tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.conversion.asked import default_length
from tfedge.conversion.judge import check_error, difference
from tfedge.conversion.result import Origin, versions
from tfedge.data.batches import padded_length
from tfedge.data.reader import Reader, open_reader
from tfedge.errors import CheckpointError, InputError, MissingPackageError, RejectedModelError
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import normalizes_embeddings
from tfedge.models.folder import CONFIG, copy_inputs
from tfedge.models.hub import Source, resolve
from tfedge.progress import MakeBar
from tfedge.records import as_json
from tfedge.tasks import task_and_labels
from tfedge.tflite.tflite import SIGNATURE, save_graphs

REPORT = "export.json"
ONNX_FILE = "model.onnx"
OPSET = 13  # the newest that TensorRT 8.2 reads
_SAMPLES = 8
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "saved-model": ("tensorflow",),
    "onnx": ("tensorflow", "tf2onnx", "onnx", "onnxruntime"),
}
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What `tfedge export` is asked for."""

    format: str  # saved-model or onnx
    output: Path
    # Tokens of the graph, of one text; None takes the preset's, else 128. Of images it must be None.
    sequence_length: int | None = None
    dynamic: bool = False  # any number of texts and tokens, or of images, goes in, not one
    task: str | None = None  # as the checkpoint's head says by default
    opset: int = OPSET
    force: bool = False


@dataclasses.dataclass(frozen=True)
class Export:
    """What `REPORT` holds."""

    model: str
    source: Origin
    format: str
    task: str
    labels: Sequence[str]
    # Dtype and sizes of each by name, None for a size that is open.
    inputs: Mapping[str, Sequence[str | int | None]]
    outputs: Sequence[str]
    opset: int | None
    versions: Mapping[str, str]
    sequence_length: int | None  # None for any
    largest_difference: float  # from Keras


def export(model: str, options: ExportOptions, make_bar: MakeBar) -> Export:
    """Writes the float32 model, what reads its inputs and `REPORT` to a folder, whole or not at all.

    A SavedModel has the signature `serving_default`; ONNX is in `ONNX_FILE`. Inputs are int32 (1, S),
    or (B, S) where `dynamic`, by Hugging Face's names; of images `pixel_values`, red, green and blue
    of 0 to 255, float32 (1, height, width, 3) or (B, height, width, 3), whose normalisation is in the
    weights. Outputs are float32, as the task has them.

    Args:
        model: a preset's name, a folder or a hub id.
        make_bar: makes a progress bar from a description and a number of steps.

    Raises:
        InputError: an option or the checkpoint cannot be used, or the output exists.
        MissingPackageError: a package that makes or runs the format is not installed.
        RejectedModelError: what was written does not compute what Keras does.
    """
    _check(options)
    source = resolve(model)
    checkpoint = Checkpoint(source.folder)
    task, labels = task_and_labels(checkpoint, options.task or source.task)
    length = _length(source, checkpoint.config, task, options)
    reader = open_reader(source.folder, checkpoint.config, tasks.find(task))
    graph = GraphOptions(
        batch_size=None if options.dynamic else 1,
        sequence_length=None if options.dynamic else length,
        normalize=normalizes_embeddings(source.folder),
        pixels=reader.pixels,
    )
    with (
        make_bar(f"exporting to {options.format}", 3) as bar,
        files.scratch_folder(options.output) as scratch,
    ):
        folder = scratch / "result"
        keras_model = build(checkpoint.config, task, len(labels), graph).model
        load_weights(keras_model, checkpoint, task)
        bar.advance()
        run = _write(keras_model, folder, options)
        bar.advance()
        inputs = _inputs(reader, length, options.dynamic, keras_model.input_names)
        error = _verify(keras_model, run, inputs)
        report = Export(
            model=source.name,
            source=Origin(source.origin, checkpoint.sha256),
            format=options.format,
            task=task,
            labels=labels,
            inputs={item.name: [item.dtype.name, *item.shape] for item in keras_model.inputs},
            outputs=list(keras_model.output),
            opset=options.opset if options.format == "onnx" else None,
            versions=versions(_PACKAGES[options.format]),
            sequence_length=graph.sequence_length,
            largest_difference=error,
        )
        _finish(folder, source, report, options.output)
        bar.advance()
    return report


def _length(source: Source, config: EncoderConfig, task: str, options: ExportOptions) -> int:
    """Tokens of the longest text, or of every image; raises InputError where another number is
    asked for of images."""
    config.architecture.check_length(config, options.sequence_length)
    least, most = config.architecture.lengths(config)
    if least == most:
        return most
    return options.sequence_length or min(default_length(source, task), most)


def _check(options: ExportOptions) -> None:
    if options.format not in _PACKAGES:
        raise InputError(f"unknown format {options.format!r}; known are {', '.join(_PACKAGES)}")
    if options.output.exists() and not options.force:
        raise InputError(f"{options.output} exists; choose another --output, or --force")
    files.check_folder(options.output.parent)


def _write(model: keras.Model, folder: Path, options: ExportOptions) -> Run:
    """Writes the model and returns what runs the written one."""
    if options.format == "onnx":
        content = to_onnx(model, options.opset)
        folder.mkdir()
        (folder / ONNX_FILE).write_bytes(content)
        return lambda inputs: run_onnx((folder / ONNX_FILE).read_bytes(), inputs)
    save_graphs({SIGNATURE: model}, folder)

    def run(inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        loaded = tf.saved_model.load(str(folder))
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures[SIGNATURE](**tensors)
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def _inputs(
    reader: Reader, length: int, dynamic: bool, names: list[str]
) -> list[dict[str, np.ndarray]]:
    """Batches of the package's sentences, or of made-up images: one of all, or one of each where the
    shape is static."""
    samples = reader.examples(_SAMPLES, length)
    if dynamic:
        length = padded_length([len(sample) for sample in samples], limit=length)
    groups = [samples] if dynamic else [[sample] for sample in samples]
    return [dict(reader.inputs(group, length, names)) for group in groups]


def _verify(model: keras.Model, run: Run, batches: list[dict[str, np.ndarray]]) -> float:
    """The largest difference from Keras, relative to outputs larger than 1.

    Raises CheckpointError where Keras' outputs are not finite, RejectedModelError where the outputs
    have other names, or differ by more than 1e-4.
    """
    errors = [0.0]
    for inputs in batches:
        expected = {name: value.numpy() for name, value in model(inputs).items()}
        found = run(inputs)
        if set(found) != set(expected):
            raise RejectedModelError(
                f"the exported model has the outputs {sorted(found)}, not {sorted(expected)}; this "
                "is a fault of tfedge, please report"
            )
        for name, value in expected.items():
            if not np.isfinite(value).all():
                raise CheckpointError("the model answers with numbers that are not finite")
            errors.append(difference(found[name], value))
    return check_error(errors, "exported model", "exporter")


def _finish(folder: Path, source: Source, report: Export, output: Path) -> None:
    """Puts tokeniser or preprocessor and report beside the model, and the folder in its place."""
    shutil.copyfile(source.folder / CONFIG, folder / CONFIG)
    copy_inputs(source.folder, folder)
    files.write_json(folder / REPORT, as_json(report))
    files.replace_folder(folder, output)


def to_onnx(model: keras.Model, opset: int = OPSET) -> bytes:
    """The ONNX of a Keras model, inputs and outputs under their Keras names; raises
    MissingPackageError where tf2onnx is not installed."""
    converter = _package("tf2onnx.convert")
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    names = [tensor.name for tensor in model.inputs]
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]

    def call(*tensors: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return model(dict(zip(names, tensors, strict=True)))

    with contextlib.redirect_stdout(io.StringIO()):
        proto, _ = converter.from_function(
            tf.function(call, autograph=False),
            input_signature=signature,
            opset=opset,
            custom_op_handlers=_HANDLERS,
        )
    return bytes(proto.SerializeToString())


def _from_one(outer: str, inner: str) -> Callable[[Any, Any, str, Any], None]:
    """Makes what writes an operator as `outer` of 1 and of `inner` of its input."""

    def write(graph: Any, node: Any, name: str, args: Any) -> None:
        inputs, outputs = list(node.input), list(node.output)
        like = {"shapes": [graph.get_shape(outputs[0])], "dtypes": [graph.get_dtype(outputs[0])]}
        graph.remove_node(name)
        one = graph.make_const(f"{name}/one", np.array(1, np.float32)).output[0]
        part = graph.make_node(inner, inputs, **like).output[0]
        graph.make_node(outer, [one, part], outputs=outputs, **like)

    return write


# What tf2onnx lacks, or writes so that TensorRT does not read it: GELU is spelt with the complement
# of erf, which ONNX has not, and TensorRT has no Reciprocal.
_HANDLERS: Mapping[str, Any] = {
    "Erfc": (_from_one("Sub", "Erf"), []),
    "Rsqrt": (_from_one("Div", "Sqrt"), []),
}


def run_onnx(content: bytes, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs that ONNX Runtime computes, by name as the inputs are; raises MissingPackageError
    where it is not installed, RejectedModelError where it refused the model."""
    runtime = _package("onnxruntime")
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    # ONNX Runtime has a dozen kinds of errors of its own, from RuntimeError or Exception alone.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise RejectedModelError(
            f"ONNX Runtime refused the exported model ({reason[:300]}); this is a fault of tfedge or "
            "of tf2onnx, please report"
        ) from error


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"exporting to ONNX needs tf2onnx and onnxruntime ({error}): "
            "`pip install 'tf2onnx>=1.17,<2' onnxruntime`"
        ) from error
