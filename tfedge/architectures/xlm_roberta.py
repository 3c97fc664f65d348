"""XLM-RoBERTa (Conneau et al. 2019, arXiv:1911.02116): RoBERTa of 100 languages, with a Unigram
vocabulary of 250,002 pieces."""

from __future__ import annotations

from tfedge.architectures.base import register
from tfedge.architectures.roberta import Roberta


@register
class XLMRoberta(Roberta):
    """RoBERTa, up to its tensors' names."""

    model_type = "xlm-roberta"
    class_name = "XLMRoberta"
    prefix = "roberta."
