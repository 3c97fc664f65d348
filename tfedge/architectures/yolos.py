"""YOLOS (Fang et al. 2021, arXiv:2106.00666), which finds objects.

A ViT with learned tokens, each of which finds one object or none. They stand first here, where
transformers has them behind the patches: attention knows no order, and so the last layer computes them
alone. Positions are interpolated once, for the size that images have; what all images have in common,
positions and learned tokens, is one table. Larger models add places between layers too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tfedge.architectures.base import EncoderConfig, Made, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Stream
from tfedge.architectures.resampling import resampled
from tfedge.architectures.vit import FINAL_NORM, ImageConfig, Vit, patches_of
from tfedge.errors import CheckpointError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_POSITIONS = "embeddings.position_embeddings"
_FIRST, _FOUND = "embeddings.cls_token", "embeddings.detection_tokens"
_HAS_MID = "use_mid_position_embeddings"
_MID = "encoder.mid_position_embeddings"
# The two networks that read the tokens, by transformers' names.
HEADS = ("class_labels_classifier", "bbox_predictor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class YolosConfig(ImageConfig):
    """The sizes, and where places are added."""

    grid: tuple[int, int]  # patches down and across of the images whose positions are stored
    has_mid: bool  # whether places are added between layers

    @property
    def objects(self) -> int:
        """The tokens that find objects."""
        return dict(self.leading_tokens)["detection_tokens"]

    @property
    def rows_read(self) -> int:
        return self.objects


def _own(config: EncoderConfig) -> YolosConfig:
    return cast(YolosConfig, config)


@register
class Yolos(Vit):
    """YOLOS, by the names and defaults of transformers."""

    model_type = "yolos"
    class_name = "Yolos"
    only_task = "object-detection"
    config_class = YolosConfig
    usual_image = (512, 864)

    @property
    def prefix(self) -> str:
        return "vit."

    def leading(self, fields: Fields) -> tuple[tuple[str, int], ...]:
        return (("detection_tokens", fields.size("num_detection_tokens", 100)), ("cls_token", 1))

    def sides(self, fields: Fields) -> tuple[tuple[int, int], tuple[int, int]]:
        """As of a ViT; what is left of an image beside whole patches is cut off, as there."""
        height, width = fields.pair("image_size", self.usual_image)
        side = fields.size("patch_size", self.usual_patch)
        down, across = height // side, width // side
        if not down or not across:
            raise CheckpointError(
                f"config.json: an image of {height} x {width} pixels has no patch of {side} x {side}"
            )
        if fields.flag(_HAS_MID, True) and height * width // side**2 != down * across:
            raise CheckpointError(
                f"config.json: {_HAS_MID} is true, and images of {height} x {width} pixels have parts "
                f"of patches of {side} x {side}, of which transformers computes none"
            )
        return (down * side, across * side), (side, side)

    def read(self, fields: Fields) -> dict[str, Any]:
        values = super().read(fields)
        image, patch = values["image_size"], values["patch_size"]
        return values | {
            "grid": (image[0] // patch[0], image[1] // patch[1]),
            "has_mid": fields.flag(_HAS_MID, True) and values["num_hidden_layers"] > 1,
        }

    def for_images(self, config: EncoderConfig, sides: tuple[int, int]) -> EncoderConfig:
        known = _own(config)
        tokens = patches_of(sides, known.patch_size) + known.first_patch
        return dataclasses.replace(known, image_size=sides, max_position_embeddings=tokens)

    # The graph.

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        x = self.embedded(blocks, inputs)
        hidden_states = [x]
        for index in range(blocks.config.num_hidden_layers):
            if index and _own(blocks.config).has_mid:
                places = blocks.positions(_mid(index - 1), blocks.config.hidden_size, x)
                x = blocks.add(f"{_mid(index - 1)}.sum", x, places)
            x = self.layer(blocks, index, x, Biases())
            hidden_states.append(x)
        return hidden_states

    def embedded(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        config = _own(blocks.config)
        size = config.hidden_size, config.patch_size
        patches = blocks.patches(self.patch_layer, *size, inputs["pixel_values"])
        return blocks.image_tokens("embeddings", (), patches)

    def token_summary(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """See `Architecture`: the tokens that find objects, normalised."""
        return blocks.norm(FINAL_NORM, blocks.read_rows(hidden))

    def classifies_first(self, config: EncoderConfig) -> bool:
        return False

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: as of a ViT, with places between layers."""
        residual, *outputs = super().streams(config)
        totals, added = [*residual.totals], []
        for index in range(config.num_hidden_layers - 1 if _own(config).has_mid else 0):
            added.append(_mid(index))
            totals[2 * index + 2] = f"{_mid(index)}.sum"
        readers = tuple(f"{head}.layers.0" for head in HEADS)
        return [
            dataclasses.replace(
                residual, writers=(*residual.writers, *added), totals=tuple(totals)
            ),
            *outputs,
            Stream(f"{FINAL_NORM}.output", (FINAL_NORM,), readers=readers),
        ]

    # The checkpoint.

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """All places between layers are one tensor."""
        return _MID if name.startswith(_mid("")) else name

    def part_of_tensor(self, config: EncoderConfig, name: str) -> tuple[int, int]:
        if not name.startswith(_mid("")):
            return 0, 1
        index = int(name.removeprefix(_mid("")).partition(".")[0])
        return index, config.num_hidden_layers - 1

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """The tables of the image's tokens, in the order in which they stand here."""
        known, found = _own(config), {}
        width, rows = known.hidden_size, known.max_position_embeddings
        stored = known.grid[0] * known.grid[1] + known.first_patch
        parts = {_POSITIONS: (1, stored, width), _FIRST: (1, 1, width)}
        parts[_FOUND] = (1, known.objects, width)
        if all(shapes.get(name) == shape for name, shape in parts.items()):
            found[_POSITIONS] = Made(
                (1, rows, width), (*parts,), lambda tensors: _entered(known, tensors)
            )
        layers = known.num_hidden_layers - 1
        if known.has_mid and shapes.get(_MID) == (layers, 1, stored, width):
            found[_MID] = Made(
                (layers * rows, width),
                (_MID,),
                lambda tensors: np.concatenate(
                    [_placed(known, table) for table in tensors[_MID][:, 0]]
                ),
            )
        return found

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        if name not in (_POSITIONS, _MID):
            return tensor
        known = _own(config)
        table = tensor.reshape(-1, known.hidden_size)
        found, first, patches = np.split(table, [known.objects, known.first_patch])
        table = np.concatenate([first, patches, found])[np.newaxis]
        return table if name == _POSITIONS else table[np.newaxis]

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        """The learned tokens, which are in the table of positions."""
        width = config.hidden_size
        first = np.zeros((1, 1, width), np.float32)
        return {_FIRST: first, _FOUND: np.zeros((1, _own(config).objects, width), np.float32)}

    def exported(self, config: EncoderConfig) -> Mapping[str, Any]:
        """The size of the images whose patches have positions."""
        return {"image_size": list(_own(config).image_size)}


def _mid(index: int | str) -> str:
    """The layer that adds places behind layer `index`."""
    return f"encoder.interpolation.{index}"


def _placed(config: YolosConfig, table: np.ndarray) -> np.ndarray:
    """A checkpoint's rows for the first token, patches and those that find objects, (n, C), as rows for
    the image's tokens, (S, C)."""
    rows = np.asarray(table, np.float32)
    first, patches, found = rows[:1], rows[1 : -config.objects], rows[-config.objects :]
    pairs = zip(config.image_size, config.patch_size, strict=True)
    sides = tuple(size // part for size, part in pairs)
    if sides != config.grid:
        patches = resampled(patches.reshape(*config.grid, -1), (sides[0], sides[1]))
    return np.concatenate([found, first, patches.reshape(-1, rows.shape[1])])


def _entered(config: YolosConfig, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """What is added to the patches of any image, (1, S, C): positions and learned tokens."""
    table = _placed(config, tensors[_POSITIONS][0])
    table[: config.objects] += tensors[_FOUND][0]
    table[config.objects] += tensors[_FIRST][0, 0]
    return table[np.newaxis]
