"""Spoils bundles in ways that damage, haste or malice would."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tfedge.runtime.bundle import MANIFEST_FILE


def split(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer of a bundle, and its associated files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return content[: json.loads(files[MANIFEST_FILE])["model_bytes"]], files


def join(model: bytes, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The reverse of `split`; says nothing of its own about the model."""
    result = io.BytesIO(model)
    with zipfile.ZipFile(result, "a", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return result.getvalue()


def with_manifest(content: bytes, compression: int = zipfile.ZIP_STORED, **changes: Any) -> bytes:
    """The bundle with other fields in its manifest; a field changed to `...` is left out."""
    model, files = split(content)
    fields = {**json.loads(files[MANIFEST_FILE]), **changes}
    fields = {name: value for name, value in fields.items() if value is not ...}
    return join(model, {**files, MANIFEST_FILE: json.dumps(fields).encode()}, compression)


def with_graph(content: bytes, model: bytes) -> bytes:
    """The bundle with another graph, and its hash."""
    _, files = split(content)
    about = {"model_bytes": len(model), "model_sha256": hashlib.sha256(model).hexdigest()}
    fields = {**json.loads(files[MANIFEST_FILE]), **about}
    return join(model, {**files, MANIFEST_FILE: json.dumps(fields).encode()})
