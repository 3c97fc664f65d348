"""The `tfedge` program: its commands, exit codes and one-line errors."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import toy_folders
import toys as toy_builder
from charts import needs_charts
from click.testing import CliRunner
from price_list import know_all
from privileges import obey_permissions
from program import INSTALLED

import tfedge.presets
import tfedge.quantize.prepare
from tfedge import __version__, cli, errors
from tfedge.cli.summary import bench_summary, conversion_summary
from tfedge.conversion.result import Conversion, Effort, Evaluation, Figures, Quantization, Refused
from tfedge.inspect import estimate
from tfedge.inspect.estimate import BoardTimes
from tfedge.measure.race import Machine, Race, Standing, Times
from tfedge.models.checkpoint import Checkpoint
from tfedge.presets import Preset, preset_names
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.runtimes import RUNTIMES, Runtime

ROOT = Path(__file__).parents[1]
COMMANDS = cli.main.commands
TIMEOUT_S = 120


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run left behind, its two outputs as lines."""

    code: int
    lines: list[str]
    errors: list[str]

    @property
    def error(self) -> str:
        """The last line on standard error; before it only what was begun may be announced."""
        assert self.lines == []
        assert [line for line in self.errors[:-1] if not line.endswith(" ...")] == []
        return self.errors[-1]


Tfedge = Callable[..., Result]


@pytest.fixture
def tfedge_(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tfedge:
    """Runs the program in this process, which has TensorFlow loaded already."""

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["tfedge", *map(str, arguments)])
        code = 0
        try:
            cli.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        out, err = capfd.readouterr()
        return Result(code, out.splitlines(), err.splitlines())

    return run


def program(*arguments: str | bytes | Path, **options: Any) -> Result:
    """Runs the program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tfedge.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=TIMEOUT_S,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    out, err = ((stream or b"").decode() for stream in (done.stdout, done.stderr))
    return Result(done.returncode, out.splitlines(), err.splitlines())


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    return toy_folders.write_sentences(tmp_path / "toy.tsv", 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_folders.write_folder(tmp_path / "toy", small=True)


# --- help, versions, lists


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_streams(toys: Path, sentences: Path, closed: int) -> None:
    """As of a program that something starts without a terminal: the others go on."""
    options: dict[str, Any] = {("stdin", "stdout", "stderr")[closed]: None}
    model = toys / "classifier.tflite"
    result = program(
        *("eval", "--model", model, "--data", sentences, "--threads", "1"),
        preexec_fn=lambda: os.close(closed),
        **options,
    )
    assert result.code == (1 if closed == 1 else 0)
    assert bool(result.lines) == (closed != 1)
    assert [line for line in result.errors if "Error" in line] == []


def test_usage_errors_are_cut_and_escaped(tfedge_: Tfedge) -> None:
    result = tfedge_("eval", "--model", "a/\x1b]0;x\x07" + 3000 * "a/", "--data", "x")
    assert result.code == 2
    assert len(result.error) < 2000
    assert "\x1b" not in result.error and "\x07" not in result.error


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(tfedge_: Tfedge, command: str) -> None:
    words = [command] if command else []
    result = tfedge_(*words, "--help")
    assert (result.code, result.errors) == (0, [])
    assert result.lines[0].startswith(f"Usage: {' '.join(['tfedge', *words])} ")
    assert tfedge_(*words, "-h") == result


def test_every_option_says_what_it_is() -> None:
    options = [
        option
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option, click.Option)
    ]
    plain = {"epochs", "batch_size", "seed"}  # whose names say it
    assert {option.name for option in options if not option.help} == plain


def test_help_names_commands_and_exit_codes(tfedge_: Tfedge) -> None:
    text = " ".join(" ".join(tfedge_("--help").lines).split())
    assert all(command in text for command in COMMANDS)
    codes = text.split("Exit codes: ")[1].split(".")[0]
    assert codes == (
        "0 done, 1 error, 2 usage, 3 unusable input, 4 a package or runtime is missing, "
        "5 the converted model was rejected, "
        "70 a fault of tfedge itself, with the file to report it with; "
        "of boards 11 no such host, 12 it cannot be reached, 13 it takes no key of yours, "
        "14 its own key is not known, 15 its Python does not do, "
        "16 tfedge is missing there or another one, 17 the connection broke, 18 it has no room, "
        "19 it takes the connection and says nothing"
    )
    kinds = ("TfedgeError", "InputError", "MissingPackageError", "RejectedModelError")
    assert [getattr(errors, kind).exit_code for kind in kinds] == [1, 3, 4, 5]


def test_version(tfedge_: Tfedge) -> None:
    assert tfedge_("--version").lines == [f"tfedge, version {__version__}"]


def test_models_as_json(tfedge_: Tfedge) -> None:
    result = tfedge_("models", "--json", "--seq-len", "64")
    rows = {row["name"]: row for row in map(json.loads, result.lines)}
    assert list(rows) == preset_names()
    # TinyBERT's 14.35 M weights: see tests/architectures/test_cost.py; FLOPs by layer, 64 tokens.
    tinybert = rows["tinybert"]
    assert tinybert["parameters"] == 14_350_248
    dense = 64 * (4 * 312 * 312 + 2 * 312 * 1200)
    products = 2 * 64 * 64 * 312
    assert tinybert["flops"] == 2 * 4 * (dense + products)
    assert tinybert["float32_bytes"] == 4 * tinybert["int8_bytes"] == 4 * tinybert["parameters"]
    assert (tinybert["weights"], tinybert["task"]) == ("tinybert", "text-classification")


def test_models_for_people() -> None:
    """Without TensorFlow, which takes seconds to load."""
    program_ = "import sys; sys.modules['tensorflow'] = None; from tfedge.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program_, "models"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows = done.stdout.splitlines()
    assert "GFLOPs@128" in header
    assert [row.split()[0] for row in rows] == preset_names()
    tinybert = next(row for row in rows if row.startswith("tinybert"))
    assert tinybert.split()[1:] == [
        *("14.4M", "1.25", "57", "MB", "14", "MB", "text-classification", "tinybert")
    ]


def test_models_stand_in_columns(tfedge_: Tfedge) -> None:
    header, *rows = tfedge_("models").lines
    for name, end in (("parameters", True), ("float32", True), ("int8", True), ("task", False)):
        place = header.index(name) + (len(name) if end else 0)
        assert all(
            (row[place - 1] != " ") is end and (row[place] != " ") is not end for row in rows
        )


# --- how much is told


def test_quiet(toys: Path, sentences: Path) -> None:
    command = ("eval", "--model", toys / "classifier.tflite", "--data", sentences)
    told = program(*command)
    assert told.errors == ["running classifier.tflite ..."]
    assert program(*command, "--quiet") == program("--quiet", *command)
    assert program(*command, "--quiet") == Result(0, told.lines, [])


def test_verbose(tmp_path: Path) -> None:
    command = ("inspect", tmp_path / "no.tflite")
    (line,) = program(*command).errors
    found = program(*command, "--verbose").errors
    assert (found[0], found[-1]) == ("Traceback (most recent call last):", line)


@pytest.mark.parametrize(
    ("words", "completed"),
    [("tfedge conv", "plain,convert"), ("tfedge convert x --quant int8-", "plain,int8-float-io")],
)
def test_completion(monkeypatch: pytest.MonkeyPatch, words: str, completed: str) -> None:
    """What README has, with the words that bash gives."""
    monkeypatch.setenv("_TFEDGE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    command = [sys.executable, "-c", "from tfedge.cli import run; run()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [completed]


# --- exit code 2: the command line


# What is wrong -> the arguments, what the message says.
USAGE: dict[str, tuple[list[str], str]] = {
    "command": (["dance"], "No such command 'dance'"),
    "argument": (["convert"], "Missing argument 'MODEL'"),
    "option": (["models", "--fast"], "--fast"),
    "choice": (["convert", "x", "--quant", "int3"], "'int3' is not one of 'int8'"),
    "runtime": (["convert", "x", "--runtime", "onnx"], "'onnx' is not one of"),
    "range": (["models", "--seq-len", "1"], "1 is not in the range 3<=x<=512"),
    "number": (["convert", "x", "--max-drop", "much"], "'much' is not a valid float"),
    "lengths": (["convert", "x", "--buckets", "8,two"], "give lengths of 3 to 512 with commas"),
    "lengths out of range": (["convert", "x", "--buckets", "2"], "give lengths of 3 to 512"),
    "path": (["eval", "--model", "/nowhere.tflite", "--data", "x"], "'/nowhere.tflite' does not"),
    "data": (["eval", "--model", str(ROOT)], "Missing option '--data'"),
    "models": (["bench", "--data", "x"], "Missing argument 'MODEL.tflite[@LENGTH]...'"),
    "rounds": (["bench", "x", "--data", "x", "--rounds", "0"], "0 is not in the range"),
    "inspect": (["inspect", "x", "--data", "x"], "give one of these too"),
    "epochs": (["finetune", "x", "--data", "x", "--output", "x", "--epochs", "0"], "0 is not in"),
}


@pytest.mark.parametrize("kind", USAGE)
def test_usage(tfedge_: Tfedge, kind: str) -> None:
    arguments, message = USAGE[kind]
    result = tfedge_(*arguments)
    assert result.code == 2
    assert result.error.startswith("tfedge: ")
    assert message in result.error
    command = "tfedge" if kind == "command" else f"tfedge {arguments[0]}"
    assert result.error.endswith(f" (see {command} --help)")


# --- exit code 3: what the user gave


def test_nothing_of_that_name(
    tfedge_: Tfedge, tmp_path: Path, sentences: Path, folder: Path
) -> None:
    missing = tmp_path / "missing"
    result = tfedge_("convert", missing)
    assert result.code == 3
    assert result.error.startswith(f"tfedge: no model '{missing}': it is none of the names albert-")
    assert "give the folder that holds config.json" in tfedge_("convert", sentences).error
    (tmp_path / "empty").mkdir()
    result = tfedge_("convert", tmp_path / "empty")
    assert result.code == 3
    assert "config.json" in result.error
    options = ("--data", missing.with_suffix(".tsv"), "--output", tmp_path / "out")
    result = tfedge_("finetune", folder, *options)
    assert (result.code, result.error) == (3, f"tfedge: {missing}.tsv does not exist")
    result = tfedge_("distil", "tiny", "--teacher", missing, *options)
    assert result.code == 3
    assert result.error.startswith(
        "tfedge: unknown preset 'tiny', did you mean vit-tiny? known are albert-"
    )
    result = tfedge_("init", "tinybert", tmp_path / "empty", "--tokenizer", tmp_path)
    assert result.error == f"tfedge: {tmp_path / 'empty'} exists; give the name of a new folder"
    assert result.code == 3


@pytest.mark.parametrize("length", [0, 7, 1000, -4])
def test_truncated_weights(tfedge_: Tfedge, folder: Path, tmp_path: Path, length: int) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    for command in (
        ("convert", folder, "--output", tmp_path / "out"),
        ("eval", "--model", folder, "--data", ROOT / "tfedge/data/sentences.tsv"),
    ):
        result = tfedge_(*command)
        assert result.code == 3
        assert result.error.startswith(f"tfedge: {weights} is not a readable safetensors file: ")
    assert not (tmp_path / "out").exists()


def test_wrong_labels(tfedge_: Tfedge, toys: Path, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "stars.tsv"
    data.write_text("text\tlabel\na good film\t5 stars\n")
    message = (
        f"tfedge: {data} has labels ['5 stars'] that the model does not know; its labels are "
        "['negative', 'positive']; write these, or their numbers from 0"
    )
    output = ("--output", tmp_path / "out")
    for command in (
        ("eval", "--model", toys / "classifier.tflite", "--data", data),
        ("eval", "--model", folder, "--data", data),
        ("convert", folder, "--seq-len", "16", "--eval", data, *output),
        ("finetune", folder, "--data", data, *output, "--labels", "negative, positive"),
    ):
        result = tfedge_(*command, *(("--max-length", "16") if command[0] == "finetune" else ()))
        assert (result.code, result.error) == (3, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a good film\tgood\nanother\tgood\n",
            "all rows of {} have the label 'good'; a model learns",
        ),
        (
            "a good film\tGood\nawful\tbad\ngreat\tgood\n",
            "{} has the labels 'Good' and 'good', which",
        ),
        ("a good film\t\n", "{}, row 1, has an empty 'label'"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from(
    tfedge_: Tfedge, folder: Path, tmp_path: Path, rows: str, message: str
) -> None:
    data = tmp_path / "train.tsv"
    data.write_text(f"text\tlabel\n{rows}")
    options = ("--data", data, "--max-length", "16", "--output", tmp_path / "out")
    result = tfedge_("finetune", folder, *options)
    assert result.code == 3
    assert result.error.startswith(f"tfedge: {message.format(data)}")
    assert not (tmp_path / "out").exists()


def test_second_text_of_a_pair(tfedge_: Tfedge, toys: Path, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    data.write_text("text;query;label\na good film;awful;positive\nawful;great;negative\n")
    output = ("--output", tmp_path / "out")
    for command in (
        ("eval", "--model", toys / "classifier.tflite", "--data", data),
        ("eval", "--model", folder, "--data", data),
        ("convert", folder, "--seq-len", "16", "--eval", data, *output),
        ("finetune", folder, "--data", data, "--max-length", "16", *output),
    ):
        result = tfedge_(*command)
        assert result.code == 3
        assert result.error.startswith(
            f"tfedge: {data} has the columns 'text' and 'query', and not"
        )
        result = tfedge_(*command, "--text-column", "text", "--label-column", "stars")
        assert result.code == 3
        assert result.error == (
            f"tfedge: {data} has no column 'stars'; its columns are ['label', 'query', 'text']"
        )
        result = tfedge_(*command, "--pair-column", "query")
        assert result.code == 3
        assert "name the first one with --text-column" in result.error
    assert not (tmp_path / "out").exists()


def test_columns_by_name(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts.csv"
    data.write_text("Text;query;mood\na good film;awful;positive\nawful;great;positive\n")
    eval_ = ("eval", "--model", toys / "classifier.tflite", "--data", data, "--json")
    result = tfedge_(*eval_, "--text-column", "QUERY", "--label-column", "mood")
    assert result.code == 0
    assert json.loads(result.lines[0])["confusion"] == [[0, 0], [1, 1]]
    assert f"tfedge: note: {data}: 'text' is not read" in result.errors


def test_data_that_are_not_utf_8(tfedge_: Tfedge, toys: Path, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "latin.tsv"
    data.write_bytes("text\tlabel\na good film\tpositive\na café\tpositive\n".encode("latin-1"))
    message = f"tfedge: {data}, line 3, is not UTF-8; convert the file first"
    output = ("--output", tmp_path / "out")
    for command in (
        ("eval", "--model", toys / "classifier.tflite", "--data", data),
        ("convert", folder, "--calibration", data, *output),
        ("convert", folder, "--eval", data, *output),
        ("finetune", folder, "--data", data, *output),
    ):
        result = tfedge_(*command)
        assert (result.code, result.error) == (3, message)


def test_model_that_was_cut_short(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    model = tmp_path / "short.tflite"
    model.write_bytes((toys / "classifier.tflite").read_bytes()[:5000])
    result = tfedge_("eval", "--model", model, "--data", ROOT / "tfedge/data/sentences.tsv")
    assert result.code == 3
    assert result.error.startswith(f"tfedge: {model}: ")


def test_command_of_a_board_without_its_end(tfedge_: Tfedge, toys: Path, sentences: Path) -> None:
    model = ("--model", toys / "classifier.tflite", "--data", sentences)
    result = tfedge_("eval", *model, "--python", "ssh 'my board")
    assert result.code == 3
    assert "No closing quotation" in result.error


def test_read_only_output(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "artefacts"
    output.mkdir(mode=0o500)
    try:
        result = program(
            *("convert", folder, "--seq-len", "16", "--output", output),
            preexec_fn=obey_permissions,
        )
    finally:
        output.chmod(0o700)
    where = f"tfedge: cannot write into {output / 'toy'}"
    assert (result.code, result.error) == (3, f"{where}: Permission denied; choose another folder")
    assert list(output.iterdir()) == []


# --- exit code 4: what is not installed


def test_without_tensorflow(tfedge_: Tfedge, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    result = tfedge_("convert", folder)
    assert result.code == 4
    assert result.error.startswith("tfedge: this needs TensorFlow (")
    assert result.error.endswith(f"): {errors.host_extra()}")
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    assert tfedge_("convert", folder).error.endswith("install tfedge in one of these")


def test_without_another_package_of_the_host(
    tfedge_: Tfedge, toys: Path, sentences: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board's install has `tfedge` too, but not rich, which draws the bars."""
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tfedge.progress", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    result = tfedge_("eval", "--model", toys / "classifier.tflite", "--data", sentences)
    assert result.code == 4
    assert result.error.startswith("tfedge: this needs more (")
    assert "rich" in result.error
    assert result.error.endswith(f"): {errors.host_extra()}")


def test_runtime_that_is_not_installed(
    tfedge_: Tfedge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RUNTIMES, "litert", Runtime("no_such_module", "no-such-package"))
    result = tfedge_("convert", folder, "--runtime", "litert")
    assert result.code == 4
    assert "tried in it: `pip install no-such-package`" in result.error


def test_fault_of_the_program_is_told_as_one(
    tfedge_: Tfedge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is not to be mistaken for a package that is missing."""
    monkeypatch.setitem(sys.modules, "tfedge.measure.catalogue", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where its traceback is kept
    result = tfedge_("models")
    assert result.code == 70
    assert "catalogue" in result.error


# --- exit code 5, and 1


def test_model_that_crashes(tfedge_: Tfedge, toys: Path, sentences: Path, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o700)
    model = toys / "classifier.tflite"
    result = tfedge_("eval", "--model", model, "--data", sentences, "--python", script)
    assert (result.code, result.lines) == (5, [])
    message = f"tfedge: {model}: the runtime crashed running it (SIGSEGV)"
    assert result.errors == ["running classifier.tflite ...", message]
    result = tfedge_("eval", "--model", model, "--data", sentences, "--python", "no-such-python -B")
    assert result.code == 1
    assert result.errors[-1] == "tfedge: cannot start no-such-python: No such file or directory"


def test_output_that_cannot_be_printed() -> None:
    with open("/dev/full", "wb") as full:
        result = program("models", stdout=full)
    message = "tfedge: the answers cannot be written: No space left on device"
    assert (result.code, result.error) == (1, message)


# --- what works


def test_eval(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    data = tmp_path / "toy.csv"
    data.write_text("sentence,label\ngood,positive\nbad,negative\ndull,positive\ngreat,negative\n")
    model = toys / "classifier.tflite"
    command = ("eval", "--model", model, "--data", data, "--limit", "3", "--threads", "1")
    result = tfedge_(*command, "--against", toys / "buckets.tflite")
    assert result.code == 0
    assert result.lines == [
        f"{model} on {data}: 3 texts, {INSTALLED[0]}",
        "accuracy 66.67 %   macro F1 66.67 %",
        "true, predicted:  negative  positive",
        "negative                 1         0",
        "positive                 1         1",
        f"differs from {toys / 'buckets.tflite'}: 0.00 %",
        "3 of 3 texts alike; both right 2, this alone 0, "
        f"{toys / 'buckets.tflite'} alone 0 (sign test: p = 1)",
    ]
    assert result.errors == ["running classifier.tflite ...", "running buckets.tflite ..."]
    (line,) = tfedge_(*command, "--json", "--runtime", "litert").lines
    found = json.loads(line)
    assert (found["texts"], found["runtime"], found["confusion"]) == (3, "litert", [[1, 0], [1, 1]])


def test_names_of_files_are_escaped(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    """Also among results; as JSON has them anyway."""
    model, data = tmp_path / "\x1b]0;m\x07[b].tflite", tmp_path / "\x9b2J\x1b[31m.tsv"
    shutil.copy(toys / "embedder.tflite", model)
    data.write_text("sentence\tlabel\ngood\tpositive\nbad\tnegative\n")
    for more in (("eval", "--gallery", data, "--model"), ("bench", "--rounds", "1")):
        result = tfedge_(*more, model, "--data", data)
        assert result.code == 0, result.errors
        said = "\n".join([*result.lines, *result.errors])
        assert "\\x9b2J\\x1b[31m.tsv" in said and "]0;m\\x07[b]" in said
        assert not set("\x1b\x07\x9b") & set(said)


def test_where_an_error_comes_from_is_escaped(
    tfedge_: Tfedge, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFEDGE_VERBOSITY", "")  # which the option sets, and is put back afterwards
    model = toys / "classifier.tflite"
    result = tfedge_("eval", "--verbose", "--model", model, "--data", "\x1b]0;x\x07.tsv")
    assert (result.code, "Traceback (most recent call last):" in result.errors) == (3, True)
    said = "\n".join(result.errors)
    assert "\\x1b]0;x\\x07.tsv does not exist" in said and not set("\x1b\x07") & set(said)


def test_inspect(tfedge_: Tfedge, toys: Path) -> None:
    model = toys / "int8_output.tflite"
    command = ("inspect", model, "--against", toys / "classifier.tflite", "--texts", "2")
    result = tfedge_(*command)
    assert (result.code, result.errors) == (0, [f"running both models in {INSTALLED[0]} ..."])
    assert result.lines[0].startswith("int8_output.tflite: ")
    assert "Operators" in result.lines
    assert any("Furthest from float" in line for line in result.lines)
    (line,) = tfedge_(*command, "--json", "--runtime", "litert").lines
    found = json.loads(line)
    assert (found["noise"]["runtime"], found["noise"]["rows"]) == ("litert", 2)
    assert found["file"] == str(model)


@needs_charts
def test_page_of_inspect(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    html = tmp_path / "folder" / "page.html"
    assert tfedge_("inspect", toys / "int8.tflite", "--html", html).code == 0
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_without_what_draws_it(
    tfedge_: Tfedge, toys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told before anything is measured."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    result = tfedge_("inspect", toys / "int8.tflite", "--time", "--html", tmp_path / "page.html")
    assert result.code == 4
    assert len(result.errors) == 1
    assert "pip install 'vl-convert-python>=1.7,<2'" in result.errors[0]


def test_inspect_without_tensorflow(toys: Path) -> None:
    """Of a model of anyone, of which nothing is run."""
    program_ = "import sys; sys.modules['tensorflow'] = None; from tfedge.cli import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program_, "inspect", str(toys / "lacking.bare.tflite")],
        **{"cwd": ROOT, "capture_output": True, "text": True},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "CUSTOM:Betainc" in done.stdout


def test_inspect_what_is_no_model(tfedge_: Tfedge, toys: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((toys / "int8.tflite").read_bytes()[:1500])
    for path, words in ((tmp_path / "none", "no such file"), (tmp_path, "not a file"), (cut, "")):
        result = tfedge_("inspect", path)
        assert (result.code, len(result.errors)) == (3, 1)
        assert result.error.startswith(f"tfedge: {path}: ")
        assert words in result.error
    result = tfedge_("inspect", toys / "int8.tflite", "--signature", "x")
    assert (result.code, result.error.split(": ")[2]) == (
        3,
        "no signature 'x'; it has 'serving_default'",
    )


def test_bench(tfedge_: Tfedge, toys: Path, sentences: Path, tmp_path: Path) -> None:
    models = [toys / name for name in ("buckets.tflite@16", "buckets.tflite")]
    command = ("bench", *models, "--data", sentences, "--limit", "4", "--rounds", "2")
    result = tfedge_(*command, "--json")
    assert (result.code, result.errors) == (0, ["answering in turns ..."])
    found = json.loads(result.lines[0])
    assert [row["name"] for row in found["contestants"]] == [str(model) for model in models]
    assert (found["texts"], found["rounds"], found["contestants"][1]["threads"]) == (4, 2, 1)
    output = tmp_path / "new/result.json"
    result = tfedge_(*command, "--runtime", "litert", "--output", output)
    assert result.code == 0
    assert json.loads(output.read_text())["contestants"][0]["name"] == str(models[0])
    assert result.lines[0].startswith(f"4 texts of {sentences}, 2 rounds, ")
    rows = [line for line in result.lines if line.startswith(str(toys))]
    assert [row.split()[0] for row in rows] == [str(model) for model in models]
    assert rows[0].split()[1:6] == ["1", "1.00", "1.00", "1.00", "1.00-1.00"]


def test_bench_tells_where_peers_are(tfedge_: Tfedge) -> None:
    for option in ("--peer=torch-float", "--checkpoint=X", "--peer-python=python"):
        result = tfedge_("bench", "x.tflite", "--data", "x.tsv", option)
        assert (result.code, len(result.errors)) == (2, 1)
        assert "python -m benchmarks" in result.error


def test_bench_of_a_length_that_is_not_there(tfedge_: Tfedge, toys: Path, sentences: Path) -> None:
    result = tfedge_("bench", toys / "classifier.tflite@12", "--data", sentences)
    assert result.code == 3
    assert result.error.endswith("classifier.tflite has no graph for 12 tokens; it has 16")


def test_bench_estimates(
    tfedge_: Tfedge, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, output = toys / "buckets.tflite", tmp_path / "new/estimate.json"
    know_all(monkeypatch, model)
    command = ("bench", model, f"{model}@16", "--board", "rpi4", "--estimate")
    result = tfedge_(*command, "--json", "--output", output)
    assert (result.code, result.errors) == (0, [])
    found = json.loads(result.lines[0])
    assert json.loads(output.read_text()) == found
    assert [graph["tokens"] for graph in found["files"][0]["graphs"]] == [8, 16]
    assert found["files"][0]["graphs"][1] == found["files"][1]["graphs"][0]
    result = tfedge_(*command)
    assert result.lines[0] == "estimated, not measured: rpi4 at 2 GHz, litert"
    assert [line.split()[1] for line in result.lines if line.startswith(str(toys))] == [
        *("8", "16", "16"),
    ]


@pytest.mark.parametrize(
    ("options", "code", "expected"),
    [
        (["--estimate"], 2, "--estimate is of a board: give one with --board, of rpi4, rpi5,"),
        (
            ["--estimate", "--board", "rpi4", "--data", "x.tsv"],
            2,
            "--estimate runs nothing, on one thread: leave out --data",
        ),
        (["--estimate", "--board", "rpi4", "--threads", "1"], 2, "leave out --threads"),
        (["--estimate", "--board", "pi@here"], 3, "no times of 'pi@here' can be estimated"),
        (["--board", "rpi4"], 2, "Missing option '--data'"),
    ],
)
def test_bench_cannot_estimate(
    tfedge_: Tfedge, toys: Path, options: list[str], code: int, expected: str
) -> None:
    result = tfedge_("bench", toys / "buckets.tflite", *options)
    assert (result.code, len(result.errors)) == (code, 1)
    assert expected in result.error


def test_summary_of_a_bench() -> None:
    row = Standing(
        **{"kind": "tfedge", "model": "a", "mode": "int8"},
        **{"name": "a.tflite", "runtime": "litert 2", "threads": 2, "tokenize_ms": 0.125},
        **{"mean_ms": 10.0, "median_ms": 9.0, "p90_ms": 20.0, "infer_ms": 9.875},
        **{"ratios": Times(1.0, 1.0, 1.0, 1.0), "ratio_range": [1.0, 1.0]},
        **{"start_ms": 321.0, "peak_rss_bytes": 98_700_000, "size_bytes": 15_600_000},
        **{"accuracy": 0.905, "disagreement": 0.0, "float_disagreement": 0.25, "unanswered": 0},
    )
    other = dataclasses.replace(
        row,
        **{"name": "peer [x]", "runtime": "peer 1", "disagreement": 0.015},
        **{"ratios": Times(0.5, 0.25, 2.0, 1.0), "ratio_range": [0.4, 0.61]},
        **{"peak_rss_bytes": None, "mean_ms": 5.0},
        **{"accuracy": None, "float_disagreement": None},
    )
    result = Race("x.tsv", 7, 3, Machine("Chip", 2, None, 0.1), None, [row, other])
    lines = bench_summary(result).splitlines()
    assert lines[0] == "7 texts of x.tsv, 3 rounds, 2 x Chip"
    assert [" ".join(line.split()) for line in lines[3:]] == [
        "a.tflite 2 1.00 1.00 1.00 1.00-1.00 0.12 ms 90.5 % 100.0 % 75.0 % 99 MB 15.6 MB 321 ms",
        "litert 2 10.00 ms 9.00 ms 20.00 ms",
        "peer [x] 2 0.50 0.25 2.00 0.40-0.61 0.12 ms 98.5 % 15.6 MB 321 ms",
        "peer 1 5.00 ms 9.00 ms 20.00 ms",
    ]
    result = dataclasses.replace(result, contestants=[row])
    left_out = {"torch-float": "torch-float needs torch"}
    others = dataclasses.replace(result, float_="a.tflite", left_out=left_out)
    lines = bench_summary(others).splitlines()
    assert lines[-2:] == [
        "as float: the same answer as a.tflite",
        "left out: torch-float: torch-float needs torch",
    ]
    busy = dataclasses.replace(result, machine=Machine("Chip", 2, None, 1.26))
    assert bench_summary(busy).splitlines()[-1] == (
        "1.3 processors were busy before this began: the times are unreliable; repeat it on an "
        "idle machine"
    )


def test_file_whose_name_is_not_utf_8(toys: Path, sentences: Path, tmp_path: Path) -> None:
    data = os.fsencode(tmp_path) + b"/caf\xe9.tsv"
    shutil.copyfile(sentences, data)
    result = program("eval", "--model", toys / "classifier.tflite", "--data", data)
    assert (result.code, len(result.lines)) == (0, 5)
    assert f" on {tmp_path}/caf\\udce9.tsv: 12 texts" in result.lines[0]


OUT = {"options": {"output": "out"}}


def conversion_of(content: dict[str, Any]) -> Conversion:
    """The report that was printed as JSON, or a part of it."""
    names = [field.name for field in dataclasses.fields(Conversion)]
    quantization = dict.fromkeys(field.name for field in dataclasses.fields(Quantization))
    quantization |= {k: v for k, v in content["quantization"].items() if k in quantization}
    measured: dict[str, Figures | Refused] = {}
    for runtime, figures in content["evaluation"]["runtimes"].items():
        if "error" in figures:
            measured[runtime] = Refused(**figures)
        else:
            scores = {name: figures[name] for name in figures if name.endswith("accuracy")}
            rest = {name: figures[name] for name in figures if name not in scores}
            measured[runtime] = Figures(**rest, scores=scores)
    parts = {
        "quantization": Quantization(**quantization),
        "evaluation": Evaluation(**{**content["evaluation"], "runtimes": measured}),
        "estimates": [BoardTimes(**times) for times in content.get("estimates", [])],
    }
    return Conversion(**{**dict.fromkeys(names), **content, **parts})


ON_RPI4 = {"board": "rpi4", "runtime": "litert", "error": 0.136, "checked_by": "litert"}


def shapes(lines: Iterable[str]) -> set[str]:
    """What lines say without their numbers."""
    return {re.sub(r"-?\d[\d.,]*", "#", " ".join(line.split())) for line in lines}


def test_convert(tfedge_: Tfedge, folder: Path, sentences: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = (
        *("--quant", "float32", "--seq-len", "16", "--buckets", "8"),
        *("--calibration", sentences, "--max-drop", "5"),
    )
    result = tfedge_("convert", folder, *options, "--output", output, "--json")
    assert result.code == 0
    report = json.loads("\n".join(result.lines))
    effort = report.pop("effort")
    assert effort["seconds"] > 0 and effort["peak_rss_bytes"] > 10**8
    assert json.loads((output / "toy" / "toy_float32.json").read_text()) == report
    assert (report["sequence_length"], report["options"]["max_drop"]) == (16, 5.0)
    assert report["buckets"] == report["options"]["buckets"] == [8]
    manifest = read_bundle(output / "toy" / "toy_float32.tflite").manifest
    assert sorted(manifest.signatures.values()) == [8, 16]
    summary = conversion_summary(conversion_of(report)).splitlines()
    path = output / "toy" / "toy_float32.tflite"
    packed = len(gzip.compress(path.read_bytes()))
    sizes = (path.stat().st_size, packed)
    assert summary[0] == "{}  {:.1f} MB, {:.1f} compressed".format(path, *(s / 1e6 for s in sizes))
    assert report["gzip_bytes"] == packed
    count = sum(report["quantization"]["operators"].values())
    assert summary[2] == f"  float32: {count} of {count} operators compute in float"
    assert summary[4] == "  about 67 MB of memory on a board: boards of 1, 2, 4, 8 GB"
    estimated = [line for line in summary if line.startswith("  estimated on ")]
    assert len(estimated) == (len(estimate.known_boards()) if estimate.RUNTIME in INSTALLED else 0)
    times = [board["ms"] for board in report["estimates"]]
    assert all(0 < ms["8"] < ms["16"] < 1 for ms in times)
    del summary[5 : 5 + len(estimated)]
    end = 6 + 3 * len(INSTALLED)
    assert tuple(line.split()[0] for line in summary[6:end:3]) == INSTALLED
    assert all(
        line.strip().startswith("0 of 12 texts lost, 0.00 points (95 %")
        for line in summary[7:end:3]
    )
    assert all("12 of 12 texts alike; both right " in line for line in summary[8:end:3])
    printed = shapes((ROOT / "README.md").read_text("utf-8").splitlines())
    assert shapes([*estimated, *summary[6:end]]) <= printed
    alone = f"    judged in {INSTALLED[0]} alone: tfedge-infer runs it in no other runtime"
    assert (alone in summary) is (len(INSTALLED) == 1)
    assert summary[-1].endswith(f'tfedge-infer --model {path} "a text"')


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("dynamic", "8-bit weights, multiplied in 8 bits by the kernels of dense layers; 2 of 5"),
        ("int4", "4-bit weights, multiplied in 8 bits by the kernels of dense layers; 2 of 5"),
        ("float16", "16-bit weights, multiplied in float; 2 of 5"),
    ],
)
def test_what_is_multiplied_in_float(mode: str, said: str) -> None:
    numbers = ("size_bytes", "gzip_bytes", "board_memory_bytes", "parameters", "flops")
    report = {
        **dict.fromkeys(numbers, 1_000_000),
        **{"model": "toy", "file": "toy.tflite", "task": "text-classification"},
        **{"sequence_length": 16, "float32_tflite_error": 0.0},
        "quantization": {"mode": mode, "float_operators": 2, "operators": {"A": 3, "B FLOAT": 2}},
        "evaluation": {"source": "dev.tsv", "runtimes": {}},
    }
    lines = conversion_summary(conversion_of({**report, **OUT})).splitlines()
    assert lines[2] == f"  {mode}: {said} operators pass on floats"


def test_summary_of_a_runtime_that_crashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # As `make` calls it, in an environment that is not activated.
    (tmp_path / "tfedge-infer").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "tfedge")])
    monkeypatch.setenv("PATH", "")
    figures = {"texts": 40, "disagreement": 0.125, "drop": 12.5, "passed": True}
    figures["comparison"] = {"compared": 40, "same": 35}
    scores = {**figures, "accuracy": 0.75, "float_accuracy": 0.8}
    paired = {"both_right": 29, "only_this_right": 1, "only_other_right": 3, "p_value": 0.625}
    scores["comparison"] = {**figures["comparison"], **paired}
    scores["interval"] = [-4.7, 15.2]
    scores["drop"] = 5.0
    report = {
        "model": "toy",
        "file": "toy_int8.tflite",
        "size_bytes": 4_150_000,
        "gzip_bytes": 3_140_000,
        "board_memory_bytes": 1_000_000_000,
        "task": "text-classification",
        "sequence_length": 128,
        "parameters": 14_350_000,
        "flops": 1_247_000_000,
        "quantization": {"mode": "int8", "float_operators": 2, "operators": {"A": 3, "B FLOAT": 2}},
        "float32_tflite_error": 0.0000123,
        "estimates": [
            {**ON_RPI4, "ms": {"16": 8.6, "64": 31.5, "128": 65.2}, "unknown": []},
            {**ON_RPI4, "board": "rpi5", "ms": {}, "unknown": ["CUSTOM:x INT8 > INT8"]},
        ],
        "effort": Effort(65.4, 4_630_000_000),
        "evaluation": {
            "source": "dev.tsv",
            "drawn_from": 12_320,
            "runtimes": {
                "first": {"passed": False, "error": "it crashed"},
                "second": figures,
                "third": scores,
            },
        },
    }
    assert conversion_summary(conversion_of({**report, **OUT})).splitlines() == [
        "out/toy/toy_int8.tflite  4.2 MB, 3.1 compressed",
        "  text-classification, 128 tokens, 14.3M parameters, 1.25 GFLOPs",
        "  int8: 2 of 5 operators compute in float",
        "  float32 .tflite against Keras: largest difference 1.2e-05",
        "  about 1000 MB of memory on a board: boards of 2, 4, 8 GB",
        "  estimated on rpi4, litert, one thread: 8.60 ms for 16 tokens, 65.2 for 128 (up to 13.6 % "
        "off)",
        "  no time estimated on rpi5: what it costs there is not known of CUSTOM:x INT8 > INT8",
        "  on 40 of 12,320 texts of dev.tsv:",
        "    first           does not run it: it crashed",
        "    second          agreement with float 87.5 % on 40 texts",
        "                    35 of 40 texts alike",
        "    third           accuracy 75.0 % (float 80.0 %), same answer as float 87.5 % on 40 texts",
        "                    2 of 40 texts lost, 5.00 points (95 % interval -4.70 to 15.20)",
        "                    35 of 40 texts alike; both right 29, this alone 1, float alone "
        "3 (sign test: p = 0.62)",
        "  converted in 1 min 5 s, in at most 4.6 GB of memory",
        f'try it: {tmp_path}/tfedge-infer --model out/toy/toy_int8.tflite "a text"',
    ]


@pytest.fixture
def toy_preset(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """What every preset's name stands for: the toy BERT, of one layer."""
    preset = Preset(
        name="toy",
        description="A toy.",
        task="text-classification",
        sequence_length=16,
        buckets=(),
        quantization="int8",
        hub_id="nobody/toy",
        labels=toy_builder.LABELS,
        config=toy_folders.config(small=True),
    )
    monkeypatch.setattr(tfedge.presets, "load_preset", lambda name: preset)
    return preset


@pytest.mark.usefixtures("toy_preset")
def test_init(tfedge_: Tfedge, folder: Path, tmp_path: Path) -> None:
    made = [tmp_path / name for name in ("first", "again", "other")]
    for path, seed in zip(made, ("3", "3", "4"), strict=True):
        result = tfedge_("init", "toy", path, "--tokenizer", folder, "--seed", seed)
        assert (result.code, result.lines, result.errors) == (0, [str(path)], [])
    first, again, other = map(Checkpoint, made)
    assert first.config.labels == list(toy_builder.LABELS)
    assert first.sha256 == again.sha256 != other.sha256
    assert (made[0] / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


@pytest.mark.usefixtures("toy_preset")
def test_finetune_and_distil(
    tfedge_: Tfedge, folder: Path, sentences: Path, tmp_path: Path
) -> None:
    options = ("--data", sentences, "--eval", sentences, "--epochs", "1", "--batch-size", "6")
    options += ("--max-length", "16", "--learning-rate", "1e-3")
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    result = tfedge_("finetune", folder, *options, "--output", teacher)
    assert result.code == 0
    assert result.lines[0].startswith(f"{teacher}\taccuracy ")
    assert Checkpoint(teacher).config.labels == ["negative", "positive"]
    again = tfedge_("finetune", folder, *options, "--output", teacher)
    assert again.code == 3
    assert again.error.endswith("exists; choose another --output, or --force to replace it")
    distil = ("distil", "toy", "--teacher", teacher, *options, "--output", student)
    result = tfedge_(*distil, "--logit-weight", "0", "--hidden-weight", "0")
    assert result.code == 3
    assert result.error == "tfedge: no loss has a weight; at least one must be above 0"
    result = tfedge_(*distil)
    assert result.code == 0
    assert result.lines[0].startswith(f"{student}\taccuracy ")
    assert Checkpoint(student).config.labels == ["negative", "positive"]


@pytest.mark.slow
def test_qad_and_convert(
    tfedge_: Tfedge, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, trained = tmp_path / "plain.txt", tmp_path / "trained"
    texts.write_text("\n".join(toy_folders.sentences(12).texts))
    options = ("--data", texts, "--max-length", "16", "--batch-size", "6", "--steps", "3")
    result = tfedge_("qad", folder, *options, "--output", trained)
    assert result.code == 0
    assert result.lines[0] == f"{trained}  3 steps on 12 texts"
    assert result.lines[1].endswith("on tfedge/data/sentences.tsv, 480 texts:")
    assert [line.split()[:3] for line in result.lines[2:4]] == [
        ["before", "differs", "by"],
        ["after", "differs", "by"],
    ]
    assert result.lines[4] == f"convert it: tfedge convert {trained}"
    again = tfedge_("qad", folder, *options, "--output", trained)
    assert again.error.endswith("exists; choose another --output, or --force to replace it")
    options = (*options, "--eval", texts, "--json", "--force")
    result = tfedge_("qad", folder, *options, "--output", trained)
    report = json.loads("\n".join(result.lines))
    assert (report["held_out"], report["after"]["texts"]) == (str(texts), 12)

    # The graph is the one that was trained, whatever the texts.
    convert = ("convert", trained, "--seq-len", "16", "--buckets", "none", "--max-drop", "100")
    convert += ("--output", tmp_path / "out", "--json", "--eval", texts)
    monkeypatch.setattr(tfedge.quantize.prepare, "calibrate", lambda *_: pytest.fail("calibrates"))
    result = tfedge_(*convert)
    assert result.code == 0
    assert "taking the ranges of tfedge_quantization.json ..." in result.errors
    record = json.loads((trained / "tfedge_quantization.json").read_text())
    converted = json.loads("\n".join(result.lines))
    assert converted["quantization"]["ranges"] == record["ranges"]
    assert converted["source"]["weights_sha256"] == record["weights_sha256"]
    toy_folders.write_folder(trained, small=True, seed=2)
    result = tfedge_(*convert)
    assert (result.code, "the weights have changed" in result.errors[-1]) == (3, True)


@pytest.mark.slow
def test_prune(tfedge_: Tfedge, folder: Path, sentences: Path, tmp_path: Path) -> None:
    options = ("--data", sentences, "--steps", "6", "--max-length", "16", "--eval", sentences)
    command = ("prune", folder, *options, "--output", tmp_path / "pruned")
    result = tfedge_(*command, "--begin-step", "7", "--end-step", "7")
    assert (result.code, "the run has 6 steps" in result.error) == (3, True)
    assert "would never prune" in result.error

    result = tfedge_(*command)
    assert result.code == 0, result.errors
    rows = {line.split()[0]: line.split()[1:] for line in result.lines[1:8]}
    assert rows["encoder.layer.0.intermediate.dense"] == ["1,536", "50.0", "%"]
    assert re.fullmatch(r"all parameters +[\d,]+ +\d+\.\d %", result.lines[8])
    assert re.fullmatch(r"accuracy \d+\.\d\d %", result.lines[-2])
    assert result.lines[-1] == f"convert it: tfedge convert {tmp_path / 'pruned'}"

    layers = ("--layers", "pooler.dense=0.25", "--pattern", "4x1", "--schedule", "constant")
    report = json.loads("\n".join(tfedge_(*command, *layers, "--force", "--json").lines))
    assert [(layer["name"], layer["sparsity"]) for layer in report["layers"]] == [
        ("pooler.dense", 0.25)
    ]


def test_trim(tfedge_: Tfedge, folder: Path, sentences: Path, tmp_path: Path) -> None:
    command = ("trim", folder, "--output", tmp_path / "small")
    for options, code, message in (
        ((), 3, "give --keep-texts, --languages, or both"),
        (("--languages", "de,xx"), 3, "no language 'xx'; known are af, am"),
        (("--keep-texts", "no.tsv"), 3, "no.tsv does not exist"),
        (("--keep-texts", sentences, "--vocab-size", "2"), 3, "--vocab-size is 2, and special"),
    ):
        result = tfedge_(*command, *options)
        assert (result.code, message in result.error) == (code, True), result.errors
    assert not (tmp_path / "small").exists()
    options = ("--keep-texts", sentences, "--eval", sentences, "--languages", "en")
    result = tfedge_(*command, *options, "--vocab-size", "60")
    assert result.code == 0, result.errors
    assert re.fullmatch(r"\S+small  60 of 9\d rows, of which the texts use 1\d", result.lines[0])
    assert re.fullmatch(r"  weights: \d+\.\d+ MB, 0\.\d\d of \d+\.\d+ MB", result.lines[1])
    assert result.lines[2] == result.lines[3]
    again = tfedge_(*command, *options)
    assert again.error.endswith("exists; choose another --output, or --force to replace it")


@pytest.mark.slow
def test_shrink(tfedge_: Tfedge, folder: Path, sentences: Path, tmp_path: Path) -> None:
    options = ("--data", sentences, "--steps", "6", "--max-length", "16", "--eval", sentences)
    command = ("shrink", folder, *options, "--output", tmp_path / "half")
    for targets in ((), ("--target-flops", "0.5", "--target-latency", "0.5")):
        result = tfedge_(*command, *targets)
        assert result.code == 2
        assert "give one of --target-flops and --target-latency" in result.errors[-1]
    result = tfedge_(*command, "--target-flops", "0.1", "--remove", "heads")
    assert (result.code, "cannot be reached by removing heads alone" in result.error) == (3, True)

    units = ("--remove", "heads", "--remove", "neurons", "--per-layer")
    result = tfedge_(*command, "--target-flops", "0.5", *units)
    assert result.code == 0, result.errors
    lines = "\n".join(result.lines)
    assert re.search(r"layer 0 \(was 0\): \d of 4 heads, \d+ of 48 neurons", lines)
    assert re.search(r"flops: \S+ G -> \S+ G \(0\.[45]\d\), for 128 tokens", lines)
    assert re.search(r"  ms: .* \(0\.\d\d\), estimated for int8 on rpi4", lines)
    assert re.search(r"accuracy: \d+\.\d % before, \d+\.\d % cut, \d+\.\d % after", lines)
    assert "config.json has the key tfedge" in result.lines[-2]
    assert result.lines[-1] == f"next: tfedge convert {tmp_path / 'half'}"

    ordinary = ("--target-flops", "0.9", "--force", "--json")
    report = json.loads("\n".join(tfedge_(*command, *ordinary).lines))
    assert report["ordinary"]
    assert report["after"]["flops"] <= 0.9 * report["before"]["flops"]

    latency = ("--target-latency", "0.9", "--target", "rpi4", "--remove", "heads")
    report = json.loads("\n".join(tfedge_(*command, *latency, "--force", "--json").lines))
    assert report["target"] == {"latency": 0.9}
    assert report["after"]["ms"] <= 0.9 * report["before"]["ms"]
    assert (report["board"], report["ordinary"]) == ("rpi4", False)


# --- interrupts


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where the program keeps what it does not need later."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def test_interrupt(folder: Path, tmp_path: Path, scratch: Path) -> None:
    """Ctrl-C, which the board's process gets as well."""
    output = tmp_path / "out"
    (output / "toy").mkdir(parents=True)
    older = output / "toy" / "toy_float32.tflite"
    older.write_bytes(b"older")
    options = ("--quant", "float32", "--seq-len", "16", "--output", output)
    with subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", "convert", folder, *options],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(scratch),
            "PYTHONDONTWRITEBYTECODE": "1",  # of what TensorFlow generates there
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"running it in {INSTALLED[0]}"):
                break
        time.sleep(0.05)  # the board's process has begun by then
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert out == ""
    assert err.split("\n")[-2] == "tfedge: interrupted; the same command resumes or starts again"
    assert "Traceback" not in err
    assert older.read_bytes() == b"older"
    assert list((output / "toy").iterdir()) == [older]


def started(folder: Path, output: Path) -> subprocess.Popen[str]:
    """A conversion in a process group of its own."""
    options = ("--quant", "float32", "--seq-len", "16", "--output", output)
    return subprocess.Popen(
        [sys.executable, "-m", "tfedge.cli", "convert", folder, *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_kill_at_any_moment(folder: Path, tmp_path: Path, share: float) -> None:
    """What has its final name is whole, whenever the program is killed."""
    begin = time.monotonic()
    with started(folder, tmp_path / "whole") as process:
        assert process.wait(TIMEOUT_S) == 0
    lasted = time.monotonic() - begin
    output = tmp_path / "killed" / "toy"
    with started(folder, output.parent) as process:
        time.sleep(share * lasted)
        os.killpg(process.pid, signal.SIGKILL)
    for path in output.iterdir() if output.exists() else ():
        if path.suffix == ".tflite" and not path.name.startswith("."):
            assert read_bundle(path).manifest.name == "toy"
        elif path.suffix == ".json" and not path.name.startswith("."):
            json.loads(path.read_bytes())
    with started(folder, output.parent) as process:  # whatever is left is no obstacle
        assert process.wait(TIMEOUT_S) == 0
    assert read_bundle(output / "toy_float32.tflite").manifest.name == "toy"


@pytest.mark.slow
def test_two_conversions_at_once(folder: Path, tmp_path: Path) -> None:
    """Both end well, and the file is the one that either alone would have made."""
    both = [started(folder, tmp_path / "both") for _ in range(2)]
    alone = started(folder, tmp_path / "alone")
    for process in (*both, alone):
        out, err = process.communicate(timeout=2 * TIMEOUT_S)
        assert process.returncode == 0, err
        assert "toy_float32.tflite" in out
    made, expected = (tmp_path / name / "toy" for name in ("both", "alone"))
    assert sorted(path.name for path in made.iterdir()) == sorted(
        path.name for path in expected.iterdir()
    )
    name = "toy_float32.tflite"
    assert (made / name).read_bytes() == (expected / name).read_bytes()


@pytest.mark.parametrize("output", ["", ".", "..", "/", "a/.."])
@pytest.mark.parametrize(
    "words",
    [
        ("trim", "x", "--keep-texts", "a.txt"),
        ("finetune", "x", "--data", "a.tsv"),
        ("export", "x", "--format", "onnx"),
        ("report", "x.json"),
        ("edgetpu", "compile", "x.tflite"),
        ("inspect", "x.tflite", "--html"),
        ("edgetpu", "check", "x.tflite", "--html"),
    ],
    ids=" ".join,
)
def test_what_is_made_has_a_name(words: tuple[str, ...], output: str) -> None:
    """From which others are derived, of what is unfinished or lies beside it."""
    option = () if words[-1].startswith("--") else ("--output",)
    done = CliRunner().invoke(cli.main, [*words, *option, output])
    assert (done.exit_code, "names nothing that could be made" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "x", "--max-drop", "nan"),
        ("convert", "x", "--weight-bits", "nan"),
        ("finetune", "x", "--data", "a.tsv", "--output", "y", "--learning-rate", "inf"),
        ("prune", "x", "--data", "a.tsv", "--output", "y", "--sparsity", "nan"),
        ("shrink", "x", "--data", "a.tsv", "--output", "y", "--target-flops", "nan"),
        ("convert", "x", "--eval-limit", "9" * 5000),
    ],
    ids=lambda words: words[-2],
)
def test_numbers_that_nothing_compares_with(words: tuple[str, ...]) -> None:
    """No range holds NaN off, and Python reads no number of thousands of digits."""
    done = CliRunner().invoke(cli.main, list(words))
    assert (done.exit_code, f"Invalid value for '{words[-2]}'" in done.stderr) == (2, True)
