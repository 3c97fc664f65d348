"""What a checkpoint answers in Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders

from tfedge import tasks
from tfedge.measure.checkpoint import checkpoint_answers


@pytest.mark.parametrize(
    ("task", "file", "setting"),
    [
        ("text-classification", "tokenizer_config.json", "model_max_length"),
        ("sentence-embedding", "tokenizer_config.json", "model_max_length"),
        ("sentence-embedding", "sentence_bert_config.json", "max_seq_length"),
    ],
)
def test_a_text_is_cut_where_the_checkpoint_says(
    tmp_path: Path, task: str, file: str, setting: str
) -> None:
    """As transformers and sentence-transformers cut it, and a conversion by default."""
    folder = toy_folders.write_folder(tmp_path / "toy", task=task, small=True)
    path = folder / file
    settings = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**settings, setting: 6}))
    long, cut = checkpoint_answers(folder, ["the film is good bad bad bad", "the film is good"])
    del long["text"], cut["text"]
    assert long == cut


def test_a_context_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once, each as if it were alone: they begin anew every three words here."""
    folder = toy_folders.write_folder(tmp_path / "toy", task="question-answering")
    task = tasks.find("question-answering")
    seen: list[dict[str, np.ndarray]] = []
    answer = task.answer

    def record(outputs: Any, *others: Any) -> Any:
        seen.append(outputs)
        return answer(outputs, *others)

    monkeypatch.setattr(task, "answer", record)
    words = ["good film .", "bad film .", "the film ,"]
    long = " ".join([*words, "ada .", *words])
    (found,) = checkpoint_answers(folder, [("who ?", long)], max_length=16)
    assert found["answer"] == long[found["start"] : found["end"]] != ""
    assert "truncated" not in found
    # 20 tokens of the context, of which a window holds 11 and moves on by 3.
    parts = [" ".join(long.split()[start : start + 11]) for start in (0, 3, 6, 9)]
    checkpoint_answers(folder, [("who ?", part) for part in parts], max_length=16)
    together, *alone = seen
    for name in task.outputs:
        assert together[name].shape == (4, 16)
        for row, outputs in enumerate(alone):
            assert together[name][row] == pytest.approx(outputs[name][0], abs=1e-5)
