"""Hugging Face folders: config.json and safetensors, read strictly, written back, and made anew."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (gives numpy the bfloat16 that safetensors asks it for)
import numpy as np
import tf_keras as keras
from safetensors.numpy import save

from tfedge import files, tasks
from tfedge.architectures.base import EncoderConfig, is_within
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.config import parse_config
from tfedge.models.folder import (
    CONFIG,
    PREPROCESSOR,
    WEIGHTS,
    copy_inputs,
)
from tfedge.models.layers import PatchDense
from tfedge.models.places import TokenTable
from tfedge.models.stored import WRAPPERS
from tfedge.models.stored import Checkpoint as Checkpoint
from tfedge.presets import Preset
from tfedge.show.numbers import some
from tfedge.tasks.base import Task

_LISTED = 5  # names in a message
_FIXED_TOLERANCE = 1e-3  # of what may be stored in 16 bits, and lies within -1 and 1


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One Keras variable and the tensor of the checkpoint that fills it."""

    name: str
    variable: Any
    axes: tuple[int, ...]  # of the variable, in the order in which the tensor has them

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape in the checkpoint."""
        return tuple(self.variable.shape[axis] for axis in self.axes)

    @property
    def stored(self) -> np.ndarray:
        """The variable's value as the checkpoint has it."""
        return np.transpose(self.variable.numpy(), self.axes)

    def assign(self, stored: np.ndarray) -> None:
        """Fills the variable with a tensor of the checkpoint."""
        self.variable.assign(np.transpose(stored, np.argsort(self.axes)))


def parameters(model: keras.Model) -> list[Parameter]:
    """Every variable of `model` under our name, which `Architecture.stored_name` translates."""
    return [parameter for layer in model.layers for parameter in layer_parameters(layer)]


def layer_parameters(layer: keras.layers.Layer) -> Iterator[Parameter]:
    """The variables of one layer; its outputs are in proportion to each."""
    if isinstance(layer, keras.layers.Dense | PatchDense):
        # PyTorch keeps (out, in) and (out, in, height, width), Keras the outputs last.
        axes = (1, 0) if isinstance(layer, keras.layers.Dense) else (3, 2, 0, 1)
        yield Parameter(f"{layer.name}.weight", layer.kernel, axes)
        if layer.bias is not None:
            yield Parameter(f"{layer.name}.bias", layer.bias, (0,))
    elif isinstance(layer, TokenTable):
        for part, variable in layer.table.items():
            yield Parameter(f"{layer.name}.{part}", variable, (0, 1, 2))
    elif hasattr(layer, "embeddings"):
        yield Parameter(f"{layer.name}.weight", layer.embeddings, (0, 1))
    elif hasattr(layer, "gamma"):
        yield Parameter(f"{layer.name}.weight", layer.gamma, (0,))
        if layer.shifts:
            yield Parameter(f"{layer.name}.bias", layer.beta, (0,))


def load_weights(
    model: keras.Model,
    checkpoint: Checkpoint,
    task: str,
    new_head: bool = False,
    dropped: Sequence[str] = (),
) -> list[str]:
    """Fills every variable of `model` from `checkpoint`, by name and strictly.

    Raises CheckpointError for tensors missing, surplus or of another shape, with the first few names of
    each and their number.

    Args:
        task: the task that `model` was built for.
        new_head: whether the head's tensors may be missing, to be trained.
        dropped: modules whose tensors are taken as missing though they are there.

    Returns:
        The names of the head's tensors that keep their fresh values.
    """
    config, head = checkpoint.config, tasks.find(task)
    names = {name for name in checkpoint.names if not is_within(name, dropped)}
    named = [(config.architecture.stored_name(config, p.name), p) for p in parameters(model)]
    wanted = dict(named)  # of several parameters with one tensor, one
    absent = [name for name in wanted if name not in names]
    fresh = [name for name in absent if new_head and is_within(name, head.modules(config))]
    others = (module for other in tasks.every() for module in other.modules(config))
    unused = {*config.architecture.pretraining_modules, *others} - set(head.modules(config))
    fixed = config.architecture.fixed_tensors(config)
    faults = {
        "missing": [name for name in absent if name not in fresh],
        "surplus": [
            name
            for name in sorted(names - set(wanted))
            if not name.endswith("position_ids")  # which are no weights
            and name not in fixed
            and not is_within(name, unused)
            and not config.architecture.is_unread(config, name)
        ],
        "mis-shaped": [
            f"{name} is {list(checkpoint.shape(name))}, not {list(shape)}"
            for name, p in wanted.items()
            if name in names and checkpoint.shape(name) != (shape := _stored_shape(config, p))
        ],
    }
    if any(faults.values()):
        raise CheckpointError(_mismatch(checkpoint, head, faults))
    _check_fixed(checkpoint)
    for name, parameter in named:
        if name in names:
            stored = config.architecture.loaded(config, name, checkpoint.read(name))
            index, count = config.architecture.part_of_tensor(config, parameter.name)
            parameter.assign(np.split(stored, count)[index])
    return fresh


def _check_fixed(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError where a tensor is not what it is in the graph, whatever the checkpoint
    says."""
    config = checkpoint.config
    for name, value in config.architecture.fixed_tensors(config).items():
        if name in checkpoint.names and not config.architecture.is_unread(config, name):
            found = checkpoint.read(name)
            if found.shape != value.shape or np.abs(found - value).max() > _FIXED_TOLERANCE:
                raise CheckpointError(
                    f"{checkpoint.folder}: {name} is not what every {config.model_type} of this "
                    "config.json has there, which alone is computed; leave the tensor out or take "
                    "another checkpoint"
                )


def _stored_shape(config: EncoderConfig, parameter: Parameter) -> tuple[int, ...]:
    """The shape of the tensor that a parameter is, or is a part of."""
    rows, *others = parameter.shape
    return (rows * config.architecture.part_of_tensor(config, parameter.name)[1], *others)


def _mismatch(checkpoint: Checkpoint, head: Task, faults: Mapping[str, list[str]]) -> str:
    listed = "; ".join(f"{kind}: {some(names, _LISTED)}" for kind, names in faults.items() if names)
    message = f"{checkpoint.folder}: the weights do not fit its config.json: {listed}"
    missing, modules = faults["missing"], head.modules(checkpoint.config)
    wrapped = Counter(item for item in WRAPPERS for n in faults["surplus"] if n.startswith(item))
    for wrapper, count in wrapped.items():
        message += (
            f". {count} of {len(checkpoint.names)} tensors start with {wrapper!r}, which a wrapper put "
            f"there; save them again by name.removeprefix({wrapper!r})"
        )
    if missing and all(is_within(name, modules) for name in missing):
        message += (
            f". The checkpoint is an encoder without a head for {head.name}: fine-tune it first "
            f"{head.head_advice}"
        )
    return message


def assign(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Fills every variable of `model` from tensors under Hugging Face's names; raises
    CheckpointError where names or shapes are not exactly the model's."""
    wanted = {parameter.name: parameter for parameter in parameters(model)}
    wrong = sorted(set(wanted) ^ set(tensors)) + [
        f"{name} of shape {list(tensors[name].shape)}"
        for name, parameter in wanted.items()
        if name in tensors and tensors[name].shape != parameter.shape
    ]
    if wrong:
        raise CheckpointError(f"tensors that do not fit the model: {some(wrong, _LISTED)}")
    for name, parameter in wanted.items():
        parameter.assign(tensors[name])


def save_checkpoint(
    model: keras.Model,
    config: EncoderConfig,
    task: str,
    folder: str | Path,
    labels: list[str] | None = None,
    dtype: str = "float32",
) -> None:
    """Writes `model` as a Hugging Face folder that transformers loads.

    Args:
        labels: names of the logits, in their order.
        dtype: `float32` or `float16`, of the stored tensors.
    """
    folder = Path(folder)
    tensors = _stored_tensors(model, config, task, dtype)
    with files.atomic_path(folder / WEIGHTS) as temporary:
        # Not safetensors' own save_file: a full disk is no OSError there.
        temporary.write_bytes(save(tensors, metadata={"format": "pt"}))
    files.write_json(folder / CONFIG, _exported_config(config, task, labels, dtype))


def _stored_tensors(
    model: keras.Model, config: EncoderConfig, task: str, dtype: str
) -> dict[str, np.ndarray]:
    """The weights by the checkpoint's names; raises CheckpointError where layers that share a
    tensor have different weights."""
    architecture = config.architecture
    head = tasks.find(task).modules(config)
    prefix = architecture.prefix if head else ""
    tensors: dict[str, dict[int, np.ndarray]] = {}  # the parts of each, by their places
    for parameter in parameters(model):
        name = architecture.stored_name(config, parameter.name)
        if not is_within(name, head) or is_within(name, architecture.encoder_modules):
            name = prefix + name
        stored = architecture.stored(config, name.removeprefix(prefix), parameter.stored)
        value = np.ascontiguousarray(stored, dtype)
        index, _ = architecture.part_of_tensor(config, parameter.name)
        if not np.array_equal(tensors.setdefault(name, {}).setdefault(index, value), value):
            raise CheckpointError(
                f"{parameter.name} has other weights than the layers that it shares {name} with, so "
                "they cannot be saved as one"
            )
    fixed = architecture.fixed_tensors(config).items()
    return {prefix + name: value.astype(dtype) for name, value in fixed} | {
        name: np.concatenate([parts[index] for index in sorted(parts)])
        for name, parts in tensors.items()
    }


def _exported_config(
    config: EncoderConfig, task: str, labels: list[str] | None, dtype: str
) -> Mapping[str, Any]:
    exported = {
        **config.source,
        **config.architecture.exported(config),
        "architectures": [config.architecture.class_of(config, tasks.find(task).kind)],
        "torch_dtype": dtype,
    }
    for key in ("_name_or_path", "transformers_version", "dtype"):
        exported.pop(key, None)
    if labels:
        exported["id2label"] = {str(index): label for index, label in enumerate(labels)}
        exported["label2id"] = {label: index for index, label in enumerate(labels)}
    return exported


def initialize(preset: Preset, folder: Path, tokenizer: Path | None, seed: int = 0) -> None:
    """Writes the model of `preset` with random weights as a Hugging Face folder.

    The files of the folder `tokenizer` are copied along; a model of images has none, and gets the
    preset's `preprocessor_config.json`. Raises InputError where `folder` exists, or a tokeniser is
    missing or of no use.
    """
    if folder.exists():
        raise InputError(f"{folder} exists; give the name of a new folder")
    config = parse_config(preset.config)
    task = tasks.find(preset.task)
    if task.input.has_tokenizer != (tokenizer is not None):
        what = "give" if task.input.has_tokenizer else "leave out"
        raise InputError(f"{preset.name} reads {task.units}; {what} --tokenizer")
    keras.utils.set_random_seed(seed)
    unnamed = [f"LABEL_{index}" for index in range(task.default_labels)]
    labels = list(preset.labels or unnamed)
    model = build(config, preset.task, len(labels)).model
    with files.scratch_folder(folder) as scratch:
        save_checkpoint(model, config, preset.task, scratch, labels)
        if tokenizer is not None:
            copy_inputs(tokenizer, scratch)
        if preset.preprocessor is not None:
            files.write_json(scratch / PREPROCESSOR, preset.preprocessor)
        files.replace_folder(scratch, folder)
