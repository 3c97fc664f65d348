"""Parameters and floating-point operations of an encoder, from its configuration alone.

Nothing is built and TensorFlow is not imported.

FLOPs are 2 for each multiply-accumulate of the dense layers and of attention's two products
(scores, context) over all S positions, padding included: what a graph of fixed length computes.
Not counted: table look-ups, biases, residual sums, norms, softmax, activations, scaling, and the
head of the task with its pooler (below 0.1% of any published encoder at 128 tokens).
"""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tfedge import tasks
from tfedge.architectures.base import Dense, EncoderConfig
from tfedge.errors import InputError


def parameters(config: EncoderConfig, pooler: bool = False) -> int:
    """The number of weights of the encoder without a task's head.

    Args:
        pooler: whether BERT's dense layer on [CLS] counts, as in BERT's published size.
    """
    architecture, hidden = config.architecture, config.hidden_size
    layers = range(architecture.stored_layers(config))
    dense = [*architecture.embedding_dense(config), *_layers_dense(config, layers)]
    if pooler:
        dense.append((hidden, hidden))
    norms = hidden + len(layers) * architecture.layer_norm_channels(config)
    weights = sum((inputs + 1) * outputs for inputs, outputs in dense)
    return architecture.table_weights(config) + weights + 2 * norms


def flops(config: EncoderConfig, sequence_length: int) -> int:
    """Floating-point operations for one text of `sequence_length` tokens; see the module.

    An image has one length, whatever is given.
    """
    architecture, layers = config.architecture, range(config.num_hidden_layers)
    least, most = architecture.lengths(config)
    if least == most:
        sequence_length = most
    width = sum(config.heads(index) * config.head_size for index in layers)
    dense = sum(inputs * outputs for inputs, outputs in _layers_dense(config, layers))
    embedding = sum(inputs * outputs for inputs, outputs in architecture.embedding_dense(config))
    rows = architecture.embedding_rows(config, sequence_length)
    attention = 2 * sequence_length * width
    return 2 * (sequence_length * (attention + dense) + rows * embedding)


@dataclasses.dataclass(frozen=True)
class InstructionCosts:
    """Instructions that an int8 model takes on a board, for each thing that it computes.

    Attributes:
        name: as in `tfedge.targets`.
        product: a multiply-accumulate.
        probability: a softmax's output.
        neuron: an output of the activation.
        norm: an output of a layer norm, with the residual sum before it.
    """

    name: str
    product: float
    probability: float
    neuron: float
    norm: float


def load_costs(name: str) -> InstructionCosts:
    """What is known of a board in LiteRT, from `instructions.toml`.

    Raises:
        InputError: nothing is; the message lists what is.
    """
    path = Path(__file__).with_name("instructions.toml")
    boards = tomllib.loads(path.read_text(encoding="utf-8"))
    if name not in boards:
        raise InputError(f"no instructions are known for {name!r}; known are {', '.join(boards)}")
    return InstructionCosts(name, **boards[name])


def instructions(
    config: EncoderConfig, sequence_length: int, costs: InstructionCosts, task: str
) -> float:
    """Instructions for one text of `sequence_length` tokens in int8, of a BERT or DistilBERT.

    Args:
        task: where the head reads [CLS] alone, as a text classifier's does, the last layer computes
            one row of queries and all after them.
    """
    hidden, length = config.hidden_size, sequence_length
    total = costs.norm * length * hidden
    for index in range(config.num_hidden_layers):
        is_last = index == config.num_hidden_layers - 1
        rows = 1 if is_last and tasks.find(task).reads_first_token_only(config) else length
        width, neurons = config.heads(index) * config.head_size, config.neurons(index)
        dense = hidden * (length * width + rows * (width + neurons))
        total += costs.product * 2 * (dense + rows * length * width)
        total += costs.probability * rows * length * config.heads(index)
        total += costs.neuron * rows * neurons + costs.norm * 2 * rows * hidden
    return total


def _layers_dense(config: EncoderConfig, layers: Iterable[int]) -> list[Dense]:
    """Inputs and outputs of every dense layer in some encoder layers."""
    each = (config.architecture.layer_dense(config, index) for index in layers)
    return list(itertools.chain.from_iterable(each))
