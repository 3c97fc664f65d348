"""Carries over what the compiler drops: signatures, metadata and the files at a bundle's end.

The compiler writes a bare flatbuffer, without the names of inputs and outputs by which tfedge runs
a model (none of the published compiled files has a signature, though their sources have).
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from tfedge.errors import InputError, RejectedModelError, board_errors
from tfedge.runtime import bundle
from tfedge.runtime.bundle import Manifest
from tfedge.tflite.flatbuffer import pack, parse, text
from tfedge.tflite.metadata import append_archive
from tfedge.tflite.tflite_metadata import METADATA_NAME


@dataclasses.dataclass(frozen=True)
class Source:
    """A model in the pieces that are carried over."""

    flatbuffer: bytes  # the model alone, which the compiler gets
    files: dict[str, bytes]  # what is archived behind it, by name
    manifest: Manifest | None  # None for a file that tfedge did not make


def read_source(path: Path) -> Source:
    """Takes a .tflite apart; raises InputError where it cannot be read, is no .tflite, or a bundle
    that is damaged."""
    with board_errors(), bundle.open_model(path) as (name, file):
        file.seek(0)
        content = file.read()
        # A ZIP ends in its directory, whose mark is in the last 64 kB.
        if b"PK\x05\x06" not in content[-(1 << 16) - 22 :]:
            return Source(content, {}, None)
        files, begin = bundle.read_archive(name, file)
        if bundle.MANIFEST_FILE not in files:
            return Source(content[:begin], files, None)
        manifest = bundle.read_bundle(path).manifest
    return Source(content[: manifest.model_bytes], files, manifest)


def carry_over(source: Source, compiled: bytes, facts: dict[str, Any]) -> bytes:
    """The compiled model with all that the source had beside its operators.

    `facts` stand in the manifest's `extra` under "edgetpu". Raises InputError where one of the two is
    damaged, RejectedModelError where they do not have the same inputs and outputs.
    """
    before, schema = parse(source.flatbuffer)
    after, _ = parse(compiled)
    signatures = [item for item in before.signatureDefs or () if not item.subgraphIndex]
    ends = _matching_ends(before.subgraphs[0], after.subgraphs[0])
    for signature in signatures:
        for item in (*signature.inputs, *signature.outputs):
            item.tensorIndex = ends[item.tensorIndex]
    after.signatureDefs = signatures or None
    _carry_metadata(before, after, schema)
    flatbuffer = pack(after)
    files = dict(source.files)
    if source.manifest is not None:
        keys = [text(signature.signatureKey) for signature in signatures]
        manifest = _manifest(source.manifest, keys, flatbuffer, facts)
        files[bundle.MANIFEST_FILE] = manifest.to_json()
    return append_archive(flatbuffer, files) if files else flatbuffer


def _matching_ends(before: Any, after: Any) -> dict[int, int]:
    """Inputs and outputs of the source -> those of the compiled model, which keep their order."""
    ends: dict[int, int] = {}
    for side in ("inputs", "outputs"):
        old, new = list(getattr(before, side)), list(getattr(after, side))
        described = [
            [(list(graph.tensors[i].shape), graph.tensors[i].type) for i in indices]
            for graph, indices in ((before, old), (after, new))
        ]
        if described[0] != described[1]:
            raise RejectedModelError(
                f"the compiled model has other {side} than the one given: {described[1]} (shape, "
                f"type) instead of {described[0]}; check the compiler with another model"
            )
        ends |= {int(i): int(j) for i, j in zip(old, new, strict=True)}
    return ends


def _carry_metadata(before: Any, after: Any, schema: Any) -> None:
    """TFLite Metadata, which describe inputs and outputs in their order."""
    for entry in before.metadata or ():
        if text(entry.name) == METADATA_NAME:
            moved = schema.MetadataT()
            moved.name, moved.buffer = entry.name, len(after.buffers)
            after.buffers.append(before.buffers[entry.buffer])
            kept = [item for item in after.metadata or () if text(item.name) != METADATA_NAME]
            after.metadata = [*kept, moved]


def _manifest(
    manifest: Manifest, keys: list[str], flatbuffer: bytes, facts: dict[str, Any]
) -> Manifest:
    """The bundle's own description, of the first graph alone."""
    signatures = {key: length for key, length in manifest.signatures.items() if key in keys}
    if not signatures:
        raise InputError(
            "the first graph of the bundle, the only one that is compiled, belongs to no signature "
            "of its metadata; convert it again with `tfedge convert --buckets none`"
        )
    return dataclasses.replace(
        manifest,
        signatures=signatures,
        max_length=min(manifest.max_length, max(signatures.values())),
        model_bytes=len(flatbuffer),
        model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
        extra={**manifest.extra, "edgetpu": facts},
    )
