"""BERT (Devlin et al. 2019), and with it TinyBERT and MiniLM, which are BERTs of other sizes."""

from __future__ import annotations

from tfedge.architectures.parts import Parts
from tfedge.architectures.postnorm import PostNorm
from tfedge.architectures.registry import register

BERT_PARTS = Parts(
    prefix="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    attention_total="attention.output.sum",
    attention_norm="attention.output.LayerNorm",
    ffn_input="intermediate.dense",
    ffn_output="output.dense",
    ffn_total="output.sum",
    ffn_norm="output.LayerNorm",
)


class Bert(PostNorm):
    """BERT, whose published sizes count the dense layer that its classifiers read [CLS] through."""

    model_type = "bert"
    class_name = "Bert"
    parts = BERT_PARTS
    summary_modules = ("pooler.dense",)
    counts_summary = True


register(Bert())
