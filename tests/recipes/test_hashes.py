"""What a recipe is made of is hashed; a file of texts has no other file read by naming it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfedge.errors import InputError
from tfedge.recipes.plan import Hashes


@pytest.mark.parametrize("line", ["/dev/zero", "pipe", "/proc/kmsg", "pipe.png", "other.txt"])
def test_lines_are_no_names_of_files(tmp_path: Path, line: str) -> None:
    """Devices and pipes would be read without end."""
    for name in ("pipe", "pipe.png"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "other.txt").write_text("a")
    texts = tmp_path / "a.txt"
    texts.write_text(f"good film\n{line}\n")
    found = Hashes().data(str(texts))
    (tmp_path / "other.txt").write_text("b")
    assert Hashes().data(str(texts)) == found


def test_images_that_a_table_lists(tmp_path: Path) -> None:
    table, image = tmp_path / "a.csv", tmp_path / "b.PNG"
    table.write_text("image,label\nb.PNG,x\n")
    found = set()
    for content in (b"1", b"2"):
        image.write_bytes(content)
        found.add(Hashes().data(str(table)))
    assert len(found) == 2


def test_no_file_is_so_large(tmp_path: Path) -> None:
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(3 << 30)
    for read in (Hashes().data, Hashes().model):
        with pytest.raises(InputError, match="is larger than 2 GiB"):
            read(str(tmp_path / "a.txt"))


@pytest.mark.parametrize("name", ["pipe.tsv", "pipe"])
def test_a_pipe_is_no_data(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe or a device"):
        Hashes().data(str(tmp_path / name))
