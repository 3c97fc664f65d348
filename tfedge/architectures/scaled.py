"""Layers that are scaled channel by channel before they are added up (Touvron et al. 2021,
arXiv:2103.17239, section 2.2): the scales go into the dense layers before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made
from tfedge.architectures.parts import Parts


def scaled_layers(
    parts: Parts,
    config: EncoderConfig,
    shapes: Mapping[str, tuple[int, ...]],
    scales: Callable[[Parts], tuple[str, str]],
) -> dict[str, Made]:
    """The dense layers of all layers, times what is behind them.

    Args:
        shapes: of the tensors that a checkpoint has.
        scales: what the attention and the feed-forward network of a layer are scaled by.
    """
    found = {}
    for index in range(config.num_hidden_layers):
        names = parts.of_layer(index)
        pairs = zip((names.attention_output, names.ffn_output), scales(names), strict=True)
        for dense, scale in pairs:
            for name in (f"{dense}.weight", f"{dense}.bias"):
                if name in shapes and shapes.get(scale) == shapes[name][:1]:
                    found[name] = _scaled(name, shapes[name], scale)
    return found


def _scaled(name: str, shape: tuple[int, ...], scale: str) -> Made:
    """A kernel or a bias, whose rows are outputs, times what those are scaled by."""

    def make(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        factors = np.asarray(tensors[scale], np.float32)
        value = np.asarray(tensors[name], np.float32)
        return value * factors.reshape(-1, *(1,) * (value.ndim - 1))

    return Made(shape, (name, scale), make)
