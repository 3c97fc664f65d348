"""DINOv2 (Oquab et al. 2023, arXiv:2304.07193), also with registers (Darcet et al. 2023,
arXiv:2309.16588).

A ViT whose layers are scaled channel by channel before they are added up, which goes into the dense
layers before. Checkpoints have positions of larger images than their processors make; they are
interpolated once. A classifier reads the first token and the mean of the patches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Parts
from tfedge.architectures.resampling import resampled
from tfedge.architectures.scaled import scaled_layers
from tfedge.architectures.vit import FINAL_NORM, Vit, own, patches_of
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

_POSITIONS = "embeddings.position_embeddings"


@register
class Dinov2(Vit):
    """DINOv2, by the names and defaults of transformers."""

    model_type = "dinov2"
    class_name = "Dinov2"
    parts = dataclasses.replace(
        Vit.parts,
        attention_norm="norm1",
        ffn_input="mlp.fc1",
        ffn_output="mlp.fc2",
        ffn_norm="norm2",
    )
    usual_patch = 14
    usual_epsilon = 1e-6
    # Whether positions are averaged where there are fewer than a checkpoint has.
    antialias: ClassVar[bool] = False

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("use_swiglu_ffn", (False, None))
        values = super().read(fields)
        neurons = values["hidden_size"] * fields.size("mlp_ratio", 4)
        return values | {"intermediate_size": neurons}

    def for_images(self, config: EncoderConfig, sides: tuple[int, int]) -> EncoderConfig:
        known = own(config)
        tokens = patches_of(sides, known.patch_size) + known.first_patch
        return dataclasses.replace(known, image_size=sides, max_position_embeddings=tokens)

    def classifies_first(self, config: EncoderConfig) -> bool:
        return False

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the first token and the mean of the patches."""
        states = blocks.norm(FINAL_NORM, hidden)
        mean = blocks.patch_mean("patches.mean", states, own(blocks.config).first_patch)
        return [blocks.joined("summary", blocks.token(states), mean)]

    def features(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        return super().summary(blocks, hidden)[0]

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The dense layers with the scales behind them, and positions of the image's patches."""
        found = scaled_layers(self.parts, config, shapes, _scales)
        stored, wanted = shapes.get(_POSITIONS), config.max_position_embeddings
        if stored is not None and len(stored) == 3 and stored[1] != wanted:
            found[_POSITIONS] = Made((1, wanted, stored[2]), (_POSITIONS,), self._placed(config))
        return found

    def _placed(self, config: EncoderConfig) -> Any:
        """Makes the table of a checkpoint, (1, 1 + n * n, C), one of the image's tokens."""

        def place(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
            table = np.asarray(tensors[_POSITIONS], np.float32)[0]
            side = round((len(table) - 1) ** 0.5)
            if side * side != len(table) - 1:
                raise CheckpointError(
                    f"{_POSITIONS} has {len(table) - 1} rows of patches, which are no square"
                )
            known = own(config)
            sides = [
                size // part for size, part in zip(known.image_size, known.patch_size, strict=True)
            ]
            patches = table[1:].reshape(side, side, -1)
            if sides != [side, side]:
                patches = resampled(patches, (sides[0], sides[1]), self.antialias)
            # Registers have no place.
            none = np.zeros((known.first_patch - 1, table.shape[1]), np.float32)
            rows = [table[:1], none, patches.reshape(known.patches, -1)]
            return np.concatenate(rows)[np.newaxis]

        return place

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        """The scales, which are in the dense layers, and what pretraining had in place of holes."""
        ones = np.ones(config.hidden_size, np.float32)
        layers = map(self.parts.of_layer, range(config.num_hidden_layers))
        scales = {scale: ones for names in layers for scale in _scales(names)}
        return scales | {"embeddings.mask_token": 0 * ones[np.newaxis]}

    def exported(self, config: EncoderConfig) -> Mapping[str, Any]:
        """The size of the images whose patches have positions."""
        return {"image_size": list(own(config).image_size)}


@register
class Dinov2WithRegisters(Dinov2):
    """The same with tokens between the first one and the patches, which nothing reads."""

    model_type = "dinov2_with_registers"
    class_name = "Dinov2WithRegisters"
    antialias = True

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        return (("cls_token", 1), ("register_tokens", fields.size("num_register_tokens", 4)))

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        if name != _POSITIONS:
            return tensor
        return np.delete(tensor, np.s_[1 : own(config).first_patch], axis=1)


def _scales(names: Parts) -> tuple[str, str]:
    """What the attention and the feed-forward network of a layer are scaled by."""
    layer = names.attention_norm.removesuffix(".norm1")
    return f"{layer}.layer_scale1.lambda1", f"{layer}.layer_scale2.lambda1"
