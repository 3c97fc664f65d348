"""What an encoder's answers feel of errors somewhere inside it, to the first order.

With J the derivative of the answers by a tensor and v random signs, the mean over v of (v . J e)^2 is
|J e|^2, whatever the error e (Hutchinson 1990, doi 10.1080/03610919008812866). So one pass backwards
from v . answers, on a few texts, tells for all tensors at once what any error in them does to the
answers.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import batches_of_equals
from tfedge.models.blocks import Symbolic
from tfedge.models.build import Encoder, traced

# A loss of the answers that is not worth operations, see `Felt.loss`; of embeddings it is one of the
# cosine. What each stage leaves out loses no more together.
NEGLIGIBLE = 3e-4
_SAMPLES = 24  # that are run
# Where an answer tips over, slopes are large and hold for the smallest errors alone: those of the
# steepest samples count as if they were those of the last one before this share.
_STEEPEST = 0.1


def input_of(layer: str) -> str:
    """What a layer's input is called among the values."""
    return f"{layer}.input"


@dataclasses.dataclass(frozen=True)
class Felt:
    """What answers feel, on the tokens of some samples.

    Attributes:
        values: of tensors, by name, float32 (n, C).
        slopes: of the answers, in a random direction, by tensors, by name, (n, C).
        samples: which one each token of those tensors belongs to, by name, (n,).
        spread: the sum over all samples of the squared distances of the answers from their mean.
    """

    values: Mapping[str, np.ndarray]
    slopes: Mapping[str, np.ndarray]
    samples: Mapping[str, np.ndarray]
    spread: float

    def moved(self, name: str, error: np.ndarray) -> np.ndarray:
        """By how much an error (n, C) of a tensor moves the answers, token by token, (n,)."""
        return np.einsum("nc,nc->n", self.slopes[name], error, dtype=np.float64)

    def loss(self, moved: np.ndarray) -> float:
        """What is lost where tokens, or samples, move the answers by `moved`, (n,), independently of
        each other: half the answers' squared error as a share of their spread, by which the cosine of
        embeddings to the exact ones falls."""
        return float(np.sum(moved**2)) / (2 * max(self.spread, float(np.finfo(np.float32).tiny)))

    def together(self, name: str, moved: np.ndarray) -> np.ndarray:
        """By how much the answer to each sample is moved, (samples,), where its tokens move it by
        `moved`, (n,), and do so alike."""
        return np.bincount(self.samples[name], moved)


def felt(
    encoder: Encoder,
    samples: Sequence[np.ndarray],
    values: Mapping[str, Symbolic],
    slopes: Mapping[str, Symbolic],
) -> Felt:
    """Runs some samples forwards and backwards through an encoder for any batch and length.

    Args:
        samples: as `tfedge.quantize.calibrate.Observer` takes them.
        values, slopes: the tensors (B, S, ..., C) that are wanted, and those by which the slopes are.
    """
    inputs = encoder.model.input
    wanted = {"answers": encoder.model.output, "values": dict(values), "slopes": dict(slopes)}
    model = keras.Model(inputs, wanted)
    run = traced(lambda *given: _run(model, *given), inputs, tf.TensorSpec((), tf.int32))
    rows: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    owners: dict[str, list[np.ndarray]] = defaultdict(list)
    chosen = samples[:: -(-len(samples) // _SAMPLES)]
    for indices, batch in batches_of_equals(chosen, tuple(encoder.model.input_names)):
        for part, tensors in run(batch, tf.constant(indices[0])).items():
            for name, value in tensors.items():
                rows[part][name].append(_rows(value, encoder.model.output.get(name)))
        for name, parts in rows["slopes"].items():
            owners[name].append(np.repeat(indices, len(parts[-1]) // len(indices)))
    found = {
        part: {name: np.concatenate(parts) for name, parts in tensors.items()}
        for part, tensors in rows.items()
    }
    spread = sum(_spread(answers) for answers in found["answers"].values())
    samples_of = {name: np.concatenate(parts) for name, parts in owners.items()}
    return Felt(found["values"], flattened(found["slopes"], samples_of), samples_of, spread)


def flattened(
    slopes: Mapping[str, np.ndarray], samples: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Slopes with those of the steepest samples made smaller; as `Felt` has them."""
    parts = [
        np.bincount(samples[name], np.einsum("nc,nc->n", part, part, dtype=np.float64))
        for name, part in slopes.items()
    ]
    energy = np.sum(parts, axis=0)
    most = np.sort(energy)[-1 - int(_STEEPEST * len(energy))]
    least = np.finfo(np.float32).tiny
    factors = np.sqrt(np.minimum(1.0, most / np.maximum(energy, least))).astype(np.float32)
    return {name: part * factors[samples[name], np.newaxis] for name, part in slopes.items()}


def _run(model: keras.Model, batch: Mapping[str, tf.Tensor], seed: tf.Tensor) -> dict[str, Any]:
    """The tensors of a batch, and the slopes of the answers in a random direction."""
    with tf.GradientTape() as tape:
        found = model(batch)
        answers = [found["answers"][name] for name in sorted(found["answers"])]
        signs = [_signs(part, seed, index) for index, part in enumerate(answers)]
        pairs = zip(answers, signs, strict=True)
        objective = tf.add_n([tf.reduce_sum(part * sign) for part, sign in pairs])
    nothing = tf.UnconnectedGradients.ZERO
    return found | {"slopes": tape.gradient(objective, found["slopes"], None, nothing)}


def _signs(like: tf.Tensor, seed: tf.Tensor, index: int) -> tf.Tensor:
    drawn = tf.random.stateless_uniform(tf.shape(like), (seed, index), 0, 2, tf.int32)
    return tf.cast(2 * drawn - 1, tf.float32)


def _rows(value: tf.Tensor, output: Symbolic | None) -> np.ndarray:
    """A vector for each token; of an output that has one number a token, that."""
    is_row = output is not None and output.shape[-1] is None
    array = value.numpy()
    return array.reshape(-1, 1 if is_row else array.shape[-1])


def _spread(rows: np.ndarray) -> float:
    return float(np.sum((rows - rows.mean(axis=0)) ** 2, dtype=np.float64))


def felt_most(losses: Mapping[str, float]) -> set[str]:
    """The names left where those of least loss are given up, as long as these together lose no more
    than nothing that counts."""
    left = dict(sorted(losses.items(), key=lambda item: item[1]))
    lost = 0.0
    for name, loss in [*left.items()]:
        lost += loss
        if lost > NEGLIGIBLE:
            break
        del left[name]
    return set(left)
