"""Whatever comes in, a documented error or an answer comes out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfedge.runtime import InferenceError, ModelFileError, Pipeline, TextError, load, render
from tfedge.runtime.inputs import IMAGE, PAIR, TEXT, Input
from tfedge.runtime.lines import parse_lines

RELAXED = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# Any code point, lone surrogates too, with more of what tokenisers stumble over.
TEXTS = st.text(
    st.one_of(st.characters(exclude_categories=()), st.sampled_from(" \0\ud800\u0301#[]good\u2028"))
)


@RELAXED
@given(text=TEXTS)
@pytest.mark.parametrize("name", ["classifier", "tagger", "embedder"])
def test_any_text(load_toy: Callable[[str], Pipeline], name: str, text: str) -> None:
    try:
        answer = load_toy(name)(text)
    except TextError:
        return
    assert answer["text"] == text
    for line in (render.as_json(answer), render.as_text(answer, load_toy(name).task)):
        assert render.encode(line).count(b"\n") == 1
    for token in answer.get("tokens", []):
        assert 0 <= token["start"] <= token["end"] <= len(text)
    for entity in answer.get("entities", []):
        assert entity["text"] == text[entity["start"] : entity["end"]]


@RELAXED
@given(question=TEXTS, context=TEXTS)
def test_any_question(load_toy: Callable[[str], Pipeline], question: str, context: str) -> None:
    try:
        answer = load_toy("reader")(question, context)
    except TextError:
        return
    assert answer["answer"] == context[answer["start"] : answer["end"]]
    assert 0 <= answer["score"] <= 1


@RELAXED
@given(
    lines=st.lists(st.binary()),
    json_lines=st.booleans(),
    asked=st.sampled_from((TEXT, PAIR, IMAGE)),
)
def test_any_lines(lines: list[bytes], json_lines: bool, asked: Input) -> None:
    parse = asked.parse_json if json_lines else asked.parse
    requests = list(parse_lines(lines, parse, None))
    assert len(requests) == len(lines)
    for request in requests:
        render.encode(render.as_json({"text": request.text, "error": request.error}))


@RELAXED
@given(value=st.recursive(st.none() | st.booleans() | st.floats() | TEXTS, st.lists))
def test_any_json_line(load_toy: Callable[[str], Pipeline], value: object) -> None:
    line = json.dumps({"text": value, "context": value}).encode()
    (request,) = parse_lines([line], TEXT.parse_json, None)
    (answer,) = load_toy("classifier").stream([request.text])
    assert "label" in answer or "error" in answer


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A way to spoil a file: cut its end, or overwrite some places."""
    end = draw(st.none() | st.floats(0, 1, exclude_max=True))
    places = draw(
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=8)), max_size=5)
    )

    def spoil(content: bytes) -> bytes:
        spoilt = bytearray(content)
        for place, patch in places:
            start = int(place * len(spoilt))
            spoilt[start : start + len(patch)] = patch
        return bytes(spoilt[: None if end is None else int(end * len(content))])

    return spoil


@RELAXED
@given(spoil=damage())
def test_damaged_file_is_refused_or_sound(
    toys: Path, in_process: str, spoil: Callable[[bytes], bytes]
) -> None:
    content = (toys / "classifier.tflite").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(spoil(content))
        try:
            pipeline = load(path, in_process, num_threads=1)
        except ModelFileError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            return
        assert pipeline("good")["label"] == "positive"


@RELAXED
@given(spoil=damage())
def test_damaged_archive_is_refused_or_sound(
    toys: Path, in_process: str, spoil: Callable[[bytes], bytes]
) -> None:
    """As above, with all the damage in the part that is no model, where names and sizes are."""
    content = (toys / "classifier.tflite").read_bytes()
    archive = content.index(b"PK\x03\x04")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content[:archive] + spoil(content[archive:]))
        try:
            load(path, in_process, num_threads=1)("good")
        except InferenceError as error:
            assert "\n" not in str(error)
