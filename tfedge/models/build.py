"""Builds the functional Keras model of a configuration and a task."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from tfedge.errors import InputError
from tfedge.models import bert, distilbert, mobilebert, vit
from tfedge.models.blocks import (
    Blocks,
    Entry,
    GraphOptions,
    Junction,
    Role,
    SiteKind,
    Stream,
    Symbolic,
    streams_between_norms,
)
from tfedge.models.config import EncoderConfig
from tfedge.models.heads import HEADS

# tf_keras walks a functional graph by recursion; MobileBERT with its ranges is deeper than Python's
# default of 1000.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))

TASKS = tuple(HEADS)
MakeBlocks = Callable[[EncoderConfig, GraphOptions], Blocks]
_TEXT_ARCHITECTURES = {"bert": bert, "distilbert": distilbert, "mobilebert": mobilebert}
_ARCHITECTURES = {**_TEXT_ARCHITECTURES, "vit": vit, "deit": vit}


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A built model and the symbolic tensors that distillation and calibration look at.

    Attributes:
        model: inputs and outputs are dicts by name, int32 (B, S) and float32; of images float32
            (B, height, width, 3) too.
        hidden_states: after the embeddings and after each layer, (B, S, C) each.
        tapped: every activation under the name its tap saw, as it came out of the tap.
        aliases: further tensors that the tap saw, by the tapped ones that have their values.
        roles: which activations are queries, keys, values and gates.
        sites: the operations that a precision can be chosen for, in order.
    """

    model: keras.Model
    hidden_states: list[Symbolic]
    tapped: dict[str, Symbolic]
    aliases: dict[str, str]
    roles: dict[str, Role]
    sites: dict[str, SiteKind]


def input_names(config: EncoderConfig) -> tuple[str, ...]:
    """The inputs of an encoder, by Hugging Face's names; DistilBERT has no token types."""
    if config.reads_images:
        return ("pixel_values",)
    if config.type_vocab_size:
        return ("input_ids", "attention_mask", "token_type_ids")
    return ("input_ids", "attention_mask")


def build(
    config: EncoderConfig,
    task: str,
    num_labels: int = 2,
    options: GraphOptions | None = None,
    make_blocks: MakeBlocks = Blocks,
) -> Encoder:
    """Builds the encoder of `config` with the head of `task`, with fresh weights.

    Args:
        make_blocks: what the encoder is composed of; the blocks of `tfedge.quantize.integer`, say.

    Raises:
        InputError: an unknown task, or more positions asked for than the encoder has.
    """
    options = options or GraphOptions()
    if task not in HEADS:
        raise InputError(f"unknown task {task!r}; known are {', '.join(TASKS)}")
    length = options.sequence_length
    least = config.max_position_embeddings if config.reads_images else 3
    if length is not None and not least <= length <= config.max_position_embeddings:
        raise InputError(
            f"sequence length {length} is not possible: this encoder takes {least} to "
            f"{config.max_position_embeddings} tokens"
        )
    if (task == "image-classification") != config.reads_images:
        raise InputError(f"{task} is not what a {config.model_type} can be for")
    inputs = _inputs(config, options)
    blocks = make_blocks(config, options)
    hidden_states = _ARCHITECTURES[config.model_type].encode(blocks, inputs)
    outputs = HEADS[task](blocks, hidden_states[-1], inputs, num_labels)
    model = keras.Model(inputs, outputs, name=config.model_type)
    return Encoder(model, hidden_states, blocks.tapped, blocks.aliases, blocks.roles, blocks.sites)


def _inputs(config: EncoderConfig, options: GraphOptions) -> dict[str, Symbolic]:
    shape: tuple[int | None, ...] = (options.sequence_length,)
    dtype = tf.int32
    if config.reads_images:
        shape, dtype = (*config.image_size, 3), tf.float32
    return {
        name: keras.Input(shape, options.batch_size, dtype=dtype, name=name)
        for name in input_names(config)
    }


def entry(config: EncoderConfig) -> Entry:
    """Where tokens enter an encoder of texts."""
    return _TEXT_ARCHITECTURES[config.model_type].entry(config)


def junctions(config: EncoderConfig) -> list[Junction]:
    """The residual connections of an encoder of texts."""
    return _TEXT_ARCHITECTURES[config.model_type].junctions(config)


def streams(config: EncoderConfig) -> list[Stream]:
    """What of an encoder can only be scaled together."""
    if config.reads_images:
        return vit.streams(config)
    return streams_between_norms(entry(config), junctions(config))
