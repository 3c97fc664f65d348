"""Boxes on the board's side: in pixels of the picture that was given, and drawn into copies."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import infer

from tfedge.runtime import OptionError
from tfedge.runtime.answers import ANSWERS
from tfedge.runtime.draw import Drawing
from tfedge.runtime.errors import ImageError
from tfedge.runtime.pipeline import Pipeline

Image = pytest.importorskip("PIL.Image")
Load = Callable[..., Pipeline]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(path: Path, left: Any = RED, right: Any = RED, size: Any = (40, 20)) -> Path:
    """A picture of two halves; `size` is width and height."""
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def box(*ends: int) -> dict[str, int]:
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True))


def test_in_pixels_of_the_picture(load_toy: Load, tmp_path: Path) -> None:
    find = load_toy("detector")
    path = picture(tmp_path / "a.png")
    whole, half = find(path)["objects"]
    assert (whole["label"], whole["box"]) == ("red", box(0, 0, 40, 20))
    assert half["box"] == box(0, 0, 20, 20)
    assert set(find(path)) == set(typing.get_type_hints(ANSWERS["object-detection"]))
    # Turned upright, as the camera says; of pixels, and of a file's content.
    turned = Image.open(path)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert find(tmp_path / "turned.jpg")["objects"][0]["box"] == box(0, 0, 20, 40)
    assert find(np.asarray(turned))["objects"][1]["box"] == box(0, 0, 20, 20)
    assert find((tmp_path / "turned.jpg").read_bytes())["objects"][1]["box"] == box(0, 0, 10, 40)
    large = picture(tmp_path / "large.jpg", size=(1600, 800))  # of which an eighth is decoded
    assert find(large)["objects"][0]["box"] == box(0, 0, 1600, 800)
    # The whole is red and blue alike, and so nothing: 127.5 is below what tells either.
    (left,) = find(picture(tmp_path / "b.png", BLUE, RED))["objects"]
    assert (left["label"], left["box"]) == ("blue", box(0, 0, 20, 20))
    assert len(find(tmp_path / "b.png", threshold=0.1)["objects"]) == 2
    with pytest.raises(OptionError, match="threshold is 2"):
        find(path, threshold=2)


def test_draws_into_copies(toys: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "more/a.jpg", RED, BLUE)
    before = first.read_bytes()
    options = ("--model", toys / "detector.tflite", "--trust")
    found = infer(*options, "--draw", tmp_path / "out", first, second, "none.png")
    assert found.code == 1
    assert found.lines[1].startswith("red\t1.0000\t0,0,20,20")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-2.boxes.png", "a.boxes.png"]
    drawn = np.asarray(Image.open(tmp_path / "out/a.boxes.png"))
    assert drawn.shape == (20, 40, 3)
    assert (drawn[0] != RED).any(axis=1).all()  # a line along the upper edge
    assert first.read_bytes() == before
    lines = f"{second}\n{first}\n".encode()
    found = infer(*options, "--json", "--draw", tmp_path / "other", stdin=lines)
    assert (found.code, len(found.objects)) == (0, 2)
    assert len([*(tmp_path / "other").iterdir()]) == 2
    one = infer(*options, "--draw", tmp_path / "one.jpg", "-", stdin=first.read_bytes())
    assert (one.code, Image.open(tmp_path / "one.jpg").format) == (0, "JPEG")
    over = infer(*options, "--draw", first, first)
    assert (over.code, over.lines) == (1, ["error\t-"])
    assert "would write over it; give another" in over.errors[0]
    assert first.read_bytes() == before
    several = infer(*options, "--draw", "all.png", first, second)
    assert several.code == 2
    assert several.errors == ["tfedge-infer: --draw all.png is a file, of one image; give a folder"]
    frames = infer(*options, "--draw", tmp_path, "--frames", "mjpeg")
    assert (frames.code, "--draw is for images" in frames.errors[0]) == (2, True)
    texts = infer("--model", toys / "classifier.tflite", "--trust", "--draw", tmp_path, "good")
    assert texts.errors == [
        "tfedge-infer: --draw does not apply to text-classification; leave it out"
    ]


def test_where_copies_go(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(OptionError, match=r"is no folder to write into; give another"):
        Drawing(str(tmp_path / "none/a.png"), ["a.png"])
    with pytest.raises(OptionError, match=r"File exists; give another folder"):
        Drawing(str(tmp_path / "notes.txt"), [])
    drawing = Drawing(str(tmp_path / "out"), [])
    path = picture(tmp_path / "a.png")
    (tmp_path / "out").rmdir()
    with pytest.raises(ImageError, match=r"a\.boxes\.png: cannot be written: No such file"):
        drawing.draw(str(path), [])
    assert not (tmp_path / "out").exists()


def test_labels_that_no_font_has_and_boxes_beyond_the_edge(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    found = {"label": "猫", "score": 0.5, "box": box(-5, 30, 60, -9)}
    Drawing(str(tmp_path / "b.png"), [str(path)]).draw(str(path), [found])
    assert Image.open(tmp_path / "b.png").size == (40, 20)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
