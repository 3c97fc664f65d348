"""The bundle: what a board needs besides the graph, kept in the .tflite file itself.

A bundle is a TensorFlow Lite flatbuffer followed by a ZIP archive, as TFLite Metadata prescribes for
associated files. The archive holds

    tfedge.json     the manifest, see `Manifest`
    tokenizer.json  the tokeniser, in the format of the `tokenizers` library; of a model of texts
    vocab.txt       the WordPiece vocabulary, for other readers of TFLite Metadata (optional)
    labels.txt      a label a line, for other readers (optional)

The manifest gives the length and SHA-256 of the flatbuffer. A TFLite runtime trusts the file and
crashes on a damaged one, so nothing reaches it before the hash is right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from tfedge.runtime import tasks
from tfedge.runtime.errors import ModelFileError, is_plain, one_line
from tfedge.runtime.image_settings import ImageSettings

FORMAT = 1
MANIFEST_FILE = "tfedge.json"
TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.txt"
LABELS_FILE = "labels.txt"

MAX_ARCHIVE_BYTES = 64 << 20  # all associated files, unpacked; multilingual BERT's have 4 MB
# Of JSON, which takes up to 25 times as much once it is read; 20,000 labels of ImageNet have 0.5 MB.
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 64
MAX_SEQUENCE = 1 << 16
_MIN_SEQUENCE = 3  # [CLS] token [SEP]

_CHUNK = 1 << 20
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_TFLITE_MAGIC = b"TFL3"
_FOREIGN_MAGIC = (
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull` where it was cloned"),
    (
        b"PK\x03\x04",
        "a ZIP archive (a Keras or PyTorch checkpoint?); convert it with `tfedge convert`",
    ),
    (b"\x89HDF", "an HDF5 file (Keras weights?); convert it with `tfedge convert`"),
)
# zipfile's ways of saying that an archive is damaged or uses something that a bundle never uses.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def is_label(label: str) -> bool:
    """Whether a label can stand in a line of output, between tabs."""
    return is_plain(label) and len(label.splitlines()) == 1 and bool(label.strip())


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of `tfedge.json`. Making one checks it. Raises ValueError where a field has an
    impossible value."""

    name: str  # name of the model, e.g. "tinybert"
    task: str  # name of a task, see `tfedge.runtime.tasks`
    # Names of the last axis of "logits" for the tasks with labels, else None.
    labels: tuple[str, ...] | None
    max_length: int  # longest input in tokens, special ones included
    # Names of the signature's inputs, some of the `names` of the task's input: int32 (1, length)
    # each, or pixels of 0 to 255 (1, height, width, 3).
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # names of the signature's outputs
    quantization: str  # e.g. "int8"; for people
    runtimes: tuple[str, ...]  # runtimes that the converter saw run the file, preferred one first
    signatures: Mapping[str, int]  # signature key -> sequence length
    model_bytes: int  # length of the flatbuffer at the beginning of the file
    model_sha256: str  # SHA-256 of these bytes, hexadecimal
    tfedge_version: str
    # Whether an embedding is divided by its length, which an integer graph does not.
    normalize: bool = False
    # What is added to products with labels in words, each of which is then a score by itself; None
    # where their scores add up to 1.
    logit_bias: float | None = None
    image: ImageSettings | None = None  # how a model that reads images gets them, else None
    # Whether operators that share weights and biases share scales too, so that XNNPACK's cache of what
    # it lays out, which goes by the former, can serve all graphs.
    cacheable: bool = False
    # Free-form; the runtime ignores it.
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        task = tasks.find(self.task)
        if not is_plain(self.name):
            raise ValueError("the name is not one line of text")
        if self.normalize and "embedding" not in task.outputs:
            raise ValueError(f"task {self.task} has no embedding to normalize")
        if self.logit_bias is not None:
            if not (task.labelled and "embedding" in task.outputs):
                raise ValueError(f"task {self.task} has no logit_bias")
            if not math.isfinite(self.logit_bias):
                raise ValueError("logit_bias is not finite")
        if task.labelled:
            if self.labels is None or len(self.labels) < task.least_labels:
                raise ValueError(f"task {self.task} needs at least {task.least_labels} labels")
            if len(set(self.labels)) != len(self.labels):
                raise ValueError("two labels are equal")
            if not all(map(is_label, self.labels)):
                raise ValueError("a label is not one line of text")
        if not self.signatures:
            raise ValueError("there is no signature")
        for key, length in self.signatures.items():
            if not _MIN_SEQUENCE <= length <= MAX_SEQUENCE:
                raise ValueError(f"signature {key!r} has the impossible length {length}")
        if not _MIN_SEQUENCE <= self.max_length <= max(self.signatures.values()):
            raise ValueError(f"max_length {self.max_length} is longer than every signature")
        task.input.check(self.inputs, self.image)
        if missing := set(task.outputs) - set(self.outputs):
            raise ValueError(f"task {self.task} needs an output {min(missing)!r}")
        if self.model_bytes <= 0:
            raise ValueError(f"model_bytes is {self.model_bytes}")

    def input_shape(self, key: str) -> tuple[int, ...]:
        """The shape of every input of signature `key`."""
        return tasks.find(self.task).input.shape(self.signatures[key], self.image)

    def output_shapes(self, key: str) -> dict[str, tuple[int | None, ...]]:
        """The shapes of the outputs that the task reads of signature `key`; None is for any size."""
        return tasks.find(self.task).shapes(self.signatures[key], len(self.labels or ()))

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Reads `tfedge.json`; raises ValueError where it is not JSON, of another format, or a
        field is missing or impossible."""
        try:
            fields = json.loads(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(fields, dict) or "format" not in fields:
            raise ValueError("it is not a JSON object with a format")
        if fields["format"] != FORMAT:
            raise ValueError(
                f"it has format {fields['format']!r} and this version reads {FORMAT};"
                " upgrade tfedge on this machine"
            )
        values = {}
        for field in dataclasses.fields(cls):
            defaults = {field.default, field.default_factory}
            if field.name not in fields and defaults == {dataclasses.MISSING}:
                raise ValueError(f"{field.name!r} is missing")
            if field.name in fields:
                values[field.name] = _typed(field.name, field.type, fields[field.name])
        return cls(**values)

    def to_json(self) -> bytes:
        """The bytes of `tfedge.json`; equal manifests give equal bytes."""
        fields = {"format": FORMAT, **dataclasses.asdict(self)}
        return (json.dumps(fields, indent=1, ensure_ascii=False) + "\n").encode()


# Annotation of a field -> what its JSON value must be: in words, its type, that of what it holds.
_JSON_TYPES: Mapping[str, tuple[str, type, type | None]] = {
    "str": ("a string", str, None),
    "bool": ("true or false", bool, None),
    "int": ("a whole number", int, None),
    "float": ("a number with a point", float, None),
    "tuple[str, ...]": ("a list of strings", list, str),
    "Mapping[str, int]": ("an object of whole numbers", dict, int),
    "Mapping[str, Any]": ("an object", dict, None),
    "ImageSettings": ("an object", dict, None),
}


def _typed(name: str, annotation: Any, value: Any) -> Any:
    annotation, _, optional = annotation.partition(" | ")
    if optional and value is None:
        return None
    what, kind, inner = _JSON_TYPES[annotation]
    fits = type(value) is kind  # not isinstance, by which true is a whole number
    if fits and inner is not None:
        fits = all(type(item) is inner for item in (value.values() if kind is dict else value))
    if not fits:
        raise ValueError(f"{name!r} is not {what}" + (" or null" if optional else ""))
    if annotation == "ImageSettings":
        return ImageSettings.from_json(value)
    return tuple(value) if kind is list else value


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk; `tokenizer_json` is empty where the model reads images."""

    path: str
    manifest: Manifest
    tokenizer_json: bytes

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of the graph and the tokeniser: the same where answers are."""
        return hashlib.sha256(self.manifest.model_sha256.encode() + self.tokenizer_json).hexdigest()


@contextlib.contextmanager
def open_model(path: str | os.PathLike[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Opens a .tflite of any origin; yields its name and the file, which begins as one does. Raises
    ModelFileError where the file cannot be read or is no TFLite model; the message says which."""
    name = os.fsdecode(path)
    try:
        name.encode()  # the runtimes take a path as UTF-8
        # Looked at before it is opened: opening a FIFO would wait for a writer.
        mode = os.stat(name).st_mode
        if stat.S_ISDIR(mode) and Path(name, "config.json").exists():
            raise ModelFileError(
                f"{name} is the folder of a checkpoint: `tfedge convert {name}` makes the .tflite"
            )
        if not stat.S_ISREG(mode):
            raise ModelFileError(f"{name}: not a file; give the path of one .tflite file")
        with open(name, "rb") as file:
            _check_magic(name, os.fstat(file.fileno()).st_size, file.read(32))
            yield name, file
    except ModelFileError:
        raise
    except FileNotFoundError:
        raise ModelFileError(f"{name}: no such file; give the path of a .tflite file") from None
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeEncodeError:
        raise ModelFileError(f"{name!a}: the path is not valid UTF-8; rename the file") from None
    except ValueError as error:  # what Python says of a path that no system call could take
        raise ModelFileError(f"{name!a}: {one_line(error)}; give another path") from error


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Reads the metadata of a .tflite and verifies the whole file.

    Raises ModelFileError where the file cannot be read, is no TFLite model, is damaged, or has no
    metadata of tfedge; the message says which.
    """
    with open_model(path) as (name, file):
        files, model_limit = read_archive(name, file)
        if MANIFEST_FILE not in files:
            raise ModelFileError(
                f"{name}: a TensorFlow Lite model without tfedge metadata; make one with"
                " `tfedge convert`"
            )
        try:
            manifest = Manifest.from_json(files[MANIFEST_FILE])
        except ValueError as error:
            raise ModelFileError(f"{name}: bad {MANIFEST_FILE}: {one_line(error)}") from error
        if manifest.model_bytes > model_limit or _sha256(file, manifest) != manifest.model_sha256:
            raise ModelFileError(
                f"{name}: damaged: the model is not the one that its metadata describe; copy it again"
            )
    if TOKENIZER_FILE not in files and tasks.find(manifest.task).input.has_tokenizer:
        raise ModelFileError(f"{name}: holds no {TOKENIZER_FILE}; convert it with `tfedge convert`")
    return Bundle(name, manifest, files.get(TOKENIZER_FILE, b""))


def _check_magic(name: str, size: int, head: bytes) -> None:
    if size == 0:
        raise ModelFileError(f"{name}: the file is empty; copy it again")
    for magic, what in _FOREIGN_MAGIC:
        if head.startswith(magic):
            raise ModelFileError(f"{name}: {what}")
    if head[4:8] != _TFLITE_MAGIC:
        raise ModelFileError(f"{name}: not a TensorFlow Lite model; make one with `tfedge convert`")


def read_archive(name: str, file: BinaryIO) -> tuple[dict[str, bytes], int]:
    """The associated files of a .tflite by name, and where their archive begins, so at most how long
    the flatbuffer is.

    Raises ModelFileError where there is no archive, or it is damaged or implausibly large.
    """
    try:
        with zipfile.ZipFile(cast("BinaryIO", Bounded(file))) as archive:
            members = archive.infolist()
            _check_members(name, members)
            files = {member.filename: _read_member(archive, member) for member in members}
            begin = min((member.header_offset for member in members), default=0)
    except ModelFileError:
        raise
    except ARCHIVE_ERRORS as error:
        if "not a zip file" in str(error):
            raise ModelFileError(
                f"{name}: no tfedge metadata at its end: the file is cut short (copy it again) or was"
                " not made by `tfedge convert`"
            ) from None
        raise ModelFileError(
            f"{name}: damaged metadata: {one_line(error)}; copy it again"
        ) from error
    return files, begin


def _check_members(name: str, members: list[zipfile.ZipInfo]) -> None:
    """Refuses what cannot be a bundle by its claims alone, before anything is unpacked."""
    if len(members) > MAX_FILES:
        raise ModelFileError(
            f"{name}: claims {len(members)} associated files; {MAX_FILES} are allowed"
        )
    if (claimed := sum(member.file_size for member in members)) > MAX_ARCHIVE_BYTES:
        raise ModelFileError(
            f"{name}: claims {claimed} bytes of associated files; {MAX_ARCHIVE_BYTES} are allowed"
        )
    sizes = {member.filename: member.file_size for member in members}
    if (size := sizes.get(MANIFEST_FILE, 0)) > MAX_MANIFEST_BYTES:
        raise ModelFileError(
            f"{name}: claims a {MANIFEST_FILE} of {size} bytes; {MAX_MANIFEST_BYTES} are allowed"
        )
    if any(member.compress_type not in _COMPRESSIONS for member in members):
        raise ModelFileError(f"{name}: damaged metadata: unknown compression; copy it again")


class Bounded:
    """A file as zipfile sees it, which reads as long a directory as an archive claims to have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Raises BadZipFile where more is wanted at once than a reader of members does."""
        if size > _CHUNK:
            raise zipfile.BadZipFile(f"it claims a directory of {size} bytes")
        return self._file.read(size)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """No more than it claims; read to the end, where zipfile checks the CRC."""
    with archive.open(member) as file:
        return b"".join(iter(lambda: file.read(_CHUNK), b""))


def _sha256(file: BinaryIO, manifest: Manifest) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    left = manifest.model_bytes
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()
