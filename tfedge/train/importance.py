"""How much an encoder's answers depend on each of its parts.

Measured on texts: each head, neuron and hidden channel has a gate of 1 on its output, and its
importance is the mean over texts of the squared derivative of the loss by the gate: what removing
it adds to the loss, to the first order (Molchanov et al. 2019, equation 8; with gates on heads,
Michel et al. 2019, section 4). With the loss drawn from the model's own answers that is the
diagonal of the Fisher information, and so to the second order the divergence of the answers from
what they were (Kwon et al. 2022, section 4.1). It needs no labels, and figures of different layers
and kinds compare.

A layer's importance is its block influence, how far it turns the hidden states (Men et al. 2024,
"ShortGPT", equation 1).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.models.build import Encoder, traced
from tfedge.progress import Progress
from tfedge.train.examples import Examples, by_length


@dataclasses.dataclass(frozen=True)
class Importance:
    """What is lost by removing a part; larger is more important."""

    channels: np.ndarray  # of the hidden channels, (C,)
    layers: np.ndarray  # of whole layers, (L,); comparable only with each other
    heads: list[np.ndarray]  # of each layer
    neurons: list[np.ndarray]


def measure_importance(
    encoder: Encoder, config: EncoderConfig, examples: Examples, seed: int, advance: Progress
) -> Importance:
    """Runs texts forwards and backwards through a text classifier or sentence encoder, not static.

    Args:
        seed: of the answers that are drawn.
        advance: told how many more texts are done.
    """
    seeds = tf.TensorSpec((2,), tf.int32)
    step = traced(_Probe(encoder, config).step, encoder.model.input, seeds)
    sums: dict[str, np.ndarray] = {}
    for index, (_, batch) in enumerate(by_length(examples, encoder.model)):
        inputs = {name: tf.constant(value) for name, value in batch.items()}
        for name, value in step(inputs, tf.constant((seed % 2**31, index))).items():
            sums[name] = sums.get(name, 0.0) + value.numpy().astype(np.float64)
        advance(len(batch["input_ids"]))
    count = len(examples)
    parts, layers = config.architecture.named_parts(), range(config.num_hidden_layers)
    return Importance(
        channels=sums["channels"] / count,
        layers=sums["layers"] / count,
        heads=[sums[f"{parts.layer(index)}.{parts.context}"] / count for index in layers],
        neurons=[sums[f"{parts.layer(index)}.{parts.activation}"] / count for index in layers],
    )


class _Probe:
    """An encoder whose activations can be differentiated by."""

    def __init__(self, encoder: Encoder, config: EncoderConfig) -> None:
        parts = config.architecture.named_parts()
        layers = [parts.layer(index) for index in range(config.num_hidden_layers)]
        self.contexts = [f"{layer}.{parts.context}" for layer in layers]
        self.activations = [f"{layer}.{parts.activation}" for layer in layers]
        # Where the hidden channels can be read: at the start of each residual connection, and after
        # the last norm.
        residuals = config.architecture.residuals(config)
        self.norms = [*(stream.writers[0] for stream in residuals), residuals[-1].name]
        names = (*self.contexts, *self.activations, *self.norms)
        outputs = {
            "answer": next(iter(encoder.model.output.values())),
            "places": {name: encoder.tapped[name] for name in names},
            "states": encoder.hidden_states,
        }
        self.is_classifier = "logits" in encoder.model.output
        self.model = keras.Model(encoder.model.input, outputs)

    def step(self, inputs: Mapping[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Sums over the batch of the importances of all parts."""
        with tf.GradientTape() as tape:
            found = self.model(inputs)
            objective = tf.reduce_sum(found["answer"] * self._direction(found["answer"], seed))
        places = found["places"]
        slopes = tape.gradient(objective, places)
        # The derivative by a gate on an activation is their product, summed.
        gates = {name: places[name] * slopes[name] for name in places}
        result = {}
        for name in self.contexts:  # (B, H, S, D)
            result[name] = _energy(tf.reduce_sum(gates[name], axis=(2, 3)))
        for name in self.activations:  # (B, S, I)
            result[name] = _energy(tf.reduce_sum(gates[name], axis=1))
        # A channel has one gate at all places, since it can only be removed from all.
        channels = tf.add_n([tf.reduce_sum(gates[name], axis=1) for name in self.norms])
        result["channels"] = _energy(channels)
        mask = tf.cast(inputs["attention_mask"], tf.float32)
        pairs = itertools.pairwise(found["states"])
        result["layers"] = tf.stack([_influence(*pair, mask) for pair in pairs])
        return result

    def _direction(self, answer: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A random direction of the answers (B, n) whose covariance is the loss's curvature.

        Of the cross-entropy it is the gradient for a label drawn from the model's own
        probabilities, of the squared distance between embeddings a normal vector.
        """
        answer = tf.stop_gradient(answer)
        if not self.is_classifier:
            return tf.random.stateless_normal(tf.shape(answer), seed)
        drawn = tf.random.stateless_categorical(answer, 1, seed)[:, 0]
        return tf.one_hot(drawn, tf.shape(answer)[1]) - tf.nn.softmax(answer)


def _energy(gates: tf.Tensor) -> tf.Tensor:
    """The squares of (B, n), summed over texts."""
    return tf.reduce_sum(tf.square(gates), axis=0)


def _influence(before: tf.Tensor, after: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """1 - cosine of hidden states (B, S, C), mean over real tokens, summed over texts."""
    before, after = (tf.math.l2_normalize(state, axis=-1) for state in (before, after))
    turned = 1 - tf.reduce_sum(before * after, axis=-1)
    return tf.reduce_sum(tf.reduce_sum(turned * mask, axis=1) / tf.reduce_sum(mask, axis=1))


def importance_of_weights(config: EncoderConfig, tensors: Mapping[str, np.ndarray]) -> Importance:
    """Importance by what each part could pass on, from the weights alone; all layers are equal.

    A channel counts by the energy it sends into the dense layers that read it, a neuron by the
    product of what flows in and out.
    """
    parts = config.architecture.named_parts()

    def moment(source: str) -> np.ndarray:
        """The second moment of the output of a layer norm, or of a dense layer behind that of the
        embeddings, in each channel."""
        weight, bias = tensors[f"{source}.weight"], tensors[f"{source}.bias"]
        if weight.ndim == 1:
            return weight**2 + bias**2
        norm = config.architecture.embeddings.norm
        gain, shift = tensors[f"{norm}.weight"], tensors[f"{norm}.bias"]
        return weight**2 @ gain**2 + (weight @ shift + bias) ** 2

    channels = np.zeros(config.hidden_size)
    for stream in config.architecture.residuals(config):
        weights = (tensors[f"{reader}.weight"] ** 2 for reader in stream.readers)
        channels += moment(stream.writers[0]) * sum(weight.sum(0) for weight in weights)
    heads, neurons = [], []
    for index in range(config.num_hidden_layers):
        layer = parts.layer(index)
        gain = tensors[f"{layer}.{parts.attention_norm}.weight"] ** 2
        drive = (tensors[f"{layer}.{parts.ffn_input}.weight"] ** 2 * gain).sum(1)
        neurons.append(drive * (tensors[f"{layer}.{parts.ffn_output}.weight"] ** 2).sum(0))
        heads.append(np.ones(config.heads(index)))
    return Importance(channels, np.ones(config.num_hidden_layers), heads, neurons)
