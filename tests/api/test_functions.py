"""The commands of the host as functions of Python."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
from click.testing import CliRunner
from program import environment

import tfedge
from tfedge import cli
from tfedge.api import call
from tfedge.api.call import _parsed
from tfedge.errors import InputError, MissingPackageError
from tfedge.notes import VERBOSITY
from tfedge.recipes.recipe import parameters

COMMANDS = {name: cli.main.commands[name] for name in ("convert", "finetune", "distil")}
COMMANDS |= {name: cli.main.commands[name] for name in ("prune", "shrink", "qad", "trim")}
COMMANDS["evaluate"] = cli.main.commands["eval"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_has_the_options_of_its_command(name: str) -> None:
    function = getattr(tfedge, name)
    assert set(inspect.signature(function).parameters) == {*parameters(COMMANDS[name])} - {"json"}
    # Those that must be given come first, the others are keywords that may be None.
    for one in inspect.signature(function).parameters.values():
        must = one.name in ("output", "data") and name != "convert"
        must |= one.name in ("model", "preset") or (one.name == "teacher" and name == "distil")
        assert (one.kind is one.KEYWORD_ONLY and one.default is None) != must, one
    assert f"`tfedge {COMMANDS[name].name} --help`" in function.__doc__


def test_type_checkers_know_each_function() -> None:
    tree = ast.parse(Path(tfedge.__file__).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in typed.body if node.module.startswith("tfedge")]
    names = [alias.name for node in imports for alias in node.names]
    assert sorted(names) == tfedge.__all__
    assert set(tfedge.__all__) == {*COMMANDS, "load"} == {*dir(tfedge)} - {"__version__"}
    assert (Path(tfedge.__file__).parent / "py.typed").exists()


def test_keywords_are_options() -> None:
    given: dict[str, Any] = {
        **{"model": Path("tinybert"), "buckets": [16, np.int64(32)], "seq_len": np.int64(64)},
        **{"precision": {"norm": "float"}, "eval_limit": 5, "max_drop": 0.5, "quant": None},
        **{"normalize": False, "keep_reference": np.bool_(True), "output": "-o"},
    }
    found = _parsed(COMMANDS["convert"], given)
    words = ["./tinybert", "--buckets", "16,32", "--seq-len", "64", "--precision", "norm=float"]
    words += ["--eval-limit", "5", "--max-drop", "0.5", "--no-normalize", "--keep-reference"]
    with COMMANDS["convert"].make_context("convert", [*words, "--output", "-o"]) as context:
        assert found == {
            name: context.params[name] for name in context.params if "json" not in name
        }
    assert _parsed(COMMANDS["convert"], {"model": "tinybert", "buckets": []})["buckets"] == ()
    given = {"model": "m", "data": "d", "output": "o", "labels": ["a", "b"]}
    assert _parsed(COMMANDS["finetune"], given)["labels"] == "a,b"
    given = {"model": "m", "data": "d", "output": "o", "layers": "encoder.*", "remove": None}
    del given["remove"]
    assert _parsed(COMMANDS["prune"], given)["layers"] == ("encoder.*",)
    given = {"model": "m", "data": "d", "output": "o", "remove": ["heads", "width"]}
    assert _parsed(COMMANDS["shrink"], given)["remove"] == ("heads", "width")


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"qant": "int8"}, TypeError, "no option 'qant'; perhaps 'quant' is meant; there are"),
        ({"quant": "int9"}, InputError, "quant: 'int9' is not one of 'int8', "),
        ({"seq_len": 1000}, InputError, "seq_len: 1000 is not in the range"),
        ({"seq_len": True}, TypeError, "seq_len must be a string, a path or a number, .* not bool"),
        ({"keep_reference": 1}, TypeError, "keep_reference must be True or False, not 1"),
        ({"eval": object()}, TypeError, "eval must be a string, .* not object"),
        ({"buckets": [1]}, InputError, "buckets: '1'; give lengths of 3 to 512"),
        ({"precision": {"norm": "x"}}, InputError, "precision: norm=x; give WHAT=int8"),
        ({"model": None}, TypeError, "model must be given"),
        ({"model": "no/such/model"}, InputError, "no model 'no/such/model'"),
        ({"calibration": "no.tsv"}, InputError, "no.tsv"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        tfedge.convert(**{"model": "tinybert", **given})


def test_what_does_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one of --target-flops and --target-latency"):
        tfedge.shrink("tinybert", "a.tsv", tmp_path / "out")
    with pytest.raises(InputError, match="labels has 'a,b'; names with commas"):
        tfedge.finetune("tinybert", "a.tsv", tmp_path / "out", labels=["a,b", "c"])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output'"):
        tfedge.finetune("tinybert", "a.tsv")  # type: ignore[call-arg]


def test_where_packages_are_missing() -> None:
    """As on a board: what there is can be asked, and what lacks is told by name."""
    code = """
import sys
sys.modules["annotated_types"] = None
import tfedge, inspect
assert all(callable(getattr(tfedge, name)) for name in dir(tfedge) if name != "__version__")
try:
    tfedge.convert("tinybert")
except ImportError as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("MissingPackageError this needs more (")
    assert "pip install" in done.stdout


def test_how_much_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str | None] = []
    monkeypatch.setattr(
        call, "_RUNS", {"convert": lambda **_: heard.append(call.os.environ.get(VERBOSITY))}
    )
    for options in ({}, {"quiet": True}, {"verbose": True}, {"quiet": False}):
        call.call("convert", {"model": "tinybert", **options})
    monkeypatch.setenv(VERBOSITY, "verbose")
    call.call("convert", {"model": "tinybert", "quiet": True})
    call.call("convert", {"model": "tinybert"})
    assert heard == [None, "quiet", "verbose", None, "quiet", "verbose"]


@dataclasses.dataclass
class Printer:
    """As IPython's."""

    shown: str = ""

    def text(self, text: str) -> None:
        self.shown += text

    def break_(self) -> None:
        self.shown += "\n"


def test_from_a_table_to_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each result is what the next function takes, and shown as the command prints it."""
    monkeypatch.chdir(tmp_path)
    toy_folders.write_folder(tmp_path / "toy", small=True)
    texts = toy_folders.sentences()
    rows = zip(texts.texts, texts.labels or [], strict=True)
    lines = [f'"{text}";{label}\n' for text, label in rows]
    Path("reviews.csv").write_text("review;stars\n" + "".join(lines), encoding="utf-8")
    columns = {"text_column": "review", "label_column": "stars"}
    trained = tfedge.finetune(
        "./toy", "reviews.csv", "mine", eval="reviews.csv", epochs=1, max_length=16, **columns
    )
    assert (trained.output, sorted(trained.to_dict())) == (
        "mine",
        ["accuracy", "figures", "goal", "output", "task"],
    )
    assert str(trained) == f"mine\taccuracy {trained.accuracy:.4f}"
    assert repr(trained) == f"<Trained mine accuracy {trained.accuracy:.4f}>"
    told = capfd.readouterr().err.splitlines()
    assert "40 of the 40 rows of reviews.csv are in reviews.csv too" in told[0]
    assert told[1] == "fine-tuning ./toy ..."

    options = {"calibration": "reviews.csv", "seq_len": 16, "buckets": [], "max_drop": 100}
    made = tfedge.convert(trained, quant="int8", quiet=True, **options, **columns)
    assert made.path == Path("saved_models/mine/mine_int8.tflite")
    assert json.loads(made.path.with_suffix(".json").read_text()) == {
        name: value for name, value in made.to_dict().items() if name != "effort"
    }
    (printed := Printer(), made._repr_pretty_(printed, False))
    assert printed.shown == str(made)
    assert str(made).startswith(f"{made.path}  ") and "\n  on reviews.csv:\n" in str(made)
    assert repr(made).startswith(f"<Conversion {made.path} ") and "\n" not in repr(made)
    # TensorFlow's own log is there where something has imported it before.
    told = capfd.readouterr()
    assert told.out == "" and "calibrating" not in told.err and "converting" not in told.err

    found = tfedge.evaluate(made, Path("reviews.csv"), limit=20, quiet=True, **columns)
    assert 0 <= found.figures["accuracy"] <= 1 and found.texts == 20
    words = ["eval", "--model", str(made.path), "--data", "reviews.csv", "--limit", "20", "--json"]
    words += ["--text-column", "review", "--label-column", "stars", "--quiet"]
    monkeypatch.setenv(VERBOSITY, "quiet")  # which the command sets for good
    done = CliRunner().invoke(cli.main, words)
    assert json.loads(done.stdout) == found.to_dict()
    assert str(found).splitlines()[0].startswith(f"{made.path} on reviews.csv: 20 texts")

    with tfedge.load(made) as model:  # on LiteRT, beside TensorFlow
        assert model.runtime == "litert"
        assert set(model.labels) == {*toy_folders.LABELS}
        assert [answer["label"] in model.labels for answer in model(["good", "bad"])] == [True] * 2
    with pytest.raises(InputError, match="mine exists; choose another --output, or --force"):
        tfedge.finetune("./toy", "reviews.csv", Path("mine"), **columns)


def test_a_smaller_vocabulary(tmp_path: Path) -> None:
    """Without TensorFlow; the result stands for its folder."""
    toy = toy_folders.write_folder(tmp_path / "toy", small=True)
    (tmp_path / "texts.csv").write_text("review\nthe film is good\n")
    code = f"""
import sys, tfedge
made = tfedge.trim({str(toy)!r}, "small", keep_texts="texts.csv", text_column="review", quiet=True)
assert "tensorflow" not in sys.modules
print(made, made.to_dict()["rows"], sep="\\n")
again = tfedge.trim(made, "again", languages=["en", "de"], vocab_size=20, quiet=True)
assert again.rows == 20 and again.texts is None
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, weights, texts, following, rows = done.stdout.splitlines()
    assert first == f"small  {rows} of 96 rows, of which the texts use 4"
    assert weights.startswith("  weights: ")
    assert texts.startswith("  texts.csv: 1 of 1 texts are cut as before; of the characters 0.0 %")
    assert following == "convert it: tfedge convert small"


def test_functions_of_the_host_after_tflite_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", sys)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with pytest.raises(MissingPackageError, match="or load models with runtime='litert'"):
        tfedge.convert("tinybert")
