"""BEiT (Bao et al. 2022, arXiv:2106.08254), for images.

A ViT that knows places by what each layer adds to its scores, one number for each distance down and
across and for each head. Layers are scaled channel by channel before they are added up, which goes into
the dense layers before. What is read is the mean of the patches, normalised.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Parts, Stream
from tfedge.architectures.scaled import scaled_layers
from tfedge.architectures.vit import FINAL_NORM, ImageConfig, Vit
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_NORM = "pooler.layernorm"
_BIAS = "relative_position_bias"
_TABLE = "relative_position_bias_table"
_INDEX = "relative_position_index"  # which older files have, and which follows from the sizes
_APART = 3  # rows of the table: of a query or key that is no patch, and of both


@dataclasses.dataclass(frozen=True, kw_only=True)
class BeitConfig(ImageConfig):
    """The sizes, and how places are known."""

    has_places: bool  # by a table that is added to the patches
    has_distances: bool  # by what is added to scores
    has_scales: bool

    @property
    def side(self) -> int:
        """Patches along one side of an image."""
        return self.image_size[0] // self.patch_size[0]


def _own(config: EncoderConfig) -> BeitConfig:
    return cast(BeitConfig, config)


@register
class Beit(Vit):
    """BEiT, by the names and defaults of transformers."""

    model_type = "beit"
    class_name = "Beit"
    config_class = BeitConfig
    adds_places = True
    describes_first = False
    summary_modules = (_NORM,)

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("use_mean_pooling", (True, None))
        fields.unsupported("use_shared_relative_position_bias", (False, None))
        values = super().read(fields)
        distances = fields.flag("use_relative_position_bias", False)
        (height, width), patch = values["image_size"], values["patch_size"]
        if distances and (height != width or patch[0] != patch[1]):
            raise CheckpointError(
                f"config.json: image_size is {height} x {width}, patch_size {patch[0]} x {patch[1]}; "
                "of a beit with use_relative_position_bias both must be squares"
            )
        return values | {
            "has_places": fields.flag("use_absolute_position_embeddings", False),
            "has_distances": distances,
            "has_scales": fields.number("layer_scale_init_value", 0.1) > 0,
        }

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        config = _own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(self.patch_layer, *size, inputs["pixel_values"])
        leading = config.leading_tokens
        return blocks.image_tokens("embeddings", leading, patches, config.has_places)

    def biases(self, blocks: Blocks, names: Parts, x: Symbolic, shared: Biases) -> Biases:
        if not _own(blocks.config).has_distances:
            return shared
        return Biases(relative=blocks.place_bias(f"{names.attention}.{_BIAS}", x))

    def classifies_first(self, config: EncoderConfig) -> bool:
        return False

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the mean of the patches, normalised."""
        mean = blocks.patch_mean("patches.mean", hidden, _own(blocks.config).first_patch)
        return [blocks.norm(_NORM, mean)]

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: as of a ViT, whose last norm is another here."""
        residual, *outputs = super().streams(config)
        norms = tuple(_NORM if norm == FINAL_NORM else norm for norm in residual.norms)
        return [dataclasses.replace(residual, norms=norms), *outputs]

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return not module.endswith(f".{self.parts.key}")

    def place_weights(self, config: EncoderConfig, heads: int) -> int:
        return _rows(_own(config).side) * heads

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        if name.endswith(f".{_BIAS}.weight"):
            return name.removesuffix("weight") + _TABLE
        return name

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The dense layers with the scales behind them, and of each table of distances what it is for
        all queries and keys."""
        found = (
            scaled_layers(self.parts, config, shapes, _scales) if _own(config).has_scales else {}
        )
        side, heads = _own(config).side, config.num_attention_heads
        index = _index(side)
        for index_of_layer in range(config.num_hidden_layers):
            name = f"{self.parts.of_layer(index_of_layer).attention}.{_BIAS}.{_TABLE}"
            if shapes.get(name) == (_rows(side), heads):
                shape = (heads * len(index), len(index))
                found[name] = Made(shape, (name,), lambda tensors: _spread(tensors, index))
        return found

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        if not name.endswith(_TABLE):
            return tensor
        side, heads = _own(config).side, config.num_attention_heads
        table = np.zeros((_rows(side), heads), tensor.dtype)
        table[_index(side).ravel()] = tensor.reshape(heads, -1).T
        return table

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        """The scales, which are in the dense layers."""
        if not _own(config).has_scales:
            return {}
        ones = np.ones(config.hidden_size, np.float32)
        layers = map(self.parts.of_layer, range(config.num_hidden_layers))
        return {scale: ones for names in layers for scale in _scales(names)}

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return super().is_unread(config, tensor) or tensor.endswith(f".{_INDEX}")

    def exported(self, config: EncoderConfig) -> Mapping[str, Any]:
        return {"use_mask_token": False}  # of pretraining


def _scales(names: Parts) -> tuple[str, str]:
    """What the attention and the feed-forward network of a layer are scaled by."""
    layer = names.attention_norm.removesuffix(".layernorm_before")
    return f"{layer}.lambda_1", f"{layer}.lambda_2"


def _rows(side: int) -> int:
    """The rows of a table of distances: each is less than a side, up and down, left and right."""
    return (2 * side - 1) ** 2 + _APART


def _index(side: int) -> np.ndarray:
    """The row of the table for each query and key, int64 (S, S), the first token before the patches."""
    down, across = np.divmod(np.arange(side * side), side)
    rows = [place[:, None] - place + side - 1 for place in (down, across)]
    count = _rows(side)
    index = np.empty((side * side + 1,) * 2, np.int64)
    index[1:, 1:] = rows[0] * (2 * side - 1) + rows[1]
    index[0], index[:, 0], index[0, 0] = count - 3, count - 2, count - 1
    return index


def _spread(tensors: Mapping[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """The rows (n, H) for each head, query and key, (H * S, S)."""
    (table,) = tensors.values()
    return np.asarray(table, np.float32).T[:, index].reshape(-1, len(index))
