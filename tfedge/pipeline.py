"""The whole way from a checkpoint to a measured .tflite: calls the stages in their order."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge import __version__, files
from tfedge.convert.inspect import inspect
from tfedge.convert.metadata import BundleSpec, set_runtimes, write_bundle
from tfedge.convert.tflite import INTEGER_QUANTIZATIONS, QUANTIZATIONS, signature_name, to_tflite
from tfedge.data.batches import pad
from tfedge.data.texts import Texts, package_texts, read_texts
from tfedge.data.tokenizer import encode, load_tokenizer, vocabulary
from tfedge.errors import CheckpointError, InputError, MissingPackageError, RejectedModelError
from tfedge.measure import cost
from tfedge.measure.accuracy import accuracy, disagreement
from tfedge.measure.board import Board
from tfedge.models.checkpoint import Checkpoint, task_and_labels
from tfedge.models.hub import Source, resolve
from tfedge.models.pooling import normalizes_embeddings
from tfedge.quantize.prepare import PASSES, Shape, float_graphs, int8_graphs
from tfedge.quantize.record import FILE as RECORD
from tfedge.quantize.record import read_decisions
from tfedge.runtime.errors import TextError
from tfedge.runtime.interpreter import RUNTIMES
from tfedge.runtime.tasks import TASKS
from tfedge.runtime.tokenizer import TextEncoder

# Texts of a labelled calibration set that choose ranges; the others evaluate.
_CALIBRATION_TEXTS = 200
_BUCKETS = (16, 32, 64)
_FLOAT_TOLERANCE = 1e-4
_FLOAT_CHECK_TEXTS = 8
_VERSIONS = ("tensorflow", "tf-keras", "transformers", "tflite-runtime", "ai-edge-litert", "numpy")


class Bar(Protocol):
    """A progress bar as the pipeline uses it."""

    def advance(self, count: int = 1) -> None: ...


MakeBar = Callable[[str, int], AbstractContextManager[Bar]]


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """What `tfedge convert` is asked for; None takes what the recipe or the checkpoint says.

    Attributes:
        buckets: lengths of shorter graphs in the same file; those not below the sequence length
            are left out.
        calibration: file with texts (labels are used for evaluation if they fit); the package's
            own sentences by default.
        evaluation: labelled file to measure the loss of accuracy on; the rest of the calibration
            texts by default.
        normalize: whether sentence embeddings come out with length 1; as the checkpoint's
            sentence-transformers modules say by default.
        max_drop: largest loss in points: accuracy x 100, or disagreement x 100 without labels.
        keep_reference: whether the same graph in float is written too, for `tfedge inspect`.
    """

    quantization: str | None = None
    sequence_length: int | None = None
    buckets: tuple[int, ...] | None = None
    task: str | None = None
    calibration: str | None = None
    evaluation: str | None = None
    runtime: str = "tflite-runtime"
    normalize: bool | None = None
    max_drop: float = 1.0
    output: Path = Path("saved_models")
    keep_reference: bool = False


@dataclasses.dataclass(frozen=True)
class _Job:
    """What the stages of one conversion share."""

    source: Source
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    options: ConvertOptions
    quantization: str
    shape: Shape
    labels: list[str]
    make_bar: MakeBar

    @property
    def runtimes(self) -> list[str]:
        """Runtimes that the file may run on, the one asked for first.

        What is made for tflite-runtime suits LiteRT too; the other way round it may crash.
        """
        wanted = self.options.runtime
        others = ["litert"] if wanted == "tflite-runtime" and RUNTIMES["litert"].installed() else []
        return [wanted, *others]


def convert(model: str, options: ConvertOptions, make_bar: MakeBar) -> dict[str, Any]:
    """Converts `model`, runs the result in the runtime it is meant for, and judges it.

    Writes `<output>/<name>/<name>_<quantization>.tflite` and a `.json` beside it, and with
    `keep_reference` also `<name>_<quantization>_reference.tflite`, which is not measured.

    Args:
        model: a recipe's name, a folder or a hub id.
        make_bar: makes a progress bar from a description and a number of steps.

    Returns:
        The report that the `.json` holds.

    Raises:
        InputError: an option or the checkpoint cannot be used.
        RejectedModelError: the converted model crashed or lost too much; it is kept with the
            suffix `.rejected`, its report beside it.
    """
    job = _job(model, options, make_bar)
    calibration, evaluation = _texts(job)
    truth = _truth(job, evaluation)
    _check_answerable(job, evaluation)
    folder = options.output / job.source.name
    files.check_folder(folder)
    name = f"{job.source.name}_{job.quantization}"
    with tempfile.TemporaryDirectory(prefix="tfedge-") as work:
        reference = Path(work) / "float32.tflite"
        float_error = _convert_float(job, reference, evaluation)
        candidate = reference
        ranges = None
        if job.quantization != "float32":
            candidate = Path(work) / f"{name}.tflite"
            ranges = _convert_quantized(job, candidate, calibration, folder)
        measured, reason = _measure(job, candidate, reference, evaluation, truth)
        passed = [runtime for runtime, figures in measured.items() if figures["passed"]]
        if reason is None:
            set_runtimes(candidate, passed)
        target = folder / (f"{name}.tflite" if reason is None else f"{name}.tflite.rejected")
        files.write_bytes(target, candidate.read_bytes())
    if reason is None:
        for suffix in (".tflite.rejected", ".tflite.rejected.json"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)
    report = _report(job, target, float_error, ranges, measured, evaluation)
    report["rejected"] = reason
    files.write_json(target.with_name(f"{target.name.removesuffix('.tflite')}.json"), report)
    if reason is not None:
        raise RejectedModelError(f"{reason}; the file is kept as {target}")
    return report


def _job(model: str, options: ConvertOptions, make_bar: MakeBar) -> _Job:
    if not RUNTIMES.get(options.runtime):
        raise InputError(f"unknown runtime {options.runtime!r}; known are {', '.join(RUNTIMES)}")
    if not RUNTIMES[options.runtime].installed():
        raise MissingPackageError(
            f"{options.runtime} is not installed, so the model could not be tried in it: "
            f"pip install {RUNTIMES[options.runtime].package}"
        )
    source = resolve(model)
    recipe = source.recipe
    checkpoint = Checkpoint(source.folder)
    task, labels = task_and_labels(checkpoint, options.task or (recipe.task if recipe else None))
    if recipe and recipe.labels and not checkpoint.config.labels:
        labels = list(recipe.labels)
    length = options.sequence_length or (recipe.sequence_length if recipe else 128)
    quantization = options.quantization or (recipe.quantization if recipe else "int8")
    if quantization not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise InputError(f"unknown quantization {quantization!r}; known are {known}")
    normalize = options.normalize
    if normalize is None:
        normalize = normalizes_embeddings(source.folder)
    buckets = options.buckets
    if buckets is None:
        buckets = recipe.buckets if recipe else _BUCKETS
    shorter = tuple(sorted({bucket for bucket in buckets if bucket < length}))
    shape = Shape(task, len(labels), length, normalize, shorter)
    tokenizer = load_tokenizer(source.folder, checkpoint.config.vocab_size)
    return _Job(source, checkpoint, tokenizer, options, quantization, shape, labels, make_bar)


def _texts(job: _Job) -> tuple[Texts, Texts]:
    """Calibration and evaluation texts; of one file, the first and the later ones."""
    if job.options.calibration:
        texts = read_texts(job.options.calibration)
    else:
        recipe = job.source.recipe
        texts = package_texts(recipe.calibration) if recipe else package_texts()
    calibration = texts.head(_CALIBRATION_TEXTS)
    if job.options.evaluation:
        return calibration, read_texts(job.options.evaluation)
    rest = (
        texts.tail(len(texts) - _CALIBRATION_TEXTS)
        if len(texts) > 2 * _CALIBRATION_TEXTS
        else texts
    )
    return calibration, rest


def _bundle(job: _Job, content: bytes, path: Path, quantization: str) -> None:
    is_wordpiece = type(job.tokenizer.model).__name__ == "WordPiece"
    spec = BundleSpec(
        name=job.source.name,
        task=job.shape.task,
        labels=job.labels or None,
        signatures={
            signature_name(length, job.shape.sequence_length): length
            for length in job.shape.lengths
        },
        runtimes=job.runtimes,
        quantization=quantization,
        normalize=job.shape.task == "sentence-embedding" and job.shape.normalize,
        tokenizer_json=job.tokenizer.to_str().encode(),
        vocab=vocabulary(job.tokenizer) if is_wordpiece else None,
    )
    write_bundle(content, spec, path)


def _convert_float(job: _Job, path: Path, texts: Texts) -> float:
    """Writes the float32 model and returns its largest difference from Keras.

    Raises:
        CheckpointError: the model's outputs are not finite.
        RejectedModelError: the difference is above 1e-4, relative to outputs larger than 1.
    """
    inputs: dict[int, dict[str, np.ndarray]] = {}
    expected: dict[int, dict[str, np.ndarray]] = {}
    with job.make_bar("building and converting the float model", 2) as bar:
        graphs = float_graphs(job.checkpoint, job.shape)
        for length, model in graphs.items():
            sequences = encode(job.tokenizer, texts.texts[:_FLOAT_CHECK_TEXTS], length)
            inputs[length] = pad(sequences, length, tuple(model.input_names))
            expected[length] = _run_rows(model, inputs[length])
            if not all(np.isfinite(values).all() for values in expected[length].values()):
                raise CheckpointError(
                    f"{job.source.folder}: the model answers with numbers that are not finite; "
                    "look for such weights"
                )
        bar.advance()
        _bundle(job, to_tflite(graphs, "float32", job.options.runtime), path, "float32")
        bar.advance()
    keras.backend.clear_session()
    board = Board(runtime=job.options.runtime)
    errors = []
    for length, values in expected.items():
        outputs = board.outputs(path, inputs[length])
        errors += [_error(outputs[name], values[name]) for name in values]
    error = float(np.max(errors))  # np.max() keeps NaN, max() may not
    if not error <= _FLOAT_TOLERANCE:
        raise RejectedModelError(
            f"the float32 .tflite differs from Keras by {error:.2g} in {job.options.runtime}, more "
            f"than {_FLOAT_TOLERANCE}; this is a fault of tfedge or of the converter, please report"
        )
    return error


def _run_rows(model: keras.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a graph that takes one text, by name, for all rows of `inputs`."""
    count = len(next(iter(inputs.values())))
    rows = [
        model({name: array[row : row + 1] for name, array in inputs.items()})
        for row in range(count)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference in a row, relative to the row's largest value if that is above 1."""
    axes = tuple(range(1, expected.ndim))
    scales = np.maximum(1.0, np.abs(expected).max(axis=axes))
    return float((np.abs(actual - expected).max(axis=axes) / scales).max())


def _keep_reference(job: _Job, folder: Path, graphs: dict[int, keras.Model]) -> None:
    """Writes the float32 graphs whose tensors have the names of the quantised ones."""
    path = folder / f"{job.source.name}_{job.quantization}_reference.tflite"
    _bundle(job, to_tflite(graphs, "float32", job.options.runtime), path, "float32")


def _convert_quantized(
    job: _Job, path: Path, texts: Texts, folder: Path
) -> dict[str, list[float]] | None:
    """Writes the quantised model; returns the ranges that calibration chose, if any."""
    ranges = None
    keep = functools.partial(_keep_reference, job, folder) if job.options.keep_reference else None
    if job.quantization in INTEGER_QUANTIZATIONS:
        sequences = encode(job.tokenizer, texts.texts, job.shape.sequence_length)
        decisions = read_decisions(job.checkpoint, job.shape.task)
        what = f"taking the ranges of {RECORD}" if decisions else "calibrating"
        with job.make_bar(what, PASSES * len(sequences)) as bar:
            graphs, calibration = int8_graphs(
                job.checkpoint, job.shape, sequences, bar.advance, decisions, keep
            )
        ranges = {name: [range_.min, range_.max] for name, range_ in calibration.ranges.items()}
    else:
        graphs = float_graphs(job.checkpoint, job.shape)
        if keep:
            keep(graphs)
    with job.make_bar(f"converting to {job.quantization}", 1) as bar:
        content = to_tflite(graphs, job.quantization, job.options.runtime)
        if job.quantization == "int8" and (found := inspect(content).float_operators):
            raise RejectedModelError(
                f"int8 left operators in float: {', '.join(sorted(found))}; this is a fault of "
                "tfedge or of the converter, please report"
            )
        _bundle(job, content, path, job.quantization)
        bar.advance()
    keras.backend.clear_session()
    return ranges


def _measure(
    job: _Job, candidate: Path, reference: Path, texts: Texts, truth: list[int] | None
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Runs both models on the evaluation texts in each runtime.

    Returns:
        Figures by runtime, and why the candidate is rejected, or None.
    """
    items = _items(job, texts)
    measured: dict[str, dict[str, Any]] = {}
    reason = None
    for runtime in job.runtimes:
        board = Board(runtime=runtime)
        steps = len(items) * (1 if candidate == reference else 2)
        try:
            with job.make_bar(f"running it in {runtime}", steps) as bar:
                expected = board.answers(reference, items, bar.advance)
                answers = expected
                if candidate != reference:
                    answers = board.answers(candidate, items, bar.advance)
        except RejectedModelError as error:
            measured[runtime] = {"passed": False, "error": str(error)}
            if runtime == job.options.runtime:
                reason = str(error)
            continue
        figures = _figures(job, expected, answers, truth)
        measured[runtime] = figures
        if not figures["passed"] and runtime == job.options.runtime:
            reason = (
                f"{job.source.name} in {job.quantization} loses {figures['drop']:.2f} points against "
                f"float on {texts.source} in {runtime}, more than the {job.options.max_drop} allowed "
                "by --max-drop"
            )
    return measured, reason


def _items(job: _Job, texts: Texts) -> Sequence[Any]:
    """What a model of the task is asked."""
    if job.shape.task != "question-answering":
        return texts.texts
    # The package's texts have no questions; what a model answers to any pair can be compared.
    return list(zip([*texts.texts[1:], texts.texts[0]], texts.texts, strict=True))


def _check_answerable(job: _Job, texts: Texts) -> None:
    """Raises InputError where no text can be answered, so that nothing could be compared."""
    pairs = TASKS[job.shape.task].pairs
    length = job.shape.sequence_length
    encoder = TextEncoder(job.tokenizer.to_str().encode(), length, pairs)
    reason = ""
    for item in _items(job, texts):
        try:
            encoder.encode(*(item if pairs else (item,)))
            return
        except TextError as error:
            reason = reason or str(error)
    raise InputError(f"no text of {texts.source} can be answered with {length} tokens: {reason}")


def _truth(job: _Job, texts: Texts) -> list[int] | None:
    """True labels as indices; None where the texts have none that the model knows."""
    if job.shape.task != "text-classification" or texts.labels is None:
        return None
    if job.options.evaluation:
        return texts.label_ids(job.labels)
    known = {label.lower() for label in job.labels}
    if not {label.lower() for label in texts.labels} <= known:
        return None
    return texts.label_ids(job.labels)


def _figures(
    job: _Job,
    expected: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    truth: list[int] | None,
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "texts": len(answers),
        "disagreement": disagreement(answers, expected),
    }
    figures["drop"] = 100 * figures["disagreement"]
    if truth is not None:
        figures["float_accuracy"] = accuracy(expected, truth, job.labels).accuracy
        figures["accuracy"] = accuracy(answers, truth, job.labels).accuracy
        figures["drop"] = 100 * (figures["float_accuracy"] - figures["accuracy"])
    figures["passed"] = figures["drop"] <= job.options.max_drop
    return figures


def _report(
    job: _Job,
    path: Path,
    float_error: float,
    ranges: dict[str, list[float]] | None,
    measured: dict[str, dict[str, Any]],
    evaluation: Texts,
) -> dict[str, Any]:
    contents = inspect(path.read_bytes())
    config = job.checkpoint.config
    return {
        "model": job.source.name,
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "sha256": files.sha256(path),
        "source": {"origin": job.source.origin, "weights_sha256": job.checkpoint.sha256},
        "task": job.shape.task,
        "labels": job.labels,
        "sequence_length": job.shape.sequence_length,
        "buckets": list(job.shape.buckets),
        "parameters": cost.parameters(config),
        "flops": cost.flops(config, job.shape.sequence_length),
        "quantization": {
            "mode": job.quantization,
            "activations_by_dtype": contents.activations,
            "constant_bytes_by_dtype": contents.constants,
            "operators": contents.operators,
            "float_operators": sum(contents.float_operators.values()),
            "operator_versions": contents.versions,
            "ranges": ranges,
        },
        "inputs": [dataclasses.asdict(tensor) for tensor in contents.inputs],
        "outputs": [dataclasses.asdict(tensor) for tensor in contents.outputs],
        "float32_tflite_error": float_error,
        "evaluation": {"source": evaluation.source, "runtimes": measured},
        "options": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in dataclasses.asdict(job.options).items()
        },
        "versions": {"tfedge": __version__, "python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    installed = {}
    for package in _VERSIONS:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed
