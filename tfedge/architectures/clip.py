"""The image tower of CLIP (Radford et al. 2021, arXiv:2103.00020).

A ViT with a norm behind its embeddings, whose first token is projected to where texts are too. The text
tower, of decoders, is no part of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Parts, Stream, TextTower
from tfedge.architectures.vit import ImageConfig, Vit
from tfedge.errors import InputError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_PROJECTION = "embeddings.patch_embedding"
_FIRST_NORM, _LAST_NORM = "pre_layrnorm", "post_layernorm"  # as transformers writes it
_FEATURES = "visual_projection"
# What the graph calls otherwise than the checkpoint.
_STORED = {
    "embeddings.cls_token": "embeddings.class_embedding",
    "embeddings.position_embeddings": "embeddings.position_embedding.weight",
}
_OF_TEXTS = ("text_model.", "text_projection.", "logit_scale")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig(ImageConfig):
    """The sizes of the image tower, and of what comes of it."""

    projection_dim: int


@register
class Clip(Vit):
    """CLIP, by the names and defaults of transformers."""

    model_type = "clip"
    class_name = "CLIP"
    prefix = "vision_model."
    config_class = ClipConfig
    only_task = "image-feature-extraction"
    text_tower = TextTower("text_projection", heads=8, positions=77, activation="quick_gelu")
    encoder_modules = (_FEATURES,)
    patch_layer = _PROJECTION
    parts = Parts(
        prefix="encoder.layers",
        attention="self_attn",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        attention_output="self_attn.out_proj",
        attention_total="self_attn.sum",
        attention_norm="layer_norm1",
        ffn_input="mlp.fc1",
        ffn_output="mlp.fc2",
        ffn_total="sum",
        ffn_norm="layer_norm2",
    )
    usual_patch = 32
    usual_epsilon = 1e-5
    usual_activation = "quick_gelu"

    def read(self, fields: Fields) -> dict[str, Any]:
        width = fields.size("projection_dim", 512)
        values = super().read(fields.within("vision_config"))
        return values | {"projection_dim": width}

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        return blocks.norm(_FIRST_NORM, super().embedded(blocks, inputs))

    def features(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """See `Architecture`: the first token where images and texts are compared."""
        state = blocks.token(blocks.norm(_LAST_NORM, blocks.read_rows(hidden)))
        return blocks.dense(_FEATURES, cast(ClipConfig, blocks.config).projection_dim, state)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        raise InputError("a clip has no classifier; convert it for image-feature-extraction")

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: one ends in the norm behind the embeddings, and the residual stream
        starts there."""
        residual, *outputs = super().streams(config)
        first = Stream(
            _FIRST_NORM, (_PROJECTION, "embeddings"), ("embeddings.sum",), (_FIRST_NORM,)
        )
        layers = Stream(
            residual.name,
            (_FIRST_NORM, *residual.writers[2:]),
            (_FIRST_NORM, *residual.totals[1:]),
            (*residual.norms[:-1], _LAST_NORM),
        )
        last = Stream(f"{_LAST_NORM}.output", (_LAST_NORM,), readers=(_FEATURES,))
        return [first, layers, *outputs[:-1], last]

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return module not in (_PROJECTION, _FEATURES, "labels")

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        return _STORED.get(name, name)

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The tables with the axes that those of other ViTs have."""

        def raised(name: str) -> Made:
            rows = math.prod(shapes[name][:-1])
            shape = 1, rows, shapes[name][-1]
            return Made(shape, (name,), lambda tensors: np.reshape(tensors[name], shape))

        return {name: raised(name) for name in _STORED.values() if shapes.get(name)}

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        if name == _STORED["embeddings.cls_token"]:
            return tensor[0, 0]
        return tensor[0] if name in _STORED.values() else tensor

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return tensor.startswith(_OF_TEXTS)

    def class_of(self, config: EncoderConfig, kind: str) -> str:
        return "CLIPModel"
