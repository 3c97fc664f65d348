"""CSV and TSV as other programs write them: what separates columns, what quotes mean."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfedge.data.hub import Data
from tfedge.data.texts import read_texts
from tfedge.errors import InputError

# What a file shows -> its name, its content, the texts and the labels in it.
GOOD: dict[str, tuple[str, str, list[str], list[str]]] = {
    "semicolons": (
        "a.csv",
        'text;label\n"one; two";x\nthree, four;y\n',
        ["one; two", "three, four"],
        ["x", "y"],
    ),
    "semicolons and CRLF": ("a.csv", "label;text\r\nx;one\r\n", ["one"], ["x"]),
    "tabs in .csv": ("a.csv", 'text\tlabel\n"Oh, no\tx\n', ['"Oh, no'], ["x"]),
    "comma within a name": ("a.csv", "text;label;length, cm\none, two;x;3\n", ["one, two"], ["x"]),
    "blank after the comma": ("a.csv", "text, label\none, x\n", ["one"], ["x"]),
    "blank before quotes": (
        "a.csv",
        '"label", "text"\n"x", "one, ""two"""\n',
        ['one, "two"'],
        ["x"],
    ),
    "blanks in names of TSV": ("a.tsv", " text \tlabel \none\tx\n", ["one"], ["x"]),
    "capitals": ("a.csv", "Text,LABEL\none,x\n", ["one"], ["x"]),
    "capitals and BOM": ("a.csv", "\ufeffText;Label\none;x\n", ["one"], ["x"]),
    "capitals in JSONL": ("a.jsonl", '{"Text": "one", " label": "x"}\n', ["one"], ["x"]),
    "index of pandas": ("a.csv", ",text,label\n0,one,x\n1,two,y\n", ["one", "two"], ["x", "y"]),
    "index in TSV": ("a.tsv", "\ttext\tlabel\n0\tone\tx\n", ["one"], ["x"]),
    "doubled quotes": (
        "a.tsv",
        'text\tlabel\n"say ""yes"" now"\tx\ntwo\ty\n',
        ['say "yes" now', "two"],
        ["x", "y"],
    ),
    "tab in quotes": ("a.tsv", 'text\tlabel\n"one\ttwo"\tx\n', ["one\ttwo"], ["x"]),
    "line end in quotes": ("a.tsv", 'text\tlabel\n"one\ntwo"\tx\n', ["one\ntwo"], ["x"]),
    "CRLF and quotes": ("a.tsv", 'text\tlabel\r\n"a ""b"""\tx\r\n', ['a "b"'], ["x"]),
    "all quoted": ("a.tsv", '"text"\t"label"\n"one"\t"x"\n', ["one"], ["x"]),
    "one bare quote": (
        "a.tsv",
        'text\tlabel\n"say ""yes"" now"\tx\na 5" disk\ty\n',
        ['"say ""yes"" now"', 'a 5" disk'],
        ["x", "y"],
    ),
    "quote that is not closed": ("a.tsv", 'text\tlabel\n"one\tx\n', ['"one'], ["x"]),
}


@pytest.mark.parametrize("kind", GOOD)
def test_reads(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    name, content, texts, labels = GOOD[kind]
    path = tmp_path / name
    path.write_bytes(content.encode())
    found = read_texts(path)
    assert (found.texts, found.labels) == (texts, labels)
    # What reads rows finds the same.
    rows = Data(str(path), "train").table
    assert [row["text"].strip() for row in rows] == texts
    assert all("" not in row for row in rows)
    assert capfd.readouterr().err == ""


# Read as they stand, and said: quotes that may be marks or not.
DOUBTFUL = {
    "quotes around all of a text": ('text\tlabel\n"yes"\tx\n', ['"yes"']),
    "a quote each in two lines": ('text\tlabel\n"Oh\tx\nno"\ty\n', ['"Oh', 'no"']),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_doubtful_quotes_are_told(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content, texts = DOUBTFUL[kind]
    path = tmp_path / "a.tsv"
    path.write_text(content)
    assert [read_texts(path).texts for _ in range(2)] == [texts, texts]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        f"tfedge: note: {path} has fields between quotes, which are read as part"
    )
    assert line.endswith("write the file as .csv or .jsonl")


BAD = {
    "two delimiters": ("a.csv", "label,id;text\nx,1;one\n", "has commas and semicolons between"),
    "commas in TSV": ("a.tsv", "text,label\none,x\n", "commas between the names in its first line"),
    "a name twice": ("a.csv", "text,Text,label\na,b,x\n", "has the column 'text' twice"),
    "a key twice": (
        "a.jsonl",
        '{"label": 1, "Label ": 2, "text": "a"}',
        "the column 'label' twice",
    ),
    "unknown names": ("a.csv", "review;stars\na;5\n", "has the columns ['review', 'stars']"),
    "semicolons, short row": ("a.csv", "text;label\na;x\nb\n", "line 3, has 1 columns"),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses(tmp_path: Path, kind: str) -> None:
    name, content, message = BAD[kind]
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_texts(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Texts with tabs and line ends in one could be two rows.
_with_tabs = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1
).filter(str.strip)
_with_lines = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\t"), min_size=1
).filter(str.strip)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(_with_tabs, min_size=1) | st.lists(_with_lines, min_size=1))
def test_any_tsv_of_pandas_is_read_back(tmp_path: Path, texts: list[str]) -> None:
    """`DataFrame.to_csv(sep="\\t")` writes by csv.writer with these settings."""
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerows([["", "text", "label"], *([i, text, "x"] for i, text in enumerate(texts))])
    path = tmp_path / "a.tsv"
    path.write_bytes(written.getvalue().encode())
    assert read_texts(path).texts == [text.strip() for text in texts]
