"""The image tower of SigLIP (Zhai et al. 2023, arXiv:2303.15343).

A ViT without a class token: a learned query attends to all patches, and a feed-forward network behind
makes of it what is compared with texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.clip import Clip
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Probe, Stream, TextTower
from tfedge.architectures.vit import Vit
from tfedge.errors import InputError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic

_PROJECTION = "embeddings.patch_embedding"
_LAST_NORM = "post_layernorm"
_POSITIONS = "embeddings.position_embedding.weight"
_PROBE = Probe("head.attention.scores", "head.attention.value", "head.attention")
_OUTPUT, _NORM = "head.attention.out_proj", "head.layernorm"
_NEURONS, _LAST = "head.mlp.fc1", "head.mlp.fc2"
# The learned query, and the dense layers of queries, keys and values, one below the other.
_QUERY, _WEIGHT, _BIAS = (
    "head.probe",
    "head.attention.in_proj_weight",
    "head.attention.in_proj_bias",
)
_OF_TEXTS = ("text_model.", "logit_scale", "logit_bias")


@register
class Siglip(Vit):
    """SigLIP, by the names and defaults of transformers."""

    model_type = "siglip"
    class_name = "Siglip"
    prefix = "vision_model."
    only_task = "image-feature-extraction"
    text_tower = TextTower(
        "text_model.head",
        heads=12,
        positions=64,
        activation="gelu_pytorch_tanh",
        epsilon=1e-6,
        reads_end=False,
        bias="logit_bias",
    )
    describes_first = False
    patch_layer = _PROJECTION
    parts = Clip.parts
    usual_epsilon = 1e-6
    usual_activation = "gelu_pytorch_tanh"

    def read(self, fields: Fields) -> dict[str, Any]:
        images = fields.within("vision_config")
        images.unsupported("vision_use_head", (True, None))
        return super().read(images)

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        return ()

    def classifies_first(self, config: EncoderConfig) -> bool:
        return False

    def features(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """See `Architecture`: what the learned query reads, where images and texts are compared."""
        config = blocks.config
        states = blocks.norm(_LAST_NORM, hidden)
        read = blocks.probed(_PROBE, config.num_attention_heads, states)
        read = blocks.dense(_OUTPUT, config.hidden_size, read)
        y = blocks.norm(_NORM, read)
        y = blocks.activated_dense(_NEURONS, config.hidden_act, config.intermediate_size, y)
        return blocks.add("head.sum", blocks.dense(_LAST, config.hidden_size, y), read)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        raise InputError("a siglip has no classifier here; convert it for image-feature-extraction")

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: that of the layers, and within the head all but the residual connection,
        which no norm ends."""
        residual, *outputs = super().streams(config)
        layers = Stream(
            residual.name,
            (_PROJECTION, *residual.writers[1:]),
            residual.totals,
            (*residual.norms[:-1], _LAST_NORM),
        )
        read = Stream(f"{_LAST_NORM}.output", (_LAST_NORM,), readers=(_PROBE.scores, _PROBE.value))
        values = Stream(_PROBE.value, (_PROBE.value,), readers=(_OUTPUT,))
        neurons = Stream(f"{_NORM}.output", (_NORM,), readers=(_NEURONS,))
        return [layers, *outputs, read, values, neurons]

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        # What is added to all scores alike is nothing to a softmax.
        return module not in (_PROBE.scores, "labels")

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        return _POSITIONS if name == "embeddings.position_embeddings" else name

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The table with the axes that those of other ViTs have, and the dense layers that the learned
        query makes of the attention."""
        found, width = {}, config.hidden_size
        if len(shape := shapes.get(_POSITIONS, ())) == 2:
            found[_POSITIONS] = Made((1, *shape), (_POSITIONS,), _raised)
        head = {_QUERY: (1, 1, width), _WEIGHT: (3 * width, width), _BIAS: (3 * width,)}
        if all(shapes.get(name) == shape for name, shape in head.items()):
            heads, parts = config.num_attention_heads, (*head,)
            scores = Made((heads, width), parts, lambda tensors: _scores(tensors, heads))
            found[f"{_PROBE.scores}.weight"] = scores
            for part, name in (("weight", _WEIGHT), ("bias", _BIAS)):
                shape = (width, *head[name][1:])
                found[f"{_PROBE.value}.{part}"] = Made(shape, (name,), _values)
        return found

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        return tensor[0] if name == _POSITIONS else tensor

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return tensor.startswith(_OF_TEXTS)

    def class_of(self, config: EncoderConfig, kind: str) -> str:
        return "SiglipModel"


def _raised(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    (table,) = tensors.values()
    return table[np.newaxis]


def _values(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The last third of queries, keys and values."""
    (stacked,) = tensors.values()
    return np.split(stacked, 3)[2]


def _scores(tensors: Mapping[str, np.ndarray], heads: int) -> np.ndarray:
    """What a token is multiplied by for the score of each head, (H, C): its keys times the query of the
    head, divided by the root of its size."""
    query, key, _ = np.split(np.asarray(tensors[_WEIGHT], np.float32), 3)
    bias = np.asarray(tensors[_BIAS], np.float32)[: len(query)]
    vector = query @ np.asarray(tensors[_QUERY], np.float32).ravel() + bias
    size = len(vector) // heads
    keys = key.reshape(heads, size, -1) * vector.reshape(heads, size, 1)
    return np.asarray(keys.sum(1) / size**0.5)
