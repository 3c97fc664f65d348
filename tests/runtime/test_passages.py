"""Which files are read, what their passages are, and how long ones are cut."""

from __future__ import annotations

import itertools
import os
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfedge.runtime import OptionError, TextError
from tfedge.runtime.passages import MAX_FILE_BYTES, SUFFIXES, cut, find_files, read_passages

TEXT = "# Title\n\n- one\n- two\r\n\r\n---\n \t\nlast line\nof all"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_files_of_folders(tmp_path: Path) -> None:
    write(tmp_path, "n/b.md", "n/a.TXT", "n/sub/c.txt", "n/d.pdf", "n/.hidden.md", "n/.git/e.md")
    write(tmp_path, "out/f.md", "g.pdf")
    (tmp_path / "n/link.md").symlink_to(tmp_path / "out/f.md")
    (tmp_path / "n/folder").symlink_to(tmp_path / "out")
    (tmp_path / "given").symlink_to(tmp_path / "out")
    skipped: list[str] = []
    paths = [str(tmp_path / name) for name in ("g.pdf", "n", "given")]
    found = list(find_files(paths, SUFFIXES, skipped.append))
    names = ["g.pdf", "n/a.TXT", "n/b.md", "n/sub/c.txt", "given/f.md"]
    assert found == [str(tmp_path / name) for name in names]
    assert skipped == []
    assert list(find_files(paths[1:2], [".pdf"], skipped.append)) == [str(tmp_path / "n/d.pdf")]
    with pytest.raises(OptionError, match="nowhere: no such file or folder"):
        list(find_files([str(tmp_path / "nowhere")], SUFFIXES, skipped.append))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("line", [(1, "# Title"), (3, "- one"), (4, "- two\r"), (8, "last line"), (9, "of all")]),
        ("paragraph", [(1, "# Title\n"), (3, "- one\n- two\r\n"), (8, "last line\nof all")]),
        ("file", [(1, TEXT)]),
    ],
)
def test_passages(tmp_path: Path, by: str, expected: list[tuple[int, str]]) -> None:
    (path := tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert list(read_passages(str(path), by)) == expected


@pytest.mark.parametrize("by", ["line", "paragraph", "file"])
def test_short_lines_take_no_list_of_all(tmp_path: Path, by: str) -> None:
    """Of 8 MB it took a gigabyte; so did the words of one long passage."""
    (path := tmp_path / "x.txt").write_bytes(b"a\n" * (1 << 20))
    tracemalloc.start()
    try:
        for line, text in itertools.islice(read_passages(str(path), by), 1000):
            assert next(cut(line, text, fits, 10))[0] == line
        assert tracemalloc.get_traced_memory()[1] < 8 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (latin := tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    os.mkfifo(fifo := tmp_path / "fifo.txt")
    # As of a card that is worn: it is opened, and what it holds cannot be read.
    (broken := tmp_path / "broken.txt").symlink_to("/proc/self/mem")
    with open(large := tmp_path / "large.txt", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for path, message in (
        (latin, "not UTF-8"),
        (fifo, "not a file"),
        (large, "larger than 8388608 bytes"),
        (tmp_path / "gone.txt", "cannot be read: No such file"),
        (broken, "cannot be read: Input/output error"),
    ):
        with pytest.raises(TextError, match=f"{path.name}: {message}"):
            read_passages(str(path), "line")


def fits(text: str) -> bool:
    """At most ten words, as a model of ten tokens might."""
    return len(text.split()) <= 10


def test_long_passages_are_cut() -> None:
    text = "\n".join(f"word{number}  x" for number in range(12))
    parts = list(cut(5, text, fits, 10))
    assert [line for line, _ in parts] == [5, 9, 13]
    words = text.split()
    assert [part.split() for _, part in parts] == [words[:10], words[8:18], words[16:]]
    assert list(cut(5, "a\n b ", fits, 10)) == [(5, "a b")]


def test_runs_without_blanks_are_cut() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(100))
    parts = [part for _, part in cut(1, text, lambda part: len(part) <= 40, 40)]
    assert [text.index(part) for part in parts] == [0, 32, 64]
    assert [len(part) for part in parts] == [40, 40, 36]
    with pytest.raises(TextError, match="a word is longer than the model"):
        list(cut(1, "x" * 100, lambda part: len(part) <= 8, 40))


@given(st.text(st.sampled_from("ab \n\u3042"), max_size=300))
def test_nothing_is_lost(text: str) -> None:
    parts = [part for _, part in cut(1, text, lambda part: len(part) <= 40, 40)]
    assert all(len(part) <= 40 for part in parts)
    rest = "".join(text.split())
    for part in map("".join, map(str.split, parts)):
        overlap = next(size for size in range(len(part), -1, -1) if _joins(part, size, rest, text))
        rest = rest[len(part) - overlap :]
    assert rest == ""


def _joins(part: str, size: int, rest: str, text: str) -> bool:
    """Whether `part` goes on with `rest` behind its first `size` letters, which came before."""
    read = "".join(text.split())
    read = read[: len(read) - len(rest)]
    return read.endswith(part[:size]) and rest.startswith(part[size:])


def test_lines_of_many_parts_are_counted_once() -> None:
    """Their number, from the beginning for each part, took half a minute."""
    started = time.process_time()
    parts = list(cut(1, "a\n" * 2_000_000, lambda part: len(part) <= 800, 200))
    assert time.process_time() - started < 10
    assert [line for line, _ in parts] == [1 + 160 * number for number in range(len(parts))]
