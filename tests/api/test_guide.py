"""From a table of texts to answers, as README, docs/python.md and the notebook have it: they run as
they stand, in a folder in which a toy lies where a clone has tinybert."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import toy_folders
from click.testing import CliRunner
from program import ROOT, environment, infer

from tfedge import cli

LABELS = {"account", "billing", "delivery"}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    folder = tmp_path / "saved_models" / "tinybert"
    folder.parent.mkdir()
    toy_folders.write_folder(folder, small=True, max_position_embeddings=128)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_three_commands(clone: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    first = r"^    tfedge finetune saved_models/tinybert .*examples/tickets\.csv"
    (block,) = re.findall(rf"(?:{first}.*\n)(?:    tfedge.*\n)+", readme, re.MULTILINE)
    finetune, convert, answer = (shlex.split(line) for line in block.splitlines())
    for _, *words in (finetune, convert):
        done = CliRunner().invoke(cli.main, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    result = infer(*answer[1:])
    assert result.code == 0, result.errors
    assert result.lines[0].split("\t")[0] in LABELS


def test_the_page(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    told = capsys.readouterr().out.splitlines()
    # What comments say that is printed.
    said = re.findall(r"# (seq_len: .*|<text-class.*>)$", page, re.MULTILINE)
    assert len(said) == 2 and set(said) <= set(told)
    assert names["made"].path == Path("saved_models/mine/mine_int8.tflite")
    assert set(names["classify"].labels) == LABELS
    assert 0 <= names["measured"].figures["accuracy"] <= 1


def test_the_notebook(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines, each bar one line that changes, and nothing of the runtime's log."""
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, extra test")
    import nbformat

    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    path = clone / "examples" / "notebook.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    lines = [line for cell in cells for line in cell.source.splitlines() if line.strip()]
    assert len(lines) == 10
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    _, trained, made, answered = ([*map(_shown, cell.outputs)] for cell in cells)
    assert _bars(trained)[0].startswith("fine-tuning ../saved_models/tinybert: 60/60 ")
    stages = {bar.partition(":")[0] for bar in _bars(made)}
    assert stages >= {"building and converting the float model", "calibrating"}
    assert all(re.search(r": (\d+)/\1\b", bar) for bar in _bars(made)), made
    assert ("execute_result", made[-1][1]) == made[-1]
    assert made[-1][1].startswith("../saved_models/mine/mine_int8.tflite  ")
    ((kind, answer),) = answered
    assert kind == "execute_result" and any(f"'label': '{label}'" in answer for label in LABELS)
    told = [text for kind, text in (*trained, *made) if kind == "stream"]
    assert not re.search(r"INFO|WARNING|[IW]0000|calibrating", "".join(told))


def _shown(output: dict[str, Any]) -> tuple[str, str]:
    """The kind of an output, and its text."""
    text = output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
    return output["output_type"], text


def _bars(shown: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in shown if kind == "display_data"]


def test_the_table_is_balanced() -> None:
    rows = (ROOT / "examples" / "tickets.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "message,team" and len(set(rows)) == len(rows) == 85
    counts = [sum(row.endswith(f",{label}") for row in rows) for label in LABELS]
    assert counts == [28, 28, 28]
    notebook = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
