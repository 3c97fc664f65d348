"""Python as users of sentence-transformers know it, threads, and closing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfedge.runtime import BackendError, OptionError, Pipeline, TextError, load

Load = Callable[[str], Pipeline]


def test_embeddings_are_arrays(load_toy: Load) -> None:
    model = load_toy("embedder")
    one, several = model.encode("good"), model.encode(["good", "bad film"])
    assert (one.dtype, one.ndim) == (np.float32, 1)
    assert several.shape == (2, len(one))
    assert np.array_equal(several[0], one)
    assert one.tolist() == model("good")["embedding"]
    assert model.encode([]).shape == (0, len(one))
    assert np.array_equal(model.encode(text for text in ("good", "bad film")), several)


def test_similarities_are_cosines(load_toy: Load) -> None:
    similarity = load_toy("embedder").similarity
    a, b = [[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], [[4.0, 3.0], [-1.0, 0.0]]
    assert similarity(a, b) == pytest.approx(np.array([[0.96, -0.6], [0.6, 0.0], [0.0, 0.0]]))
    assert similarity([1.0, 0.0], [1.0, 0.0]).tolist() == [[1.0]]
    assert similarity(a, b).dtype == np.float32


def test_what_cannot_be_embedded(load_toy: Load) -> None:
    with pytest.raises(OptionError, match="for text-classification does not embed texts; call it"):
        load_toy("classifier").encode("good")
    with pytest.raises(TextError, match="text 2: the text is empty"):
        load_toy("embedder").encode(["good", ""])


def test_labels_and_what_it_is(load_toy: Load) -> None:
    classify = load_toy("classifier")
    assert classify.labels == ("negative", "positive")
    assert load_toy("embedder").labels == ()
    assert repr(classify) == f"<text-classification 'classifier', float32, on {classify.runtime}>"


def test_threads_get_their_own_answers(load_toy: Load) -> None:
    classify = load_toy("classifier")
    texts = ["good", "bad", "good film", "bad film where", "ada was good"]
    expected = {text: classify(text) for text in texts}
    wrong: list[str] = []

    def ask(begin: int) -> None:
        for number in range(300):
            text = texts[(begin + number) % len(texts)]
            if classify(text) != expected[text]:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_closing(toys: Path, in_process: str) -> None:
    path = toys / "embedder.tflite"
    with load(path, in_process, num_threads=1) as model:
        before = model("good")
    for ask in (model, model.encode):
        with pytest.raises(BackendError, match="is closed; load it again"):
            ask("good")
    with pytest.raises(BackendError, match="is closed; load it again"):
        model.encode([])
    model.close()
    assert load(path, in_process, num_threads=1)("good") == before
