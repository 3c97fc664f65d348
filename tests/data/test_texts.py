"""Files of texts: each format read as its makers write it, and each fault named where it stands."""

from __future__ import annotations

import csv
import gzip
import json
import os
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfedge.data.texts import Texts, read_texts
from tfedge.errors import InputError

NAMES = ("negative", "positive")
Write = Callable[[str, bytes | str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file into an empty folder."""

    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


# What a file shows -> its name, its content, the texts in it.
GOOD: dict[str, tuple[str, bytes | str, list[str]]] = {
    "bare quotes in TSV": (
        "a.tsv",
        'text\tlabel\n"Oh, no\tx\nsay "yes"\ty\n',
        ['"Oh, no', 'say "yes"'],
    ),
    "quotes in CSV": ("a.csv", 'label,text\nx,"a, ""b"""\n', ['a, "b"']),
    "line break in a CSV field": (
        "a.csv",
        'text,label\n"one\ntwo",x\nthree,y\n',
        ["one\ntwo", "three"],
    ),
    "CSV with CRLF": ("a.csv", "text,label\r\none,x\r\ntwo,y\r\n", ["one", "two"]),
    "TSV with CRLF": ("a.tsv", "text\tlabel\r\none\tx\r\ntwo\ty\r\n", ["one", "two"]),
    "JSONL with CRLF": ("a.jsonl", '{"text": "one"}\r\n{"text": "two"}\r\n', ["one", "two"]),
    "TXT with CRLF": ("a.txt", "one\r\n\r\ntwo\r\n", ["one", "two"]),
    "no line end at the end": ("a.tsv", "text\tlabel\none\tx", ["one"]),
    "BOM": ("a.tsv", b"\xef\xbb\xbftext\tlabel\none\tx\n", ["one"]),
    "GLUE's column": ("a.tsv", "sentence\tlabel\none\t1\n", ["one"]),
    "other columns": ("a.tsv", "id\ttext\tlabel\tx\n7\tone\t1\t\n", ["one"]),
    "blank lines": ("a.tsv", "text\tlabel\n\none\tx\n\n\ntwo\ty\n", ["one", "two"]),
    "capital suffix": ("a.TSV", "text\none\n", ["one"]),
    "escapes in JSONL": ("a.jsonl", '{"text": "\\u00e9\\n\\u2028x"}\n\n', ["é\n\u2028x"]),
    "any script": ("a.txt", "日本語\nEspañol\n🙂\n", ["日本語", "Español", "🙂"]),
    # str.splitlines would also split at these.
    "separators that are no line end": (
        "a.txt",
        "one\u2028two\nthree\x0cfour\x85five\x1csix\n",
        ["one\u2028two", "three\x0cfour\x85five\x1csix"],
    ),
    "separators in TSV": ("a.tsv", "text\tlabel\none\u2028two\x0cx\ta\n", ["one\u2028two\x0cx"]),
    "NUL": ("a.tsv", "text\tlabel\na\0b\tx\n", ["a\0b"]),
}


@pytest.mark.parametrize("kind", GOOD)
def test_reads(write: Write, kind: str) -> None:
    name, content, expected = GOOD[kind]
    path = write(name, content)
    texts = read_texts(path)
    assert texts.texts == expected
    assert texts.source == str(path)


@pytest.mark.parametrize("kind", ["quotes in CSV", "bare quotes in TSV", "escapes in JSONL"])
def test_reads_gzipped(write: Write, kind: str) -> None:
    name, content, expected = GOOD[kind]
    raw = content if isinstance(content, bytes) else content.encode()
    assert read_texts(write(f"{name}.gz", gzip.compress(raw))).texts == expected


def test_labels_go_with_their_texts(write: Write) -> None:
    texts = read_texts(write("a.csv", 'label,text\nx,one\n"y, z",two\n'))
    assert (texts.texts, texts.labels) == (["one", "two"], ["x", "y, z"])
    assert read_texts(write("a.txt", "one\n")).labels is None
    assert read_texts(write("b.tsv", "text\none\n")).labels is None


@pytest.mark.parametrize(
    ("header", "second"),
    [
        ("text,label", ()),
        ("text,label,Premise", ("premise",)),
        ("question,label", ()),
        ("question,sentence,label", ()),
        ("question,sentence,label,context", ("context",)),
        ("premise,hypothesis,text", ("text",)),
        ("label,context,text,query,id", ("context", "query")),
    ],
)
def test_columns_of_second_texts(write: Write, header: str, second: tuple[str, ...]) -> None:
    texts = read_texts(write("a.csv", f"{header}\n{','.join('x' for _ in header.split(','))}\n"))
    assert texts.second == texts.head(1).second == second


# In the order in which two texts are read, whatever that of the columns.
ORDERED = [
    *("text,text_pair", "sentence1,sentence2", "premise,hypothesis", "question,sentence"),
    *("query,passage", "question1,question2", "text1,text2", "sentence_A,sentence_B"),
]


@pytest.mark.parametrize("header", ORDERED)
def test_pairs(write: Write, header: str) -> None:
    first, second = header.split(",")
    for name, content in (
        ("a.csv", f"{first},id,{second},label\na,1,b,x\nc,2,d,y\n"),
        ("b.csv", f" {second.upper()}; {first}; Label; id\nb;a;x;1\nd;c;y;2\n"),
        ("a.jsonl", f'{{"{second}": "b", "id": 1, "label": "x", "{first}": "a"}}\n'),
    ):
        texts = read_texts(write(name, content))
        assert texts.texts == [("a", "b"), ("c", "d")][: len(texts)]
        assert (texts.labels or [])[0] == "x"
        assert texts.columns == (first.lower(), second.lower())
        assert (texts.left_out, texts.second, texts.are_pairs) == (("id",), (), True)


def test_pairs_without_one(write: Write) -> None:
    path = write("a.csv", "premise,hypothesis,label\na,b,x\nc, ,y\n")
    with pytest.raises(InputError, match="row 2, has an empty 'hypothesis'"):
        read_texts(path)
    path = write("a.jsonl", '{"premise": "a", "hypothesis": "b"}\n{"premise": ["c"]}\n')
    with pytest.raises(InputError, match="row 2: 'premise' is a list, not a string"):
        read_texts(path)


def test_parts_of_pairs() -> None:
    texts = Texts(["a", "b", "c"], ["x", "y", "z"], "source")
    pairs = texts.paired()
    assert pairs.texts == [("b", "a"), ("c", "b"), ("a", "c")]
    assert (pairs.labels, pairs.are_pairs) == (None, True)
    assert pairs.apart().texts == ["b", "a", "c", "b", "a", "c"]
    assert not pairs.apart().are_pairs


def test_second_text_of_a_later_row(write: Write) -> None:
    content = '{"text": "a"}\n{"text": "b", "hypothesis": "c"}\n'
    assert read_texts(write("a.jsonl", content)).second == ("hypothesis",)


def test_numbers_are_labels_in_jsonl(write: Write) -> None:
    rows = ['{"text": "one", "label": 1}', '{"text": "two", "label": "negative"}']
    assert read_texts(write("a.jsonl", "\n".join(rows))).labels == ["1", "negative"]


def test_field_longer_than_csv_takes_by_itself(write: Write) -> None:
    csv.field_size_limit(1 << 17)  # Python's default, which an earlier test may have raised
    long = "word " * 200_000
    texts = read_texts(write("a.tsv", f"text\tlabel\n{long}\tx\n"))
    assert texts.texts == [long.strip()]
    csv.field_size_limit(1 << 17)
    assert read_texts(write("a.csv", f'text,label\n"{long}",x\n')).texts == [long.strip()]


# What is wrong -> the name of the file, its content, what the message says.
BAD: dict[str, tuple[str, bytes | str, str]] = {
    "empty": ("a.tsv", "", "has no rows"),
    "empty JSONL": ("a.jsonl", "\n\n", "has no rows"),
    "empty TXT": ("a.txt", " \n\t\n", "has no rows"),
    "empty .gz": ("a.txt.gz", b"", "has no rows"),
    "header only": ("a.csv", "text,label\n", "has no rows"),
    "no text column": ("a.tsv", "review\tlabel\none\tx\n", "the columns ['label', 'review']"),
    "no text key": ("a.jsonl", '{"body": "x"}', "the columns ['body']"),
    "short row": ("a.tsv", "text\tlabel\none\tx\ntwo\n", "line 3, has 1 columns"),
    "long row": ("a.tsv", "text\tlabel\none\tx\ty\n", "line 2, has 3 columns where the first line"),
    "ragged CSV": ("a.csv", 'text,label\n"a\nb",x\ntwo\n', "line 4, has 1 columns"),
    "open quote": ("a.csv", 'text,label\n"one,x\n', "end of data; quotes must be around a"),
    "text after a quote": ("a.csv", 'text,label\n"one" two,x\n', "line 2: "),
    "empty text": ("a.tsv", "text\tlabel\none\tx\n \ty\n", "row 2, has an empty 'text'"),
    "empty label": ("a.tsv", "text\tlabel\none\t\n", "row 1, has an empty 'label'"),
    "text left out": ("a.jsonl", '{"text": "one"}\n{"label": 1}\n', "row 2, has an empty 'text'"),
    "label left out": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}', "an empty 'label'"),
    "null text": ("a.jsonl", '{"text": null}', "row 1, has an empty 'text'"),
    "null label": ("a.jsonl", '{"text": "a", "label": null}', "row 1, has an empty 'label'"),
    "text of texts": ("a.jsonl", '{"text": "a"}\n{"text": ["b"]}', "row 2: 'text' is a list"),
    "text an object": ("a.jsonl", '{"text": {"a": 1}}', "row 1: 'text' is a dict"),
    "several labels": (
        "a.jsonl",
        '{"text": "a", "label": ["x", "y"]}',
        "row 1: 'label' has 2 labels",
    ),
    "half a character": ("a.jsonl", '{"text": "\\ud800"}', "row 1: 'text' is not Unicode"),
    "not JSON": ("a.jsonl", '{"text": "one"}\n{text: 2}\n', "line 2, is not JSON"),
    "JSON in an array": ("a.jsonl", '[{"text": "one"}]', "line 1: an object with 'text'"),
    "no questions of SQuAD": (
        "a.json",
        '{"data": [{"paragraphs": [{"context": "a", "qas": ["x"]}]}]}',
        "is not JSON as SQuAD's, with data, paragraphs, qas (AttributeError",
    ),
    "JSON nested": ("a.jsonl", "[" * 99_999, "line 1, is not JSON"),
    "not UTF-8": ("a.tsv", b"text\tlabel\none\tx\ncaf\xe9\ty\n", "line 3, is not UTF-8"),
    "UTF-16": ("a.txt", "one\ntwo".encode("utf-16"), "line 1, is not UTF-8"),
    "unknown suffix": ("a.xlsx", "x", ".tsv, .csv, .jsonl, .txt"),
    "no suffix": ("a", "x", "the name must end in"),
    "only .gz": ("a.gz", "x", "the name must end in"),
    "not gzipped": ("a.tsv.gz", "text\none\n", "cannot be read: Not a gzipped file"),
    "cut .gz": ("a.txt.gz", gzip.compress(b"one two three" * 99)[:-9], "cannot be read: "),
    "inflating .gz": (
        "a.txt.gz",
        gzip.compress(b"a\n" * (20 << 20)),
        "unpacks to more than 50 times its size",
    ),
    "spoilt .gz": (
        "a.txt.gz",
        gzip.compress(bytes(range(256)))[:10] + b"\xff" * 40,
        "cannot be read: ",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses(write: Write, kind: str) -> None:
    name, content, message = BAD[kind]
    path = write(name, content)
    with pytest.raises(InputError) as caught:
        read_texts(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match=r"folder\.tsv is a folder; give a file of texts"):
        read_texts(tmp_path / "folder.tsv")
    with pytest.raises(InputError, match=r"none\.tsv does not exist"):
        read_texts(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    ("given_labels", "expected"),
    [
        (["negative", "positive"], [0, 1]),
        (["Positive", "NEGATIVE"], [1, 0]),
        (["0", "1", "negative"], [0, 1, 0]),
    ],
)
def test_label_ids(given_labels: list[str], expected: list[int]) -> None:
    texts = Texts(["t"] * len(given_labels), given_labels, "source")
    assert texts.label_ids(NAMES) == expected


def test_names_that_look_like_numbers_are_names() -> None:
    """MNLI-like sets number their labels in an order of their own."""
    assert Texts(["a", "b"], ["1", "0"], "source").label_ids(["1", "0"]) == [0, 1]


def test_unknown_labels_are_listed() -> None:
    texts = Texts(["a", "b", "c"], ["neutral", "positive", "2"], "dev.tsv")
    with pytest.raises(InputError) as caught:
        texts.label_ids(NAMES)
    assert "dev.tsv has labels ['2', 'neutral']" in str(caught.value)
    assert "its labels are ['negative', 'positive']" in str(caught.value)


def test_no_labels_at_all() -> None:
    with pytest.raises(InputError, match="has no labels; it needs a column 'label'"):
        Texts(["a"], None, "dev.txt").label_ids(NAMES)
    with pytest.raises(InputError, match=r"a column 'label' with the label of each text$"):
        Texts(["a"], None, "dev.txt").label_ids([])


def test_what_is_drawn_has_of_each_label_its_share() -> None:
    """150 labels in their order, as a file sorted by label has them; rare ones by chance."""
    labels = [f"intent {index // 100}" for index in range(15000)]
    texts = Texts([str(index) for index in range(15000)], labels, "sorted.tsv")
    found = texts.part(texts.drawn(200))
    counts = Counter(found.labels or ())
    assert len(found) == len(set(found.texts)) == 200
    assert len(counts) == 150
    assert set(counts.values()) == {1, 2}
    assert found.labels == [labels[int(text)] for text in found.texts]
    # In no order: what takes the first few of them has many labels too.
    assert len(set((found.labels or [])[:16])) > 12
    assert texts.drawn(200) == texts.drawn(200)
    uneven = Texts([str(index) for index in range(1000)], ["a"] * 900 + ["b"] * 100, "uneven.tsv")
    assert Counter(uneven.part(uneven.drawn(50)).labels or ()) == {"a": 45, "b": 5}


def test_what_is_drawn_without_labels_is_spread() -> None:
    texts = Texts([str(index) for index in range(1000)], None, "plain.txt")
    found = texts.drawn(100)
    assert len(set(found)) == 100
    assert 300 < np.mean(found) < 700
    assert sorted(texts.drawn(2000)) == list(range(1000))


def test_head_and_tail() -> None:
    texts = Texts(["a", "b", "c"], ["x", "y", "z"], "source")
    assert (texts.head(2).texts, texts.head(2).labels) == (["a", "b"], ["x", "y"])
    assert (texts.tail(1).texts, texts.tail(1).labels) == (["c"], ["z"])
    assert len(texts.head(9)) == 3
    assert Texts(["a", "b"], None, "source").head(1).labels is None


# What a cell of a tab-separated file can hold: anything without tabs and line ends.
_cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), min_size=1
).filter(str.strip)
_anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(_cells, _cells), min_size=1))
def test_any_tsv_is_read_back(write: Write, rows: list[tuple[str, str]]) -> None:
    """A quote in the middle of a text says that no quote in the file is a mark."""
    rows = [*rows, ('the "best" film', "x")]
    path = write("a.tsv", "\n".join(["text\tlabel", *("\t".join(row) for row in rows)]))
    texts = read_texts(path)
    assert texts.texts == [text.strip() for text, _ in rows]
    assert texts.labels == [label.strip() for _, label in rows]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(_anything, _anything), min_size=1))
def test_any_csv_and_jsonl_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    with open(tmp_path / "a.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    with open(tmp_path / "a.jsonl", "w", encoding="utf-8", newline="") as file:
        file.writelines(json.dumps({"text": t, "label": x}) + "\n" for t, x in rows)
    for name in ("a.csv", "a.jsonl"):
        texts = read_texts(tmp_path / name)
        assert texts.texts == [text.strip() for text, _ in rows]
        assert texts.labels == [label.strip() for _, label in rows]


def test_what_is_refused_takes_no_memory(write: Write, tmp_path: Path) -> None:
    """Of a file that inflates no more is kept than is read at once, and a sparse one is not read."""
    packed = write("a.txt.gz", gzip.compress(b"a\n" * (30 << 20)))
    sparse = tmp_path / "b.txt"
    with sparse.open("wb") as file:
        file.truncate(3 << 30)
    tracemalloc.start()
    try:
        for path, message in ((packed, "50 times"), (sparse, "larger than 2 GiB")):
            with pytest.raises(InputError, match=message):
                read_texts(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_pipe_is_no_file_of_texts(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="is a pipe or a device; give a file"):
        read_texts(tmp_path / "a.tsv")
