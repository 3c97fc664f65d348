"""Swin Transformer (Liu et al. 2021, arXiv:2103.14030), for images.

Patches attend to those of their window, and in every second layer the windows are shifted by half
their side. Stages follow each other: between them two by two tokens become one of twice the width.
Norms stand before attention and feed-forward network, so each stage has a residual stream of its own;
the first starts from a norm. What is read is the mean of the tokens, normalised before.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import LARGEST_DEPTH, Fields, head_size
from tfedge.architectures.parts import Biases, Grid, Stream, Windows
from tfedge.architectures.vit import FINAL_NORM, ImageConfig, Vit, output_stream, patches_of
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_FIRST_NORM = "embeddings.norm"
_TABLE = "relative_position_bias_table"
_INDEX = "relative_position_index"  # which older files have, and which follows from the sizes
# What transformers adds to the variances of norms that config.json says nothing of.
_EPSILON = 1e-5
_STAGES = 8  # more than any has; widths double from each to the next


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwinConfig(ImageConfig):
    """The sizes of an image, and of the stages; `hidden_size` and `num_attention_heads` are those of
    the last."""

    depths: tuple[int, ...]  # layers of each stage
    window_size: int

    def stage(self, layer: int) -> tuple[int, int]:
        """The stage of a layer, and the layer's place in it."""
        for stage, depth in enumerate(self.depths):
            if layer < depth:
                return stage, layer
            layer -= depth
        raise IndexError(layer)

    def layers(self, stage: int) -> range:
        """The layers of a stage."""
        ends = [0, *itertools.accumulate(self.depths)]
        return range(ends[stage], ends[stage + 1])

    def width(self, stage: int) -> int:
        """The channels of a stage."""
        return self.hidden_size >> (len(self.depths) - 1 - stage)

    def grid(self, stage: int) -> Grid:
        """The tokens of a stage, down and across."""
        height, width = (
            size // part for size, part in zip(self.image_size, self.patch_size, strict=True)
        )
        return -(-height >> stage), -(-width >> stage)

    def cut(self, layer: int) -> Windows:
        """The windows of a layer."""
        stage, place = self.stage(layer)
        grid = self.grid(stage)
        is_shifted = place % 2 and min(grid) > self.window_size
        return Windows(grid, self.window_size, self.window_size // 2 if is_shifted else 0)


def _own(config: EncoderConfig) -> SwinConfig:
    return cast(SwinConfig, config)


@register
class Swin(Vit):
    """Swin, by the names and defaults of transformers."""

    model_type = "swin"
    class_name = "Swin"
    config_class = SwinConfig
    adds_places = True
    describes_first = False
    whole_because = "its stages have widths and heads of their own"
    parts = dataclasses.replace(
        Vit.parts,
        attention="attention.self",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
    )

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("num_channels", (3, None))
        fields.unsupported("qkv_bias", (True, None))
        fields.unsupported("use_absolute_embeddings", (False, None))
        depths = fields.counts("depths", (2, 2, 6, 2), LARGEST_DEPTH, most=_STAGES)
        heads = fields.counts("num_heads", (3, 6, 12, 24), most=_STAGES)
        width = fields.size("embed_dim", 96)
        sizes = _head_sizes(width, depths, heads)
        image, patch = fields.pair("image_size", 224), fields.pair("patch_size", 4)
        last = width << (len(depths) - 1)
        ratio = fields.factor("mlp_ratio", 4.0)
        layers = [stage for stage, depth in enumerate(depths) for _ in range(depth)]
        values = {
            "vocab_size": 0,
            "hidden_size": last,
            "num_hidden_layers": len(layers),
            "num_attention_heads": heads[-1],
            "intermediate_size": int(ratio * last),
            "head_size": sizes[0],
            "layer_heads": tuple(heads[stage] for stage in layers),
            "layer_neurons": tuple(int(ratio * (width << stage)) for stage in layers),
            "max_position_embeddings": patches_of(image, patch),
            "hidden_act": fields.activation(self.usual_activation),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", _EPSILON),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.0),
            "image_size": image,
            "patch_size": patch,
            "leading_tokens": (),
            "depths": depths,
            "window_size": fields.size("window_size", 7),
        }
        _check_windows(values)
        return values

    def for_images(self, config: EncoderConfig, sides: tuple[int, int]) -> EncoderConfig:
        """Of images of another size the same windows are more or fewer."""
        known = _own(config)
        tokens = patches_of(sides, known.patch_size)
        found = dataclasses.replace(known, image_size=sides, max_position_embeddings=tokens)
        _check_windows(vars(found))
        return found

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        """See `Architecture`; as transformers has them, hidden states are those after the embeddings
        and after each stage."""
        config = _own(blocks.config)
        hidden_states = [self.embedded(blocks, inputs)]
        for stage in range(len(config.depths)):
            x, shared = hidden_states[-1], Biases()
            for index in config.layers(stage):
                cut = config.cut(index)
                if cut.shift and shared.mask is None:
                    shared = Biases(mask=blocks.shift_mask(f"{_stage(stage)}.mask", cut, x))
                x = self.layer(blocks, index, x, shared if cut.shift else Biases())
            if stage + 1 < len(config.depths):
                x = self.downsampled(blocks, stage, x)
            hidden_states.append(x)
        return hidden_states

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        config = _own(blocks.config)
        size = config.width(0), config.patch_size
        patches = blocks.patches(self.patch_layer, *size, inputs["pixel_values"])
        return blocks.norm(_FIRST_NORM, patches, _EPSILON)

    def layer(self, blocks: Blocks, index: int, x: Symbolic, shared: Biases) -> Symbolic:
        """One layer's tokens, (B, S, C)."""
        config, names = _own(blocks.config), self.parts.of_layer(index)
        cut, width = config.cut(index), config.width(config.stage(index)[0])
        y = blocks.windows(f"{names.attention}.windows", cut, blocks.norm(names.attention_norm, x))
        table = f"{names.attention}.{_TABLE}"
        relative = blocks.place_bias(table, y, (config.heads(index), cut.side**2))
        biases = shared._replace(relative=relative)
        context = blocks.self_attention(names, config.heads(index), (y, y, y), biases)
        context = blocks.whole(f"{names.attention}.whole", cut, context)
        y = blocks.dense(names.attention_output, width, context)
        x = blocks.add(names.attention_total, y, x)
        y = blocks.norm(names.ffn_norm, x)
        y = blocks.activated_dense(names.ffn_input, config.hidden_act, config.neurons(index), y)
        y = blocks.dense(names.ffn_output, width, y)
        return blocks.add(names.ffn_total, y, x)

    def downsampled(self, blocks: Blocks, stage: int, x: Symbolic) -> Symbolic:
        """A stage's tokens two by two, (B, S / 4, 2 C)."""
        config, name = _own(blocks.config), _merging(stage)
        x = blocks.merged(f"{name}.merged", config.grid(stage), x)
        return blocks.dense(
            f"{name}.reduction",
            config.width(stage + 1),
            blocks.norm(f"{name}.norm", x, _EPSILON),
        )

    def classifies_first(self, config: EncoderConfig) -> bool:
        return False

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the mean of the normalised tokens."""
        return [blocks.patch_mean("pooler.mean", blocks.norm(FINAL_NORM, hidden), 0)]

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: patches, a residual stream for each stage, and what each norm puts out
        for its readers."""
        depths, layer = _own(config).depths, self.patch_layer
        found = [Stream("patches", (layer,), (layer,), (_FIRST_NORM,))]
        for stage in range(len(depths)):
            start = f"{_merging(stage - 1)}.reduction" if stage else _FIRST_NORM
            writers, totals, norms = [start], [start], []
            for index in _own(config).layers(stage):
                names = self.parts.of_layer(index)
                found.append(output_stream(names.attention_norm, *names.projections))
                found.append(output_stream(names.ffn_norm, names.ffn_input))
                writers += [names.attention_output, names.ffn_output]
                totals += [names.attention_total, names.ffn_total]
                norms += [names.attention_norm, names.ffn_norm]
            norm, abreast = FINAL_NORM, 1
            if stage + 1 < len(depths):
                norm, abreast = f"{_merging(stage)}.norm", 4
                found.append(output_stream(norm, f"{_merging(stage)}.reduction"))
            ends = tuple(writers), tuple(totals), (*norms, norm)
            found.append(Stream(f"residual.{stage}", *ends, abreast=abreast))
        return found

    # The checkpoint.

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return not module.endswith(".reduction")

    def place_weights(self, config: EncoderConfig, heads: int) -> int:
        return int((2 * _own(config).window_size - 1) ** 2) * heads

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        start = f"{self.parts.prefix}."
        if name.startswith(start):
            index, _, part = name.removeprefix(start).partition(".")
            stage, place = _own(config).stage(int(index))
            name = f"{_stage(stage)}.blocks.{place}.{part}"
        return name.removesuffix(".weight") if name.endswith(f"{_TABLE}.weight") else name

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """Of each table of distances what it is for all queries and keys of a window."""
        index, found = distances(_own(config).window_size), {}
        for name, shape in shapes.items():
            if name.endswith(_TABLE) and len(shape) == 2 and shape[0] == index.max() + 1:
                made = (shape[1] * len(index), len(index))
                found[name] = Made(made, (name,), lambda tensors: _spread(tensors, index))
        return found

    def loaded(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        """As it is; of two by two tokens transformers has those of the first column before the others,
        and the graph goes row by row."""
        if ".downsample." not in name:
            return tensor
        first, second, third, fourth = np.split(tensor, 4, axis=-1)
        return np.concatenate([first, third, second, fourth], axis=-1)

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        if not name.endswith(_TABLE):
            return self.loaded(config, name, tensor)
        index = distances(_own(config).window_size)
        table = np.zeros((index.max() + 1, len(tensor) // len(index)), tensor.dtype)
        table[index.ravel()] = tensor.reshape(table.shape[1], -1).T
        return table

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        return super().is_unread(config, tensor) or tensor.endswith(f".{_INDEX}")


def _stage(stage: int) -> str:
    return f"encoder.layers.{stage}"


def _merging(stage: int) -> str:
    """The module behind a stage."""
    return f"{_stage(stage)}.downsample"


def _head_sizes(width: int, depths: tuple[int, ...], heads: tuple[int, ...]) -> list[int]:
    """The channels of a head in each stage, which are one number; raises CheckpointError otherwise."""
    if len(depths) != len(heads):
        raise CheckpointError(
            f"config.json: depths has {len(depths)} numbers and num_heads {len(heads)}; both must have "
            "one for each stage"
        )
    sizes = [head_size(width << stage, count) for stage, count in enumerate(heads)]
    if len(set(sizes)) > 1:
        raise CheckpointError(
            f"config.json: embed_dim {width} and num_heads {[*heads]} make heads of "
            f"{', '.join(map(str, sizes))} channels; all stages must have heads of one size"
        )
    return sizes


def _check_windows(values: Mapping[str, Any]) -> None:
    """Raises CheckpointError where a stage has fewer tokens, down or across, than a window:
    transformers then takes smaller windows, and has no scores for them."""
    image, patch, side = (values[name] for name in ("image_size", "patch_size", "window_size"))
    for stage in range(len(values["depths"])):
        grid = [-(-size // part >> stage) for size, part in zip(image, patch, strict=True)]
        if min(grid) < side:
            raise CheckpointError(
                f"config.json: stage {stage} of an image of {image[0]} x {image[1]} pixels has "
                f"{grid[0]} x {grid[1]} tokens, fewer than windows of {side} x {side} (window_size), "
                "which transformers cannot compute either; take larger images"
            )


def distances(side: int) -> np.ndarray:
    """The row of the table for each query and key of a window, int64 (side * side, side * side)."""
    down, across = np.divmod(np.arange(side * side), side)
    rows = [place[:, np.newaxis] - place + side - 1 for place in (down, across)]
    return np.asarray(rows[0] * (2 * side - 1) + rows[1])


def _spread(tensors: Mapping[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """The rows (n, H) for each head, query and key, (H * S, S)."""
    (table,) = tensors.values()
    return np.asarray(table, np.float32).T[:, index].reshape(-1, len(index))
