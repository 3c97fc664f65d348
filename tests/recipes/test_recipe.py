"""What a recipe of stages may say, and what its mistakes are answered with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfedge import cli
from tfedge.errors import InputError
from tfedge.recipes.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[2]
COMMANDS = cli.main.commands
WHOLE = """
[defaults]
data = "train.tsv"
eval = "sub/test.tsv"
seed = 3
[finetune]
model = "minilm"
[distil]
preset = "tinybert"
seed = 4
[convert]
seq_len = 64
buckets = [16, 32]
[eval]
"""


def read(tmp_path: Path, content: str, overrides: dict[str, Any] | None = None) -> Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    return read_recipe(path, COMMANDS, overrides or {})


def test_defaults_reach_the_stages_that_have_such_an_option(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert [stage.name for stage in recipe.stages] == ["finetune", "distil", "convert", "eval"]
    finetune, distil, convert, evaluate = (dict(stage.given) for stage in recipe.stages)
    train, test = str(tmp_path / "train.tsv"), str(tmp_path / "sub/test.tsv")
    assert finetune == {"data": train, "eval": test, "seed": 3, "model": "minilm"}
    assert distil == {"data": train, "eval": test, "seed": 4, "preset": "tinybert"}
    assert convert == {"calibration": train, "eval": test, "seq_len": 64, "buckets": [16, 32]}
    assert evaluate == {"data": test}


def test_what_a_vocabulary_is_cut_by(tmp_path: Path) -> None:
    stages = """
    [defaults]
    data = "train.tsv"
    eval = "test.tsv"
    text_column = "message"
    [trim]
    model = "minilm"
    vocab_size = 8000
    [finetune]
    [convert]
    """
    first, second, _ = read(tmp_path, stages).stages
    train, test = str(tmp_path / "train.tsv"), str(tmp_path / "test.tsv")
    assert first.given == {
        **{"keep_texts": train, "eval": test, "text_column": "message"},
        **{"model": "minilm", "vocab_size": 8000},
    }
    assert "model" not in second.given  # what is left of the first
    words = first.arguments({"output": tmp_path / "out", "force": True})
    assert words[:2] == ["trim", "minilm"] and ["--keep-texts", train] == [
        words[at := words.index("--keep-texts")],
        words[at + 1],
    ]


def test_names_and_places(tmp_path: Path) -> None:
    recipe = read(tmp_path, WHOLE)
    assert (recipe.name, recipe.output) == ("mine", tmp_path / "build" / "mine")
    recipe = read(tmp_path, 'name = "it"\noutput = "there"\n' + WHOLE)
    assert (recipe.name, recipe.output) == ("it", tmp_path / "there")
    # What the command line gives is relative to where it was typed.
    recipe = read(tmp_path, WHOLE, {"output": "elsewhere", "defaults.data": "x.tsv"})
    assert recipe.output == Path("elsewhere")
    assert recipe.stages[0].given["data"] == "x.tsv"


def test_settings_of_the_command_line_come_first(tmp_path: Path) -> None:
    changes = {"distil.epochs": 7, "finetune.seed": 5, "name": "other", "defaults.max_length": 32}
    recipe = read(tmp_path, WHOLE, changes)
    assert recipe.name == "other"
    assert [stage.options.get("seed") for stage in recipe.stages[:2]] == [5, 4]
    assert recipe.stages[1].options["epochs"] == 7
    assert {stage.options["max_length"] for stage in recipe.stages[:2]} == {32}
    with pytest.raises(InputError, match=r"has no table \[prune\] in which to set sparsity"):
        read(tmp_path, WHOLE, {"prune.sparsity": 0.5})
    with pytest.raises(InputError, match=r"\[distil\]: unknown 'epoch', perhaps 'epochs' is"):
        read(tmp_path, WHOLE, {"distil.epoch": 1})
    with pytest.raises(InputError, match="--set: unknown 'epochs'; known are name, output"):
        read(tmp_path, WHOLE, {"epochs": 1})


def test_names_of_models_and_of_the_hub_are_no_paths(tmp_path: Path) -> None:
    content = '[finetune]\nmodel = "{}"\ndata = "{}"\n'

    def given(model: str, data: str) -> tuple[str, str]:
        found = read(tmp_path, content.format(model, data)).stages[0].given
        return found["model"], found["data"]

    hub = ("google-bert/bert-base-uncased", "stanfordnlp/sst2:train")
    assert given(*hub) == hub
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model").mkdir()
    (tmp_path / "owner" / "texts").write_text("")
    assert given("owner/model", "owner/texts") == (
        str(tmp_path / "owner/model"),
        str(tmp_path / "owner/texts"),
    )
    (tmp_path / "tinybert").mkdir()
    assert given("tinybert", "a.tsv")[0] == "tinybert"
    assert given("./tinybert", "a.tsv")[0] == str(tmp_path / "tinybert")
    assert given("./near", "a/b.tsv") == (str(tmp_path / "near"), str(tmp_path / "a/b.tsv"))


def test_options_are_those_of_the_command_with_its_defaults(tmp_path: Path) -> None:
    options = read(tmp_path, WHOLE).stages[1].options
    assert (options["seed"], options["epochs"], options["temperature"]) == (4, None, 2.0)
    assert not {"data", "teacher", "output", "force", "json"} & set(options)


def test_command_line_is_the_one_that_a_user_would_type(tmp_path: Path) -> None:
    content = """
    [prune]
    model = "tinybert"
    data = "a.txt"
    layers = ["encoder.*", "pooler.dense=0.25"]
    [convert]
    buckets = [16, 32]
    normalize = false
    keep_reference = true
    precision = ["norm=float"]
    quant = "mixed"
    """
    prune, convert = read(tmp_path, content).stages
    assert prune.arguments({"output": "out", "json": True}) == [
        *("prune", "tinybert", "--layers", "encoder.*", "--layers", "pooler.dense=0.25"),
        *("--data", str(tmp_path / "a.txt"), "--output", "out", "--json"),
    ]
    assert convert.arguments({"model": "out"}) == [
        *("convert", "out", "--quant", "mixed", "--precision", "norm=float"),
        *("--buckets", "16,32", "--no-normalize", "--keep-reference"),
    ]
    assert convert.options["buckets"] == (16, 32)
    assert convert.options["precision"] == {"norm": "float"}


START = '[finetune]\nmodel = "minilm"\ndata = "x.tsv"\n'
MISTAKES = {
    "no stage": ("", "has no stage; give it a table, of finetune, distil, prune"),
    "table": ("[finetun]", "unknown 'finetun', perhaps 'finetune' is meant; known are"),
    "top": ('data = "x"\n' + START, "unknown 'data'; known are convert, defaults"),
    "default": ("[defaults]\nepochs = 1\n" + START, r"\[defaults\]: unknown 'epochs'; known are d"),
    "key": (START + "learning-rate = 1", r"mine.toml, \[finetune\]: .*perhaps 'learning_rate'"),
    "own key": (START + 'output = "x"', r"\[finetune\]: unknown 'output'"),
    "value": (START + "epochs = 0", "'--epochs': 0 is not in the range x>=1"),
    "whole": (START + "epochs = 2.5", "'2.5' is not a valid integer range"),
    "choice": (START + '[convert]\nquant = "int3"', "'int3' is not one of 'int8'"),
    "switch": (START + "[convert]\nkeep_reference = 1", "keep_reference is 1; it must be true or"),
    "no switch": (START + "epochs = true", "epochs is true; it must be a string or a number"),
    "date": (START + "labels = 2020-01-01", "labels is datetime.date.*; give strings or numbers"),
    "no name": (
        START + "[defaults]\neval = -1",
        "eval is -1; it must be a name, in quotation marks",
    ),
    "names": (START + '[convert]\ncalibration = ["a.tsv"]', r"calibration is \['a.tsv'\]; it must"),
    "nested": (START + "labels = [[1]]", "give strings or numbers"),
    "value as table": ("finetune = 1", r"finetune is 1; it must be a table, \[finetune\]"),
    "missing": ('[finetune]\nmodel = "minilm"', "Missing option '--data'"),
    "beginning": ("[convert]\n[eval]", r"\[convert\]: it is the first stage, give it a 'model'"),
    "student": (START + "[distil]", "Missing argument 'PRESET'"),
    "student's texts": ('[distil]\npreset = "tinybert"\nteacher = "x"', "Missing option '--data'"),
    "old name": (START + '[distil]\nrecipe = "tinybert"', r"\[distil\]: .*is called 'preset' now"),
    "order": (
        START + '[convert]\n[distil]\npreset = "tinybert"\ndata = "x.tsv"',
        r"\[distil\]: it needs a checkpoint, which \[convert\], the stage before it, does not make",
    ),
    "after eval": (
        START + '[eval]\ndata = "x.tsv"\n[convert]',
        r"\[convert\]: it needs a checkpoint, which \[eval\]",
    ),
    "name": ('name = "a/b"\n' + START, "name is 'a/b'; it must be usable as the name of a file"),
    "zero": ('name = "a\\u0000"\n' + START, "take it out"),
    "zero in the output": ('output = "a\\u0000"\n' + START, "take it out"),
    "long name": (f'name = "{"x" * 300}"\n' + START, "it must be usable as the name of a file"),
    "hidden": ('name = ".x"\n' + START, "it must be usable as the name of a file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(tmp_path: Path, mistake: str) -> None:
    content, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_examples_are_whole() -> None:
    prune = read_recipe(ROOT / "examples" / "prune.toml", COMMANDS, {"prune.model": "minilm"})
    assert [stage.name for stage in prune.stages] == ["prune", "qad", "convert"]
    assert Path(prune.stages[0].given["data"]).is_file()
    assert prune.stages[0].given["model"] == "minilm"
    recipe = read_recipe(ROOT / "examples" / "trec.toml", COMMANDS, {})
    assert [stage.name for stage in recipe.stages] == ["finetune", "distil", "convert", "eval"]
    assert recipe.output == ROOT / "examples" / "build" / "trec"


def test_reading_a_recipe_leaves_the_commands_as_they_are(tmp_path: Path) -> None:
    """click keeps the help option of the first context in which a command is parsed."""
    path = tmp_path / "recipe.toml"
    path.write_text(START + "[convert]", encoding="utf-8")
    program = (
        "import sys; from tfedge.cli import main; from tfedge.recipes.recipe import read_recipe;"
        " read_recipe(sys.argv[1], main.commands, {}); main(['convert', '-h'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
