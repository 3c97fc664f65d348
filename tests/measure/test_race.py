"""Whose turn it is, and the figures, from contestants that say how long they took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bars import Bars
from talker import talker

from tfedge import tasks
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.measure import race as module
from tfedge.measure.race import Race, race
from tfedge.records import as_json

LABELS = ("negative", "positive")
TASK = tasks.find("text-classification")
TEXTS = Texts(["a", "b", "c", "d", "e"], ["1", "positive", "negative", "1", "1"], "toy.tsv")


def row(result: Race, number: int) -> dict[str, Any]:
    return dict(as_json(result)["contestants"][number])


def test_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 3)
    log = tmp_path / "log"
    pair = [talker(tmp_path, name, log=str(log)) for name in "AB"]
    bars = Bars()
    race(pair, TEXTS, None, 2, bars, TASK)
    lines = log.read_text().splitlines()
    # Two starts with one text each and a warm-up; then, the first text of a turn coming twice,
    # blocks of 3 and 2 texts in 2 rounds.
    assert lines[:6] == ["A 1", "A 1", "A 3", "B 1", "B 1", "B 3"]
    assert lines[6:] == ["A 4", "B 4", "A 3", "B 3"] * 2
    assert [(bar.description, bar.total, bar.done) for bar in bars] == [
        ("answering in turns", 20, 20)
    ]


def test_others_that_keep_processors_busy_are_told(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            result = race([talker(tmp_path, "A")], TEXTS, None, 1, Bars(), TASK)
        finally:
            other.kill()
    assert 0.3 < result.machine.load <= result.machine.processors + 0.1


def test_only_accuracy_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rates scores is no share, and may be below 0."""
    monkeypatch.setattr(TASK, "metric", lambda *_: {"spearman": -0.5})
    result = race([talker(tmp_path, "A")], TEXTS, LABELS, 1, Bars(), TASK)
    assert "accuracy" not in row(result, 0)


def test_figures(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(1234))
    # The first two calls are the start and the warm-up; then three rounds.
    slow = talker(weights, "slow", ms=[9, 9, 4, 8, 40])
    fast = talker(weights, "fast", ms=[9, 9, 2, 2, 4], label="negative")
    result = race([slow, fast], TEXTS, LABELS, 3, Bars(), TASK)
    content = as_json(result)
    assert json.loads(json.dumps(content)) == content
    assert (result.data, result.texts, result.rounds) == ("toy.tsv", 5, 3)
    assert result.machine.processors >= 1
    first, second = row(result, 0), row(result, 1)
    assert (first["name"], second["name"]) == ("slow", "fast")
    assert [first[f"{name}_ms"] for name in ("mean", "median", "p90")] == pytest.approx([8] * 3)
    assert (first["tokenize_ms"], first["infer_ms"]) == pytest.approx((2, 6))
    assert set(first["ratios"].values()) == {1}
    assert first["ratio_range"] == [1, 1]
    assert second["ratios"] == pytest.approx(
        dict.fromkeys(("mean", "median", "p90", "infer"), 0.25)
    )
    assert second["ratio_range"] == pytest.approx([0.1, 0.5])
    assert (first["accuracy"], second["accuracy"]) == (4 / 5, 1 / 5)
    assert (first["disagreement"], second["disagreement"]) == (0, 1)
    assert second["size_bytes"] == 1234
    assert second["peak_rss_bytes"] == 12_000_000
    assert second["runtime"] == "talker 1"
    assert 0 < second["start_ms"] < 60_000
    assert second["unanswered"] == 0


def test_ratio_of_texts_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean, median and 90th percentile are over the texts."""
    monkeypatch.setattr(module, "BLOCK", 1)
    even = talker(tmp_path, "even", ms=[9, 9, 10])
    uneven = talker(tmp_path, "uneven", ms=[9, 9, 1, 2, 3, 4, 20])
    second = row(race([even, uneven], TEXTS, None, 1, Bars(), TASK), 1)
    assert second["ratios"]["mean"] == pytest.approx(0.6)
    assert second["ratios"]["median"] == pytest.approx(0.3)
    assert second["ratios"]["p90"] == pytest.approx((4 + 0.6 * 16) / 10)
    assert "accuracy" not in second


def test_unknown_labels_are_found_before_the_start(tmp_path: Path) -> None:
    bars = Bars()
    with pytest.raises(InputError, match="has labels"):
        race([talker(tmp_path, then="crash")], TEXTS, ("bad", "good"), 1, bars, TASK)
    assert bars == []
