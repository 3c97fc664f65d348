"""Makes a smaller encoder out of a larger one's weights.

Hidden channels, attention heads and feed-forward neurons are kept or dropped by importance, whole
layers skipped, and heads made thinner by the best low-rank approximation of the two bilinear forms
that a head consists of: scores Q K^T and value-output V O. The smaller model keeps channels of the
larger one, so their hidden states can be compared without a learned projection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
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
    """What of a teacher lives on in a student.

    Attributes:
        channels: the teacher's hidden channels that the student has, ascending.
        layers: for each of the student's layers, the teacher's layer it starts from.
        heads: for each of the student's layers, the heads of that layer that it has, ascending.
        neurons: likewise.
        head_size: channels of a head; below the teacher's, heads are made thinner.
    """

    channels: np.ndarray
    layers: tuple[int, ...]
    heads: tuple[np.ndarray, ...]
    neurons: tuple[np.ndarray, ...]
    head_size: int

    def to_json(self) -> dict[str, Any]:
        """The same in lists."""
        return {
            "channels": self.channels.tolist(),
            "layers": list(self.layers),
            "heads": [kept.tolist() for kept in self.heads],
            "neurons": [kept.tolist() for kept in self.neurons],
            "head_size": self.head_size,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Cut:
        """What `to_json` made."""
        heads, neurons = (
            tuple(np.array(kept, int) for kept in content[part]) for part in ("heads", "neurons")
        )
        channels, layers = np.array(content["channels"], int), tuple(content["layers"])
        return cls(channels, layers, heads, neurons, content["head_size"])


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The weights of `model` by our names, in the orientation of Hugging Face (out, in)."""
    return {parameter.name: parameter.stored for parameter in parameters(model)}


def plan(teacher: EncoderConfig, student: EncoderConfig, tensors: Tensors) -> Cut:
    """Chooses, by the weights alone, what a student of the given size keeps of the teacher.

    Raises:
        InputError: the student is larger than the teacher in some size, or of another family.
    """
    teacher.architecture.check_starts(student)
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
    for index, source in enumerate(layers):
        for size in ("heads", "neurons"):
            ours, theirs = getattr(student, size)(index), getattr(teacher, size)(source)
            if ours > theirs:
                raise InputError(
                    f"layer {index} of the student has {ours} {size}, layer {source} of the "
                    f"teacher, from which it would start, {theirs}"
                )
    importance = importance_of_weights(teacher, tensors)
    return Cut(
        strongest(importance.channels, student.hidden_size),
        layers,
        tuple(strongest(importance.heads[at], student.heads(i)) for i, at in enumerate(layers)),
        tuple(strongest(importance.neurons[at], student.neurons(i)) for i, at in enumerate(layers)),
        student.head_size,
    )


def strongest(importance: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest, ascending."""
    return np.sort(np.argsort(-importance, kind="stable")[:count])


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
    """The tensors of what `cut` leaves, by name.

    Args:
        config, tensors: the teacher's, from `tensors_of`.
    """
    parts = config.architecture.named_parts()
    kept, embeddings = cut.channels, config.architecture.embeddings.modules
    result: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if is_within(name, config.architecture.summary_modules):
            result[name] = value[kept][..., kept] if value.ndim > 1 else value[kept]
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
    heads = _Heads.of(layer, parts, head_size, kept, cut.heads[index])
    return result | heads.thinned(cut.head_size).tensors(parts)


@dataclasses.dataclass(frozen=True)
class _Heads:
    """The matrices of a layer's heads, biases as a last column; heads of D channels.

    Attributes:
        query, key, value: (H, D, C + 1).
        output: what turns the values of a head into channels, transposed, (H, D, C).
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    output: np.ndarray

    @classmethod
    def of(
        cls, layer: Tensors, parts: Parts, size: int, channels: np.ndarray, heads: np.ndarray
    ) -> _Heads:
        """The given heads, of `size` channels, reading and writing the given channels."""

        def split(module: str) -> np.ndarray:
            weight, bias = layer[f"{module}.weight"][:, channels], layer[f"{module}.bias"]
            joined = np.concatenate([weight, bias[:, None]], 1)
            return joined.reshape(-1, size, joined.shape[1])[heads]

        output = layer[f"{parts.attention_output}.weight"][channels].T
        output = output.reshape(-1, size, len(channels))[heads]
        return cls(split(parts.query), split(parts.key), split(parts.value), output)

    def thinned(self, size: int) -> _Heads:
        """The two bilinear forms of each head at another head size.

        The scores are scaled by 1 / sqrt(head size), which the student does with its own size.
        """
        wide = self.query.shape[1]
        if size == wide:
            return self
        rescale = (size / wide) ** 0.25  # on queries and keys each
        pairs = [
            (*_low_rank(query, key, size), *_low_rank(value, output, size))
            for query, key, value, output in zip(
                self.query, self.key, self.value, self.output, strict=True
            )
        ]
        query, key, value, output = (np.stack(part) for part in zip(*pairs, strict=True))
        return _Heads(query * rescale, key * rescale, value, output)

    def tensors(self, parts: Parts) -> dict[str, np.ndarray]:
        result = {}
        for module, value in (
            (parts.query, self.query),
            (parts.key, self.key),
            (parts.value, self.value),
        ):
            joined = np.concatenate(value).astype(np.float32)
            result[f"{module}.weight"], result[f"{module}.bias"] = joined[:, :-1], joined[:, -1]
        output = np.concatenate(self.output).T.astype(np.float32)
        return result | {f"{parts.attention_output}.weight": output}


def _low_rank(a: np.ndarray, b: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The a' (rank, m), b' (rank, n) whose product a'^T b' is closest to a^T b (Eckart-Young)."""
    # QR first: the product is (m, n) but has at most a.shape[0] singular values.
    q_a, r_a = np.linalg.qr(a.T.astype(np.float64))
    q_b, r_b = np.linalg.qr(b.T.astype(np.float64))
    u, s, vt = np.linalg.svd(r_a @ r_b.T)
    root = np.sqrt(s[:rank])
    return (q_a @ (u[:, :rank] * root)).T, (q_b @ (vt[:rank].T * root)).T
