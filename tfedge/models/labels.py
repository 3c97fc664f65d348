"""Labels as the text tower of a CLIP or SigLIP understands them, so that a board need not.

The tower is computed here in numpy, once for each label, and its vectors become a dense layer behind
the image tower: what the zero-shot-image-classification pipeline of transformers computes each time.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfedge.architectures import parts
from tfedge.architectures.fields import LARGEST_DEPTH, Fields
from tfedge.errors import CheckpointError, InputError
from tfedge.models.folder import TOKENIZER
from tfedge.models.label_tokens import padded_tokens, tokens
from tfedge.models.stored import Checkpoint
from tfedge.runtime.bundle import is_label
from tfedge.tasks.zero_shot_image_classification import LABELS

TEMPLATE = "This is a photo of {}."  # of transformers' pipeline
MOST_LABELS = 1000
_LEGACY_END = 2  # what older config.json have as the last token, which is the largest then
_WORDS = "text_model.embeddings.token_embedding.weight"
_PLACES = "text_model.embeddings.position_embedding.weight"
_LAST_NORM = "text_model.final_layer_norm"
_SLOPE = 1.702  # of the quick GELU
# Of each text the tokens, int64 (n,), and which of them are seen, bool.
Tokens = Sequence[tuple[np.ndarray, np.ndarray]]


class LabelledCheckpoint(Checkpoint):
    """A CLIP or SigLIP with a dense layer of labels, `labels.weight` float32 (L, C), beside its own.

    Raises InputError for labels that cannot be told apart, CheckpointError where it has no text tower
    or tokeniser that can be read.
    """

    def __init__(self, folder: str | Path, labels: Sequence[str], template: str = TEMPLATE) -> None:
        super().__init__(folder)
        check_labels(labels, template)
        if (known := self.config.architecture.text_tower) is None:
            raise InputError(
                "--labels need a tower of texts, as a clip or siglip has, and a "
                f"{self.config.model_type} has none; leave them out"
            )
        self._tower = TextTower(self, known)
        self._tokens = self._tower.tokens([template.format(label) for label in labels])
        with np.errstate(over="ignore"):
            self._scale = float(np.exp(self._number("logit_scale")))
        if known.bias is not None:
            self.logit_bias = self._number(known.bias)

    @functools.cached_property
    def _labels(self) -> np.ndarray:
        """Computed when they are read: it takes seconds, and a minute of a thousand."""
        found = np.asarray(self._scale * self._tower.vectors(self._tokens), np.float32)
        if not np.isfinite(found).all():
            raise CheckpointError(
                f"{self.folder}: its text tower makes no finite numbers of the labels; take other "
                "weights"
            )
        return found

    def _number(self, name: str) -> float:
        """A tensor of one number."""
        if name not in self.names or self.shape(name) not in ((), (1,)):
            raise CheckpointError(f"{self.folder} has no {name} of one number, which --labels need")
        return float(self.read(name).item())

    @property
    def names(self) -> set[str]:
        return {*super().names, f"{LABELS}.weight"}

    def shape(self, name: str) -> tuple[int, ...]:
        if name == f"{LABELS}.weight":
            return len(self._tokens), self._tower.compared
        return super().shape(name)

    def read(self, name: str) -> np.ndarray:
        return self._labels if name == f"{LABELS}.weight" else super().read(name)


def check_labels(labels: Sequence[str], template: str) -> None:
    """Raises InputError where a classifier of labels cannot be made."""
    if (
        not 2 <= len(labels) <= MOST_LABELS
        or len({*labels}) < len(labels)
        or not all(is_label(label) for label in labels)
    ):
        raise InputError(
            f"--labels are {len(labels)}, {len({*labels})} of them different; give 2 to {MOST_LABELS}, "
            "none twice, each in one line and none empty"
        )
    if template.count("{}") != 1 or {*template.replace("{}", "")} & {*"{}"}:
        raise InputError(
            f"--template is {template!r}; it must have {{}} once, where the label goes"
        )


class TextTower:
    """The text tower of a CLIP (Radford et al. 2021, section 2.4) or a SigLIP (Zhai et al. 2023)."""

    def __init__(self, checkpoint: Checkpoint, known: parts.TextTower) -> None:
        self._checkpoint, self._known = checkpoint, known
        fields = Fields(checkpoint.config.source, {}).within("text_config")
        self._layers = fields.size("num_hidden_layers", 12, LARGEST_DEPTH)
        self._heads = fields.size("num_attention_heads", known.heads)
        self._epsilon = fields.epsilon("layer_norm_eps", known.epsilon)
        self._activation = fields.activation(known.activation)
        self._most = fields.size("max_position_embeddings", known.positions)
        self._end = fields.size("eos_token_id", 49_407, least=0)
        if self._activation not in _ACTIVATIONS:
            raise CheckpointError(
                f"config.json: text_config has the activation {self._activation}; of texts "
                f"{', '.join(_ACTIVATIONS)} are computed"
            )
        self.compared, _ = self._shape(f"{known.projection}.weight", 2)  # channels of a vector
        self._check_shapes()

    def _check_shapes(self) -> None:
        """Raises CheckpointError where the tensors do not fit each other, or config.json."""
        words, width = self._shape(_WORDS, 2)
        neurons, _ = self._shape(f"{_layer(0)}.mlp.fc1.weight", 2)
        if width % self._heads:
            raise CheckpointError(
                f"config.json: text_config has {self._heads} heads, by which {width} channels cannot "
                "be divided"
            )
        expected: dict[str, tuple[int, ...]] = {
            _WORDS: (words, width),
            _PLACES: (self._most, width),
        }
        for index in range(self._layers):
            layer = _layer(index)
            dense: dict[str, tuple[int, ...]] = {}
            dense |= {f"self_attn.{part}_proj": (width, width) for part in (*"qkv", "out")}
            dense |= {"mlp.fc1": (neurons, width), "mlp.fc2": (width, neurons)}
            for name, shape in dense.items():
                expected[f"{layer}.{name}.weight"] = shape
                expected[f"{layer}.{name}.bias"] = shape[:1]
            expected |= _norm_shapes(f"{layer}.layer_norm1", width)
            expected |= _norm_shapes(f"{layer}.layer_norm2", width)
        expected |= _norm_shapes(_LAST_NORM, width)
        expected[f"{self._known.projection}.weight"] = (self.compared, width)
        if self._known.bias is not None:
            expected[f"{self._known.projection}.bias"] = (self.compared,)
        for name, shape in expected.items():
            if (found := self._shape(name, len(shape))) != shape:
                raise CheckpointError(
                    f"{self._checkpoint.folder}: {name} has the shape {found}; by config.json and its "
                    f"other tensors it must be {shape}"
                )

    def _shape(self, name: str, rank: int) -> tuple[int, ...]:
        """That of a tensor; raises CheckpointError where there is none, or it has other axes."""
        if name not in self._checkpoint.names:
            raise CheckpointError(f"{self._checkpoint.folder} has no {name}, which --labels need")
        found = self._checkpoint.shape(name)
        if len(found) != rank or not all(found):
            raise CheckpointError(
                f"{self._checkpoint.folder}: {name} has the shape {found}; it must be of rank "
                f"{rank}, no dimension 0"
            )
        return found

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """What it reads of each text; raises CheckpointError where the tokeniser cannot be read, or is
        another model's."""
        folder = self._checkpoint.folder
        if self._known.reads_end:
            rows = [(ids, np.array(True)) for ids in tokens(folder, texts, self._most)]
        else:
            rows = padded_tokens(folder, texts, self._most)
        words, _ = self._shape(_WORDS, 2)
        if not all(len(ids) and ids.max() < words for ids, _ in rows):
            raise CheckpointError(f"{TOKENIZER} has tokens that the text tower lacks")
        return rows

    def vectors(self, rows: Tokens) -> np.ndarray:
        """What texts are compared with images by, of length 1, float32 (n, C)."""
        return np.stack([self.vector(*row) for row in rows])

    def vector(self, ids: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The vector of one text, (C,), of its tokens, (n,), of which only some may be `seen`."""
        x = self._read(_WORDS)[ids] + self._read(_PLACES)[: len(ids)]
        if self._known.reads_end:
            seen = np.tri(len(ids), dtype=bool)
        for index in range(self._layers):
            layer = _layer(index)
            y = self._norm(f"{layer}.layer_norm1", x)
            x = x + self._attention(f"{layer}.self_attn", y, seen)
            y = self._dense(f"{layer}.mlp.fc1", self._norm(f"{layer}.layer_norm2", x))
            x = x + self._dense(f"{layer}.mlp.fc2", _ACTIVATIONS[self._activation](y))
        x = self._norm(_LAST_NORM, x)
        vector = self._projected(x[self._last(ids)])
        return np.asarray(vector / np.linalg.norm(vector))

    def _last(self, ids: np.ndarray) -> int:
        """The place that is read of a text."""
        if not self._known.reads_end:
            return -1
        return int(ids.argmax() if self._end == _LEGACY_END else (ids == self._end).argmax())

    def _projected(self, x: np.ndarray) -> np.ndarray:
        name = self._known.projection
        y = self._read(f"{name}.weight") @ x
        return y if self._known.bias is None else y + self._read(f"{name}.bias")

    def _read(self, name: str) -> np.ndarray:
        return self._checkpoint.read(name)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._read(f"{name}.weight").T + self._read(f"{name}.bias")

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self._epsilon)
        return scaled * self._read(f"{name}.weight") + self._read(f"{name}.bias")

    def _attention(self, name: str, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Each token, or all, (n, n) or (n,), has the keys that it sees."""
        query, key, value = (self._split(self._dense(f"{name}.{part}_proj", x)) for part in "qkv")
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        scores = np.where(seen, scores, -np.inf)
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        context = powers / powers.sum(-1, keepdims=True) @ value
        return self._dense(f"{name}.out_proj", context.transpose(1, 0, 2).reshape(x.shape))

    def _split(self, x: np.ndarray) -> np.ndarray:
        """(n, C) -> (H, n, D)."""
        return x.reshape(len(x), self._heads, -1).transpose(1, 0, 2)


def _layer(index: int) -> str:
    return f"text_model.encoder.layers.{index}"


def _norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / (1 + np.exp(-_SLOPE * x)))


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return np.asarray(x * (1 + erf(x / np.sqrt(2))) / 2)


def _gelu_new(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2)


# By the names of `tfedge.architectures.fields`.
_ACTIVATIONS = {"quick_gelu": _quick_gelu, "gelu": _gelu, "gelu_new": _gelu_new}
