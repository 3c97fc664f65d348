"""What a checkpoint answers in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders

from tfedge import tasks
from tfedge.measure.checkpoint import checkpoint_answers


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
