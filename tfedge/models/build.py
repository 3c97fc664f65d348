"""Builds the functional Keras model of a configuration and a task."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from tfedge import tasks
from tfedge.architectures.base import EncoderConfig, Input
from tfedge.architectures.kinds import Kind
from tfedge.models.blocks import Blocks, GraphOptions, SiteKind, Symbolic, Tensors
from tfedge.tasks.base import Task

# tf_keras walks a functional graph by recursion; MobileBERT with its ranges is deeper than Python's
# default of 1000.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))

MakeBlocks = Callable[[EncoderConfig, GraphOptions], Blocks]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A built model and the symbolic tensors that distillation and calibration look at."""

    config: EncoderConfig
    # Inputs and outputs are dicts by name, int32 (B, S) and float32; of images float32 (B, height,
    # width, 3) too.
    model: keras.Model
    hidden_states: list[Symbolic]  # after the embeddings and after each layer, (B, S, C) each
    # As in `Blocks`.
    tapped: Tensors
    kinds: dict[str, Kind]
    sites: dict[str, SiteKind]


def input_names(config: EncoderConfig, task: str | None = None) -> tuple[str, ...]:
    """The inputs of an encoder, by Hugging Face's names, and those that the head of a task has."""
    own = tuple(item.name for item in config.architecture.inputs(config))
    return own if task is None else (*own, *tasks.find(task).extra_inputs)


def build(
    config: EncoderConfig,
    task: str,
    num_labels: int = 2,
    options: GraphOptions | None = None,
    make_blocks: MakeBlocks = Blocks,
) -> Encoder:
    """Builds the encoder of `config` with the head of `task`, with fresh weights.

    It is composed of what `make_blocks` makes; the blocks of `tfedge.quantize.integer`, say. Raises
    InputError for an unknown task, or more positions than the encoder has.
    """
    options = options or GraphOptions()
    purpose = tasks.find(task)
    length = options.sequence_length
    if length is not None:
        config.architecture.check_tokens(config, length)
    purpose.check(config)
    inputs = _inputs(config, options, purpose)
    blocks = make_blocks(config, options)
    # No layer's Python depends on a tensor; converting all of it takes a tenth of a conversion's time.
    unconverted = tf.autograph.experimental.do_not_convert
    hidden_states = unconverted(config.architecture.encode)(blocks, inputs)
    outputs = unconverted(purpose.head)(blocks, hidden_states[-1], inputs, num_labels)
    model = keras.Model(inputs, outputs, name=config.model_type)
    if options.tied and config.architecture.shares_weights(config):
        _tie_layers(model, config)
    return Encoder(config, model, hidden_states, blocks.tapped, blocks.kinds, blocks.sites)


def traced(
    function: Callable[..., Any], inputs: Mapping[str, Symbolic], *others: tf.TensorSpec
) -> Callable[..., Any]:
    """`function` as one graph for batches of any size and length: tracing one takes longer than
    running it on a few texts.

    Args:
        function: of a batch, by name, and of tensors like `others`.
        inputs: what is like the batch, by name.
    """
    like = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in inputs.items()}
    # A lambda, as of a Keras model TensorFlow cannot tell what the signature is of.
    return tf.function(
        lambda *tensors: function(*tensors), input_signature=[like, *others], autograph=False
    )


def _inputs(config: EncoderConfig, options: GraphOptions, task: Task) -> Tensors:
    result = {}
    for item in (*config.architecture.inputs(config), *map(Input, task.extra_inputs)):
        shape = [options.sequence_length if side is None else side for side in item.shape]
        result[item.name] = keras.Input(shape, options.batch_size, dtype=item.dtype, name=item.name)
    return result


def share_weights(source: keras.Model, target: keras.Model) -> None:
    """Has `target`, an equal graph for another number of tokens, use the variables of `source`.

    Those that it was made with are given back: of a large encoder, a file with several lengths would
    otherwise be converted from as many copies of all weights.
    """
    for layer in target.layers:
        if layer.variables:  # one length may take filling up that another does not
            _share_variables(source.get_layer(layer.name), layer)


def _share_variables(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    for name, value in vars(target).copy().items():
        if isinstance(value, tf.Variable):
            setattr(target, name, getattr(source, name))


def _tie_layers(model: keras.Model, config: EncoderConfig) -> None:
    """Has layers that share their weights use the variables of the first of them."""
    first: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        source = first.setdefault(config.architecture.tensor_name(config, layer.name), layer)
        if source is not layer:
            _share_variables(source, layer)
