"""Folders and tables of images."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import toy_images

from tfedge.data.batches import as_inputs, batches_of_equals
from tfedge.data.images import Images, decoded, pixels_of, read_images
from tfedge.errors import InputError
from tfedge.runtime.image_settings import ImageSettings
from tfedge.tasks.base import Rows

SETTINGS = ImageSettings(24, 24, None, "bilinear", (0.0,) * 3, (1.0,) * 3)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_labels_of_folders_take_turns(tmp_path: Path) -> None:
    names = ("b/1.png", "b/2.JPG", "b/3.jpeg", "a/1.webp", "a/notes.txt", "c/readme.md")
    found = read_images(touch(tmp_path, *names))
    relative = [str(Path(path).relative_to(tmp_path)) for path in found.texts]
    assert relative == ["a/1.webp", "b/1.png", "b/2.JPG", "b/3.jpeg"]
    assert found.labels == ["a", "b", "b", "b"]
    head = found.head(2)
    assert isinstance(head, Images)
    assert (head.labels, found.tail(1).texts[0][-6:]) == (["a", "b"], "3.jpeg")
    assert found.head(3).label_ids(["b", "a"]) == [1, 0, 0]


def test_folder_without_labels(tmp_path: Path) -> None:
    found = read_images(touch(tmp_path, "1.png", "2.png"))
    assert (len(found), found.labels, found.source) == (2, None, str(tmp_path))


def test_tables_name_files_from_their_own_folder(tmp_path: Path) -> None:
    table = tmp_path / "sub" / "all.tsv"
    table.parent.mkdir()
    table.write_text("image\tlabel\nx/1.png\tcat\n2.png\tdog\n")
    found = read_images(table)
    assert found.texts == [str(table.parent / "x/1.png"), str(table.parent / "2.png")]
    assert found.labels == ["cat", "dog"]
    lines = table.with_suffix(".jsonl")
    lines.write_text(json.dumps({"file_name": "1.png"}) + "\n")
    assert read_images(lines).texts == [str(table.parent / "1.png")]


def test_what_is_no_set_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; give a folder of images"):
        read_images(tmp_path / "none")
    with pytest.raises(InputError, match="has no images"):
        read_images(touch(tmp_path / "empty", "a.txt"))
    with pytest.raises(InputError, match="has images beside the folders"):
        read_images(touch(tmp_path / "mixed", "a.png", "b/c.png"))
    (tmp_path / "texts.tsv").write_text("text\nhello\n")
    with pytest.raises(InputError, match="name the one with the image 'image'"):
        read_images(tmp_path / "texts.tsv")
    with pytest.raises(InputError, match="no such file"):
        pytest.importorskip("PIL")
        pixels_of([str(tmp_path / "none.png")], SETTINGS)


def test_pixels_in_batches(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    folder = toy_images.write_images(tmp_path, 6)
    pixels = pixels_of(read_images(folder).texts, SETTINGS)
    assert np.array_equal(pixels[0], toy_images.drawn(6)[0][0])
    batches = list(batches_of_equals(pixels, ("pixel_values",)))
    assert [indices for indices, _ in batches] == [[0, 1, 2, 3], [4, 5]]
    assert batches[1][1]["pixel_values"].shape == (2, 24, 24, 3)
    assert as_inputs(pixels, 0, ["pixel_values"])["pixel_values"].dtype == np.float32


def test_what_is_no_image_among_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is told of and left out; nothing waits, and none takes the memory that it claims."""
    toy_images.write_images(tmp_path, 6)
    folder = tmp_path / "across"
    os.mkfifo(folder / "a.jpg")
    (folder / "b.jpg").mkdir()
    (folder / "c.jpg").symlink_to("c.jpg")
    (folder / "d.jpg").symlink_to("nowhere")
    (folder / "e.jpg").symlink_to("/dev/zero")
    (folder / "f\x1b[2J\n[b].png").write_bytes(b"no image")
    # All that the header of a PNG says, and next to nothing behind it.
    header = b"IHDR" + struct.pack(">IIBBBBB", 8000, 6250, 8, 2, 0, 0, 0)
    content = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (folder / "g.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content + b"\0\0\0\x0aIDAT" + bytes(14))
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "round").symlink_to("round")
    found = read_images(tmp_path)
    rows = decoded(Rows(found.texts, found.labels, found.source), SETTINGS)
    assert (len(rows), rows.truth) == (6, ["across", "blob", "down"] * 2)
    said = capfd.readouterr().err
    assert said.startswith(f"tfedge: note: 6 of the 12 images of {tmp_path} cannot be read")
    assert said.count("\n") == 1 and "\x1b" not in said
    faults = [str(error) for error in _faults(folder)]
    assert len(faults) == 6
    assert "claims 50000000 pixels" in faults[-1]


def _faults(folder: Path) -> Iterator[InputError]:
    for path in sorted(folder.iterdir()):
        try:
            pixels_of([str(path)], SETTINGS)
        except InputError as error:
            if not path.is_dir():
                yield error
