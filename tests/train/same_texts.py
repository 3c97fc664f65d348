"""Which texts a trimmed vocabulary cuts as the whole one does.

    python tests/train/same_texts.py WHOLE SMALL held.tsv > same.tsv

writes those that have the same pieces in both checkpoints and none that is unknown, as a table that
`tfedge eval` reads.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tfedge.data.pieces import Pieces
from tfedge.data.texts import read_texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.models.hub import resolve


def same_texts(whole: Path, small: Path, texts: list[str]) -> list[str]:
    """The texts that two checkpoints' tokenisers cut alike, without unknown words."""
    before, after = (load_tokenizer(folder) for folder in (whole, small))
    unknown = Pieces(before).unknown
    return [
        text
        for text, one, other in zip(
            texts, before.encode_batch(texts), after.encode_batch(texts), strict=True
        )
        if one.tokens == other.tokens and unknown not in one.ids
    ]


if __name__ == "__main__":
    whole, small = (resolve(name).folder for name in sys.argv[1:3])
    print("text")
    for found in same_texts(whole, small, read_texts(sys.argv[3]).texts):
        print(found)
