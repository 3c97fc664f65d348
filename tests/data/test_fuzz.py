"""Whatever a file of texts holds, texts or a documented error come out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tfedge.data.texts import read_texts
from tfedge.errors import InputError

RELAXED = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Bytes that lead somewhere: the words of headers and what tables and JSON are made of.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *(
                    b"text",
                    b"label",
                    b"\t",
                    b",",
                    b'"',
                    b"\n",
                    b"\r",
                    b"{",
                    b"}",
                    b"[",
                    b":",
                    b"1e999",
                ),
                *(b'"text":', b'{"text": "a"}\n', b"text\tlabel\n", b"\xef\xbb\xbf", b"\0", b"NaN"),
            ]
        ),
        st.binary(max_size=6),
        st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
    max_size=30,
).map(b"".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def outcome(path: Path) -> str | None:
    """The error's message; None where there are texts, which are then whole."""
    try:
        texts = read_texts(path)
    except InputError as error:
        return str(error)
    assert len(texts) == len(texts.labels or texts.texts) > 0
    assert all(text.strip() for text in texts.texts)
    for text in (*texts.texts, *(texts.labels or ())):
        text.encode()  # no lone surrogates, which no tokeniser takes
    return None


@RELAXED
@given(content=PIECES)
@example(content=b"text\n" + b"[" * 200_000)
@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".txt"])
def test_any_bytes(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    message = outcome(path)
    assert message is None or (str(path) in message and "\n" not in message)


@RELAXED
@given(rows=st.lists(st.fixed_dictionaries({}, optional={"text": JSON, "label": JSON}), min_size=1))
def test_any_json_rows(tmp_path: Path, rows: list[object]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    outcome(path)


@RELAXED
@given(end=st.integers(0, 60), place=st.integers(0, 59), byte=st.integers(0, 255))
def test_damaged_gzip(tmp_path: Path, end: int, place: int, byte: int) -> None:
    content = bytearray(gzip.compress(b"text\tlabel\na fine film\tgood\n", mtime=0))
    content[min(place, len(content) - 1)] = byte
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(content[:end])
    outcome(path)
