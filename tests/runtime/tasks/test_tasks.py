"""Logits to answers, against slower and simpler ways."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfedge.runtime import OptionError, tasks
from tfedge.runtime.image import EncodedImage
from tfedge.runtime.tasks.base import sigmoid, softmax
from tfedge.runtime.tokenizer import Encoded
from tfedge.runtime.wanted import Wanted

LOGITS = st.floats(-50, 50, width=32)


@settings(deadline=None)
@given(
    logits=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=LOGITS)
)
def test_softmax(logits: np.ndarray) -> None:
    powers = np.exp(logits.astype(np.float64))
    assert softmax(logits) == pytest.approx(powers / powers.sum(-1, keepdims=True))


def test_softmax_of_large_logits() -> None:
    assert softmax(np.array([1e30, 0, -1e30], np.float32)).tolist() == [1, 0, 0]


def no_tokens() -> Encoded:
    return Encoded([], [], [], [], [], False, 0)


def test_labels_are_ranked() -> None:
    outputs = {"logits": np.array([[0.0, 2.0, 1.0]], np.float32)}
    classify = tasks.find("text-classification").answer
    answer = classify(outputs, no_tokens(), "", ("a", "b", "c"))
    assert list(answer["scores"]) == ["b", "c", "a"]
    assert answer["label"] == "b"
    two = classify(outputs, no_tokens(), "", ("a", "b", "c"), Wanted(top_k=2))
    assert list(two["scores"]) == ["b", "c"]


def test_labels_by_themselves() -> None:
    """sigmoid(0) is 0.5, sigmoid(ln 3) is 3/4."""
    outputs = {"logits": np.array([[0.0, np.log(3), -np.log(3)]], np.float32)}
    task = tasks.find("text-multi-label")
    answer = task.answer(outputs, no_tokens(), "", ("a", "b", "c"))
    assert answer["scores"] == pytest.approx({"b": 0.75, "a": 0.5, "c": 0.25})
    assert (answer["label"], answer["labels"]) == ("b", ["b", "a"])
    assert task.line(answer) == "b\t0.7500\ta\t0.5000"
    none = task.answer({"logits": outputs["logits"] - 9}, no_tokens(), "", ("a", "b", "c"))
    assert (none["label"], none["labels"], task.line(none)) == ("b", [], "-")


def test_numbers() -> None:
    task = tasks.find("text-regression")
    answer = task.answer({"logits": np.array([[3.25]], np.float32)}, no_tokens(), "", ("stars",))
    assert answer == {"label": "stars", "score": 3.25, "scores": {"stars": 3.25}}
    assert task.line(answer) == "3.2500"
    outputs = {"logits": np.array([[-1.0, 2.0]], np.float32)}
    answer = task.answer(outputs, no_tokens(), "", ("size", "age"))
    assert list(answer["scores"].items()) == [("size", -1.0), ("age", 2.0)]
    assert (answer["label"], answer["score"]) == ("age", 2.0)
    assert task.line(answer) == "size\t-1.0000\tage\t2.0000"


def test_scores() -> None:
    task = tasks.find("text-scoring")
    outputs = {"logits": np.array([[-np.log(3)]], np.float32)}
    answer = task.answer(outputs, no_tokens(), "", ("LABEL_0",))
    assert (answer["label"], answer["score"]) == ("LABEL_0", pytest.approx(0.25))
    assert task.line(answer) == "0.2500"


def test_objects() -> None:
    """Of four tokens one finds nothing, and one too little; ends are cut to whole numbers, as torch's
    `int` does."""
    task = tasks.find("object-detection")
    found = EncodedImage(np.zeros((2, 2, 3), np.uint8), 9, (100, 200))
    outputs = {
        "logits": np.log(np.array([[[6, 2, 2], [1, 2, 7], [1, 6, 3], [4, 1, 5]]], np.float32)),
        "pred_boxes": np.array(
            [[[0.5, 0.5, 0.2, 0.1], [0, 0, 1, 1], [0.01, 0.999, 0.1, 0.1], [0, 0, 0, 0]]],
            np.float32,
        ),
    }
    answer = task.answer(outputs, found, "a.jpg", ("cat", "dog"))
    first, second = answer["objects"]
    assert (first["label"], second["label"]) == ("cat", "dog")
    assert (first["score"], second["score"]) == (pytest.approx(0.6), pytest.approx(0.6))
    assert first["box"] == {"xmin": 80, "ymin": 45, "xmax": 120, "ymax": 55}
    assert second["box"] == {"xmin": -8, "ymin": 94, "xmax": 12, "ymax": 104}
    assert task.line(answer) == "cat\t0.6000\t80,45,120,55\tdog\t0.6000\t-8,94,12,104"
    every = task.answer(outputs, found, "a.jpg", ("cat", "dog"), Wanted(threshold=0.0))
    assert [each["label"] for each in every["objects"]] == ["cat", "dog", "dog", "cat"]
    none = task.answer(outputs, found, "a.jpg", ("cat", "dog"), Wanted(threshold=0.9))
    assert (none, task.line(none)) == ({"objects": []}, "-")
    assert task.shapes(9, 2) == {"logits": (1, None, 3), "pred_boxes": (1, None, 4)}


def test_sigmoid_of_large_logits() -> None:
    assert sigmoid(np.array([1e30, 0, -1e30], np.float32)) == pytest.approx([1, 0.5, 0])


def test_what_a_task_may_be_asked() -> None:
    for name in tasks.names():
        Wanted().check(name, tasks.find(name).options)
    Wanted(no_answer=True).check("qa", tasks.find("question-answering").options)
    Wanted(top_k=1).check("it", tasks.find("text-classification").options)
    with pytest.raises(OptionError, match="no_answer does not apply to it"):
        Wanted(no_answer=True).check("it", tasks.find("text-classification").options)
    with pytest.raises(OptionError, match="top_k does not apply to qa"):
        Wanted(top_k=1).check("qa", tasks.find("question-answering").options)
    Wanted(threshold=0.9).check("boxes", tasks.find("object-detection").options)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match=r"threshold is .*; it must be a number from 0 to 1"):
            Wanted(threshold=wrong).check("boxes", tasks.find("object-detection").options)
    with pytest.raises(OptionError, match="top_k is 0"):
        Wanted(top_k=0).check("it", tasks.find("text-classification").options)


def test_the_folder_is_walked() -> None:
    assert tasks.names() == (
        "fill-mask",
        "image-classification",
        "image-feature-extraction",
        "image-multi-label",
        "object-detection",
        "question-answering",
        "sentence-embedding",
        "text-classification",
        "text-multi-label",
        "text-regression",
        "text-scoring",
        "token-classification",
        "zero-shot-image-classification",
    )
    for name in tasks.names():
        assert tasks.find(name).name == name


@pytest.mark.parametrize(
    "name", ["base", "classification", "", "..", "os", "text-classification.TASK"]
)
def test_what_is_no_task(name: str) -> None:
    """The name may come from a file that somebody made: it decides on no import."""
    with pytest.raises(ValueError, match=r"is none of fill-mask, image-classification"):
        tasks.find(name)


def test_only_the_module_that_is_needed_is_loaded() -> None:
    """And no numpy: `--doctor` reads a model where it is broken."""
    program = (
        "import sys; from tfedge.runtime import tasks; tasks.find('token-classification');"
        "print(*sorted(name for name in sys.modules if name.startswith('tfedge.runtime.tasks.')));"
        "assert 'numpy' not in sys.modules and 'tokenizers' not in sys.modules"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = ("base", "token_classification")
    assert found.stdout.split() == [f"tfedge.runtime.tasks.{module}" for module in modules]
