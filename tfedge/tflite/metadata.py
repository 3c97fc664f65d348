"""Turns a converted .tflite into a bundle, the one file that a board needs.

The format is that of `tfedge.runtime.bundle`; besides it the model gets TFLite Metadata, see
`tfedge.tflite.tflite_metadata`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfedge import __version__, files
from tfedge.errors import InputError, board_errors
from tfedge.records import taken
from tfedge.runtime import bundle
from tfedge.runtime.bundle import Manifest
from tfedge.tflite.flatbuffer import pack, parse, text
from tfedge.tflite.tflite_metadata import METADATA_NAME, BundleSpec, model_metadata

# ZIP's extra field for alignment (as Android's zipalign writes it) and its header's length.
_ALIGNMENT_FIELD = 0xD935
_ALIGNMENT_HEADER = struct.Struct("<HH")
_ALIGNMENT = 4
_LOCAL_HEADER_BYTES = 30
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # ZIP's first; equal inputs shall give equal files


def write_bundle(
    model: bytes, spec: BundleSpec, output: str | os.PathLike[str] | None = None
) -> bytes:
    """The bundle of a .tflite: metadata and associated files replace those that it has.

    It is written to `output` too, if that is given. Equal arguments give equal bytes. Raises as
    `parse`, and InputError where the model contradicts `spec`, or `output` cannot be written.
    """
    tree, schema = parse(model)
    inputs, outputs = _check_signatures(tree, spec)
    _insert_metadata(tree, schema, _metadata(tree, spec))
    flatbuffer = pack(tree)
    try:
        manifest = taken(
            Manifest,
            spec,
            labels=None if spec.labels is None else tuple(spec.labels),
            max_length=max(spec.signatures.values(), default=0),
            inputs=inputs,
            outputs=outputs,
            runtimes=tuple(spec.runtimes),
            model_bytes=len(flatbuffer),
            model_sha256=hashlib.sha256(flatbuffer).hexdigest(),
            tfedge_version=__version__,
            cacheable=True,  # by `pack`
        )
    except ValueError as error:
        raise InputError(f"the bundle of {spec.name!r} contradicts itself: {error}") from error
    result = append_archive(flatbuffer, _associated_files(manifest, spec))
    if output is not None:
        files.write_bytes(output, result)
    return result


def set_runtimes(path: str | os.PathLike[str], runtimes: Iterable[str]) -> None:
    """Rewrites the list of runtimes that a bundle was verified on; the model stays as it is. Raises
    InputError where the file is no bundle, or cannot be written."""
    with board_errors():
        manifest = bundle.read_bundle(path).manifest
        with open(path, "rb") as file:
            associated, _ = bundle.read_archive(os.fsdecode(path), file)
            file.seek(0)
            flatbuffer = file.read(manifest.model_bytes)
    manifest = dataclasses.replace(manifest, runtimes=tuple(runtimes))
    associated[bundle.MANIFEST_FILE] = manifest.to_json()
    files.write_bytes(path, append_archive(flatbuffer, associated))


def _check_signatures(tree: Any, spec: BundleSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Checks the shapes of the signatures' inputs; returns the names of inputs and outputs."""
    present = {text(signature.signatureKey): signature for signature in tree.signatureDefs or []}
    names: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    for key, length in spec.signatures.items():
        wanted = [1, *spec.image.shape] if spec.image else [1, length]
        if key not in present:
            raise InputError(f"the model has no signature {key!r}; it has {sorted(present)}")
        signature = present[key]
        tensors = tree.subgraphs[signature.subgraphIndex].tensors
        for item in signature.inputs:
            if (shape := list(tensors[item.tensorIndex].shape)) != wanted:
                raise InputError(
                    f"input {text(item.name)!r} of signature {key!r} has shape {shape},"
                    f" not {wanted}"
                )
        names.add((_names(signature.inputs), _names(signature.outputs)))
    if len(names) != 1:
        raise InputError(
            f"the signatures must have the same inputs and outputs, not {sorted(names)}"
        )
    return names.pop()


def _names(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(text(item.name) for item in items))


def _metadata(tree: Any, spec: BundleSpec) -> bytes:
    """TFLite Metadata of the first subgraph, the only one that readers other than tfedge look at."""
    subgraph = tree.subgraphs[0]
    names = {index: text(tensor.name) for index, tensor in enumerate(subgraph.tensors)}
    names |= {
        item.tensorIndex: text(item.name)
        for signature in tree.signatureDefs
        if signature.subgraphIndex == 0
        for item in (*signature.inputs, *signature.outputs)
    }
    inputs, outputs = (
        [names[index] for index in ends] for ends in (subgraph.inputs, subgraph.outputs)
    )
    return model_metadata(spec, inputs, outputs)


def _insert_metadata(tree: Any, schema: Any, content: bytes) -> None:
    """Puts `content` into the model's metadata, in place of what it has."""
    buffer = schema.BufferT(np.frombuffer(content, np.uint8))
    tree.metadata = tree.metadata or []
    for entry in tree.metadata:
        if text(entry.name) == METADATA_NAME:
            tree.buffers[entry.buffer] = buffer
            return
    tree.metadata.append(schema.MetadataT(METADATA_NAME, len(tree.buffers)))
    tree.buffers.append(buffer)


def _associated_files(manifest: Manifest, spec: BundleSpec) -> dict[str, bytes]:
    result = {bundle.MANIFEST_FILE: manifest.to_json()}
    if spec.tokenizer_json:
        result[bundle.TOKENIZER_FILE] = spec.tokenizer_json
    if spec.vocab is not None:
        result[bundle.VOCABULARY_FILE] = "".join(f"{token}\n" for token in spec.vocab).encode()
    if spec.labels is not None:
        result[bundle.LABELS_FILE] = "".join(f"{label}\n" for label in spec.labels).encode()
    return result


def append_archive(flatbuffer: bytes, members: Mapping[str, bytes]) -> bytes:
    """The flatbuffer and after it a ZIP of `members`, uncompressed and aligned, so that readers can
    map it into memory; MediaPipe reads no compressed ones."""
    result = io.BytesIO(flatbuffer)
    with zipfile.ZipFile(result, "a") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _TIMESTAMP)
            info.create_system = 3  # Unix, whatever this machine is
            info.external_attr = 0o644 << 16
            result.seek(0, os.SEEK_END)
            fixed = _LOCAL_HEADER_BYTES + len(name.encode()) + _ALIGNMENT_HEADER.size
            padding = -(result.tell() + fixed) % _ALIGNMENT
            info.extra = _ALIGNMENT_HEADER.pack(_ALIGNMENT_FIELD, padding) + bytes(padding)
            archive.writestr(info, content)
    return result.getvalue()
