"""DINOv3 (Siméoni et al. 2025, arXiv:2508.10104), its ViTs.

A DINOv2 with registers whose queries and keys of patches are turned by where the patch is, half of the
pairs of channels by its height and half by its width; no table of positions is added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import Fields, head_size
from tfedge.architectures.parts import Biases, Parts
from tfedge.architectures.scaled import scaled_layers
from tfedge.architectures.vit import FINAL_NORM, ImageConfig, Vit, own, patches_of
from tfedge.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_REGISTERS, _MASK = "embeddings.register_tokens", "embeddings.mask_token"
_NORM = f"{FINAL_NORM}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dinov3Config(ImageConfig):
    """The sizes, and what of queries and keys may differ."""

    key_bias: bool
    rotary_base: float


def _own(config: EncoderConfig) -> Dinov3Config:
    return cast(Dinov3Config, config)


@register
class Dinov3Vit(Vit):
    """DINOv3's ViTs, by the names and defaults of transformers."""

    model_type = "dinov3_vit"
    class_name = "DINOv3ViT"
    prefix = "model."  # of newer files
    config_class = Dinov3Config
    only_task = "image-feature-extraction"  # transformers has no classifier of it
    patch_layer = "embeddings.patch_embeddings"
    parts = Parts(
        prefix="layer",
        attention="attention",
        query="attention.q_proj",
        key="attention.k_proj",
        value="attention.v_proj",
        attention_output="attention.o_proj",
        attention_total="attention.sum",
        attention_norm="norm1",
        ffn_input="mlp.up_proj",
        ffn_output="mlp.down_proj",
        ffn_total="sum",
        ffn_norm="norm2",
    )
    usual_epsilon = 1e-5

    usual_sizes: ClassVar[Mapping[str, int]] = {
        **Vit.usual_sizes,
        "hidden_size": 384,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
    }

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("use_gated_mlp", (False, None))
        for key in ("query_bias", "value_bias", "proj_bias", "mlp_bias"):
            fields.unsupported(key, (True, None))
        values = super().read(fields)
        size = head_size(values["hidden_size"], values["num_attention_heads"])
        if size % 4:
            raise CheckpointError(
                f"config.json: heads of {size} channels (hidden_size, num_attention_heads) have no two "
                "halves of pairs, which heights and widths could turn"
            )
        return values | {
            "key_bias": fields.flag("key_bias", False),
            "rotary_base": fields.base("rope_theta", 100.0),
        }

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        count = fields.size("num_register_tokens", 0, least=0)
        registers = (("register_tokens", count),) if count else ()
        return (("cls_token", 1), *registers)

    def for_images(self, config: EncoderConfig, sides: tuple[int, int]) -> EncoderConfig:
        known = own(config)
        tokens = patches_of(sides, known.patch_size) + known.first_patch
        return dataclasses.replace(known, image_size=sides, max_position_embeddings=tokens)

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        config = own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(self.patch_layer, *size, inputs["pixel_values"])
        return blocks.image_tokens("embeddings", config.leading_tokens, patches, False)

    def shared(self, blocks: Blocks, x: Symbolic) -> Biases:
        config = _own(blocks.config)
        (height, width), (rows, columns) = config.image_size, config.patch_size
        grid = height // rows, width // columns
        first, base = config.first_patch, config.rotary_base
        return Biases(rotary=blocks.patch_rotary("rotary", grid, first, base, x))

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        raise InputError("a dinov3_vit has no classifier; convert it for image-feature-extraction")

    def features(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        return super().summary(blocks, hidden)[0]

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return _own(config).key_bias or not module.endswith(f".{self.parts.key}")

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        return f"norm.{name.removeprefix(_NORM)}" if name.startswith(_NORM) else name

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The dense layers with the scales behind them."""
        return scaled_layers(self.parts, config, shapes, _scales)

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        """The scales, which are in the dense layers, what pretraining had in place of holes, and no
        registers where there are none."""
        ones = np.ones(config.hidden_size, np.float32)
        layers = map(self.parts.of_layer, range(config.num_hidden_layers))
        scales = {scale: ones for names in layers for scale in _scales(names)}
        tokens = {_MASK: 1} | ({} if own(config).first_patch > 1 else {_REGISTERS: 0})
        return scales | {
            name: np.zeros((1, n, len(ones)), np.float32) for name, n in tokens.items()
        }

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        # Without registers there is a tensor of none.
        has_registers = own(config).first_patch > 1
        return super().is_unread(config, tensor) or (tensor == _REGISTERS and not has_registers)

    def exported(self, config: EncoderConfig) -> Mapping[str, Any]:
        """The size of the images, whose patches have places."""
        return {"image_size": list(own(config).image_size)}


def _scales(names: Parts) -> tuple[str, str]:
    """What the attention and the feed-forward network of a layer are scaled by."""
    layer = names.attention_norm.removesuffix(".norm1")
    return f"{layer}.layer_scale1.lambda1", f"{layer}.layer_scale2.lambda1"
