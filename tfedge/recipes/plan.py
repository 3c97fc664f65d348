"""Which stages of a recipe have to run, and why: by what they would be made of, not by dates.

Beside its output each stage keeps `stage.json`: what it was made of (options, hashes of the files it
read, versions of the packages that computed), hashes of what it made, and its report.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tfedge import __version__, files
from tfedge.data.hub import is_file_name
from tfedge.data.images import SUFFIXES, listed_images, read_images
from tfedge.data.tables import LARGEST_FILE_BYTES
from tfedge.errors import InputError
from tfedge.models import folder as checkpoint
from tfedge.models.hub import resolve
from tfedge.presets import load_preset, preset_names
from tfedge.recipes.recipe import DATA_KEYS, MODEL_KEYS, Recipe, Stage, parameters
from tfedge.targets import INTEGER, load_target

RECORD = "stage.json"
_PACKAGES = ("tensorflow", "tf-keras")


def digest(hashes: Mapping[str, str | None]) -> str:
    """One hash of several."""
    return hashlib.sha256(json.dumps(dict(hashes), sort_keys=True).encode()).hexdigest()


class Hashes:
    """Hashes by what is in the files; a file that stays as it is, is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int, int], str] = {}

    def file(self, path: Path) -> str:
        """The SHA-256 of a file; raises OSError where it cannot be read."""
        state = path.stat()
        key = (path.resolve(), state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in self._known:
            self._known[key] = files.sha256(path)
        return self._known[key]

    def data(self, name: str) -> str:
        """Of texts or images: a file, a folder of images, or a table with the images that it lists.

        Raises InputError where there is no such file, or no image in the folder.
        """
        if not is_file_name(name):
            return f"hub:{name}"  # taken for the same while it is called so
        path = Path(name)
        if not path.exists():
            raise InputError(f"{name} does not exist")
        if path.is_dir():
            images = [Path(image) for image in read_images(path).texts]
            return digest(
                {image.relative_to(path).as_posix(): self.file(image) for image in images}
            )
        _check_file(path)
        listed = {image: self._if_there(path.parent / image) for image in listed_images(path)}
        return digest({"": self.file(path), **listed}) if any(listed.values()) else self.file(path)

    def model(self, name: str) -> str:
        """Of a checkpoint or a converted model; raises InputError or CheckpointError for neither."""
        if Path(name).is_file():
            _check_file(Path(name))
            return self.file(Path(name))
        found = checkpoint.files_of(resolve(name).folder)
        return digest({place: self.file(path) for place, path in found.items()})

    def _if_there(self, path: Path) -> str | None:
        # A line of a text is no name of a file; where it is by chance, it is none of an image.
        if path.suffix.lower() not in SUFFIXES:
            return None
        try:
            return self.file(path)
        except (OSError, ValueError):
            return None


def _check_file(path: Path) -> None:
    """Raises InputError for what takes long to be hashed, and would be refused then."""
    files.check_regular(path)
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise InputError(f"{path} is larger than 2 GiB, as no file of texts is, nor a .tflite")


@dataclasses.dataclass(frozen=True)
class Key:
    """What decides what comes out of a stage; of a damaged file, whatever stands there."""

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # hashes
    versions: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Record:
    """What `stage.json` holds."""

    key: Key
    outputs: Mapping[str, str] | None = None  # SHA-256 of each file by its path, once it is done
    result: Mapping[str, Any] | None = None  # the command's report

    @classmethod
    def read(cls, folder: Path) -> Record | None:
        """The record of a stage's folder; None where it has none, or a damaged one."""
        try:
            content = json.loads((folder / RECORD).read_bytes())
            return cls(Key(**content.pop("key")), **content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, folder: Path) -> None:
        files.write_json(folder / RECORD, dataclasses.asdict(self))


Action = Literal["run", "resume", "skip"]


@dataclasses.dataclass(frozen=True)
class Step:
    """What is to be done about a stage."""

    stage: Stage
    action: Action
    reason: str
    folder: Path
    arguments: list[str]  # the command line behind `tfedge`
    key: Key
    product: Path | None  # what the next stage takes
    record: Record | None


@dataclasses.dataclass(frozen=True)
class StageReport:
    """What `tfedge run` tells of a stage."""

    stage: str
    action: Action
    reason: str
    command: Sequence[str]
    output: str
    result: Mapping[str, Any] | None  # the command's own report; None where it has yet to run


def decide(recipe: Recipe, stage: Stage, before: Step | None, hashes: Hashes) -> Step:
    """Compares a stage's record with what it would be made of now.

    The stage `before` is as it was decided or, with its new record, after it ran. Raises InputError
    where a file it reads is missing, or its folder is somebody else's.
    """
    folder = recipe.output / stage.name
    record = Record.read(folder)
    if folder.is_symlink() or (record is None and folder.is_dir() and any(folder.iterdir())):
        raise InputError(
            f"{folder} was not made by `tfedge run`; move it away, or choose another output"
        )
    extra: dict[str, Any] = {"json": True}
    if stage.kind.takes not in stage.given and before is not None:
        extra[stage.kind.takes] = before.product
    values = {**stage.given, **extra}
    product = _product(recipe, stage, values[stage.kind.takes], folder)
    if "output" in parameters(stage.command):
        extra["output"] = folder if stage.kind.makes == "tflite" else product
    if "force" in parameters(stage.command):
        extra["force"] = True  # the folder is this recipe's own
    key = _key(stage, values, before, hashes)
    action, reason = _verdict(record, key, folder, before)
    arguments = stage.arguments(extra)
    return Step(stage, action, reason, folder, arguments, key, product, record)


def _product(recipe: Recipe, stage: Stage, model: str | Path, folder: Path) -> Path | None:
    if stage.kind.makes == "checkpoint":
        return folder / recipe.name
    if stage.kind.makes is None:
        return None
    # As `tfedge convert` settles what is left open, and calls the file.
    target = load_target(stage.options["target"]) if stage.options["target"] else None
    preset = load_preset(str(model)) if model in preset_names() else None
    chosen = target or preset
    quantization = stage.options["quant"] or (chosen.quantization if chosen else "int8")
    graph = f"_{target.graph}" if target and target.graph != INTEGER else ""
    name = model.name if isinstance(model, Path) else resolve(model).name
    return folder / name / f"{name}{graph}_{quantization}.tflite"


def _key(stage: Stage, values: Mapping[str, Any], before: Step | None, hashes: Hashes) -> Key:
    inputs = {}
    for key in (*DATA_KEYS, *MODEL_KEYS):
        value = values.get(key)
        if isinstance(value, Path):
            done = before.record if before else None
            inputs[key] = digest(done.outputs) if done and done.outputs else None
        elif value is not None:
            inputs[key] = hashes.data(value) if key in DATA_KEYS else hashes.model(value)
    packages = {name: _version(name) for name in (*_PACKAGES, *stage.kind.packages)}
    options = json.loads(json.dumps(stage.options))  # as they come back from a file
    return Key(options, inputs, {"tfedge": __version__, **packages})


def hash_outputs(folder: Path) -> dict[str, str]:
    """The hashes of all files that a stage has made, by their path in its folder."""
    return {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / RECORD
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _verdict(
    record: Record | None, key: Key, folder: Path, before: Step | None
) -> tuple[Action, str]:
    if record is None:
        return "run", "it has not run yet"
    is_same = record.key == key
    if before is not None and before.action != "skip":
        return "run", f"{before.stage.name} runs before it"
    if is_same and record.outputs is None:
        return "resume", "it was interrupted"
    if not is_same:
        return "run", _difference(record.key, key)
    found = hash_outputs(folder)
    for path, made in (record.outputs or {}).items():
        if found.get(path) != made:
            what = "was changed" if path in found else "is gone"
            return "run", f"{folder / path} {what}"
    return "skip", "nothing it depends on has changed"


def _difference(old: Key, new: Key) -> str:
    """The first of the things in which two keys differ, in words."""
    for part, now in vars(new).items():
        then = getattr(old, part)
        if not isinstance(then, dict):
            break
        for name in [*now, *(name for name in then if name not in now)]:
            if then.get(name) == now.get(name):
                continue
            if part == "inputs":
                return f"its {name} has changed"
            return f"{name} was {then.get(name)}, now {now.get(name)}"
    return "what it was made of is not known"
