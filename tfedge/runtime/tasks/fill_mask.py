"""Guesses the words that masks stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tfedge.runtime.errors import one_line
from tfedge.runtime.inputs import MASKED_TEXT
from tfedge.runtime.tasks.base import Answer, Labels, Outputs, Task, softmax
from tfedge.runtime.wanted import WHOLE, Wanted

if TYPE_CHECKING:
    from tfedge.runtime.masks import Masked

_WORDS = 5  # of each mask, where nobody asks, as in transformers


class FillMask(Task):
    """ "logits" (1, vocabulary) of one mask -> the likeliest words of each."""

    name = "fill-mask"
    input = MASKED_TEXT
    outputs: ClassVar = {"logits": (1, None)}
    options: ClassVar = {"top_k": _WORDS}

    def answer(
        self, outputs: Outputs, encoded: Masked, item: Any, labels: Labels, wanted: Wanted = WHOLE
    ) -> Answer:
        """{"filled", "masks": [{"start", "end", "words": [{"word", "token", "score"}, ...]}, ...]}:
        the `top_k` likeliest words of each mask, each mask by itself, and the text with the best."""
        masks: list[dict[str, Any]] = []
        windows = cast("tuple[Masked, ...]", encoded.windows)
        for logits, one in zip(outputs["logits"], windows):
            shares = softmax(logits)
            best = (-shares).argsort(kind="stable")[: wanted.top_k or _WORDS]
            start, end = one.offsets[one.asked]
            start += len(item[start:end]) - len(item[start:end].lstrip())  # RoBERTa's has the blank
            words = [
                {"word": one.word(int(index)), "token": int(index), "score": float(shares[index])}
                for index in best
            ]
            masks.append({"start": start, "end": end, "words": words})
        filled = item
        for mask in reversed(masks):
            word = mask["words"][0]["word"]
            filled = f"{filled[: mask['start']]}{word}{filled[mask['end'] :]}"
        return {"filled": filled, "masks": masks}

    def line(self, answer: Mapping[str, Any]) -> str:
        """word TAB probability TAB ... of one mask; of several the text with the best words."""
        if len(answer["masks"]) > 1:
            return one_line(answer["filled"])
        words = answer["masks"][0]["words"]
        return "\t".join(f"{one_line(item['word'])}\t{item['score']:.4f}" for item in words)


TASK = FillMask()
