"""Parameters and floating-point operations of an encoder, from its configuration alone.

An architecture builds its encoder of blocks that only count; TensorFlow is not imported.

FLOPs are 2 for each multiply-accumulate of the dense layers and of attention's two products
(scores, context) over all S positions, padding included: what a graph of fixed length computes.
Not counted: table look-ups, biases, residual sums, norms, softmax, activations, scaling, and the
head of the task with its pooler (below 0.1% of any published encoder at 128 tokens).
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tfedge import tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.parts import Biases, Distances, Grid, Parts, Windows
from tfedge.errors import InputError

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks


def parameters(config: EncoderConfig, pooler: bool = False) -> int:
    """The number of weights of the encoder without a task's head; with BERT's dense layer on [CLS]
    where `pooler` counts, as in BERT's published size."""
    return sum(weights(config).values()) + pooler * (config.hidden_size + 1) * config.hidden_size


def weights(config: EncoderConfig) -> dict[str, int]:
    """The number of weights of each layer of the encoder, biases included, by its tensor's name; of
    layers that are parts of one tensor, of all together."""
    found: dict[str, int] = {}
    for (name, _), count in _counted(
        config, config.architecture.lengths(config)[0]
    ).weights.items():
        found[name] = found.get(name, 0) + count
    return found


def flops(config: EncoderConfig, sequence_length: int) -> int:
    """Floating-point operations for one text of `sequence_length` tokens; see the module.

    An image has one length, whatever is given.
    """
    return 2 * _counted(config, sequence_length).products


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A tensor without its values: of an encoder's states (rows, channels)."""

    shape: tuple[int, ...]
    windows: int = 1  # that the rows are those of, and attend within


class _Counter:
    """The blocks of `tfedge.models.blocks` as far as encoders have weights or products in them."""

    def __init__(self, config: EncoderConfig, length: int) -> None:
        self.config, self.length = config, length
        # By the name of the tensor in the checkpoint, which several layers may share, and its part.
        self.weights: dict[tuple[str, int], int] = {}
        self.products = 0  # multiply-accumulates

    def _made(self, name: str, weights: int, rows: int, channels: int) -> _Tensor:
        architecture, weight = self.config.architecture, f"{name}.weight"
        tensor = (
            architecture.tensor_name(self.config, weight),
            architecture.part_of_tensor(self.config, weight)[0],
        )
        self.weights[tensor] = weights
        return _Tensor((rows, channels))

    def embedding(self, name: str, rows: int, channels: int, ids: _Tensor) -> _Tensor:
        return self._made(name, rows * channels, self.length, channels)

    def token_types(self, name: str, channels: int, inputs: Mapping[str, _Tensor]) -> _Tensor:
        rows, ids = self.config.type_vocab_size, inputs["input_ids"]
        return self.embedding(name, rows, channels, ids)

    def positions(self, name: str, channels: int, ids: _Tensor) -> _Tensor:
        rows = self.config.max_position_embeddings + self.config.first_position
        return self.embedding(name, rows, channels, ids)

    def patches(self, name: str, units: int, size: Sequence[int], images: _Tensor) -> _Tensor:
        inputs = 3 * math.prod(size)
        return self.dense(name, units, _Tensor((math.prod(images.shape) // inputs, inputs)))

    def image_tokens(
        self,
        name: str,
        leading: Sequence[tuple[str, int]],
        patches: _Tensor,
        has_places: bool = True,
    ) -> _Tensor:
        rows, channels = self.config.max_position_embeddings, self.config.hidden_size
        learned = sum(count for _, count in leading)
        return self._made(name, (has_places * rows + learned) * channels, rows, channels)

    def dense(self, name: str, units: int, x: _Tensor) -> _Tensor:
        rows, inputs = x.shape
        self.products += rows * inputs * units
        return self._made(name, (inputs + self._has_bias(name)) * units, rows, units)

    def _has_bias(self, module: str) -> bool:
        return self.config.architecture.has_bias(self.config, module)

    def trigram_dense(self, name: str, units: int, x: _Tensor) -> _Tensor:
        return self.dense(name, units, _Tensor((x.shape[0], 3 * x.shape[1])))

    def activated_dense(self, name: str, activation: str, units: int, x: _Tensor) -> _Tensor:
        return self.dense(name, units, x)

    def gated_dense(self, names: Parts, activation: str, units: int, x: _Tensor) -> _Tensor:
        self.dense(names.ffn_gate, units, x)
        return self.dense(names.ffn_input, units, x)

    def norm(self, name: str, x: _Tensor, epsilon: float | None = None) -> _Tensor:
        return self._made(name, (1 + self._has_bias(name)) * x.shape[1], *x.shape)

    def add(self, name: str, first: _Tensor, *others: _Tensor) -> _Tensor:
        return first

    def dropout(self, name: str, x: _Tensor) -> _Tensor:
        return x

    def computed_rows(self, index: int, x: _Tensor, part: str = "input") -> _Tensor:
        return x

    def relative_bias(self, name: str, buckets: int, farthest: int, mask: _Tensor) -> _Tensor:
        heads = self.config.num_attention_heads
        return self._made(name, buckets * heads, self.length, heads)

    def place_bias(self, name: str, hidden: _Tensor, sizes: tuple[int, int] | None = None) -> None:
        """What has as many weights as the architecture says, and no products."""
        heads = sizes[0] if sizes else self.config.num_attention_heads
        self._made(name, self.config.architecture.place_weights(self.config, heads), 0, 0)

    def windows(self, name: str, cut: Windows, x: _Tensor) -> _Tensor:
        return _Tensor((math.prod(cut.filled), x.shape[1]), cut.number)

    def whole(self, name: str, cut: Windows, x: _Tensor) -> _Tensor:
        return _Tensor((math.prod(cut.grid), x.shape[1]))

    def merged(self, name: str, grid: Grid, x: _Tensor) -> _Tensor:
        return _Tensor((math.prod(-(-size // 2) for size in grid), 4 * x.shape[1]))

    def shift_mask(self, name: str, cut: Windows, x: _Tensor) -> None:
        """What has no weights."""

    def attention_bias(self, attention_mask: _Tensor) -> _Tensor:
        return attention_mask

    def window_bias(self, name: str, bias: _Tensor, mask: _Tensor, reach: int) -> _Tensor:
        return bias

    def distances(self, given: Distances, mask: _Tensor) -> Distances:
        for name in filter(None, given.modules):
            self._made(
                name,
                (2 if name == given.modules[1] else given.rows) * self.config.hidden_size,
                0,
                0,
            )
        return given

    def rotary(self, name: str, base: float, mask: _Tensor, positions: int = 0) -> None:
        """What has no weights, and products with one number each."""

    def patch_rotary(self, name: str, *numbers: object) -> None:
        """Likewise."""

    def self_attention(
        self, names: Parts, heads: int, read: Sequence[_Tensor], biases: Biases
    ) -> _Tensor:
        width = heads * self.config.head_size
        query, key, _ = map(self.dense, names.projections, (width,) * 3, read)
        rows, length = query.shape[0], key.shape[0]
        self.products += 2 * rows * length * width // read[0].windows
        if isinstance(biases.distances, Distances):
            for name, of in zip(biases.distances.names(names), (rows, length), strict=True):
                if name:  # a constant of the graph, for each distance
                    self._made(name, (self.config.hidden_size + 1) * width, 0, 0)
                    self.products += of * (rows + length - 1) * width
        return query


def _counted(config: EncoderConfig, length: int) -> _Counter:
    counter, architecture = _Counter(config, length), config.architecture
    inputs = {item.name: _Tensor(item.sides) for item in architecture.inputs(config)}
    architecture.encode(cast("Blocks", counter), inputs)
    return counter


# What an int8 model computes: a multiply-accumulate, a softmax's output, an output of the activation,
# an output of a layer norm with the residual sum before it.
PARTS = ("product", "probability", "neuron", "norm")


@dataclasses.dataclass(frozen=True)
class PartTimes:
    """Nanoseconds that an int8 model takes on a board, by the `PARTS` that it computes."""

    name: str  # as in `tfedge.targets`
    product: float
    probability: float
    neuron: float
    norm: float


def load_times(name: str) -> PartTimes:
    """What is known of a board in LiteRT, from `times.toml`; raises InputError where nothing is; the
    message lists what is."""
    path = Path(__file__).with_name("times.toml")
    boards = tomllib.loads(path.read_text(encoding="utf-8"))
    if name not in boards:
        raise InputError(f"no times are known for {name!r}; known are {', '.join(boards)}")
    return PartTimes(name, **boards[name])


def work(config: EncoderConfig, sequence_length: int, task: str) -> dict[str, int]:
    """How many of the `PARTS` one text of `sequence_length` tokens takes, of a BERT or DistilBERT.

    Where the task's head reads [CLS] alone, as a text classifier's does, the last layer computes one
    row of queries and all after them.
    """
    hidden, length = config.hidden_size, sequence_length
    found = {**dict.fromkeys(PARTS, 0), "norm": length * hidden}
    for index in range(config.num_hidden_layers):
        is_last = index == config.num_hidden_layers - 1
        rows = 1 if is_last and tasks.find(task).reads_first_token_only(config) else length
        width, neurons = config.heads(index) * config.head_size, config.neurons(index)
        dense = hidden * (length * width + rows * (width + neurons))
        found["product"] += 2 * (dense + rows * length * width)
        found["probability"] += rows * length * config.heads(index)
        found["neuron"] += rows * neurons
        found["norm"] += 2 * rows * hidden
    return found


def milliseconds(config: EncoderConfig, sequence_length: int, times: PartTimes, task: str) -> float:
    """About what one text of `sequence_length` tokens takes in int8, see `work`."""
    found = work(config, sequence_length, task)
    return sum(getattr(times, part) * count for part, count in found.items()) / 1e6
