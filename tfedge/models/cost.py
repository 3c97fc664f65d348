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
from pathlib import Path

from tfedge.errors import InputError
from tfedge.models.config import EncoderConfig

Dense = tuple[int, int]


def parameters(config: EncoderConfig, pooler: bool = False) -> int:
    """The number of weights of the encoder without a task's head.

    Args:
        pooler: whether BERT's dense layer on [CLS] counts, as in BERT's published size.
    """
    hidden = config.hidden_size
    tables = config.vocab_size * config.embedding_size
    rows = config.max_position_embeddings + config.type_vocab_size + len(config.leading_tokens)
    tables += rows * hidden
    dense = _dense(config)
    if pooler:
        dense.append((hidden, hidden))
    norms = hidden + config.num_hidden_layers * _layer_norm_channels(config)
    return tables + sum((inputs + 1) * outputs for inputs, outputs in dense) + 2 * norms


def flops(config: EncoderConfig, sequence_length: int) -> int:
    """Floating-point operations for one text of `sequence_length` tokens; see the module.

    An image has one length, whatever is given.
    """
    if config.reads_images:
        sequence_length = config.max_position_embeddings
    widths = (config.heads(index) * config.head_size for index in range(config.num_hidden_layers))
    attention = 2 * sequence_length * sum(widths)
    per_token = attention + sum(inputs * outputs for inputs, outputs in _dense(config))
    learned = sum(inputs * outputs for inputs, outputs in _embedding_dense(config))
    return 2 * (sequence_length * per_token - len(config.leading_tokens) * learned)


@dataclasses.dataclass(frozen=True)
class Board:
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


def load_board(name: str) -> Board:
    """What is known of a board in LiteRT, from `instructions.toml`.

    Raises:
        InputError: nothing is; the message lists what is.
    """
    path = Path(__file__).with_name("instructions.toml")
    boards = tomllib.loads(path.read_text(encoding="utf-8"))
    if name not in boards:
        raise InputError(f"no instructions are known for {name!r}; known are {', '.join(boards)}")
    return Board(name, **boards[name])


def instructions(config: EncoderConfig, sequence_length: int, board: Board, task: str) -> float:
    """Instructions for one text of `sequence_length` tokens in int8, of a BERT or DistilBERT.

    Args:
        task: where the head reads [CLS] alone, as a text classifier's does, the last layer computes
            one row of queries and all after them.
    """
    hidden, length = config.hidden_size, sequence_length
    total = board.norm * length * hidden
    for index in range(config.num_hidden_layers):
        is_last = index == config.num_hidden_layers - 1
        rows = 1 if is_last and config.reads_first_token_only(task) else length
        width, neurons = config.heads(index) * config.head_size, config.neurons(index)
        dense = hidden * (length * width + rows * (width + neurons))
        total += board.product * 2 * (dense + rows * length * width)
        total += board.probability * rows * length * config.heads(index)
        total += board.neuron * rows * neurons + board.norm * 2 * rows * hidden
    return total


def _dense(config: EncoderConfig) -> list[Dense]:
    layers = (_layer_dense(config, index) for index in range(config.num_hidden_layers))
    return [*_embedding_dense(config), *itertools.chain.from_iterable(layers)]


def _embedding_dense(config: EncoderConfig) -> list[Dense]:
    """MobileBERT's way from narrow word embeddings to the hidden size; that of a patch's pixels."""
    if config.reads_images:
        rows, columns = config.patch_size
        return [(3 * rows * columns, config.hidden_size)]
    if config.trigram_input:
        return [(3 * config.embedding_size, config.hidden_size)]
    if config.embedding_size != config.hidden_size:
        return [(config.embedding_size, config.hidden_size)]
    return []


def _bottlenecks(config: EncoderConfig) -> int:
    """How many dense layers narrow the hidden state: the shortcut's, and queries' and keys'."""
    if not config.use_bottleneck:
        return 0
    return 1 if config.use_bottleneck_attention else 2


def _layer_dense(config: EncoderConfig, index: int) -> list[Dense]:
    """Inputs and outputs of every dense layer in one encoder layer."""
    hidden, inner = config.hidden_size, config.intra_bottleneck_size
    width = config.heads(index) * config.head_size
    value_input = hidden if _bottlenecks(config) == 2 else inner
    dense = [(inner, width), (inner, width), (value_input, width), (width, inner)]
    feed_forward = [(inner, config.neurons(index)), (config.neurons(index), inner)]
    dense += feed_forward * config.num_feedforward_networks
    if config.use_bottleneck:
        dense += [(hidden, inner)] * _bottlenecks(config) + [(inner, hidden)]
    return dense


def _layer_norm_channels(config: EncoderConfig) -> int:
    """The channels of all norms in one encoder layer, each with a gain and a bias."""
    narrow = _bottlenecks(config) + 1 + config.num_feedforward_networks
    wide = config.hidden_size if config.use_bottleneck else 0
    return narrow * config.intra_bottleneck_size + wide
