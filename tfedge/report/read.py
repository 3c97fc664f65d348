"""Reads what other commands measured: the JSON that they print."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tfedge.errors import InputError
from tfedge.report.schema import Counts, Mission, Model, Race, Result

_MOST_BYTES = 64 << 20  # `inspect` of a model with 2000 operators prints 2 MB
_Kind = TypeVar("_Kind", bound=Result)


@dataclasses.dataclass(frozen=True)
class Results:
    """What was measured, each in the order in which it was given."""

    missions: list[Mission]
    races: list[Race]
    counts: list[Counts]
    models: list[Model]


def read_results(paths: Sequence[Path]) -> Results:
    """Reads files, each with one JSON object that a command printed.

    Raises:
        InputError: a file cannot be read, or is none of these.
    """
    found = Results([], [], [], [])
    for path in paths:
        content = _read(path)
        if "contestants" in content:
            found.races.append(_checked(path, content, Race, "tfedge bench --json"))
        elif "operators" in content:
            found.models.append(_checked(path, content, Model, "tfedge inspect --json"))
        elif "counts" in content:
            found.counts.append(_checked(path, content, Counts, "make bench-arm"))
        elif "models" in content:
            found.missions.append(_checked(path, content, Mission, "make mission"))
        else:
            raise InputError(
                f"{path} has nothing to report on; give what `tfedge bench --json` or `tfedge inspect "
                "--json` printed, or what `make bench-arm` or `make mission` wrote"
            )
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{path} has {size} bytes; a result has at most {_MOST_BYTES}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object, but a {type(content).__name__}")
    return content


def _checked(path: Path, content: dict[str, Any], kind: type[_Kind], origin: str) -> _Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is not as `{origin}` makes it: {where}: {first['msg']}; run that again with "
            "this tfedge"
        ) from error
