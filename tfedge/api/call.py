"""Calls what a command of `tfedge` calls, with keywords in place of a command line.

The options are said once, to click: keywords become words of a command line, which it checks, and to
which it adds the defaults.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
import numpy as np

from tfedge import cli
from tfedge.cli.compression import run_pruning, run_qad, run_shrinking
from tfedge.cli.conversion import run_conversion
from tfedge.cli.measurement import run_evaluation
from tfedge.cli.training import run_distillation, run_finetuning
from tfedge.cli.vocabulary import run_trimming
from tfedge.errors import InputError
from tfedge.notes import QUIET, VERBOSE, VERBOSITY
from tfedge.presets import preset_names
from tfedge.recipes.recipe import option_words, parameters

_PRINTED = "json"  # the option of a command that prints; a function returns


def _convert(model: str, **settings: Any) -> Any:
    report, failure = run_conversion(model, settings)
    if failure is not None:
        raise failure
    return report


_RUNS: Mapping[str, Callable[..., Any]] = {
    "convert": _convert,
    "eval": run_evaluation,
    "finetune": lambda model, labels, **rest: run_finetuning(model, labels, rest),
    "distil": lambda preset, teacher, cache, **rest: run_distillation(preset, teacher, cache, rest),
    "prune": lambda model, teacher, **rest: run_pruning(model, teacher, rest),
    "shrink": lambda model, **rest: run_shrinking(model, rest),
    "trim": lambda model, **rest: run_trimming(model, rest),
    "qad": lambda model, target, **rest: run_qad(model, target, rest),
}


def call(name: str, given: Mapping[str, Any]) -> Any:
    """The report of a command.

    Args:
        name: of the command.
        given: its options and arguments by `parameters`; None is the default.

    Raises:
        TypeError: there is no such option, or a value is of a kind that it cannot be.
        InputError: a value is not allowed.
        and what the command raises.
    """
    command = cli.main.commands[name]
    settings = _parsed(command, {key: given[key] for key in given if key not in (QUIET, VERBOSE)})
    level = next((level for level in (QUIET, VERBOSE) if given.get(level)), None)
    try:
        with _telling(level):
            return _RUNS[name](**settings)
    except click.UsageError as error:  # of options that do not go together
        raise InputError(error.message) from None


@contextlib.contextmanager
def _telling(level: str | None) -> Iterator[None]:
    """Within it, as much is told as with `--quiet` or `--verbose`; None changes nothing."""
    before = os.environ.get(VERBOSITY)
    if level is not None:
        os.environ[VERBOSITY] = level
    try:
        with warnings.catch_warnings():
            # tqdm's, of a package that imports it in a notebook, about bars that nobody shows.
            warnings.filterwarnings("ignore", "IProgress not found")
            yield
    finally:
        os.environ.pop(VERBOSITY, None)
        if before is not None:
            os.environ[VERBOSITY] = before


def _parsed(command: click.Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the command is called with where a command line says what is `given`."""
    known = {key: one for key, one in parameters(command).items() if key != _PRINTED}
    words: list[str] = []
    arguments = ["--"]
    for key, value in given.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"; perhaps {near[0]!r} is meant" if near else ""
            raise TypeError(f"there is no option {key!r}{meant}; there are {', '.join(known)}")
        parameter = known[key]
        if value is None:
            continue
        if isinstance(parameter, click.Option):
            words += option_words(parameter, _plain(key, parameter, value))
        else:
            arguments.append(_text(key, value))
    try:
        context = command.make_context(command.name, [*words, *arguments], help_option_names=[])
    except click.BadParameter as error:
        key = next((key for key, one in known.items() if one is error.param), "")
        if given.get(key) is None:
            raise TypeError(f"{key} must be given") from None
        raise InputError(f"{key}: {error.message.rstrip('.')}") from None
    printed = parameters(command)[_PRINTED].name
    return {name: value for name, value in context.params.items() if name != printed}


def _plain(key: str, option: click.Option, value: Any) -> Any:
    """A value as `option_words` takes it."""
    if option.is_flag:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{key} must be True or False, not {value!r}")
        return bool(value)
    if isinstance(value, Mapping):
        value = [f"{_text(key, name)}={_text(key, how)}" for name, how in value.items()]
    if not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return _text(key, value)
    items = [_text(key, item) for item in value]
    if option.multiple:
        return items
    if found := [item for item in items if "," in item]:
        raise InputError(f"{key} has {found[0]!r}; names with commas cannot be given, rename it")
    return items or "none"


def _text(key: str, value: Any) -> str:
    """A value as a word. A path that is called as a preset is marked as a path."""
    if isinstance(value, os.PathLike):
        path = os.fsdecode(value)
        return f"./{path}" if path in preset_names() else path
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, float, np.number)):
        raise TypeError(
            f"{key} must be a string, a path or a number, or a list of these, not "
            f"{type(value).__name__}"
        )
    return str(value)
