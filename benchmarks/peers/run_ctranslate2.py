"""Runs an encoder with CTranslate2, and its head with numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ctranslate2
import numpy as np

from benchmarks.peers.engine import Engine, Feed
from benchmarks.peers.export_ctranslate2 import COMPUTE, HEAD

_TYPES = "token_type_ids"
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "labels": lambda x: x,
}


def load(model: Path, threads: int) -> Engine:
    """See `benchmarks.peers.engine.load_engine`; `model` is a folder."""
    encoder = ctranslate2.Encoder(
        str(model), compute_type=COMPUTE[model.parent.name], intra_threads=threads, inter_threads=1
    )
    with np.load(model / HEAD) as file:
        head = dict(file)
    names = head.pop("inputs").tolist()

    def run(feed: Feed) -> np.ndarray:
        types = feed[_TYPES].tolist() if _TYPES in names else None
        made = encoder.forward_batch(feed["input_ids"].tolist(), token_type_ids=types)
        states = np.array(made.last_hidden_state)  # float32 (1, tokens, channels)
        return _answer(states, head)

    return Engine(f"ctranslate2 {ctranslate2.__version__}", dict.fromkeys(names, np.int64), run)


def _answer(states: np.ndarray, head: dict[str, np.ndarray]) -> np.ndarray:
    """Logits (1, labels), or the mean of the states (1, channels) where there is no head."""
    if not head:
        return np.asarray(states.mean(1))
    result = states[:, 0]
    for name in dict.fromkeys(key.partition(".")[0] for key in head):
        result = _ACTIVATIONS[name](result @ head[f"{name}.weight"].T + head[f"{name}.bias"])
    return np.asarray(result)
