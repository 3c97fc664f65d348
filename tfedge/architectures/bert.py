"""BERT (Devlin et al. 2019), and with it TinyBERT and MiniLM, which are BERTs of other sizes."""

from __future__ import annotations

from tfedge.architectures.base import register
from tfedge.architectures.parts import WordHead
from tfedge.architectures.postnorm import PostNorm


@register
class Bert(PostNorm):
    """BERT, whose published sizes count the dense layer that its classifiers read [CLS] through."""

    model_type = "bert"
    class_name = "Bert"
    word_head = WordHead()
    summary_modules = ("pooler.dense",)
    counts_summary = True
