"""Makes a smaller encoder out of a larger one's weights.

Hidden channels, attention heads and feed-forward neurons are kept or dropped by importance, whole
layers skipped, and heads made thinner by the best low-rank approximation of the two bilinear forms
that a head consists of: scores Q K^T and value-output V O. The smaller model keeps channels of the
larger one, so their hidden states can be compared without a learned projection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig, is_within
from tfedge.architectures.parts import Parts
from tfedge.errors import InputError
from tfedge.models.checkpoint import parameters
from tfedge.train.importance import importance_of_weights

Tensors = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cut:
    """What of a teacher lives on in a student; all indices ascend."""

    channels: Sequence[int]  # the teacher's hidden channels that the student has
    layers: Sequence[int]  # for each of the student's layers, the teacher's layer it starts from
    heads: Sequence[Sequence[int]]  # for each of the student's layers, those of that layer
    neurons: Sequence[Sequence[int]]  # likewise
    head_size: int  # channels of a head; below the teacher's, heads are made thinner


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of `model` by our names, in the orientation of Hugging Face (out, in)."""
    return {parameter.name: parameter.stored for parameter in parameters(model)}


def plan(teacher: EncoderConfig, student: EncoderConfig, tensors: Tensors) -> Cut:
    """Chooses, by the weights alone, what a student of the given size keeps of the teacher.

    Raises InputError for a student that is larger in some size, or of another family.
    """
    teacher.architecture.check_starts(student)
    for size in ("hidden_size", "num_hidden_layers", "intermediate_size", "head_size"):
        if getattr(student, size) > getattr(teacher, size):
            raise InputError(
                f"the student's {size} is {getattr(student, size)}, "
                f"larger than the teacher's {getattr(teacher, size)}"
            )
    for size in teacher.architecture.kept_sizes():
        if getattr(student, size) != getattr(teacher, size):
            raise InputError(f"student and teacher differ in {size}; it must be the same")
    of, to = teacher.num_hidden_layers, student.num_hidden_layers
    layers = tuple((index + 1) * of // to - 1 for index in range(to))
    for index, source in enumerate(layers):
        for size in ("heads", "neurons"):
            ours, theirs = getattr(student, size)(index), getattr(teacher, size)(source)
            if ours > theirs:
                raise InputError(
                    f"layer {index} of the student has {ours} {size}, layer {source} of the "
                    f"teacher, from which it would start, {theirs}"
                )
    importance = importance_of_weights(teacher, tensors)
    channels = strongest(importance.channels, student.hidden_size)
    heads = [strongest(importance.heads[at], student.heads(i)) for i, at in enumerate(layers)]
    neurons = [strongest(importance.neurons[at], student.neurons(i)) for i, at in enumerate(layers)]
    return Cut(channels, layers, heads, neurons, student.head_size)


def strongest(importance: np.ndarray, count: int) -> list[int]:
    """The indices of the `count` largest, ascending."""
    return sorted(np.argsort(-importance, kind="stable")[:count].tolist())


def cut_config(config: EncoderConfig, cut: Cut) -> EncoderConfig:
    """The configuration of what `cut` leaves: Hugging Face's own where that can say it."""
    heads, neurons = [[len(kept) for kept in part] for part in (cut.heads, cut.neurons)]
    width = len(cut.channels)
    sizes = {"hidden_size": width, "num_hidden_layers": len(cut.layers)}
    extension: dict[str, Any] = {}
    if len(set(neurons)) == 1:
        sizes["intermediate_size"] = neurons[0]
    else:
        sizes["intermediate_size"] = max(neurons)
        extension["neurons"] = neurons
    if len(set(heads)) == 1 and heads[0] * cut.head_size == width:
        sizes["num_attention_heads"] = heads[0]
    else:
        extension |= {"heads": heads, "head_size": cut.head_size}
    return config.architecture.resized(config, sizes, extension)


def cut_tensors(config: EncoderConfig, tensors: Tensors, cut: Cut) -> dict[str, np.ndarray]:
    """The tensors, by name, of what `cut` leaves of a teacher's."""
    parts = config.architecture.named_parts()
    kept, embeddings = cut.channels, config.architecture.embeddings.modules
    # What puts out the first hidden states: the norm behind the tables, or a dense layer behind that,
    # where the tables have a width of their own.
    entry = config.architecture.residuals(config)[0].writers[0]
    whole = () if entry in embeddings else embeddings
    result: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if is_within(name, config.architecture.summary_modules):
            result[name] = value[kept][..., kept] if value.ndim > 1 else value[kept]
        elif is_within(name, (*config.architecture.head_tables, *whole)):
            result[name] = value
        elif is_within(name, (entry,)):
            result[name] = value[kept]
        elif not is_within(name, (parts.prefix,)):
            is_bias = value.ndim == 1 and not is_within(name, embeddings)
            result[name] = value if is_bias else value[..., kept]
    for index, source in enumerate(cut.layers):
        prefix = f"{parts.layer(source)}."
        layer = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        made = _cut_layer(layer, parts, config.head_size, cut, index)
        result |= {f"{parts.layer(index)}.{name}": value for name, value in made.items()}
    return result


def _cut_layer(
    layer: Tensors, parts: Parts, head_size: int, cut: Cut, index: int
) -> dict[str, np.ndarray]:
    kept, neurons = cut.channels, cut.neurons[index]
    result = {}
    for norm in (parts.attention_norm, parts.ffn_norm):
        for name in (f"{norm}.weight", f"{norm}.bias"):
            result[name] = layer[name][kept]
    for module in (parts.attention_output, parts.ffn_output):
        result[f"{module}.bias"] = layer[f"{module}.bias"][kept]
    inner, outer = parts.ffn_input, parts.ffn_output
    result[f"{inner}.weight"] = layer[f"{inner}.weight"][np.ix_(neurons, kept)]
    result[f"{inner}.bias"] = layer[f"{inner}.bias"][neurons]
    result[f"{outer}.weight"] = layer[f"{outer}.weight"][np.ix_(kept, neurons)]

    def of_heads(rows: np.ndarray) -> np.ndarray:
        """(heads * head size, n) -> (heads that are kept, head size, n)."""
        return rows.reshape(-1, head_size, rows.shape[1])[cut.heads[index]]

    modules = (parts.query, parts.key, parts.value)
    matrices = []
    for module in modules:  # biases as a last column
        weight, bias = layer[f"{module}.weight"][:, kept], layer[f"{module}.bias"]
        matrices.append(of_heads(np.concatenate([weight, bias[:, None]], 1)))
    matrices.append(of_heads(layer[f"{parts.attention_output}.weight"][kept].T))
    if cut.head_size != head_size:
        matrices = _thinned(matrices, cut.head_size)
    joined = [np.concatenate(matrix).astype(np.float32) for matrix in matrices]
    for module, matrix in zip(modules, joined, strict=False):
        result[f"{module}.weight"], result[f"{module}.bias"] = matrix[:, :-1], matrix[:, -1]
    return result | {f"{parts.attention_output}.weight": joined[-1].T}


def _thinned(heads: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Queries, keys, values and outputs (H, D, n) with their bilinear forms at another head size.

    The scores are scaled by 1 / sqrt(head size), which the student does with its own size.
    """
    rescale = (size / heads[0].shape[1]) ** 0.25  # on queries and keys each
    thin = [
        (*_low_rank(query, key, size), *_low_rank(value, output, size))
        for query, key, value, output in zip(*heads, strict=True)
    ]
    query, key, value, output = (np.stack(part) for part in zip(*thin, strict=True))
    return [query * rescale, key * rescale, value, output]


def _low_rank(a: np.ndarray, b: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The a' (rank, m), b' (rank, n) whose product a'^T b' is closest to a^T b (Eckart-Young)."""
    # QR first: the product is (m, n) but has at most a.shape[0] singular values.
    q_a, r_a = np.linalg.qr(a.T.astype(np.float64))
    q_b, r_b = np.linalg.qr(b.T.astype(np.float64))
    u, s, vt = np.linalg.svd(r_a @ r_b.T)
    root = np.sqrt(s[:rank])
    return (q_a @ (u[:, :rank] * root)).T, (q_b @ (vt[:rank].T * root)).T
