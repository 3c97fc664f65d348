"""`convert` from a toy checkpoint to the report: every quantisation, architecture and task once."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
import toys
from bars import Bars
from program import INSTALLED, needs_both
from safetensors.numpy import load_file, save_file

from tfedge import __version__, tasks
from tfedge.conversion import convert as whole
from tfedge.conversion import job, judge
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.conversion.job import Job
from tfedge.conversion.result import Choices, Figures
from tfedge.data.texts import Texts, package_texts, read_texts
from tfedge.errors import CheckpointError, InputError, MissingPackageError, RejectedModelError
from tfedge.measure.board import Board
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.measure.evaluate import read_rows
from tfedge.records import as_json
from tfedge.runtime import apart, load
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.runtimes import RUNTIMES, Runtime
from tfedge.tasks.base import disagreement

LENGTH = 16
TEXTS = 12
CLASSIFICATION = "text-classification"
HEADS = ("pooler.", "classifier.", "pre_classifier.", "qa_outputs.", "cls.")
ALWAYS = 100.0  # --max-drop of toys, whose random weights make every answer a near tie


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What a conversion was given and what it left behind."""

    source: Path
    quantization: str
    report: dict[str, Any]
    folder: Path
    bars: Bars

    @property
    def path(self) -> Path:
        return self.folder / f"{self.source.name}_{self.quantization}.tflite"

    @property
    def figures(self) -> dict[str, Any]:
        """Of the evaluation, by runtime."""
        figures: dict[str, Any] = self.report["evaluation"]["runtimes"]
        return figures


def write_toy(
    folder: Path, architecture: str = "bert", task: str = CLASSIFICATION, **changes: Any
) -> Path:
    """A toy of one layer whose answers depend on the words."""
    labels = toy_folders.ENTITIES if task == "token-classification" else toy_folders.LABELS
    toy_folders.write_folder(folder, architecture, task, labels, small=True, **changes)
    tensors = load_file(folder / "model.safetensors")
    for name, value in tensors.items():
        if name.endswith("word_embeddings.weight"):
            value *= 10
        if name.endswith(("attention.self.value.weight", "attention.output.dense.weight")):
            value *= 5
        if name == "classifier.bias":
            value *= 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def crashing_board(folder: Path, when: str) -> type[Board]:
    """Makes boards that crash when what they are asked to run contains `when`."""
    script = folder / "python"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *"{when}"*) kill -SEGV $$;; esac\nexec "{sys.executable}" "$@"\n'
    )
    script.chmod(0o700)

    @dataclasses.dataclass(frozen=True)
    class Crashing(Board):
        python: tuple[str, ...] = (str(script),)

    return Crashing


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A labelled file of few texts."""
    path = tmp_path_factory.mktemp("data") / "toy.tsv"
    return str(toy_folders.write_sentences(path, TEXTS))


# Name -> architecture, task, quantisation, and what else is special about it.
CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "int8": ("bert", CLASSIFICATION, "int8", {}),
    "dynamic": ("bert", "question-answering", "dynamic", {}),
    # The package's own texts, on a machine whose LiteRT crashes, where there is another runtime.
    "float16": ("bert", CLASSIFICATION, "float16", {"calibration": None}),
    "float32": ("bert", CLASSIFICATION, "float32", {"runtime": "litert"}),
    "distilbert": ("distilbert", "token-classification", "int8-float-io", {}),
    "mobilebert": ("mobilebert", "sentence-embedding", "int8", {}),
    "int4": ("bert", CLASSIFICATION, "int4", {}),
    "int16x8": ("bert", "sentence-embedding", "int16x8", {"runtime": "litert"}),
    "words": ("bert", "fill-mask", "int8", {"runtime": "litert"}),
}
CLASSIFIERS = [name for name, case in CASES.items() if case[1] == CLASSIFICATION]


@pytest.fixture(scope="module")
def converted(
    tmp_path_factory: pytest.TempPathFactory, data: str
) -> Iterator[Callable[[str], Conversion]]:
    """Converts a case by its name, once."""
    done: dict[str, Conversion] = {}
    root = tmp_path_factory.mktemp("converted")

    def run(name: str) -> Conversion:
        architecture, task, quantization, options = CASES[name]
        source = write_toy(root / name / "toy", architecture, task)
        if name == "float32":  # rejected the last time
            (root / name / "out" / "toy").mkdir(parents=True)
            for suffix in (".tflite.rejected", ".tflite.rejected.json"):
                (root / name / "out" / "toy" / f"toy_float32{suffix}").write_text("old")
        bars = Bars()
        changes = {"calibration": data, "output": root / name / "out", "max_drop": ALWAYS}
        changes |= {"sequence_length": LENGTH, "quantization": quantization}
        report = as_json(convert(str(source), ConvertOptions(**{**changes, **options}), bars))
        return Conversion(source, quantization, report, root / name / "out" / "toy", bars)

    def get(name: str) -> Conversion:
        if name not in done:
            with pytest.MonkeyPatch.context() as patch:
                if name == "float16" and len(INSTALLED) > 1:
                    board = crashing_board(root, "--runtime litert")
                    patch.setattr(job, "Board", board)
                done[name] = run(name)
        return done[name]

    yield get


@pytest.fixture(params=CASES)
def conversion(
    request: pytest.FixtureRequest, converted: Callable[[str], Conversion]
) -> Conversion:
    return converted(request.param)


def test_one_file_and_its_report(conversion: Conversion) -> None:
    report = conversion.path.with_suffix(".json")
    assert sorted(conversion.folder.iterdir()) == [report, conversion.path]
    assert json.loads(report.read_text(encoding="utf-8")) == conversion.report
    assert conversion.report["file"] == conversion.path.name
    assert conversion.report["rejected"] is None


def test_report_of_the_files(conversion: Conversion) -> None:
    report = conversion.report
    content = conversion.path.read_bytes()
    assert report["size_bytes"] == len(content)
    assert report["sha256"] == hashlib.sha256(content).hexdigest()
    weights = conversion.source / "model.safetensors"
    assert report["source"] == {
        "origin": str(conversion.source),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    tensors = {name.removeprefix("bert."): value for name, value in load_file(weights).items()}
    encoder = [value.size for name, value in tensors.items() if not name.startswith(HEADS)]
    assert report["parameters"] == sum(encoder)
    assert report["versions"]["tfedge"] == __version__
    assert report["versions"]["tensorflow"] == importlib.metadata.version("tensorflow")


@pytest.mark.parametrize("name", CASES)
def test_report_of_the_task(converted: Callable[[str], Conversion], name: str) -> None:
    conversion = converted(name)
    architecture, task, quantization, _ = CASES[name]
    report = conversion.report
    names = ["attention_mask", "input_ids", "token_type_ids"]
    names = names[:2] if architecture == "distilbert" else names
    names = ["asked", *names] if task == "fill-mask" else names
    shapes = {
        CLASSIFICATION: {"logits": [1, 2]},
        "token-classification": {"logits": [1, LENGTH, 2]},
        "question-answering": {"end_logits": [1, LENGTH], "start_logits": [1, LENGTH]},
        "fill-mask": {"logits": [1, len(toys.VOCABULARY)]},
        "sentence-embedding": {"embedding": [1, 32 if architecture == "bert" else 40]},
    }
    labels = {CLASSIFICATION: toy_folders.LABELS, "token-classification": toy_folders.ENTITIES}
    assert (report["model"], report["task"], report["sequence_length"]) == ("toy", task, LENGTH)
    assert report["labels"] == list(labels.get(task, ()))
    assert [(item["name"], item["shape"]) for item in report["inputs"]] == [
        (name, [1, LENGTH]) for name in names
    ]
    assert {item["name"]: item["shape"] for item in report["outputs"]} == shapes[task]
    manifest = read_bundle(conversion.path).manifest
    assert (manifest.name, manifest.task, manifest.quantization) == ("toy", task, quantization)
    assert manifest.labels == labels.get(task)
    assert dict(manifest.signatures) == {"serving_default": LENGTH, "tokens_12": 12}


# Mode -> dtype of the weights, of the outputs.
DTYPES = {
    "int8": ("INT8", "INT8"),
    "int8-float-io": ("INT8", "FLOAT32"),
    "int16x8": ("INT8", "FLOAT32"),
    "int4": ("INT4", "FLOAT32"),
    "dynamic": ("INT8", "FLOAT32"),
    "float16": ("FLOAT16", "FLOAT32"),
    "float32": ("FLOAT32", "FLOAT32"),
}


BYTES = {"INT4": 0.5, "INT8": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4, "INT64": 8}


def test_report_of_the_quantisation(conversion: Conversion) -> None:
    found = conversion.report["quantization"]
    assert found["mode"] == conversion.quantization
    constants = found["constant_bytes_by_dtype"]
    weights, outputs = DTYPES[conversion.quantization]
    assert max(constants, key=lambda dtype: constants[dtype] / BYTES[dtype]) == weights
    assert {item["dtype"] for item in conversion.report["outputs"]} == {outputs}
    computed = found["activations_by_dtype"]
    is_int8 = conversion.quantization in ("int8", "int8-float-io")
    # The word embeddings alone where only weights are quantised.
    assert (computed.get("INT8", 0) > 10) == is_int8
    in_float = {name: count for name, count in found["operators"].items() if "FLOAT" in name}
    assert found["float_operators"] == sum(in_float.values())
    assert set(found["operator_versions"]) == {name.split()[0] for name in found["operators"]}
    assert bool(found["ranges"]) == is_int8
    assert all(low <= high for low, high in (found["ranges"] or {}).values())


def test_report_of_the_options(converted: Callable[[str], Conversion], data: str) -> None:
    conversion = converted("int8")
    assert conversion.report["options"] == {
        "quantization": "int8",
        "sequence_length": LENGTH,
        "buckets": None,
        "task": None,
        "labels": [],
        "template": None,
        "calibration": data,
        "evaluation": None,
        "runtime": INSTALLED[0],
        "board": None,
        "target": None,
        "precisions": None,
        "normalize": None,
        "max_drop": ALWAYS,
        "output": str(conversion.folder.parent),
        "keep_reference": False,
        "weight_bits": 8.0,
        "evaluation_limit": 1000,
        "columns": {},
    }


def test_float_model_is_keras(conversion: Conversion) -> None:
    # Not 0, which would mean that nothing was compared.
    assert 0 < conversion.report["float32_tflite_error"] < 1e-4


def test_bars_come_to_their_end(conversion: Conversion) -> None:
    crashed = [name for name, figures in conversion.figures.items() if "error" in figures]
    bars = [bar for bar in conversion.bars if not bar.description.endswith(tuple(crashed))]
    assert len(bars) == len(conversion.bars) - len(crashed)
    assert [(bar.description, bar.done) for bar in bars] == [
        (bar.description, bar.total) for bar in bars
    ]
    assert any("calibrating" in bar.description for bar in conversion.bars) == (
        conversion.quantization.startswith("int") and conversion.quantization != "int4"
    )


def evaluation_texts(conversion: Conversion, data: str) -> Texts:
    """The texts that the report says it was measured on."""
    source = conversion.report["evaluation"]["source"]
    if source == data:
        return read_texts(data)
    assert source == "tfedge/data/sentences.tsv"
    # The first 200 calibrate.
    return read_texts(Path(__file__).parents[2] / source).tail(280)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_figures_again(converted: Callable[[str], Conversion], data: str, name: str) -> None:
    """By Keras instead of the float .tflite, and counted here."""
    conversion = converted(name)
    texts = evaluation_texts(conversion, data)
    assert texts.labels is not None
    in_keras = checkpoint_answers(conversion.source, texts.texts, max_length=LENGTH)
    in_float = [answer["label"] for answer in in_keras]
    assert len(set(in_float)) == 2  # not one answer to everything
    for runtime, figures in conversion.figures.items():
        if "error" in figures:
            continue
        answers = Board(runtime=runtime, threads=1).answers(conversion.path, texts.texts)
        labels = [answer["label"] for answer in answers]
        accuracy, float_accuracy = (
            float(np.mean(np.array(found) == np.array(texts.labels)))
            for found in (labels, in_float)
        )
        assert figures["texts"] == len(texts)
        assert figures["accuracy"] == pytest.approx(accuracy)
        assert figures["float_accuracy"] == pytest.approx(float_accuracy)
        differing = np.mean(np.array(labels) != np.array(in_float))
        assert figures["disagreement"] == pytest.approx(differing)
        assert figures["drop"] == pytest.approx(100 * (float_accuracy - accuracy))
        pairs = list(zip(labels, in_float, texts.labels, strict=True))
        assert figures["comparison"] == {
            "compared": len(texts),
            "same": sum(one == other for one, other, _ in pairs),
            "both_right": sum(one == other == true for one, other, true in pairs),
            "only_this_right": sum(one == true != other for one, other, true in pairs),
            "only_other_right": sum(other == true != one for one, other, true in pairs),
            "p_value": pytest.approx(figures["comparison"]["p_value"]),
        }
        assert figures["passed"] is True


def test_loss_that_is_allowed() -> None:
    def allowed(model: str, **options: float) -> float:
        return Job(model, ConvertOptions(**options), Bars()).max_drop

    assert allowed("tinybert") == 1.0
    assert allowed("minilm") == 2.0
    assert allowed("minilm", max_drop=0.5) == 0.5


def test_runtimes_it_was_verified_on(converted: Callable[[str], Conversion]) -> None:
    def verified(name: str) -> tuple[str, ...]:
        return read_bundle(converted(name).path).manifest.runtimes

    assert verified("int8") == tuple(converted("int8").figures) == INSTALLED
    # What is made for LiteRT may crash tflite-runtime, and is not tried in it.
    assert verified("float32") == tuple(converted("float32").figures) == ("litert",)


@needs_both
def test_a_crash_in_a_runtime_that_was_not_asked_for(
    converted: Callable[[str], Conversion],
) -> None:
    """It is no reason to reject."""
    assert read_bundle(converted("float16").path).manifest.runtimes == ("tflite-runtime",)
    failed = converted("float16").figures["litert"]
    assert failed["passed"] is False
    assert "litert crashed running it (SIGSEGV)" in failed["error"]


def test_answers_of_other_tasks(converted: Callable[[str], Conversion]) -> None:
    board = Board(threads=1)
    (tokens,) = board.answers(converted("distilbert").path, ["ada was good"])
    assert [token["token"] for token in tokens["tokens"]] == ["ada", "was", "good"]
    assert {token["label"] for token in tokens["tokens"]} <= set(toy_folders.ENTITIES)
    (span,) = board.answers(converted("dynamic").path, [("who was good ?", "ada was good")])
    assert span["answer"] == "ada was good"[span["start"] : span["end"]]
    texts = ["ada was good", "where is bob"]
    embedded = board.answers(converted("mobilebert").path, texts)
    lengths = [np.linalg.norm(answer["embedding"]) for answer in embedded]
    assert lengths == pytest.approx([1, 1])
    in_keras = checkpoint_answers(converted("mobilebert").source, texts, max_length=LENGTH)
    embedding = tasks.find("sentence-embedding")
    apart = disagreement(embedding, in_keras[:1], in_keras[1:])
    for one, other in zip(embedded, in_keras, strict=True):
        assert disagreement(embedding, [one], [other]) < apart
    for name, count in (("distilbert", TEXTS), ("dynamic", TEXTS), ("mobilebert", TEXTS)):
        for figures in converted(name).figures.values():
            assert figures["texts"] == count
            assert figures["drop"] == pytest.approx(100 * figures["disagreement"])
            assert "accuracy" not in figures  # the labels are of another task
    for figures in converted("mobilebert").figures.values():
        assert figures["comparison"]["mean_cosine"] == pytest.approx(1 - figures["disagreement"])
        assert figures["comparison"]["neighbours"] == TEXTS


@pytest.fixture
def quick(tmp_path: Path, data: str) -> ConvertOptions:
    """The conversion that takes least."""
    return ConvertOptions(
        quantization="float32", sequence_length=LENGTH, calibration=data, output=tmp_path / "out"
    )


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_loss_by_chance_is_no_reason_to_stop_but_one_to_go_on(
    tmp_path: Path,
    quick: ConvertOptions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    left: int,
) -> None:
    """Of two candidates, `auto` takes the first without a warning, or else the last."""
    seen: list[Path] = []

    def attempts(job: Job, path: Path) -> Iterator[Choices]:
        for _ in range(2):
            path.write_bytes((path.parent / "float32.tflite").read_bytes())
            seen.append(path)
            yield Choices(None)

    def measure(self: judge.Judge, path: Path) -> Any:
        warning = f"chance {left}" if len(seen) <= left else None
        return {INSTALLED[0]: Figures(1, 0, 2.0, True, {}, {}, warning=warning)}, None

    monkeypatch.setattr(whole, "candidates", attempts)
    monkeypatch.setattr(judge.Judge, "measure", measure)
    options = dataclasses.replace(quick, quantization="auto", runtime=INSTALLED[0])
    report = convert(str(write_toy(tmp_path / "toy")), options, Bars())
    assert len(seen) == min(left + 1, 2)
    assert report.rejected is None
    assert ("tfedge: note: chance 2" in capsys.readouterr().err) == (left == 2)


@pytest.mark.parametrize("reason", ["drop", "crash"])
def test_rejection_keeps_the_older_artefact(
    tmp_path: Path, quick: ConvertOptions, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    folder = tmp_path / "out" / "toy"
    folder.mkdir(parents=True)
    older = {"toy_float32.tflite": b"older model", "toy_float32.json": b"older report"}
    for name, content in older.items():
        (folder / name).write_bytes(content)
    if reason == "crash":
        crashing = crashing_board(tmp_path, f"infer --runtime {INSTALLED[0]}")
        monkeypatch.setattr(job, "Board", crashing)
        message = rf"{INSTALLED[0]} crashed running it \(SIGSEGV\)"
    else:
        # Labels of another model are of no importance where the texts calibrate.
        texts = tmp_path / "stars.tsv"
        texts.write_text("text\tlabel\na good film\t5 stars\n")
        # Not to be had by a model that is its own reference: a gain.
        quick = dataclasses.replace(quick, calibration=str(texts), max_drop=-1.0)
        message = (
            rf"^toy in float32 is further from float on .*stars\.tsv in {INSTALLED[0]} than --max-drop "
            r"-1 allows: 0 of 1 texts differ, 0\.00 points \(95 % interval 0\.00 to 97\.50\); 1 of 1 "
            r"texts alike; try a larger --max-drop; "
        )
    with pytest.raises(RejectedModelError, match=message) as raised:
        convert(str(write_toy(tmp_path / "toy")), quick, Bars())
    rejected = folder / "toy_float32.tflite.rejected"
    assert str(raised.value).endswith(f"; the file is kept as {rejected}")
    assert {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name in older
    } == older
    report = json.loads((folder / "toy_float32.tflite.rejected.json").read_text())
    assert len(list(folder.iterdir())) == 4
    assert str(raised.value).startswith(report["rejected"])
    assert report["file"] == rejected.name
    assert report["sha256"] == hashlib.sha256(rejected.read_bytes()).hexdigest()
    figures = report["evaluation"]["runtimes"]
    assert figures[INSTALLED[0]]["passed"] is False
    # What crashed in one runtime may have run in the other.
    for other in INSTALLED[1:]:
        assert figures[other]["passed"] is (reason == "crash")
        assert ("accuracy" in figures[other]) is (reason == "crash")


class Garbling(Board):
    """A board that computes one of two outputs wrongly."""

    def outputs(self, *arguments: Any) -> dict[str, np.ndarray]:
        outputs = super().outputs(*arguments)
        outputs["end_logits"][-1, 3] = np.nan
        return outputs


def test_float_model_that_is_not_keras(
    tmp_path: Path, quick: ConvertOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "Board", Garbling)
    source = write_toy(tmp_path / "toy", task="question-answering")
    with pytest.raises(
        RejectedModelError, match=r"^the float32 \.tflite differs from Keras by nan"
    ):
        convert(str(source), quick, Bars())
    assert not quick.output.exists()


def test_difference_by_hand() -> None:
    """Relative to the largest value of a row, if that is above 1."""
    expected = np.array([[1.0, -4.0], [0.5, 0.25]])
    assert judge.difference(expected, expected) == 0
    assert judge.difference(np.array([[1.0, -3.0], [0.5, 0.25]]), expected) == 1 / 4
    assert judge.difference(np.array([[1.0, -4.0], [0.5, 0.0]]), expected) == 1 / 4


def test_weights_that_are_not_finite(tmp_path: Path, quick: ConvertOptions) -> None:
    """Neither model answers anything then, so that their answers do not differ."""
    source = write_toy(tmp_path / "toy")
    tensors = load_file(source / "model.safetensors")
    tensors["bert.encoder.layer.0.output.dense.bias"][3] = np.nan
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(CheckpointError, match="has numbers that are not finite"):
        convert(str(source), quick, Bars())
    assert not quick.output.exists()


def test_texts_that_no_model_can_answer(tmp_path: Path, quick: ConvertOptions) -> None:
    source = write_toy(tmp_path / "toy", task="question-answering")
    quick = dataclasses.replace(quick, sequence_length=4)
    message = r"no text of .*toy\.tsv can be answered: the question leaves no room for .*: 4 tokens"
    bars = Bars()
    with pytest.raises(InputError, match=message):
        convert(str(source), quick, bars)
    assert bars == []


# What is wrong -> the options, what the message says.
WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "runtime": ({"runtime": "onnx"}, "unknown runtime 'onnx'; known are tflite-runtime, litert"),
    "quantization": (
        {"quantization": "int3"},
        "unknown quantization 'int3'; known are int8, ",
    ),
    "int16x8": (
        {"quantization": "int16x8", "runtime": "tflite-runtime"},
        r"tflite-runtime 2\.14 cannot compute RSQRT \(version 2\) of int16",
    ),
    "bits": (
        {"quantization": "int8", "weight_bits": float("nan")},
        "weights have 4 to 8 bits, not nan",
    ),
    "bits of float": (
        {"quantization": "float32", "weight_bits": 6},
        r"of use in modes of integers \(int8, .*\), not in float32",
    ),
    "task": (
        {"task": "dance"},
        "unknown task 'dance'; known are fill-mask, image-classification",
    ),
    "calibration": ({"calibration": "none.tsv"}, r"none\.tsv does not exist"),
    "evaluation": ({"evaluation": "none.tsv"}, r"none\.tsv does not exist"),
    "output": ({"output": Path(__file__) / "out"}, "cannot write into .*: Not a directory"),
}


@pytest.mark.parametrize("kind", WRONG_OPTIONS)
def test_wrong_options(
    tmp_path: Path, quick: ConvertOptions, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found before anything is built."""
    monkeypatch.setattr(Runtime, "installed", lambda runtime: True)
    changes, message = WRONG_OPTIONS[kind]
    bars = Bars()
    source = write_toy(tmp_path / "toy")
    with pytest.raises(InputError, match=message):
        convert(str(source), dataclasses.replace(quick, **changes), bars)
    assert bars == []
    assert not quick.output.exists()


def test_labels_that_the_model_does_not_know(tmp_path: Path, quick: ConvertOptions) -> None:
    path = tmp_path / "stars.tsv"
    path.write_text("text\tlabel\na good film\t5 stars\n")
    source = write_toy(tmp_path / "toy")
    bars = Bars()
    with pytest.raises(InputError, match=r"stars\.tsv has labels \['5 stars'\]"):
        convert(str(source), dataclasses.replace(quick, evaluation=str(path)), bars)
    assert bars == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Text; Label\na good film;0\nawful;4\n", [0, 4]),
        (",text,label\n0,a good film,1\n1,awful,5\n", [0, 4]),
    ],
)
def test_labels_are_those_that_eval_reads(
    tmp_path: Path, quick: ConvertOptions, content: str, expected: list[int]
) -> None:
    path, names = tmp_path / "stars.csv", ["1", "2", "3", "4", "5"]
    path.write_text(content)
    source = toy_folders.write_folder(tmp_path / "toy", labels=names, small=True)
    job = Job(str(source), dataclasses.replace(quick, evaluation=str(path)), Bars())
    rows = read_rows(source, str(path), "validation")
    assert tasks.find("text-classification").truth(rows, names) == expected
    assert sorted(job.truth or ()) == expected
    # Of texts that only calibrate, labels are the model's where all are names of its.
    job = Job(str(source), dataclasses.replace(quick, calibration=str(path)), Bars())
    assert (job.truth and sorted(job.truth)) == (None if ";" in content else expected)


def test_what_calibrates_and_what_measures(tmp_path: Path, quick: ConvertOptions) -> None:
    """Of a file sorted by label; of the package's sentences the first, as ever."""
    source = toy_folders.write_folder(tmp_path / "toy", small=True)

    def job(**changes: Any) -> Job:
        return Job(str(source), dataclasses.replace(quick, **changes), Bars())

    path, labels = tmp_path / "sorted.tsv", ["negative", "positive"]
    rows = [f"good {index}\t{labels[index >= 1500]}\n" for index in range(3000)]
    path.write_text("text\tlabel\n" + "".join(rows))
    one = job(calibration=str(path))
    late = [int(text.split()[1]) >= 1500 for text in one.calibration]
    assert Counter(late) == {False: 100, True: 100}
    assert Counter(one.rows.truth or ()) == dict.fromkeys(labels, 500)
    assert not set(one.calibration) & set(one.rows.items)
    assert one.available == 2800
    assert len(job(calibration=str(path), evaluation_limit=None).rows) == 2800
    two = job(calibration=None, evaluation=str(path), evaluation_limit=300)
    assert (len(two.rows), two.available) == (300, 3000)
    assert len(two.truth or ()) == 300
    own = package_texts()
    for found in (two, job(calibration=None)):
        assert found.calibration == own.texts[:200]
    assert job(calibration=None).rows.items == own.texts[200:]


def test_what_is_made_here_is_not_tried_again(
    tmp_path: Path, quick: ConvertOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = toy_folders.write_folder(tmp_path / "toy", small=True)
    report = convert(str(source), quick, Bars())
    monkeypatch.setattr(apart, "run", None)
    with load(tmp_path / "out" / "toy" / report.file, "litert") as model:
        assert model("good")["label"] in report.labels


def test_labels_that_are_alike_stop_no_conversion(tmp_path: Path, quick: ConvertOptions) -> None:
    """But what they measure."""
    path = tmp_path / "texts.tsv"
    path.write_text("text\tlabel\na good film\tgood\n")
    source = toy_folders.write_folder(tmp_path / "toy", labels=["Good", "good"], small=True)
    assert Job(str(source), dataclasses.replace(quick, calibration=str(path)), Bars()).truth is None
    with pytest.raises(InputError, match="the labels 'Good' and 'good' are the same but for case"):
        Job(str(source), dataclasses.replace(quick, evaluation=str(path)), Bars())


def test_longer_than_the_encoder(tmp_path: Path, quick: ConvertOptions) -> None:
    source = write_toy(tmp_path / "toy")
    with pytest.raises(InputError, match="sequence length 21 is not possible"):
        convert(str(source), dataclasses.replace(quick, sequence_length=21), Bars())


def test_no_longer_than_the_encoder_by_default(tmp_path: Path, quick: ConvertOptions) -> None:
    """And graphs every 4 tokens, where they take little."""
    options = dataclasses.replace(quick, sequence_length=None, buckets=None)
    for layers, buckets in ((2, (12, 16)), (7, (16,))):
        source = write_toy(tmp_path / f"toy{layers}", num_hidden_layers=layers)
        shape = Job(str(source), options, Bars()).shape
        assert (shape.sequence_length, shape.buckets) == (20, buckets)


def test_tokeniser_of_another_model(tmp_path: Path, quick: ConvertOptions) -> None:
    source = write_toy(tmp_path / "toy", vocab_size=60)
    with pytest.raises(CheckpointError, match="the tokeniser is another model's"):
        convert(str(source), quick, Bars())


def test_head_that_the_checkpoint_lacks(tmp_path: Path, quick: ConvertOptions) -> None:
    source = write_toy(tmp_path / "toy", task="sentence-embedding")
    quick = dataclasses.replace(quick, task="token-classification")
    with pytest.raises(CheckpointError, match=r"missing: classifier\.weight.*fine-tune it first"):
        convert(str(source), quick, Bars())


def test_runtime_that_is_not_installed(
    tmp_path: Path, quick: ConvertOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "litert", Runtime("no_such_module", "no-such-package"))
    with pytest.raises(MissingPackageError, match=r"litert is not installed.* no-such-package`"):
        convert(str(tmp_path), dataclasses.replace(quick, runtime="litert"), Bars())
