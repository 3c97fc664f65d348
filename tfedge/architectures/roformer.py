"""RoFormer (Su et al. 2021, arXiv:2104.09864): BERT whose queries and keys are turned by an angle for
each position, in place of a table of positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.architectures.base import register
from tfedge.architectures.electra import Electra
from tfedge.architectures.fields import Fields, check_pairs
from tfedge.architectures.parts import Biases

if TYPE_CHECKING:
    from tfedge.architectures.base import EncoderConfig
    from tfedge.models.blocks import Blocks, Symbolic

_BASE = 10_000
_TABLE = "encoder.embed_positions.weight"
_TURNED = (".attention.self.query.", ".attention.self.key.")


@register
class RoFormer(Electra):
    """RoFormer, whose heads turn channel 2i against 2i + 1; in the graph they are i and i + half."""

    model_type = "roformer"
    class_name = "RoFormer"
    has_positions = False
    can_be_cut = False
    whole_because = "positions turn the channels of its heads in pairs, which no cut keeps"
    word_head = None
    pretraining_heads = ("cls",)
    pretraining_modules = pretraining_heads

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("rotary_value", (False, None))
        fields.unsupported("add_cross_attention", (False, None))
        values = super().read(fields)
        check_pairs(values["hidden_size"] // values["num_attention_heads"])
        return values

    def words_width(self, fields: Fields) -> int:
        return fields.optional_size("embedding_size") or fields.size("hidden_size")

    def biases(self, blocks: Blocks, bias: Symbolic, attention_mask: Symbolic) -> Biases:
        positions = blocks.config.max_position_embeddings
        return Biases(bias, rotary=blocks.rotary("rotary", _BASE, attention_mask, positions))

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: a dense layer with `hidden_act` on [CLS]."""
        first, config = blocks.dropout("classifier", blocks.token(hidden)), blocks.config
        (name,) = self.summary_modules
        pooled = blocks.activated_dense(name, config.hidden_act, config.hidden_size, first)
        return [blocks.dropout("pooler", pooled)]

    # The checkpoint.

    def loaded(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        """See `Architecture`: of queries and keys the pairs of each head become halves."""
        return _reordered(config, tensor, (-1, 2)) if _is_turned(name) else tensor

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        return _reordered(config, tensor, (2, -1)) if _is_turned(name) else tensor

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        return {_TABLE: sinusoids(config.max_position_embeddings, config.head_size)}


def sinusoids(positions: int, size: int) -> np.ndarray:
    """The sines of all angles of each position, then the cosines, float32 (positions, size)."""
    frequencies = _BASE ** (-np.arange(0, size, 2) / size)
    angles = np.arange(positions)[:, np.newaxis] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _is_turned(name: str) -> bool:
    return any(part in name for part in _TURNED)


def _reordered(config: EncoderConfig, tensor: np.ndarray, pairs: tuple[int, int]) -> np.ndarray:
    """Rows (heads * size, ...) with the two axes that `pairs` splits each head into swapped."""
    heads = config.num_attention_heads
    parts = tensor.reshape(heads, *_sides(config.head_size, pairs), *tensor.shape[1:])
    return np.swapaxes(parts, 1, 2).reshape(tensor.shape)


def _sides(size: int, pairs: tuple[int, int]) -> tuple[int, ...]:
    return tuple(size // 2 if side < 0 else side for side in pairs)
