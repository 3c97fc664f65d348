"""Embedders by what is found with them: by hand, and a toy against itself."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from bars import Bars

from tfedge.data.hub import Data
from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.measure.retrieval import Search, evaluate_search, lines, retrieval
from tfedge.runtime.errors import shortened

BOARD = Board(threads=1)


def _unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians(angles)])


def test_by_hand() -> None:
    # Of the queries at 0, 40 and 90 degrees the nearest is their own, the second, and the third.
    vectors = _unit(0, 40, 90, 10, 50, 100, 130)
    found = retrieval(vectors, ["a", "C", "c"], ["a", "b", "b", "c"])
    assert found["same_label_first"] == pytest.approx(1 / 3)
    assert found["mean_reciprocal_rank"] == pytest.approx((1 + 1 / 4 + 1 / 3) / 3)


def test_what_is_as_near_is_no_success() -> None:
    found = retrieval(_unit(0, 20, -20), ["a"], ["a", "b"])
    assert found == {"same_label_first": 0.0, "mean_reciprocal_rank": 0.5}


def test_many_queries_are_alike_to_few() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(1400, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = [str(one) for one in generator.integers(0, 5, 1400)]
    whole = retrieval(vectors, labels[:1200], labels[1200:])
    each = [
        retrieval(np.concatenate([vectors[i : i + 1], vectors[1200:]]), [labels[i]], labels[1200:])
        for i in range(1200)
    ]
    for name, value in whole.items():
        assert value == pytest.approx(np.mean([one[name] for one in each]))


def _data(path: Path) -> Data:
    return Data(str(path), "train")


def _tables(folder: Path) -> tuple[Data, Data]:
    (folder / "queries.tsv").write_text("text\tlabel\na good film\tfilm\nAda\tname\n\0\tname\n")
    (folder / "gallery.tsv").write_text("text\tlabel\ngood film\tFilm\nada\tname\nbad\tfilm\n")
    return _data(folder / "queries.tsv"), _data(folder / "gallery.tsv")


def test_a_toy_finds_its_words(toys: Path, tmp_path: Path) -> None:
    search = Search.read(*_tables(tmp_path))
    model = toys / "embedder.tflite"
    result = evaluate_search(model, model, search, BOARD, Bars())
    assert (result.texts, result.unanswered, result.task) == (3, 1, "sentence-embedding")
    # The text without an answer is near nothing.
    assert result.figures["same_label_first"] == pytest.approx(2 / 3)
    assert result.figures["against_same_label_first"] == result.figures["same_label_first"]
    first, second = lines(result.figures, result.against)
    assert "among 3 texts of" in first and "66.67 %" in first
    assert second.startswith(str(model))


def test_labels_must_be_there(toys: Path, tmp_path: Path) -> None:
    queries, gallery = _tables(tmp_path)
    (tmp_path / "plain.txt").write_text("a good film\n")
    with pytest.raises(InputError, match="needs one text a row, and the column label"):
        Search.read(_data(tmp_path / "plain.txt"), gallery)
    (tmp_path / "other.tsv").write_text("text\tlabel\nada\tplace\n")
    with pytest.raises(InputError, match=r"labels \['film', 'name'\] that no text of .*other"):
        Search.read(queries, _data(tmp_path / "other.tsv"))
    with pytest.raises(InputError, match=r"--gallery is for sentence embeddings, and .*classifier"):
        search = Search.read(queries, gallery, 1)
        evaluate_search(toys / "classifier.tflite", None, search, BOARD, Bars())


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("pipe.tsv", None, "is a pipe or a device; give a file"),
        ("zero.tsv", Path("/dev/zero"), "is a pipe or a device; give a file"),
        ("loop.tsv", Path("loop.tsv"), "does not exist"),
        ("binary.tsv", bytes(range(256)), "is not UTF-8"),
        ("head.tsv", b"text\tlabel\n", "has no rows"),
        ("deep.jsonl", b"[" * 100_000, "is not JSON: maximum recursion depth"),
        ("long.jsonl", b'{"text": "a", "label": ' + b"9" * 5000 + b"}", "is not JSON"),
        ("half.jsonl", b'{"text": "a", "label": "\\ud800"}', "'label' is not Unicode"),
        ("bomb.tsv.gz", gzip.compress(b"text\tlabel\n" + bytes(17 << 20)), "unpacks to more"),
        ("pairs.tsv", b"text\ttext_pair\tlabel\na\tb\tfilm\n", "needs one text a row"),
    ],
)
def test_hostile_galleries(
    name: str, content: bytes | Path | None, told: str, tmp_path: Path
) -> None:
    """Each is refused in a line, and none is waited for."""
    queries, _ = _tables(tmp_path)
    path = tmp_path / name
    if content is None:
        os.mkfifo(path)
    elif isinstance(content, Path):
        path.symlink_to(content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=told) as raised:
        Search.read(queries, _data(path))
    assert len(shortened(raised.value)) < 1200
