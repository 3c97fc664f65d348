"""Finds the objects in an image: what each is, and a box around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfedge.runtime.errors import one_line
from tfedge.runtime.inputs import IMAGE
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    from tfedge.runtime.image import EncodedImage

THRESHOLD = 0.5  # as transformers' pipeline has it
ENDS = ("xmin", "ymin", "xmax", "ymax")


class ObjectDetection(Task):
    """ "logits" (1, objects, labels + 1), the last of which is that of no object, and "pred_boxes"
    (1, objects, 4), middle, width and height as shares of the image's -> the objects."""

    name = "object-detection"
    input = IMAGE
    outputs: ClassVar = {"logits": (1, None, "labels"), "pred_boxes": (1, None, 4)}
    options: ClassVar = {"threshold": THRESHOLD}
    least_labels = 1

    def shapes(self, length: int, labels: int) -> dict[str, tuple[int | None, ...]]:
        return super().shapes(length, labels + 1)

    def answer(
        self,
        outputs: Outputs,
        encoded: EncodedImage,
        item: Any,
        labels: Labels,
        wanted: Wanted = WHOLE,
    ) -> Answer:
        """{"objects": [{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}]}, of scores above
        `threshold`, as transformers' pipeline has them: in pixels of the image that was given, cut to
        whole numbers."""
        import numpy as np

        scores = softmax(outputs["logits"][0])[:, :-1]
        threshold = THRESHOLD if wanted.threshold is None else wanted.threshold
        boxes = outputs["pred_boxes"][0].astype(np.float32)
        middles, halves = boxes[:, :2], boxes[:, 2:] / 2
        height, width = encoded.size
        corners = np.hstack((middles - halves, middles + halves))
        corners *= np.array((width, height) * 2, np.float32)
        best = scores.argmax(axis=1)
        return {
            "objects": [
                {
                    "label": labels[best[row]],
                    "score": float(scores[row, best[row]]),
                    "box": dict(zip(ENDS, map(int, corners[row]))),
                }
                for row in np.flatnonzero(scores.max(axis=1) > threshold)
            ]
        }

    def line(self, answer: Mapping[str, Any]) -> str:
        """label TAB score TAB xmin,ymin,xmax,ymax [TAB ...], the likeliest first; - where there is
        none."""
        found = sorted(answer["objects"], key=lambda each: -each["score"])
        return "\t".join(map(told, found)) or "-"


def told(found: Mapping[str, Any]) -> str:
    """An object in words, tabs between them."""
    box = ",".join(map(str, found["box"].values()))
    return f"{one_line(found['label'])}\t{found['score']:.4f}\t{box}"


TASK = ObjectDetection()
