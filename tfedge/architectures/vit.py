"""ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) and DeiT (Touvron et al. 2021, arXiv:2012.12877).

Tokens are the patches of an image, after a learned one that the classifier reads; a DeiT has a second
one for its teacher's labels. Norms stand before attention and feed-forward network, so the residual
stream runs through all layers, and the last norm is part of the head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tfedge.architectures.base import Architecture, EncoderConfig, Input, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Parts, Stream
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_PROJECTION = "embeddings.patch_embeddings.projection"
FINAL_NORM = "layernorm"
# DeiT's heads on the class token and on the distillation token.
_TWO_CLASSIFIERS = ("cls_classifier", "distillation_classifier")
_WITH_TEACHER = "WithTeacher"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(EncoderConfig):
    """The sizes of an image and of what it is cut into."""

    # (height, width) in pixels; the tokens of an image are its patches.
    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    # The learned tokens before the patches: Hugging Face's names, and how many each is of.
    leading_tokens: tuple[tuple[str, int], ...]

    @property
    def first_patch(self) -> int:
        """The tokens before the patches."""
        return sum(count for _, count in self.leading_tokens)

    @property
    def patches(self) -> int:
        """The tokens that are patches of an image."""
        return self.max_position_embeddings - self.first_patch


def own(config: EncoderConfig) -> ImageConfig:
    """The configuration as that of a model of images, which it is."""
    return cast(ImageConfig, config)


@register
class Vit(Architecture):
    """ViT, by the names and defaults of transformers."""

    model_type = "vit"
    class_name = "ViT"
    reads = "images"
    config_class: type[EncoderConfig] = ImageConfig
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
    # What config.json may leave out.
    usual_patch = 16
    usual_epsilon = 1e-12
    usual_activation = "gelu"
    patch_layer = _PROJECTION
    usual_sizes: ClassVar[Mapping[str, int]] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    }

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        """See `ImageConfig.leading_tokens`."""
        return (("cls_token", 1),)

    def sides(self, fields: Fields) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width of an image and of a patch, in pixels."""
        return fields.pair("image_size", 224), fields.pair("patch_size", self.usual_patch)

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("num_channels", (3, None))
        fields.unsupported("qkv_bias", (True, None))
        image, patch = self.sides(fields)
        leading = self.leading(fields)
        return {
            **fields.sizes(**self.usual_sizes),
            "vocab_size": 0,
            "max_position_embeddings": patches_of(image, patch) + sum(n for _, n in leading),
            "hidden_act": fields.activation(self.usual_activation),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", self.usual_epsilon),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.0),
            "image_size": image,
            "patch_size": patch,
            "leading_tokens": leading,
        }

    def inputs(self, config: EncoderConfig) -> list[Input]:
        """See `Architecture`: `pixel_values`, float32 (B, height, width, 3)."""
        return [Input("pixel_values", (*own(config).image_size, 3), "float32")]

    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        return config.max_position_embeddings, config.max_position_embeddings

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        hidden_states = [self.embedded(blocks, inputs)]
        shared = self.shared(blocks, hidden_states[0])
        for index in range(blocks.config.num_hidden_layers):
            hidden_states.append(self.layer(blocks, index, hidden_states[-1], shared))
        return hidden_states

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        """What the first layer reads, (B, S, C)."""
        config = own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(self.patch_layer, *size, inputs["pixel_values"])
        return blocks.image_tokens("embeddings", config.leading_tokens, patches)

    def layer(self, blocks: Blocks, index: int, x: Symbolic, shared: Biases) -> Symbolic:
        """One layer's hidden states, (B, S, C)."""
        config, names = blocks.config, self.parts.of_layer(index)
        y = blocks.norm(names.attention_norm, x)
        read = blocks.computed_rows(index, y, "query"), y, y
        context = blocks.self_attention(
            names, config.heads(index), read, self.biases(blocks, names, y, shared)
        )
        y = blocks.dense(names.attention_output, config.hidden_size, context)
        x = blocks.add(names.attention_total, y, blocks.computed_rows(index, x, "shortcut"))
        y = blocks.norm(names.ffn_norm, x)
        y = blocks.activated_dense(names.ffn_input, config.hidden_act, config.neurons(index), y)
        y = blocks.dense(names.ffn_output, config.hidden_size, y)
        return blocks.add(names.ffn_total, y, x)

    def shared(self, blocks: Blocks, x: Symbolic) -> Biases:
        """What all attentions know of places, where the first layer reads x: nothing here."""
        return Biases()

    def biases(self, blocks: Blocks, names: Parts, x: Symbolic, shared: Biases) -> Biases:
        """What the attention that reads x knows of places."""
        return shared

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the learned tokens, normalised."""
        states = blocks.norm(FINAL_NORM, blocks.read_rows(hidden))
        return [blocks.token(states, index) for index in range(len(blocks.config.classifiers))]

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: the residual stream, which all layers share, and what each norm puts
        out for its readers."""
        writers, totals, norms = [self.patch_layer, "embeddings"], ["embeddings.sum"], []
        outputs = []
        for index in range(config.num_hidden_layers):
            names = self.parts.of_layer(index)
            outputs.append(output_stream(names.attention_norm, *names.projections))
            outputs.append(output_stream(names.ffn_norm, names.ffn_input))
            writers += [names.attention_output, names.ffn_output]
            totals += [names.attention_total, names.ffn_total]
            norms += [names.attention_norm, names.ffn_norm]
        if self.classifies_first(config):
            outputs.append(output_stream(FINAL_NORM, *config.classifiers))
        norms.append(FINAL_NORM)
        return [Stream("residual", tuple(writers), tuple(totals), tuple(norms)), *outputs]

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return tensor == "embeddings.mask_token"  # of pretraining on images with holes


@register
class Deit(Vit):
    """DeiT, of which transformers has two classes of classifiers."""

    model_type = "deit"
    class_name = "DeiT"

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        return (("cls_token", 1), ("distillation_token", 1))

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


def patches_of(image: tuple[int, int], patch: tuple[int, int]) -> int:
    """How many patches an image is cut into; raises CheckpointError where pixels would be left."""
    if any(size % part for size, part in zip(image, patch, strict=True)):
        raise CheckpointError(
            f"config.json: an image of {image[0]} x {image[1]} pixels cannot be cut into patches of "
            f"{patch[0]} x {patch[1]}"
        )
    return (image[0] // patch[0]) * (image[1] // patch[1])


def output_stream(norm: str, *readers: str) -> Stream:
    """What a norm puts out for the dense layers that read it."""
    return Stream(f"{norm}.output", (norm,), readers=readers)
