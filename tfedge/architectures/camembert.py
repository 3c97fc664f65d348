"""CamemBERT (Martin et al. 2020, arXiv:1911.03894): RoBERTa in French, with a Unigram vocabulary."""

from __future__ import annotations

from tfedge.architectures.base import register
from tfedge.architectures.roberta import Roberta


@register
class Camembert(Roberta):
    """RoBERTa, up to its tensors' names."""

    model_type = "camembert"
    class_name = "Camembert"
    prefix = "roberta."
