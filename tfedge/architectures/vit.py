"""ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) and DeiT (Touvron et al. 2021, arXiv:2012.12877).

Tokens are the patches of an image, after a learned one that the classifier reads; a DeiT has a second
one for its teacher's labels. Norms stand before attention and feed-forward network, so the residual
stream runs through all layers, and the last norm is part of the head.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import Architecture, EncoderConfig, Input, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Parts, Stream
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_PROJECTION = "embeddings.patch_embeddings.projection"
_FINAL_NORM = "layernorm"
# DeiT's heads on the class token and on the distillation token.
_TWO_CLASSIFIERS = ("cls_classifier", "distillation_classifier")
_WITH_TEACHER = "WithTeacher"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(EncoderConfig):
    """The sizes of an image and of what it is cut into."""

    # (height, width) in pixels; the tokens of an image are its patches.
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    # The learned tokens before the patches, by Hugging Face's names.
    leading_tokens: tuple[str, ...]

    @property
    def patches(self) -> int:
        """The tokens that are patches of an image."""
        return self.max_position_embeddings - len(self.leading_tokens)


def _own(config: EncoderConfig) -> ImageConfig:
    return cast(ImageConfig, config)


@register
class Vit(Architecture):
    """ViT, by the names and defaults of transformers."""

    model_type = "vit"
    class_name = "ViT"
    reads = "images"
    config_class = ImageConfig
    parts = Parts(
        attention="attention.attention",
        query="attention.attention.query",
        key="attention.attention.key",
        value="attention.attention.value",
        attention_total="attention.sum",
        attention_norm="layernorm_before",
        ffn_total="sum",
        ffn_norm="layernorm_after",
    )
    leading_tokens: tuple[str, ...] = ("cls_token",)

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("num_channels", (3, None))
        fields.unsupported("qkv_bias", (True, None))
        image, patch = fields.pair("image_size", 224), fields.pair("patch_size", 16)
        if any(size % part for size, part in zip(image, patch, strict=True)):
            raise CheckpointError(
                f"config.json: an image of {image[0]} x {image[1]} pixels cannot be cut into patches "
                f"of {patch[0]} x {patch[1]}"
            )
        defaults = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        patches = (image[0] // patch[0]) * (image[1] // patch[1])
        return {
            **fields.sizes(**defaults, intermediate_size=3072),
            "vocab_size": 0,
            "max_position_embeddings": patches + len(self.leading_tokens),
            "hidden_act": fields.activation("gelu"),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", 1e-12),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.0),
            "image_size": image,
            "patch_size": patch,
            "leading_tokens": self.leading_tokens,
        }

    def inputs(self, config: EncoderConfig) -> list[Input]:
        """See `Architecture`: `pixel_values`, float32 (B, height, width, 3)."""
        return [Input("pixel_values", (*_own(config).image_size, 3), "float32")]

    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        return config.max_position_embeddings, config.max_position_embeddings

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        config = _own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(_PROJECTION, *size, inputs["pixel_values"])
        hidden_states = [blocks.image_tokens("embeddings", config.leading_tokens, patches)]
        for index in range(config.num_hidden_layers):
            hidden_states.append(self.layer(blocks, index, hidden_states[-1]))
        return hidden_states

    def layer(self, blocks: Blocks, index: int, x: Symbolic) -> Symbolic:
        """One layer's hidden states, (B, S, C)."""
        config, names = blocks.config, self.parts.of_layer(index)
        y = blocks.norm(names.attention_norm, x)
        read = blocks.computed_rows(index, y, "query"), y, y
        context = blocks.self_attention(names, config.heads(index), read, Biases())
        y = blocks.dense(names.attention_output, config.hidden_size, context)
        x = blocks.add(names.attention_total, y, blocks.computed_rows(index, x, "shortcut"))
        y = blocks.norm(names.ffn_norm, x)
        y = blocks.activated_dense(names.ffn_input, config.hidden_act, config.neurons(index), y)
        y = blocks.dense(names.ffn_output, config.hidden_size, y)
        return blocks.add(names.ffn_total, y, x)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the learned tokens, normalised."""
        states = blocks.norm(_FINAL_NORM, blocks.read_rows(hidden))
        return [blocks.token(states, index) for index in range(len(blocks.config.classifiers))]

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: the residual stream, which all layers share, and what each norm puts
        out for its readers."""
        writers, totals, norms = [_PROJECTION, "embeddings"], ["embeddings.sum"], []
        outputs = []
        for index in range(config.num_hidden_layers):
            names = self.parts.of_layer(index)
            outputs.append(_output(names.attention_norm, *names.projections))
            outputs.append(_output(names.ffn_norm, names.ffn_input))
            writers += [names.attention_output, names.ffn_output]
            totals += [names.attention_total, names.ffn_total]
            norms += [names.attention_norm, names.ffn_norm]
        outputs.append(_output(_FINAL_NORM, *config.classifiers))
        norms.append(_FINAL_NORM)
        return [Stream("residual", tuple(writers), tuple(totals), tuple(norms)), *outputs]

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return tensor == "embeddings.mask_token"  # of pretraining on images with holes


@register
class Deit(Vit):
    """DeiT, of which transformers has two classes of classifiers."""

    model_type = "deit"
    class_name = "DeiT"
    leading_tokens = ("cls_token", "distillation_token")

    def parse(self, source: Any) -> EncoderConfig:
        config = super().parse(source)
        names = source.get("architectures")
        named = str(names[0]) if isinstance(names, list) and names else ""
        if not named.endswith(f"ForImageClassification{_WITH_TEACHER}"):
            return config
        return dataclasses.replace(config, classifiers=_TWO_CLASSIFIERS)

    def class_of(self, config: EncoderConfig, kind: str) -> str:
        two = _WITH_TEACHER if config.classifiers == _TWO_CLASSIFIERS else ""
        return super().class_of(config, kind) + two


def _output(norm: str, *readers: str) -> Stream:
    return Stream(f"{norm}.output", (norm,), readers=readers)
