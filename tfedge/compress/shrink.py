"""Makes a smaller BERT out of a larger one's weights, to start a student from.

Hidden channels and feed-forward neurons are kept or dropped by importance, whole layers skipped,
and attention heads made thinner by the best low-rank approximation of the two bilinear forms that a
head consists of: scores Q K^T and value-output V O. The student keeps the teacher's channels, so
their hidden states can be compared without a learned projection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tf_keras as keras

from tfedge.errors import InputError
from tfedge.models.checkpoint import parameters
from tfedge.models.config import EncoderConfig

Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Shrinkage:
    """What of the teacher lives on in the student.

    Attributes:
        channels: the teacher's hidden channels that the student has, ascending.
        layers: for each of the student's layers, the teacher's layer it starts from.
    """

    channels: np.ndarray
    layers: tuple[int, ...]


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of `model` under Hugging Face's names and in its orientation (out, in)."""
    return {
        p.name: p.variable.numpy().T if p.transposed else p.variable.numpy()
        for p in parameters(model)
    }


def plan(teacher: EncoderConfig, student: EncoderConfig, tensors: Tensors) -> Shrinkage:
    """Chooses the teacher's layers and channels that a student of the given size keeps.

    Raises:
        InputError: the student is larger than the teacher in some size, or of another family.
    """
    if (teacher.model_type, student.model_type) != ("bert", "bert"):
        raise InputError(
            f"a {student.model_type} student cannot start from a {teacher.model_type} teacher; "
            "both must be of the BERT family"
        )
    for size in ("hidden_size", "num_hidden_layers", "intermediate_size", "head_size"):
        if getattr(student, size) > getattr(teacher, size):
            raise InputError(
                f"the student's {size} is {getattr(student, size)}, "
                f"larger than the teacher's {getattr(teacher, size)}"
            )
    for size in ("vocab_size", "num_attention_heads", "max_position_embeddings", "type_vocab_size"):
        if getattr(student, size) != getattr(teacher, size):
            raise InputError(f"student and teacher differ in {size}; it must be the same")
    of, to = teacher.num_hidden_layers, student.num_hidden_layers
    layers = tuple((index + 1) * of // to - 1 for index in range(to))
    importance = _channel_importance(teacher, tensors)
    channels = np.sort(np.argsort(-importance, kind="stable")[: student.hidden_size])
    return Shrinkage(channels, layers)


def _channel_importance(config: EncoderConfig, tensors: Tensors) -> np.ndarray:
    """Expected energy each residual channel sends into the dense layers that read it, (C,).

    A layer norm's output has second moment gamma^2 + beta^2 in each channel.
    """
    importance = np.zeros(config.hidden_size)
    source = "embeddings.LayerNorm"
    for index in range(config.num_hidden_layers):
        layer = f"encoder.layer.{index}"
        readers = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        importance += _energy(tensors, source, readers)
        importance += _energy(
            tensors, f"{layer}.attention.output.LayerNorm", [f"{layer}.intermediate.dense"]
        )
        source = f"{layer}.output.LayerNorm"
    return importance


def _energy(tensors: Tensors, norm: str, readers: list[str]) -> np.ndarray:
    moment = tensors[f"{norm}.weight"] ** 2 + tensors[f"{norm}.bias"] ** 2
    return moment * sum((tensors[f"{reader}.weight"] ** 2).sum(0) for reader in readers)


def shrink(
    teacher: EncoderConfig, student: EncoderConfig, tensors: Tensors, shrinkage: Shrinkage
) -> dict[str, np.ndarray]:
    """The student's tensors, by name, cut out of the teacher's.

    Args:
        tensors: the teacher's, from `tensors_of`.
    """
    kept = shrinkage.channels
    result: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if name.startswith("embeddings."):
            result[name] = value[..., kept]
    for index, source_index in enumerate(shrinkage.layers):
        source, target = f"encoder.layer.{source_index}", f"encoder.layer.{index}"
        layer = {
            name.removeprefix(f"{source}."): value
            for name, value in tensors.items()
            if name.startswith(f"{source}.")
        }
        for name, value in _shrink_layer(layer, kept, teacher, student).items():
            result[f"{target}.{name}"] = value
    if "pooler.dense.weight" in tensors:
        result["pooler.dense.weight"] = tensors["pooler.dense.weight"][np.ix_(kept, kept)]
        result["pooler.dense.bias"] = tensors["pooler.dense.bias"][kept]
    if "classifier.weight" in tensors:
        result["classifier.weight"] = tensors["classifier.weight"][:, kept]
        result["classifier.bias"] = tensors["classifier.bias"]
    return result


def _shrink_layer(
    layer: Tensors, kept: np.ndarray, teacher: EncoderConfig, student: EncoderConfig
) -> dict[str, np.ndarray]:
    result = {
        name: value[kept]
        for name, value in layer.items()
        if "LayerNorm" in name or name.endswith("output.dense.bias")
    }
    neurons = _important_neurons(layer, student.intermediate_size)
    result["intermediate.dense.weight"] = layer["intermediate.dense.weight"][np.ix_(neurons, kept)]
    result["intermediate.dense.bias"] = layer["intermediate.dense.bias"][neurons]
    result["output.dense.weight"] = layer["output.dense.weight"][np.ix_(kept, neurons)]
    result.update(_thin_heads(layer, kept, teacher, student))
    return result


def _important_neurons(layer: Tensors, count: int) -> np.ndarray:
    """Neurons by the product of what flows in and out, ascending indices (count,)."""
    moment = layer["attention.output.LayerNorm.weight"] ** 2
    drive = (layer["intermediate.dense.weight"] ** 2 * moment).sum(1)
    importance = drive * (layer["output.dense.weight"] ** 2).sum(0)
    return np.sort(np.argsort(-importance, kind="stable")[:count])


def _thin_heads(
    layer: Tensors, kept: np.ndarray, teacher: EncoderConfig, student: EncoderConfig
) -> dict[str, np.ndarray]:
    """Each head's two bilinear forms at the student's head size.

    The scores are scaled by 1 / sqrt(head size), which the student does with its own size.
    """
    heads, wide, thin = teacher.num_attention_heads, teacher.head_size, student.head_size
    rescale = (thin / wide) ** 0.25  # on queries and keys each

    def split(part: str) -> np.ndarray:
        # Weight and bias side by side, (heads, wide, kept + 1).
        weight = layer[f"attention.self.{part}.weight"][:, kept]
        bias = layer[f"attention.self.{part}.bias"]
        return np.concatenate([weight, bias[:, None]], 1).reshape(heads, wide, -1)

    output = layer["attention.output.dense.weight"][kept].reshape(len(kept), heads, wide)
    result: dict[str, list[np.ndarray]] = {"query": [], "key": [], "value": [], "output": []}
    for head, (query, key, value) in enumerate(
        zip(split("query"), split("key"), split("value"), strict=True)
    ):
        query, key = _low_rank(query, key, thin)
        value, out = _low_rank(value, output[:, head].T, thin)
        result["query"].append(query * rescale)
        result["key"].append(key * rescale)
        result["value"].append(value)
        result["output"].append(out)
    tensors = {
        "attention.output.dense.weight": np.concatenate(result["output"]).T.astype(np.float32)
    }
    for part in ("query", "key", "value"):
        joined = np.concatenate(result[part]).astype(np.float32)
        tensors[f"attention.self.{part}.weight"] = joined[:, :-1]
        tensors[f"attention.self.{part}.bias"] = joined[:, -1]
    return tensors


def _low_rank(a: np.ndarray, b: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The a' (rank, m), b' (rank, n) whose product a'^T b' is closest to a^T b (Eckart-Young)."""
    # QR first: the product is (m, n) but has at most a.shape[0] singular values.
    q_a, r_a = np.linalg.qr(a.T.astype(np.float64))
    q_b, r_b = np.linalg.qr(b.T.astype(np.float64))
    u, s, vt = np.linalg.svd(r_a @ r_b.T)
    root = np.sqrt(s[:rank])
    return (q_a @ (u[:, :rank] * root)).T, (q_b @ (vt[:rank].T * root)).T
