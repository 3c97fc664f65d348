"""ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) and DeiT (Touvron et al. 2021, arXiv:2012.12877).

Tokens are the patches of an image, after a learned one that the classifier reads; a DeiT has a second
one for its teacher's labels. Norms stand before attention and feed-forward network, so the residual
stream runs through all layers, and the last norm is part of the head.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from tfedge.architectures.base import (
    Architecture,
    Dense,
    EncoderConfig,
    Input,
)
from tfedge.architectures.fields import Fields
from tfedge.architectures.kinds import KEY, QUERY, VALUE
from tfedge.architectures.registry import register
from tfedge.architectures.sizes import ACTIVATIONS, read_sizes
from tfedge.architectures.streams import Stream
from tfedge.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

_PROJECTION = "embeddings.patch_embeddings.projection"
_FINAL_NORM = "layernorm"
# DeiT's heads on the class token and on the distillation token.
_TWO_CLASSIFIERS = ("cls_classifier", "distillation_classifier")
_WITH_TEACHER = "WithTeacher"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageConfig(EncoderConfig):
    """The sizes of an image and of what it is cut into.

    Attributes:
        image_size, patch_size: (height, width) in pixels; the tokens of an image are its patches.
        leading_tokens: the learned tokens before the patches, by Hugging Face's names.
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    leading_tokens: tuple[str, ...]

    @property
    def patches(self) -> int:
        """The tokens that are patches of an image."""
        return self.max_position_embeddings - len(self.leading_tokens)


def _own(config: EncoderConfig) -> ImageConfig:
    return cast(ImageConfig, config)


class Vit(Architecture):
    """ViT, by the names and defaults of transformers."""

    model_type = "vit"
    class_name = "ViT"
    reads = "images"
    config_class = ImageConfig
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
            **read_sizes(fields, **defaults, intermediate_size=3072),
            "vocab_size": 0,
            "max_position_embeddings": patches + len(self.leading_tokens),
            "hidden_act": fields.choice("hidden_act", ACTIVATIONS, "gelu"),
            "layer_norm_eps": fields.number("layer_norm_eps", 1e-12),
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

    def encode(self, blocks: Blocks, inputs: dict[str, Symbolic]) -> list[Symbolic]:
        config = _own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(_PROJECTION, *size, inputs["pixel_values"])
        hidden_states = [blocks.image_tokens("embeddings", config.leading_tokens, patches)]
        for index in range(config.num_hidden_layers):
            hidden_states.append(_layer(blocks, index, hidden_states[-1]))
        return hidden_states

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
            name = f"encoder.layer.{index}"
            attention = f"{name}.attention.attention"
            before, after = f"{name}.layernorm_before", f"{name}.layernorm_after"
            projections = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
            outputs += [_output(before, *projections), _output(after, f"{name}.intermediate.dense")]
            writers += [f"{name}.attention.output.dense", f"{name}.output.dense"]
            totals += [f"{name}.attention.sum", f"{name}.sum"]
            norms += [before, after]
        outputs.append(_output(_FINAL_NORM, *config.classifiers))
        norms.append(_FINAL_NORM)
        return [Stream("residual", tuple(writers), tuple(totals), tuple(norms)), *outputs]

    def check_reads_texts(self, stage: str) -> None:
        raise InputError(
            f"{stage} is for models of texts, and a {self.model_type} reads images; tfedge convert, "
            "eval, inspect, bench and export take it"
        )

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        del config
        return tensor == "embeddings.mask_token"  # of pretraining on images with holes

    def table_weights(self, config: EncoderConfig) -> int:
        return (config.max_position_embeddings + len(self.leading_tokens)) * config.hidden_size

    def embedding_dense(self, config: EncoderConfig) -> list[Dense]:
        """See `Architecture`: that of a patch's pixels."""
        rows, columns = _own(config).patch_size
        return [(3 * rows * columns, config.hidden_size)]

    def embedding_rows(self, config: EncoderConfig, length: int) -> int:
        return length - len(self.leading_tokens)


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


def _layer(blocks: Blocks, index: int, x: Symbolic) -> Symbolic:
    config = blocks.config
    name = f"encoder.layer.{index}"
    attention = f"{name}.attention.attention"
    width = config.heads(index) * config.head_size
    y = blocks.norm(f"{name}.layernorm_before", x)
    rows = blocks.computed_rows(index, y, "query")
    query = blocks.dense(f"{attention}.query", width, rows, QUERY)
    key = blocks.dense(f"{attention}.key", width, y, KEY)
    value = blocks.dense(f"{attention}.value", width, y, VALUE)
    context = blocks.attention(attention, query, key, value, None)
    y = blocks.dense(f"{name}.attention.output.dense", config.hidden_size, context)
    x = blocks.add(f"{name}.attention.sum", y, blocks.computed_rows(index, x, "shortcut"))
    y = blocks.norm(f"{name}.layernorm_after", x)
    y = blocks.activated_dense(
        f"{name}.intermediate.dense", config.hidden_act, config.neurons(index), y
    )
    y = blocks.dense(f"{name}.output.dense", config.hidden_size, y)
    return blocks.add(f"{name}.sum", y, x)


def _output(norm: str, *readers: str) -> Stream:
    return Stream(f"{norm}.output", (norm,), readers=readers)


register(Vit())
register(Deit())
