"""What a small file may ask much time for: a word of a megabyte without a blank, wherever a file may
have one that messages quote, and lists of many thousands."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import toy_folders
from program import environment

from tfedge.tasks import find
from tfedge.tasks.base import Rows

WORD = "x" * (1 << 20)
SECONDS = 10  # of the processor
_MANY = 30_000
_CONVERT = ("convert", "c", "--output", "out")
_EVAL = ("eval", "--model", "m.tflite", "--data", "a.tsv")


def _text(name: str, content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(content)

    return write


def _setting(name: str, key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "c" / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, key: value}))

    return change


CASES: dict[str, tuple[Callable[[Path], None], Sequence[str]]] = {
    "a label": (_text("a.tsv", f"text\tlabel\ngood\t{WORD}\n"), _EVAL),
    "a column": (_text("a.tsv", f"text\t{WORD}\ngood\tbad\n"), _EVAL),
    "a row": (_text("a.jsonl", '{"text": "a", "label": ["' + WORD), (*_EVAL[:-1], "a.jsonl")),
    "an activation": (_setting("config.json", "hidden_act", WORD), _CONVERT),
    "a type of model": (_setting("config.json", "model_type", WORD), _CONVERT),
    "a number": (_setting("config.json", "hidden_size", WORD), _CONVERT),
    "a key of a recipe": (
        _text("r.toml", f'name = "a"\n[convert]\n{WORD} = 1\n'),
        ("run", "r.toml", "--dry-run"),
    ),
    "a number in a recipe": (
        _text("r.toml", f'name = "a"\n[convert]\nbuckets = [{"1, " * 100_000}1]\n'),
        ("run", "r.toml", "--dry-run"),
    ),
    "a key of many parts": (
        _text("r.toml", "a." * _MANY + "a = 1\n"),
        ("run", "r.toml", "--dry-run"),
    ),
    "a label twice": (
        _setting("config.json", "id2label", {str(i): "L" for i in range(3 * _MANY)}),
        _CONVERT,
    ),
    "many labels": (
        _setting("config.json", "id2label", {str(i): f"L{i}" for i in range(3 * _MANY)}),
        _CONVERT,
    ),
    "many entities": (
        _text(
            "a.jsonl",
            json.dumps(
                {
                    "text": "a " * _MANY,
                    "entities": [[2 * i, 2 * i + 1, "NO"] for i in range(_MANY)],
                }
            ),
        ),
        ("eval", "--model", "t.tflite", "--data", "a.jsonl"),
    ),
    "many counts": (
        _text(
            "r.json",
            json.dumps(
                {
                    "counts": [
                        {"board": "b", "runtime": "r", "model": f"m{i}", "tokens": 9, "minsn": 1.0}
                        for i in range(_MANY)
                    ]
                }
            ),
        ),
        ("report", "r.json"),
    ),
    "a file of results": (_text("r.json", json.dumps({WORD: 1})), ("report", "r.json")),
}


@pytest.mark.parametrize("kind", CASES)
def test_refused_in_no_time(kind: str, toys: Path, tmp_path: Path) -> None:
    spoil, command = CASES[kind]
    toy_folders.write_folder(tmp_path / "c", small=True)
    (tmp_path / "m.tflite").symlink_to(toys / "classifier.tflite")
    (tmp_path / "t.tflite").symlink_to(toys / "tagger.tflite")
    spoil(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tfedge.cli", *command],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS)),
        check=False,
    )
    assert done.returncode in (2, 3), done.stderr[-2000:]
    lines = done.stderr.splitlines()  # there may be notes before the error
    assert lines and all(line.startswith("tfedge: ") and len(line) < 1500 for line in lines)


def test_blanks_within_a_label() -> None:
    """A pattern that begins with any number of blanks would take the square of theirs."""
    task = find("text-multi-label")
    long = f"not{' ' * 300_000}bad"
    rows = Rows(["a text"], [f"good | {long}"], "a.tsv")
    assert task.new_labels(rows) == ["good", long]
    assert task.truth(rows, ["good", long]) == [{0, 1}]
