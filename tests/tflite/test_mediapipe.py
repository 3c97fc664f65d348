"""What MediaPipe cannot run is refused before minutes of conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_folders
import toys
from bars import Bars
from tokenizers import Tokenizer

from tfedge.errors import InputError
from tfedge.quantize.prepare import Shape
from tfedge.targets import load_target
from tfedge.tflite.mediapipe import INPUTS, check_mediapipe

SHAPE = Shape("text-classification", 2, 16)


CUT = {"max_length": 512, "strategy": "LongestFirst", "stride": 0}
PLAIN = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)


def tokenizer(**changes: object) -> Tokenizer:
    return Tokenizer.from_str(json.dumps({**json.loads(toys.tokenizer_json()), **changes}))


@pytest.mark.parametrize("quantization", ["int8-float-io", "dynamic", "int16x8", "float32"])
def test_takes_float_outputs_of_one_graph(quantization: str) -> None:
    check_mediapipe(SHAPE, quantization, INPUTS, tokenizer())


def test_takes_what_its_target_makes() -> None:
    target = load_target("mediapipe")
    assert target.buckets == ()
    check_mediapipe(SHAPE, target.quantization, INPUTS, tokenizer())


def test_refuses_all_else_at_once() -> None:
    shape = Shape("token-classification", 2, 16, buckets=(8,))
    with pytest.raises(InputError) as refused:
        check_mediapipe(shape, "int8", INPUTS[:2], tokenizer(normalizer=None))
    for part in (
        "no task for token-classification",
        "int8-float-io",
        "one graph, not of 2; give --buckets none",
        "3 inputs and this encoder has 2",
        "take an uncased model",
    ):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"post_processor": None}, r"\[CLS\] and \[SEP\]"),
        (
            {"model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}},
            "WordPiece",
        ),
        (
            {"truncation": {"direction": "Left", **CUT}},
            "at its end, and this tokeniser at its beginning",
        ),
        ({"added_tokens": [{"id": 96, "content": "<gene>", **PLAIN}]}, "has added <gene>"),
    ],
)
def test_refuses_other_tokenisers(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_mediapipe(SHAPE, "float32", INPUTS, tokenizer(**changes))


def test_the_target_decides_and_is_checked(tmp_path: Path) -> None:
    from tfedge.conversion.job import ConvertOptions, Job

    options = ConvertOptions(target="mediapipe", sequence_length=16)
    job = Job(str(toy_folders.write_folder(tmp_path / "bert")), options, Bars())
    assert (job.quantization, job.runtime, job.shape.buckets) == ("int8-float-io", "litert", ())
    folder = toy_folders.write_folder(tmp_path / "distilbert", "distilbert")
    with pytest.raises(InputError, match="3 inputs and this encoder has 2"):
        Job(str(folder), options, Bars())
