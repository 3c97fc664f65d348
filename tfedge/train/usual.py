"""How long and how fast to fine-tune and distil where nobody says.

Small encoders want larger steps than BERT's authors took (Devlin et al. 2019, appendix A.3), and few
texts more epochs than their three (Mosbach et al. 2021, arXiv:2006.04884).
"""

from __future__ import annotations

_BATCHES = 2500  # at least, if that is not more epochs than
_FEWEST, _MOST = 3, 20
_RATE, _WIDTH = 5e-5, 768  # of BERT-base
_HIGHEST_RATE = 5e-4
# Of a head alone, whose features have a deviation of 1: an epoch takes a moment.
HEAD_EPOCHS, HEAD_RATE = 100, 1e-3
# Of all of an encoder of images: larger steps lose what pretraining has taught it.
IMAGE_RATE = 5e-5


def usual_epochs(texts: int, batch_size: int) -> int:
    """For so many texts."""
    epochs = -(-_BATCHES * batch_size // max(texts, 1))
    return min(max(epochs, _FEWEST), _MOST)


def usual_learning_rate(width: int) -> float:
    """The peak for an encoder whose hidden states have so many channels."""
    return min(_RATE * (_WIDTH / width) ** 2, _HIGHEST_RATE)
