"""Python as users of sentence-transformers know it, threads, and closing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import each_runtime, environment

from tfedge import runtime
from tfedge.errors import MissingPackageError
from tfedge.quiet import load_tensorflow
from tfedge.runtime import (
    BackendError,
    OptionError,
    Pipeline,
    TextError,
    TextTypeError,
    load,
    runtimes,
)
from tfedge.runtime.runtimes import choose_runtime

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
    with pytest.raises(OptionError, match="for text-classification makes no embeddings; call it"):
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
    assert repr(model) == "<sentence-embedding 'embedder', float32, closed>"
    assert load(path, in_process, num_threads=1)("good") == before


@pytest.mark.parametrize("name", [None, 3, 0.5, True, object(), b"good", ("a", "b", "c"), {"x": 1}])
def test_what_is_no_text(load_toy: Load, name: object) -> None:
    """A TypeError that says what may be given, however it is asked."""
    classify, embed = load_toy("classifier"), load_toy("embedder")
    asks: list[Callable[[Any], object]] = [classify, embed, classify.prepare]
    if not isinstance(name, tuple):  # of texts, for these
        asks += [embed.encode]
    for ask in asks:
        with pytest.raises(
            TypeError, match=r"^(give a text or|the text must|a (tuple|dict) must|the model)"
        ):
            ask(name)
    assert issubclass(TextTypeError, TextError)


def test_arrays_and_columns_of_texts(load_toy: Load) -> None:
    classify, embed = load_toy("classifier"), load_toy("embedder")
    texts = ["good", "bad film"]
    for array in (np.array(texts), np.array(texts, object)):
        assert classify(array) == list(classify.stream(array)) == classify(texts)
        assert np.array_equal(embed.encode(array), embed.encode(texts))
    assert type(classify(np.array(texts))[0]["text"]) is str
    assert classify(np.array("good")) == classify(np.str_("good")) == classify("good")
    assert np.array_equal(embed.encode({"text": "good"}), embed.encode("good"))
    assert list(classify.stream("good")) == [classify("good")]
    assert classify(np.array([], str)) == []
    for array in (np.zeros((2, 2)), np.array([texts])):
        with pytest.raises(TypeError, match="the text must be a string, not ndarray"):
            classify(array)
    with pytest.raises(TypeError, match="give a text or a list of texts, not NoneType"):
        next(classify.stream(None))  # type: ignore[arg-type]


def test_arguments_that_there_are_not(load_toy: Load) -> None:
    with pytest.raises(TypeError, match="there is no argument 'topk'; known are top_k, "):
        load_toy("classifier")("good", topk=1)  # type: ignore[call-arg]


def test_completion_offers_what_is_imported_later() -> None:
    code = "import sys, tfedge.runtime as found; print('numpy' in sys.modules, *dir(found))"
    assert _python(code).stdout.split() == ["False", *sorted(runtime.__all__)]


@each_runtime
def test_nothing_of_the_runtime_is_told(toys: Path, runtime: str) -> None:
    code = """
from tfedge.runtime import load
with load(sys.argv[1], sys.argv[2]) as model:
    print(model("good")["label"])
with load(sys.argv[1], sys.argv[2], workers=2) as model:
    print(model("good")["label"])
"""
    done = _python("import sys" + code, str(toys / "classifier.tflite"), runtime)
    assert (done.stdout, done.stderr) == ("positive\npositive\n", "")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@each_runtime
def test_memory_comes_back(toys: Path, runtime: str) -> None:
    """What closed models keep, beside what open ones do."""
    code = """
import sys
from tfedge.runtime import load

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def taken(closes):
    models, before = [], resident()
    for _ in range(60):
        models.append(load(sys.argv[1], sys.argv[2], 1))
        models[-1]("good")
        if closes:
            models[-1].close()
    return resident() - before

taken(True)
print(taken(True), taken(False))
"""
    done = _python(code, str(toys / "classifier.tflite"), runtime)
    closed, opened = map(int, done.stdout.split())
    assert opened > 4e6
    assert closed < opened / 8


def test_beside_tensorflow_litert_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """tflite-runtime would crash with it, but answers in another process."""
    both = ("tflite-runtime", "litert")
    monkeypatch.setattr(runtimes.Runtime, "installed", lambda self: True)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert choose_runtime(None, both, here=True) == "tflite-runtime"
    monkeypatch.setitem(sys.modules, "tensorflow", sys)
    assert choose_runtime(None, both, here=True) == "litert"
    assert choose_runtime(None, both) == "tflite-runtime"
    for wanted, allowed in (("tflite-runtime", both), (None, both[:1])):
        assert choose_runtime(wanted, allowed, here=True) == "tflite-runtime"
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", sys)
    with pytest.raises(MissingPackageError, match="start Python again"):
        load_tensorflow()


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
