"""Threads that share a model, workers, and the child of a fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crowd
import forge
import numpy as np
import pytest
from program import ROOT, TIMEOUT_S, each_runtime, environment

from tfedge.runtime import BackendError, OptionError, Pipeline, TextError, load, pool

Load = Callable[[str], Pipeline]
TEXTS = crowd.texts(40)
ONE_OR_SEVERAL = pytest.mark.parametrize("workers", [None, 3])


def same(a: Any, b: Any) -> bool:
    return json.dumps(a) == json.dumps(b)


def whole(model: Pipeline, text: str) -> Any:
    return model(text)


def streamed(model: Pipeline, text: str) -> Any:
    return list(model.stream([text, "bad"]))


def several(model: Pipeline, text: str) -> Any:
    return model(["bad", text])


def halves(model: Pipeline, text: str) -> Any:
    return model.answer(text, model.prepare(text))


def embedding(model: Pipeline, text: str) -> Any:
    return model.encode([text, "bad"]).tolist()


def entities(model: Pipeline, text: str) -> Any:
    return model(text, aggregation="max")


def read(model: Pipeline, text: str) -> Any:
    return model(("who ?", f"{text} was born"))


def chosen(model: Pipeline, text: str) -> Any:
    return model(text, candidate_labels=["good", "bad"], hypothesis_template="{}")


WAYS = [
    ("classifier", whole),
    ("buckets", whole),
    ("classifier", streamed),
    ("classifier", several),
    ("classifier", halves),
    ("embedder", embedding),
    ("tagger", entities),
    ("reader", read),
    ("nli", chosen),
]


@pytest.fixture(scope="module")
def models(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toys, and one whose labels are those of natural language inference."""
    folder = tmp_path_factory.mktemp("models")
    for name in {name for name, _ in WAYS} - {"nli"}:
        (folder / f"{name}.tflite").symlink_to(toys / f"{name}.tflite")
    content = (toys / "classifier.tflite").read_bytes()
    (folder / "nli.tflite").write_bytes(
        forge.with_manifest(content, labels=["contradiction", "entailment"])
    )
    return folder


@ONE_OR_SEVERAL
@pytest.mark.parametrize(("name", "way"), WAYS, ids=lambda value: getattr(value, "__name__", value))
def test_every_answer_is_its_own(
    name: str,
    way: Callable[[Pipeline, str], Any],
    workers: int | None,
    models: Path,
    in_process: str,
) -> None:
    with load(models / f"{name}.tflite", in_process, num_threads=1, workers=workers) as model:
        expected = [way(model, text) for text in TEXTS]
        wrong: list[str] = []

        def ask(begin: int) -> None:
            for number in range(2 * len(TEXTS)):
                index = (begin * 5 + number) % len(TEXTS)
                if not same(way(model, TEXTS[index]), expected[index]):
                    wrong.append(TEXTS[index])

        crowd_of(8, ask)
    assert not wrong


def crowd_of(count: int, ask: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=ask, args=(begin,)) for begin in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@ONE_OR_SEVERAL
def test_closing_while_others_ask(workers: int | None, toys: Path, in_process: str) -> None:
    """Who asks gets an own answer or hears that it is closed; no text is to blame."""
    model = load(toys / "classifier.tflite", in_process, num_threads=1, workers=workers)
    expected = {text: model(text) for text in TEXTS}
    ends: list[str] = []
    started = threading.Barrier(7)

    def ask(begin: int) -> None:
        started.wait()
        try:
            while True:
                for text in TEXTS[begin:]:
                    if model(text) != expected[text]:
                        ends.append(f"the answer of another text than {text}")
        except BackendError as error:
            ends.append(str(error))

    closing = threading.Thread(target=lambda: (started.wait(), model.close()))
    closing.start()
    crowd_of(6, ask)
    closing.join()
    assert len(ends) == 6
    assert all(end.endswith("is closed; load it again") for end in ends)


@pytest.fixture(scope="module")
def workers(toys: Path, in_process: str) -> Iterator[Pipeline]:
    with load(toys / "classifier.tflite", in_process, workers=3) as model:
        yield model


def test_workers_answer_in_order(workers: Pipeline, load_toy: Load) -> None:
    items = ["", *TEXTS, b"good"]
    answers = workers(item for item in items)
    assert answers == load_toy("classifier")(items)
    assert [answer["text"] for answer in answers] == items
    assert ["error" in answer for answer in answers] == [True, *[False] * len(TEXTS), True]
    assert workers([]) == []


def test_workers_compute_at_once(toys: Path, in_process: str) -> None:
    """As many as there are; each waits here for the other."""
    model = load(toys / "classifier.tflite", in_process, workers=2)
    together = threading.Barrier(2, timeout=TIMEOUT_S)
    for each in model._model._models:  # type: ignore[union-attr]

        def run(*given: Any, run: Callable[..., Any] = each.run) -> Any:
            together.wait()
            return run(*given)

        each.run = run  # type: ignore[method-assign]
    assert len(model(TEXTS[:2])) == 2


def test_workers_embed(toys: Path, in_process: str, load_toy: Load) -> None:
    with load(toys / "embedder.tflite", in_process, workers=2) as model:
        assert np.array_equal(model.encode(TEXTS), load_toy("embedder").encode(TEXTS))
        assert model.encode([]).shape == load_toy("embedder").encode([]).shape
        with pytest.raises(TextError, match="text 2: the text is empty"):
            model.encode(["good", "", "bad"])


def test_threads_of_workers(toys: Path, in_process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the processors, of which each has one at least."""
    for processors, workers, threads in ((4, 2, 2), (4, 3, 1), (2, 4, 1)):
        monkeypatch.setattr(pool, "default_threads", lambda processors=processors: processors)
        model = load(toys / "classifier.tflite", in_process, workers=workers)
        assert (model.num_threads, len(model._model._models)) == (threads, workers)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "0 workers asked for; 1 to 64 are allowed"),
        ({"workers": 65}, "65 workers asked for; 1 to 64 are allowed"),
        ({"workers": 2, "delegate": "edgetpu"}, "a delegate has a device; leave one of them out"),
    ],
)
def test_what_cannot_be_workers(
    options: dict[str, Any], message: str, toys: Path, in_process: str
) -> None:
    with pytest.raises(OptionError, match=message):
        load(toys / "classifier.tflite", in_process, **options)


def test_unknown_argument(toys: Path, in_process: str) -> None:
    with pytest.raises(TypeError, match="worker"):
        load(toys / "classifier.tflite", in_process, worker=2)  # type: ignore[call-arg]


FORK = """
import os, sys, threading
from tfedge.runtime import BackendError, load

path, runtime, options = sys.argv[1], sys.argv[2], eval(sys.argv[3])
model = load(path, runtime, **options)
right, stop = model("good"), False

def ask():
    while not stop:
        assert model("good") == right

threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(5):
    if not (child := os.fork()):
        try:
            model(["good"])
        except BackendError as error:
            print(error, flush=True)
        model.close()
        print(load(path, runtime, num_threads=1)("good") == right, flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for thread in threads: thread.join()
"""


@each_runtime
@pytest.mark.parametrize("options", [{"num_threads": 2}, {"num_threads": 1, "workers": 2}], ids=str)
def test_child_of_a_fork(runtime: str, options: dict[str, Any], toys: Path) -> None:
    """It is told to load the model itself, can, and ends, whatever threads of the parent did."""
    path = toys / "classifier.tflite"
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(path), runtime, repr(options)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    message = f"{path} was loaded before a fork; load it in the process that asks it"
    assert done.stdout.splitlines() == [message, "True"] * 5


@pytest.mark.slow
@each_runtime
@ONE_OR_SEVERAL
def test_sixteen_thousand_answers(runtime: str, workers: int | None, toys: Path) -> None:
    model = os.environ.get("TFEDGE_MODEL", str(toys / "buckets.tflite"))
    command = [sys.executable, str(ROOT / "tests/runtime/crowd.py"), "--model", model]
    command += ["--runtime", runtime, "--threads", "8", "--texts", "2000"]
    command += [] if workers is None else ["--workers", str(workers)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["asked"], found["wrong"]) == (16_000, 0)
