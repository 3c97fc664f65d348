"""A checkpoint's files, opened without TensorFlow, which takes seconds to load."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import ml_dtypes  # noqa: F401  (gives numpy the bfloat16 that safetensors asks it for)
import numpy as np
from safetensors import SafetensorError, safe_open

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

# Names that PyTorch gave to layer norm's parameters before Hugging Face renamed them.
_LEGACY_NAMES = {".gamma": ".weight", ".beta": ".bias"}
# What wrappers put before the names of all tensors: DataParallel, torch.compile, and classes of one's
# own that keep the encoder as `self.model`.
WRAPPERS = ("module.", "_orig_mod.", "model.")

_LEAST_BYTES = 1  # of a number; what has fewer than two is refused by name


class Checkpoint:
    """A folder of safetensors, opened without reading any tensor; raises CheckpointError where
    there are no safetensors (only a pickle, say), files that cannot be read, or an adapter."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        refuse_adapter(self.folder)
        self.config = read_config(folder)
        self.files = weight_files(self.folder)
        found = [(path, stored) for path in self.files for stored in _stored_names(path)]
        wrapper = _wrapper([stored for _, stored in found], self.config.architecture)
        prefix = self.config.architecture.prefix
        self._tensors: dict[str, tuple[Path, str]] = {}
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
        self._check_size()

    def _check_size(self) -> None:
        """Raises CheckpointError where the files cannot hold what config.json describes: nothing of
        that size is to be built before the tensors are looked at."""
        described = cost.parameters(self.config)
        held = sum(path.stat().st_size for path in self.files) // _LEAST_BYTES
        if described > held:
            raise CheckpointError(
                f"{self.folder}: config.json describes an encoder of {described:,} numbers, and the "
                f"weights hold {held:,} at most; one of the two is another model's"
            )

    @property
    def names(self) -> set[str]:
        """Tensor names without the prefixes of wrappers and of the encoder, old names of layer norms
        made new."""
        return set(self._tensors)

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
        path, stored = self._tensors[name]
        with safe_open(path, "numpy") as file:
            return tuple(file.get_slice(stored).get_shape())

    def read(self, name: str) -> np.ndarray:
        """A tensor as float32."""
        path, stored = self._tensors[name]
        with safe_open(path, "numpy") as file:
            dtype = file.get_slice(stored).get_dtype()
            if dtype not in {"F16", "F32", "F64", "BF16"}:
                raise CheckpointError(
                    f"{path}: {stored} is {dtype}; weights must be floating point"
                )
            return np.asarray(file.get_tensor(stored), np.float32)


def _stored_names(path: Path) -> list[str]:
    try:
        # safe_open checks the header's offsets against the file's size before anything is mapped.
        with safe_open(path, "numpy") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


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
