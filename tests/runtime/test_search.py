"""The index of a search: its vectors, its file, what it finds."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program import ROOT

from tfedge.runtime import IndexFileError, OptionError, Pipeline, TextError, load
from tfedge.runtime.index_file import ARRAYS
from tfedge.runtime.search import About, Index, Passage, quantize

Load = Callable[[str], Pipeline]
PASSAGES = [
    Passage("a.txt", 1, "a good film"),
    Passage("a.txt", 3, "Ada was born"),
    Passage("b/é\udce9.txt", 2, "bad — film"),
    Passage("b/é\udce9.txt", 7, "a good film"),
]


@pytest.fixture
def index(load_toy: Load) -> Index:
    return Index.build(load_toy("embedder"), PASSAGES)


def test_search_gives_cosines_and_places(load_toy: Load, index: Index) -> None:
    model = load_toy("embedder")
    hits = index.search(model, "good film", top_k=3)
    assert [hit[1:] for hit in hits[:2]] == [PASSAGES[0], PASSAGES[3]]  # equal ones in their order
    exact = model.similarity(model.encode("good film"), model.encode([p.text for p in PASSAGES]))[0]
    assert [hit.score for hit in hits] == pytest.approx(sorted(exact, reverse=True)[:3], abs=0.01)
    assert len(index.search(model, "good film", top_k=9)) == len(index) == 4
    assert index.search(model, "good film", min_score=1.1) == []
    assert all(hit.score >= 0.9 for hit in index.search(model, "good film", min_score=0.9))
    with pytest.raises(OptionError, match="top_k is 0"):
        index.search(model, "good", top_k=0)
    with pytest.raises(OptionError, match=r"shape \(3,\), those of the index \(4,\)"):
        index.nearest([1, 2, 3])


def test_file_gives_the_same(load_toy: Load, index: Index, tmp_path: Path) -> None:
    index.save(path := tmp_path / "x.npz")
    again = Index.load(path)
    assert [again[number] for number in range(len(again))] == PASSAGES
    model = load_toy("embedder")
    assert again.search(model, "bad") == index.search(model, "bad")
    assert again.about == index.about
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays) == set(ARRAYS)


def test_what_is_known_is_not_embedded_again(
    load_toy: Load, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = load_toy("embedder"), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda text: asked.append(text) or encode(text))
    passages = [Passage("c.txt", 1, "bad — film"), Passage("c.txt", 2, "new"), PASSAGES[0]]
    assert len(Index.build(model, [*passages, Passage("d.txt", 1, "new")], index)) == 4
    assert asked == ["new"]


def test_other_models_are_refused(
    load_toy: Load, index: Index, toys: Path, in_process: str
) -> None:
    with pytest.raises(IndexFileError, match="made with 'embedder', and the model is 'classifier'"):
        index.search(load_toy("classifier"), "good")
    with pytest.raises(OptionError, match="makes no embeddings"):
        Index.build(load_toy("classifier"), PASSAGES)
    assert (
        load(toys / "embedder.tflite", in_process).fingerprint == load_toy("embedder").fingerprint
    )


def test_texts_that_cannot_be_embedded(load_toy: Load) -> None:
    with pytest.raises(TextError, match="a:3: the text is empty"):
        Index.build(load_toy("embedder"), [Passage("a", 3, " ")])
    with pytest.raises(TextError, match="a:3: the text is longer than 16 tokens"):
        Index.build(load_toy("embedder"), [Passage("a", 3, "good " * 20)])


def test_nothing_is_an_index_too(load_toy: Load, tmp_path: Path) -> None:
    Index.build(load_toy("embedder"), []).save(tmp_path / "x.npz")
    assert Index.load(tmp_path / "x.npz").search(load_toy("embedder"), "good") == []


def recall(vectors: np.ndarray, queries: np.ndarray) -> float:
    """The share of the nearest 10 by float that are among the nearest 10 by `Index`."""
    rows = quantize(vectors)
    arrays = {
        "vectors": rows,
        "scales": 1 / np.linalg.norm(rows.astype(np.float32), axis=1),
        "files": np.zeros(len(rows), np.int32),
        "lines": np.arange(len(rows), dtype=np.int32),
        "ends": np.zeros(len(rows), np.int64),
        "texts": np.zeros(0, np.uint8),
    }
    index = Index(About("m", "f", ("a",)), arrays)
    exact = np.argsort(-Pipeline.similarity(queries, vectors), axis=1)[:, :10]
    found = [{hit.line for hit in index.nearest(query, 10)} for query in queries]
    return float(
        np.mean([len(set(a) & b) / 10 for a, b in zip(exact.tolist(), found, strict=True)])
    )


def test_int8_finds_what_float_finds() -> None:
    """Of vectors in all directions, which are all about as far from each other."""
    draw = np.random.default_rng(0).normal
    assert recall(draw(size=(20_000, 384)), draw(size=(50, 384))) >= 0.97


@pytest.mark.slow
def test_int8_finds_what_float_finds_of_minilm() -> None:
    path = Path(os.environ.get("TFEDGE_MINILM", ROOT / "saved_models/minilm/minilm_dynamic.tflite"))
    if not path.is_file():
        pytest.fail(
            f"{path} does not exist: tfedge convert minilm --quant dynamic, or TFEDGE_MINILM"
        )
    lines = (ROOT / "tfedge/data/sentences.tsv").read_text("utf-8").splitlines()
    vectors = load(path, num_threads=1).encode(line.split("\t")[0] for line in lines)
    assert recall(vectors, vectors) >= 0.97


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def about(**changes: object) -> np.ndarray:
    fields = {"format": 1, "model": "m", "fingerprint": "f", "paths": ["a", "b"], **changes}
    return np.frombuffer(json.dumps(fields).encode(), np.uint8)


# What an array is changed to, and what is said.
BAD_ARRAYS = {
    "floats": ({"vectors": np.zeros((4, 4))}, "vectors has type float64"),
    "one dimension": ({"vectors": np.zeros(4, np.int8)}, "vectors has type int8 and 1 dim"),
    "pickles": ({"files": np.array([{}] * 4)}, "files has type object"),
    "fewer lines": ({"lines": np.ones(3, np.int32)}, "differ in length"),
    "texts": ({"texts": np.zeros(3, np.uint8)}, "do not end where"),
    "backwards": ({"ends": np.array([9, 3, 11, 46])}, "do not end where"),
    "files": ({"files": np.array([0, 1, 2, 0], np.int32)}, "a passage is of no file"),
    "negative": ({"files": np.array([0, 1, -1, 0], np.int32)}, "a passage is of no file"),
    "scales": ({"scales": np.array([1, 1, np.nan, 1], np.float32)}, "not a number below"),
    "large scales": ({"scales": np.array([1, 1, 3e38, 1], np.float32)}, "not a number below"),
    "format": ({"about": about(format=2)}, "it has format 2 and this version reads 1"),
    "no format": ({"about": about()[:0]}, "damaged"),
    "a list": ({"about": np.frombuffer(b"[]", np.uint8)}, "not understood"),
    "a field": ({"about": about(more=1)}, "not understood"),
    "a name": ({"about": about(paths=["a", 3])}, "a name is not a string"),
    "no array": ({"other": np.zeros(1)}, "does not hold the arrays"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays(index: Index, tmp_path: Path, kind: str) -> None:
    changes, message = BAD_ARRAYS[kind]
    index.save(path := tmp_path / "x.npz")
    np.savez(path, **{**arrays_of(path), **changes})
    with pytest.raises(IndexFileError, match=message):
        Index.load(path)


def test_vectors_of_another_width(load_toy: Load, index: Index, tmp_path: Path) -> None:
    index.save(path := tmp_path / "x.npz")
    np.savez(path, **{**arrays_of(path), "vectors": np.ones((4, 7), np.int8)})
    model, narrow = load_toy("embedder"), Index.load(path)
    for ask in (narrow.vectors, lambda model: narrow.search(model, "film")):
        with pytest.raises(IndexFileError, match="vectors of 7 numbers, and the model makes 4"):
            ask(model)


def test_claims_are_checked_before_memory_is_taken(index: Index, tmp_path: Path) -> None:
    index.save(path := tmp_path / "x.npz")
    arrays = arrays_of(path)
    huge = io.BytesIO()
    header = {"descr": "|i1", "fortran_order": False, "shape": (1 << 40, 1 << 10)}
    np.lib.format.write_array_header_1_0(huge, header)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            np.save(content := io.BytesIO(), array)
            archive.writestr(f"{name}.npy", (huge if name == "vectors" else content).getvalue())
    with pytest.raises(IndexFileError, match="vectors has shape"):
        Index.load(path)
    np.savez_compressed(path, **arrays)
    with pytest.raises(IndexFileError, match="holds less than it claims"):
        Index.load(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(IndexFileError, match="no such file; make it with `tfedge-infer index`"):
        Index.load(tmp_path / "x.npz")
    with pytest.raises(IndexFileError, match="not a file"):
        Index.load(tmp_path)
    (path := tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(IndexFileError, match="damaged, or not made by"):
        Index.load(path)


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage(index: Index, tmp_path: Path, data: st.DataObject) -> None:
    """A changed byte, or an end that is missing, is noticed or changes nothing that is read."""
    index.save(path := tmp_path / "x.npz")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = Index.load(path)
    except IndexFileError:
        return
    assert [read[number] for number in range(len(read))] == PASSAGES
