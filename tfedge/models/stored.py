"""A checkpoint's files, opened without TensorFlow, which takes seconds to load."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes  # noqa: F401  (gives numpy the bfloat16 that safetensors asks it for)
import numpy as np
from safetensors import safe_open

from tfedge import files
from tfedge.architectures.base import Architecture, is_within
from tfedge.errors import CheckpointError
from tfedge.models import cost
from tfedge.models.config import read_config
from tfedge.models.folder import (
    head_files,
    modules_of,
    modules_root,
    refuse_adapter,
    weight_files,
)
from tfedge.models.headers import shapes_of

# Names that PyTorch gave to layer norm's parameters before Hugging Face renamed them.
_LEGACY_NAMES = {".gamma": ".weight", ".beta": ".bias"}
# What wrappers put before the names of all tensors: DataParallel, torch.compile, and classes of one's
# own that keep the encoder as `self.model`.
WRAPPERS = ("module.", "_orig_mod.", "model.")

_FLOATS = ("F16", "F32", "F64", "BF16")
# What numpy has; positions and the like, which are no weights, are integers.
_TYPES = (*_FLOATS, "BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
# Numbers, and layers, that may lack in the weights; what lacks less is told by its name.
_MOST_LACKING, _MOST_LAYERS = 10_000_000, 1000


class Checkpoint:
    """A folder of safetensors, opened without reading any tensor; raises CheckpointError where
    there are no safetensors (only a pickle, say), files that cannot be read, or an adapter."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        refuse_adapter(self.folder)
        self.config = read_config(folder)
        # Of labels in words, what is added to each product; see `tfedge.models.labels`.
        self.logit_bias: float | None = None
        self.files = weight_files(self.folder)
        stored_shapes = {path: shapes_of(path) for path in self.files}
        found = [(path, stored) for path in self.files for stored in stored_shapes[path]]
        wrapper = _wrapper([stored for _, stored in found], self.config.architecture)
        prefix = self.config.architecture.prefix
        self._tensors: dict[str, tuple[Path, str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for path, stored in found:
            name = stored.removeprefix(wrapper).removeprefix(prefix)
            for legacy, current in _LEGACY_NAMES.items():
                if name.endswith(legacy):
                    name = name.removesuffix(legacy) + current
            if name in self._tensors:
                raise CheckpointError(
                    f"{path}: {stored} is the same tensor as {self._tensors[name][1]}; "
                    "which of the two is meant cannot be known"
                )
            self._tensors[name] = (path, stored)
            self._shapes[name] = stored_shapes[path][stored]
        self._made = self.config.architecture.made(self.config, self._shapes)
        for part in {part for made in self._made.values() for part in made.parts}:
            del self._shapes[part]
        self._shapes |= {name: made.shape for name, made in self._made.items()}
        self._check_size()

    def _check_size(self) -> None:
        """Raises CheckpointError where the files' headers have nothing of the sizes that config.json
        describes: no such model is to be built before the tensors are looked at one by one."""
        described = sorted(cost.weights(self.config).values(), reverse=True)
        held: Counter[str] = Counter()
        for name, shape in self._shapes.items():
            held[name.rpartition(".")[0]] += math.prod(shape)
        # By size alone, for names may be those of a wrapper, of which more is said by who reads them.
        pairs = itertools.zip_longest(described, sorted(held.values(), reverse=True), fillvalue=0)
        lacking = sum(max(0, wanted - found) for wanted, found in pairs)
        if lacking > _MOST_LACKING or len(described) > len(held) + _MOST_LAYERS:
            raise CheckpointError(
                f"{self.folder}: config.json describes an encoder of {sum(described):,} numbers in "
                f"{len(described):,} layers, and the weights lack {lacking:,} of them; one of the two "
                "is another model's"
            )

    @property
    def names(self) -> set[str]:
        """Tensor names without the prefixes of wrappers and of the encoder, old names of layer norms
        made new."""
        return set(self._shapes)

    @property
    def sha256(self) -> str:
        """Hash of the weights; of several shards, of the shards' hashes."""
        hashes = [files.sha256(path) for path in self.files]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    @property
    def modules(self) -> list[str]:
        """The kinds of sentence-transformers' modules; none of a plain encoder."""
        return [kind for kind, _ in modules_of(modules_root(self.folder))]

    @property
    def head_files(self) -> list[str]:
        """Files that tell of a head outside of the weights, which is not read."""
        return head_files(self.folder)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, read from the file's header."""
        return self._shapes[name]

    def stored(self, name: str) -> tuple[str, np.ndarray]:
        """What a tensor is called in its file, and the tensor as it is there, or as it is made."""
        if made := self._made.get(name):
            tensors = {part: self._raw(part) for part in made.parts}
            return self._place(name)[1], made.make(tensors)
        return self._tensors[name][1], self._raw(name)

    def _place(self, name: str) -> tuple[Path, str]:
        """The file of a tensor, and its name there; of one that is made, those of its first part."""
        made = self._made.get(name)
        return self._tensors[made.parts[0] if made else name]

    def _raw(self, name: str) -> np.ndarray:
        path, stored = self._tensors[name]
        with safe_open(path, "numpy") as file:
            dtype = file.get_slice(stored).get_dtype()
            if dtype not in _TYPES:
                raise CheckpointError(
                    f"{path}: {stored} is {dtype}; weights must be floating point of 16 to 64 bits"
                )
            return np.asarray(file.get_tensor(stored))

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32."""
        path, stored = self._place(name)
        with safe_open(path, "numpy") as file:
            dtype = file.get_slice(stored).get_dtype()
        if dtype not in _FLOATS and name not in self._made:
            raise CheckpointError(f"{path}: {stored} is {dtype}; weights must be floating point")
        found = np.asarray(self.stored(name)[1], np.float32)
        if not np.isfinite(found).all():
            raise CheckpointError(
                f"{path}: {stored} has numbers that are not finite (NaN or infinity), as a training "
                "leaves them that has failed; take an earlier checkpoint"
            )
        return found


def _wrapper(stored: Sequence[str], architecture: Architecture) -> str:
    """What wrappers put before all names, "" where no table of the encoder comes to light by it."""
    tables, _, _ = architecture.embeddings.words.partition(".")
    wrapper = ""
    while True:
        inner = [name.removeprefix(wrapper) for name in stored]
        if any(is_within(name.removeprefix(architecture.prefix), (tables,)) for name in inner):
            return wrapper
        more = (item for item in WRAPPERS if all(name.startswith(item) for name in inner))
        if not stored or (item := next(more, None)) is None:
            return ""
        wrapper += item
