"""The recipes of examples/: each is whole, and runs from data of its kind to a measured file."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tfedge import cli
from tfedge.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NO_RECIPES = ("zoo",)
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.toml") if path.stem not in NO_RECIPES)
ROWS = 24
CONLL = "play O\nthe O\n{} B-thing\nnow O\n\n"
MARKED = '{{"text": "call ada on {0}", "entities": [{{"start": 5, "end": 8, "label": "name"}}]}}\n'
ASKED = (
    '{{"question": "what is {0} ?", "context": "the film is {0} and long", '
    '"answers": {{"text": ["film"], "answer_start": [4]}}}}\n'
)
# A row of each recipe's data, to be filled with a word; the word of a label, of two in turns.
ROW = {
    "slots": CONLL,
    "entities": CONLL,
    "private_data": MARKED,
    "questions": ASKED,
    "entailment": "a {0} is here\ta {0} is there\t{1}\n",
    "similarity": "a {0} is here\ta {0} is there\t{2}\n",
    "reranking": "where is {3}\ta {0} is there\t{4}\n",
    "search": '{{"anchor": "a {0} thing", "positive": "what is {0} {3}"}}\n',
    "emotions": '{{"text": "what a {0} film", "labels": ["{1}"]}}\n',
    "intents": "a {0} please\t{1}\n",
    "sentiment": "a {0} film\t{1}\n",
    "trec": "what is a {0} ?\t{1}\n",
}
LABELLED = "text\tlabel\n"
HEADS = {
    "entailment": "text\ttext_pair\tlabel\n",
    "similarity": "text\ttext_pair\tscore\n",
    "reranking": "query\tpassage\trelevance\n",
    **dict.fromkeys(("intents", "sentiment", "trec"), LABELLED),
}
KINDS = {"slots": "conll", "entities": "conll"} | dict.fromkeys(
    ("emotions", "private_data", "questions", "search"), "jsonl"
)
LABELS = {"intents": ("oos", "buy", "sell"), "emotions": ("joy", "anger")}
WORDS = ("good", "bad", "long", "short", "fine", "dull")
# An epoch of a few texts shows that a recipe runs, and weights in 8 bits are converted in a moment.
SHORT = {
    "finetune": ("epochs=1", "batch_size=8", "max_length=16"),
    "distil": ("epochs=1", "batch_size=8", "max_length=16"),
    "convert": ("quant=dynamic", "buckets=none", "max_drop=100", "seq_len=16"),
}


def data(name: str, folder: Path) -> Path:
    """A file of the kind that a recipe reads."""
    labels = LABELS.get(name, ("yes", "no"))
    rows = [
        ROW[name].format(
            WORDS[at % len(WORDS)], labels[at % len(labels)], 1 + at % 5, at // 4, int(at % 4 == 0)
        )
        for at in range(ROWS)
    ]
    path = folder / f"data.{KINDS.get(name, 'tsv')}"
    path.write_text(HEADS.get(name, "") + "".join(rows))
    return path


def final(name: str, path: Path) -> dict[str, Path]:
    """What the last stage reads, which is measured on other texts than it learns from."""
    if name != "search":
        return {"data": path}
    texts = path.with_name("texts.tsv")
    texts.write_text(
        LABELLED + "".join(f"a {WORDS[at % 6]} text\t{WORDS[at % 6]}\n" for at in range(ROWS))
    )
    return {"data": texts, "gallery": texts}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "prune"])
def test_stages(name: str) -> None:
    recipe = read_recipe(EXAMPLES / f"{name}.toml", cli.main.commands, {})
    assert [stage.name for stage in recipe.stages] == ["finetune", "distil", "convert", "eval"]
    assert recipe.name == name
    # What is measured at the end, nothing before has seen.
    final, first = recipe.stages[-1].given["data"], recipe.stages[0].given["data"]
    assert final != first
    assert name == "trec" or final != recipe.stages[0].given["eval"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ROW))
def test_recipe_in_short(name: str, tmp_path: Path) -> None:
    path = data(name, tmp_path)
    command = [sys.executable, "-m", "tfedge.cli", "run", EXAMPLES / f"{name}.toml", "--json"]
    command += ["--data", path, "--eval", path, "--output", tmp_path / "out"]
    settings = [f"{stage}.{value}" for stage, values in SHORT.items() for value in values]
    settings += [f"eval.{key}={file}" for key, file in final(name, path).items()]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, converted, measured = (stage["result"] for stage in json.loads(done.stdout)["stages"])
    assert measured["texts"] == ROWS
    metric = entries()[name].metric if name in entries() else None
    assert metric is None or 0 <= measured[metric] <= 1
    assert converted["size_bytes"] < 17_000_000


# --- the zoo


def zoo() -> ModuleType:
    """examples/zoo.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("zoo", EXAMPLES / "zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module


def entries() -> dict[str, Any]:
    return dict(zoo().read_entries())


def test_zoo_builds_recipes_whose_terms_are_known() -> None:
    free = {"cc0-1.0", "cc-by-3.0", "cc-by-4.0", "apache-2.0"}
    for name, entry in entries().items():
        assert name in NAMES
        assert entry.license in free
        assert len(entry.files) == 3


def test_zoo_names_what_is_missing(tmp_path: Path) -> None:
    entry = entries()["slots"]
    with pytest.raises(
        SystemExit, match=r"slots: .*train\.slots\.conll is missing; get SNIPS from"
    ):
        zoo().build("slots", entry, tmp_path, tmp_path / "out")


def test_card() -> None:
    stages = {
        "convert": {
            **{"file": "slots_int8.tflite", "size_bytes": 15_800_000, "sequence_length": 48},
            "quantization": {"mode": "int8"},
            "estimates": [
                {"board": "rpi4", "ms": {"16": 8.2, "48": 24.4}},
                {"board": "rpi5", "ms": {}},
            ],
        },
        "eval": {"f1": 0.93456, "texts": 700, "runtime": "litert"},
    }
    text = zoo().card("slots", entries()["slots"], stages)
    head, body = text.removeprefix("---\n").split("\n---\n")
    assert "license: cc0-1.0" in head and "value: 0.9346" in head
    assert "15.8 MB, 48 tokens at most, about 24 ms on rpi4 (estimated, one thread).\n" in body
    assert "On 700 texts of its test set: f1 93.5 % in litert." in body
