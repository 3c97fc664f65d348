"""Average precision of boxes against numbers computed by hand, and files as COCO's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfedge.data.hub import ImageData
from tfedge.errors import InputError
from tfedge.tasks import find
from tfedge.tasks.boxes import precisions, shared

TASK = find("object-detection")
ENDS = ("xmin", "ymin", "xmax", "ymax")


def thing(label: str, *box: float, score: float = 0.9, **more: bool) -> dict[str, Any]:
    return {"label": label, "score": score, "box": dict(zip(ENDS, box, strict=True)), **more}


CAT, DOG = thing("cat", 0, 0, 10, 10), thing("dog", 20, 0, 30, 10)


def test_what_is_all_right_scores_one() -> None:
    figures = precisions([{"objects": [CAT, DOG]}, {"objects": [DOG]}], [[DOG, CAT], [DOG]])
    assert figures == {
        "images": 2,
        "objects": 3,
        "categories": 2,
        "average_precision": 1.0,
        "average_precision_50": 1.0,
    }
    assert TASK.metric([{"error": "damaged"}], [[CAT]], ["cat"])["average_precision"] == 0.0


def test_overlaps() -> None:
    """A box of 7 of 10 columns overlaps by 0.7: right at 0.5, 0.55, 0.6, 0.65 and 0.7."""
    narrow = thing("cat", 0, 0, 7, 10)
    figures = precisions([{"objects": [narrow]}], [[CAT]])
    assert figures["average_precision"] == pytest.approx(0.5)
    assert figures["average_precision_50"] == 1.0


def test_order_doubles_and_what_is_not_there() -> None:
    """Of two cats one is found, behind a wrong box and before its double: precision 1/2 up to recall
    1/2, that is 51 of 101 recalls."""
    wrong = thing("cat", 50, 50, 60, 60, score=0.95)
    double = thing("cat", 0, 0, 10, 10, score=0.5)
    other = thing("cat", 80, 0, 90, 10)
    figures = precisions([{"objects": [double, wrong, CAT, DOG]}], [[CAT, other]])
    assert figures["average_precision_50"] == pytest.approx(51 / 101 / 2)
    assert figures["categories"] == 1  # dogs, of which there are none, count nowhere


def test_crowds_count_neither_way() -> None:
    crowd = thing("cat", 0, 0, 100, 100, crowd=True)
    found = [CAT, thing("cat", 40, 40, 50, 50), thing("cat", 60, 60, 70, 70)]
    figures = precisions([{"objects": found}], [[crowd, CAT]])
    assert (figures["objects"], figures["average_precision"]) == (1, 1.0)


def test_what_two_answers_share() -> None:
    assert shared([], []) == 1.0
    assert shared([CAT], []) == 0.0
    assert shared([CAT, DOG], [CAT]) == pytest.approx(2 / 3)
    unlikely = thing("dog", 20, 0, 30, 10, score=0.4)
    assert TASK.difference({"objects": [CAT, unlikely]}, {"objects": [CAT]}) == 0.0
    assert TASK.difference({"objects": [CAT]}, {"objects": [thing("dog", 0, 0, 10, 10)]}) == 1.0


def test_float_is_believed_where_there_are_no_boxes() -> None:
    unlikely = thing("dog", 20, 0, 30, 10, score=0.4)
    expected, found = [{"objects": [CAT, unlikely]}], [{"objects": [CAT]}]
    assert TASK.believed(expected) == [[CAT]]
    assert TASK.believed([{"objects": [unlikely]}]) is None
    figures = TASK.comparison(found, expected, None, ["cat", "dog"])
    assert figures["average_precision"] == 1.0
    lines = TASK.comparison_lines(figures, "float")
    assert "by what float finds, as there are no boxes to compare with" in lines[1]
    assert TASK.comparison(found, expected, [[CAT]], ["cat", "dog"]) == {}


COCO: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "more/b.jpg"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 18, "name": "dog"}],
    "annotations": [
        {"image_id": 3, "category_id": 18, "bbox": [20, 0, 10, 10.5]},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 10, 10], "iscrowd": 1},
    ],
}


def test_files_as_cocos(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    rows = TASK.read(ImageData(str(tmp_path / "a.json"), "test"))
    assert rows.items == [str(tmp_path / "a.jpg"), str(tmp_path / "more/b.jpg")]
    dog = {"xmin": 20.0, "ymin": 0.0, "xmax": 30.0, "ymax": 10.5}
    assert rows.truth is not None
    assert rows.truth[0] == []
    assert rows.truth[1][0] == {"label": "dog", "box": dog, "crowd": False}
    assert rows.truth[1][1]["crowd"] is True
    assert (TASK.goal(rows), rows.asked) == ("average_precision", {"threshold": 0.0})
    assert TASK.truth(rows, ["dog", "cat"]) == rows.truth
    with pytest.raises(InputError, match=r"the categories 'cat', which the model does not know"):
        TASK.truth(rows, ["dog"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": []}, "has no annotations; give a folder of images"),
        ({"images": []}, "is not JSON as COCO's"),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [0] * 4}]}, "as COCO's"),
        ({"annotations": [{"image_id": 3, "category_id": 1, "bbox": [0] * 3}]}, "as COCO's"),
        ({"annotations": [{"image_id": 3, "category_id": 1, "bbox": [0, 0, -1, 1]}]}, "bbox is"),
        ({"images": [*COCO["images"], {"id": 7, "file_name": "c.jpg"}]}, "3 images of 2 ids"),
    ],
)
def test_files_that_are_none(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**COCO, **change}))
    with pytest.raises(InputError, match=message):
        TASK.read(ImageData(str(tmp_path / "a.json"), "test"))
