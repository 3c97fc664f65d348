"""Records that become JSON and are read from it: frozen dataclasses, checked against their types.

A field that has a default may be absent: it is left out of the JSON where it holds that default, and
keeps it where the JSON lacks the field. A field without a default is always there, if as null. A
trailing underscore, which keeps a name from being a keyword of Python, is not part of the key.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le

from tfedge.errors import InputError

Count = Annotated[int, Ge(0)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
FLAT: Mapping[str, bool] = {"flat": True}  # of a field whose content stands beside the others
_HALVES = re.compile("[\ud800-\udfff]")
_Record = TypeVar("_Record")


def _key_of(name: str) -> str:
    return name.removesuffix("_")


def as_json(value: Any) -> Any:
    """What `json.dumps` takes of a record, and of all records in it."""
    if dataclasses.is_dataclass(value):
        content: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            found = getattr(value, field.name)
            if field.metadata == FLAT:
                content |= as_json(found)
            elif field.default is dataclasses.MISSING or found != field.default:
                content[_key_of(field.name)] = as_json(found)
        return content
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def taken(kind: type[_Record], *sources: object, **given: Any) -> _Record:
    """A record of what is `given`, and of the attributes of `sources` that are called as its fields."""
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        for source in sources:
            if field.name not in given and hasattr(source, field.name):
                given[field.name] = getattr(source, field.name)
    return kind(**given)


def read_record(content: Any, kind: type[_Record], name: str, origin: str) -> _Record:
    """Parsed JSON as a record; keys that it has no field for are ignored.

    Raises InputError where a field is absent, of another type, out of range or not finite.

    Args:
        name: of the file, for the message.
        origin: the command that makes such files, for the message.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic_core import SchemaValidator

    # A dataclass has no settings of its own, but takes those of a list that it is in. Strictly read,
    # only JSON's text has records; parsed, it would have to have instances.
    settings = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, alias_generator=_key_of)
    # Halves of characters, of names that are no UTF-8, become what is shown of them.
    text = _HALVES.sub(
        lambda half: rf"\\u{ord(half[0]):x}", json.dumps([content], ensure_ascii=False)
    )
    schema = TypeAdapter(list[kind], config=settings).core_schema  # type: ignore[valid-type]
    try:
        found: _Record = SchemaValidator(_ending_early(schema)).validate_json(text)[0]
        return found
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        raise InputError(
            f"{name} is not as `{origin}` makes it: {where}: {first['msg']}; run that again with "
            "this tfedge"
        ) from error


def _ending_early(schema: Any) -> Any:
    """A schema of pydantic's whose lists end at their first item that is wrong: each error takes a
    kilobyte, and a list of a megabyte may have a million."""
    from pydantic_core import core_schema

    if isinstance(schema, dict):
        many = {"list", "tuple"}
        if "fail_fast" in core_schema.DictSchema.__annotations__:  # of pydantic 2.13
            many.add("dict")
        changed = {key: _ending_early(value) for key, value in schema.items()}
        return changed | ({"fail_fast": True} if schema.get("type") in many else {})
    return [*map(_ending_early, schema)] if isinstance(schema, list) else schema
