"""A recipe of stages: a TOML file with one table for each command, checked before anything runs.

The keys of a table are the options of the command, with _ for -, and its argument. What several
stages share stands in a table `defaults`, and every stage takes what the one before it has made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfedge import files
from tfedge.data.hub import is_file_name
from tfedge.errors import InputError
from tfedge.presets import preset_names
from tfedge.settings import check_keys, read_settings

# Names of texts or images, and of checkpoints or converted models; both are hashed.
DATA_KEYS = ("data", "eval", "calibration", "keep_texts", "gallery")
MODEL_KEYS = ("model", "teacher", "against")
# What a stage is told by the run itself, and what changes nothing of what comes out.
_OWN_KEYS = ("output", "force", "json", "quiet", "verbose")
_UNHASHED = ("logs", "cache")
# The table of what several stages share, and its keys.
_DEFAULTS = "defaults"
_COLUMNS = {key: key for key in ("text_column", "pair_column", "label_column")}
_SHARED = {key: key for key in ("data", "eval", "seed", "max_length")} | _COLUMNS


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a command fits between others."""

    takes: str = "model"  # the key that is filled with what the stage before has made
    makes: str | None = "checkpoint"
    accepts: tuple[str, ...] = ("checkpoint",)  # what the stage before may have made
    # Keys of `defaults` -> the key of this command that they fill.
    shared: Mapping[str, str] = dataclasses.field(default_factory=lambda: _SHARED)
    packages: tuple[str, ...] = ()  # whose versions matter besides tfedge's and TensorFlow's


_RUNTIMES = ("tflite-runtime", "ai-edge-litert")
KINDS: dict[str, Kind] = {
    "finetune": Kind(),
    "distil": Kind(takes="teacher"),
    "prune": Kind(packages=("tensorflow-model-optimization",)),
    "shrink": Kind(),
    "trim": Kind(
        shared={"data": "keep_texts", "eval": "eval", **_COLUMNS},
        packages=("tokenizers", "transformers"),
    ),
    "qad": Kind(),
    "convert": Kind(
        makes="tflite",
        shared={"data": "calibration", "eval": "eval", **_COLUMNS},
        packages=_RUNTIMES,
    ),
    "eval": Kind(
        makes=None,
        accepts=("checkpoint", "tflite"),
        shared={"eval": "data", **_COLUMNS},
        packages=_RUNTIMES,
    ),
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command with its settings."""

    name: str
    command: click.Command
    given: Mapping[str, Any]  # key -> value as the command line would have it; paths are settled
    # All that decides what comes out but files, defaults included, fit for JSON.
    options: Mapping[str, Any]

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    def arguments(self, extra: Mapping[str, Any]) -> list[str]:
        """The command line behind `tfedge`, with `extra` settings."""
        values = {**self.given, **extra}
        words: list[str] = []
        arguments: list[str] = []
        for key, parameter in parameters(self.command).items():
            if key in values and isinstance(parameter, click.Option):
                words += option_words(parameter, values[key])
            elif key in values:
                arguments.append(str(values[key]))
        return [self.name, *arguments, *words]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What `read_recipe` found; the outputs are called after `name`, in the folder `output`."""

    path: Path
    name: str
    output: Path
    stages: tuple[Stage, ...]


def parameters(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters of a command by their keys in a recipe."""
    return {
        max(parameter.opts, key=len).lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
    }


def read_recipe(
    path: str | Path, commands: Mapping[str, click.Command], overrides: Mapping[str, Any]
) -> Recipe:
    """Reads and checks a recipe.

    Raises InputError for an unknown key or a value that its option does not take, stages that do
    not follow each other, or nothing to begin with.

    Args:
        commands: those of `tfedge`.
        overrides: `table.key`, or `name` and `output`, -> what stands there in place of the recipe's
            own; paths are relative to the working directory.
    """
    path = Path(path)
    content = read_settings(path)
    check_keys(content, (*KINDS, _DEFAULTS, "name", "output"), str(path))
    for key in (*KINDS, _DEFAULTS):
        if not isinstance(table := content.get(key, {}), dict):
            raise InputError(f"{path}: {key} is {table!r}; it must be a table, [{key}]")
        table.update({name: _settled(name, value, path.parent) for name, value in table.items()})
    if "output" in content:
        content["output"] = _settled("output", content["output"], path.parent)
    _override(path, content, overrides)
    tables = {key: value for key, value in content.items() if key in KINDS}
    if not tables:
        raise InputError(f"{path} has no stage; give it a table, of {', '.join(KINDS)}")
    name = content.get("name", path.stem)
    if not isinstance(content.get("output", ""), str):
        raise InputError(f"{path}: output is {content['output']!r}; it must be a folder's name")
    if not files.is_name(name) or name.startswith("."):
        raise InputError(f"{path}: name is {name!r}; it must be usable as the name of a file")
    shared = content.get(_DEFAULTS, {})
    check_keys(shared, _SHARED, f"{path}, [{_DEFAULTS}]")
    output = Path(content.get("output", path.parent / "build" / name))
    stages: list[Stage] = []
    for key, table in tables.items():
        where = f"{path}, [{key}]"
        stages.append(_stage(where, key, commands[key], table, shared))
        _check_order(where, stages)
    return Recipe(path, name, output, tuple(stages))


def _override(path: Path, content: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Puts `overrides` into what a recipe holds."""
    for place, value in overrides.items():
        table, _, key = place.rpartition(".")
        if not table:
            check_keys([key], ("name", "output"), "--set")
            content[key] = value
        elif table == _DEFAULTS or table in content:
            content.setdefault(table, {})[key] = _settled(key, value, Path())
        else:
            raise InputError(f"{path} has no table [{table}] in which to set {key}")


def _settled(key: str, value: Any, folder: Path) -> Any:
    """A path that is relative to `folder` as one relative to the working directory."""
    if not isinstance(value, str):
        return value
    if key in DATA_KEYS:
        is_path = is_file_name(value, folder)
    elif key in MODEL_KEYS:
        is_hub_id = value.count("/") == 1 and not value.startswith((".", "/"))
        known = value in preset_names()  # a folder that is called so is ./NAME
        is_path = not known and ((folder / value).exists() or not is_hub_id)
    else:
        is_path = key in ("output", *_UNHASHED)
    return str(folder / value) if is_path else value


def _stage(
    where: str,
    name: str,
    command: click.Command,
    table: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> Stage:
    known = {key: value for key, value in parameters(command).items() if key not in _OWN_KEYS}
    if "recipe" in table and "preset" in known:
        raise InputError(f"{where}: the key 'recipe' is called 'preset' now; rename it")
    check_keys(table, known, where)
    fills = KINDS[name].shared
    given = {fills[key]: value for key, value in shared.items() if fills.get(key) in known}
    given |= table
    for key, value in given.items():
        _check_type(where, key, known[key], value)
    _check_student(where, known, given)
    stage = Stage(name, command, given, {})
    return dataclasses.replace(stage, options=_options(where, stage, known))


def _check_student(where: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raises InputError where a command would find only as it runs that it lacks what it needs."""
    if "student" not in known or "student" in given:
        return
    for key, what in (("preset", "argument 'PRESET'"), ("data", "option '--data'")):
        if key not in given:
            raise InputError(f'{where}: Missing {what}; only student = "static" goes without')


def _check_type(where: str, key: str, parameter: click.Parameter, value: Any) -> None:
    """Raises InputError for what cannot be written on a command line."""
    is_switch = isinstance(parameter, click.Option) and parameter.is_flag
    if is_switch != isinstance(value, bool):
        allowed = "true or false" if is_switch else "a string or a number"
        shown = str(value).lower() if isinstance(value, bool) else repr(value)
        raise InputError(f"{where}: {key} is {shown}; it must be {allowed}")
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, (str, int, float)) for part in parts):
        raise InputError(f"{where}: {key} is {value!r}; give strings or numbers")
    names = (*DATA_KEYS, *MODEL_KEYS, *_UNHASHED)
    if key in names and not isinstance(value, str):
        raise InputError(f"{where}: {key} is {value!r}; it must be a name, in quotation marks")


def _options(where: str, stage: Stage, known: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """What the command would make of its command line, defaults included, without files."""
    # What an earlier stage will make is not there yet, so an existing file stands for it.
    needed = {"output", stage.kind.takes} & set(parameters(stage.command))
    models = (needed | set(stage.given)) & {"output", *MODEL_KEYS}
    words = stage.arguments(dict.fromkeys(models, __file__))[1:]
    try:
        # Without names for help: the command would keep those of a context that has no parent.
        context = stage.command.make_context(stage.name, words, help_option_names=[])
    except click.UsageError as error:
        raise InputError(f"{where}: {error.format_message()}") from error
    skipped = (*DATA_KEYS, *MODEL_KEYS, *_UNHASHED)
    values = {key: context.params[known[key].name or ""] for key in known if key not in skipped}
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def option_words(option: click.Option, value: Any) -> list[str]:
    """An option as words of a command line."""
    word = max(option.opts, key=len)
    if option.is_flag:
        return [word] if value else option.secondary_opts[:1]
    if isinstance(value, list) and not option.multiple:
        value = ",".join(map(str, value))
    values = value if isinstance(value, list) else [value]
    return [part for item in values for part in (word, str(item))]


def _check_order(where: str, stages: list[Stage]) -> None:
    """Raises InputError where the last stage has nothing to begin with."""
    stage = stages[-1]
    if stage.kind.takes in stage.given:
        return
    if len(stages) == 1:
        raise InputError(f"{where}: it is the first stage, give it a {stage.kind.takes!r}")
    before = stages[-2]
    if before.kind.makes not in stage.kind.accepts:
        raise InputError(
            f"{where}: it needs a {' or a '.join(stage.kind.accepts)}, which [{before.name}], the "
            f"stage before it, does not make; move it, or give it a {stage.kind.takes!r}"
        )
