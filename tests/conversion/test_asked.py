"""What options, config, headers and files beside them tell of a conversion is refused at once: without
TensorFlow, which takes seconds and 600 MB."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
import toy_folders
import toy_images

from tfedge.cli import compression, conversion, measurement, training
from tfedge.errors import InputError
from tfedge.measure import evaluate

_AT_ONCE = """
import sys
import tfedge.cli.given, tfedge.conversion.asked
loaded = {"tensorflow", "tf_keras", "transformers"} & {*sys.modules}
sys.exit(", ".join(loaded) or 0)
"""
# Arguments -> what is said of them.
OPTIONS: dict[str, tuple[Sequence[str], str]] = {
    "labels of no tower": (("--labels", "a,b"), "--labels need a tower of texts"),
    "one label": (("--labels", "a"), "--labels are 1, 1 of them different; give 2 to 1000"),
    "a label twice": (("--labels", "a,a"), "--labels are 2, 1 of them different"),
    "no place": (("--labels", "a,b", "--template", "a photo"), "--template is 'a photo'; it must"),
    "a template alone": (("--template", "a {}"), "--template is for --labels; leave it out"),
    "another task": (("--labels", "a,b", "--task", "sentence-embedding"), "go together"),
    "a word": (
        ("--quant", "mixed", "--precision", "nrom=float"),
        "'nrom' names no operation of this model; give one of dense, attention, norm, pooling, or",
    ),
    "precisions of none": (("--precision", "norm=float"), "with the quantization mixed, not int8"),
    "bits of none": (("--quant", "float32", "--weight-bits", "5"), "of use in modes of integers"),
    "too long": (("--seq-len", "512"), "sequence length 512 is not possible"),
    "a target": (("--target", "edgetpu", "--quant", "dynamic"), "computes in int8 only"),
    "labels": (("--eval", "a.tsv"), r"has labels \['sad'\] that the model does not know"),
}
# A file beside the weights, what stands there -> what is said of it.
FILES: dict[str, tuple[str, object, str]] = {
    "a length": ("sentence_bert_config.json", {"max_seq_length": "x"}, "max_seq_length is 'x'"),
    "another length": ("tokenizer_config.json", {"model_max_length": 0}, "model_max_length is 0"),
    "a class": ("tokenizer_config.json", {"tokenizer_class": 5}, "no usable tokeniser"),
    "tokens": ("special_tokens_map.json", {"pad_token": [1]}, "no usable tokeniser"),
    "more tokens": ("added_tokens.json", ["x"], "is a JSON list; it must be an object"),
    "modules": ("modules.json", [{"path": "..", "type": "x.Pooling"}], "modules.json"),
}


# Others that read a checkpoint.
COMMANDS: dict[str, tuple[click.Command, Sequence[str]]] = {
    "export": (conversion.export, ("--format", "onnx")),
    "qad": (compression.qad, ("--data", "a.tsv")),
    "shrink": (compression.shrink, ("--data", "a.tsv", "--target-flops", "0.5")),
    "finetune": (training.finetune, ("--data", "a.tsv")),
    "eval": (measurement.evaluate, ("--data", "a.tsv")),
}


@pytest.fixture(autouse=True)
def _without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (conversion, compression, training, evaluate):
        monkeypatch.setattr(module, "load_tensorflow", lambda: pytest.fail("it was loaded"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_folders.write_folder(tmp_path_factory.mktemp("toy") / "c", small=True)


def _refused(folder: Path, arguments: Sequence[str], message: str) -> None:
    given = [str(folder), "--output", str(folder / "out"), *arguments]
    with pytest.raises(InputError, match=message):
        conversion.convert.main(given, standalone_mode=False)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("kind", OPTIONS)
def test_options(kind: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.tsv").write_text("text\tlabel\na film\tsad\n")
    _refused(toy, *OPTIONS[kind])


@pytest.mark.parametrize("kind", FILES)
def test_files(kind: str, toy: Path, tmp_path: Path) -> None:
    name, content, message = FILES[kind]
    shutil.copytree(toy, tmp_path / "c")
    (tmp_path / "c" / name).write_text(json.dumps(content))
    # Whose files have all a say.
    _refused(tmp_path / "c", ("--task", "sentence-embedding"), message)


@pytest.mark.parametrize("name", COMMANDS)
def test_other_commands(
    name: str, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_folders.write_sentences(Path("a.tsv"))
    shutil.copytree(toy, "c")
    Path("c/special_tokens_map.json").write_text('{"pad_token": [1]}')
    command, arguments = COMMANDS[name]
    given = ("--model", "c") if name == "eval" else ("c", "--output", "out")
    with pytest.raises(InputError, match="no usable tokeniser"):
        command.main([*given, *arguments], standalone_mode=False)
    assert not Path("out").exists()


def test_labels_of_eval(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\na film\tsad\n")
    with pytest.raises(InputError, match="that the model does not know"):
        measurement.evaluate.main(["--model", str(toy), "--data", str(path)], standalone_mode=False)


def test_images(tmp_path: Path) -> None:
    folder = toy_images.write_folder(tmp_path / "c")
    _refused(folder, (), "a vit needs images like those that it will see, at best 128 of all lab")
    _refused(folder, ("--quant", "float32"), "needs no images for ranges, but some to be compared")
    toy_images.write_images(tmp_path / "images", 6)
    (folder / "preprocessor_config.json").write_text('{"size": "x"}')
    _refused(folder, ("--calibration", str(tmp_path / "images")), "preprocessor_config.json")


def test_nothing_of_it_needs_tensorflow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AT_ONCE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
