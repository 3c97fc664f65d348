"""Files that are no bundle: each ends `tfedge-infer` with code 3 and one line that says why."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import forge
import pytest
from program import COMMAND, TIMEOUT_S, each_runtime, environment, infer

from tfedge.runtime import infer as program
from tfedge.runtime.bundle import MANIFEST_FILE, MAX_ARCHIVE_BYTES, MAX_FILES, TOKENIZER_FILE


def _zip_fields(content: bytes, **fields: int) -> bytes:
    """Overwrites fields of every entry of the central directory: name -> (offset, format)."""
    known = {"flags": (8, "<H"), "method": (10, "<H"), "packed": (20, "<L"), "size": (24, "<L")}
    spoilt = bytearray(content)
    position = content.find(b"PK\x01\x02")
    while position >= 0:
        for name, value in fields.items():
            offset, form = known[name]
            struct.pack_into(form, spoilt, position + offset, value)
        position = content.find(b"PK\x01\x02", position + 4)
    return bytes(spoilt)


def _files(content: bytes, **changes: bytes | None) -> bytes:
    model, files = forge.split(content)
    names = {"manifest": MANIFEST_FILE, "tokenizer": TOKENIZER_FILE}
    for key, value in changes.items():
        files.pop(names[key]) if value is None else files.update({names[key]: value})
    return forge.join(model, files)


def _flip(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def _many(content: bytes) -> bytes:
    model, files = forge.split(content)
    return forge.join(model, {**files, **{f"{n}.txt": b"" for n in range(MAX_FILES)}})


def _bomb(content: bytes) -> bytes:
    model, files = forge.split(content)
    return forge.join(model, {**files, "zeros": bytes(MAX_ARCHIVE_BYTES + 1)}, zipfile.ZIP_DEFLATED)


def _directory(content: bytes) -> bytes:
    """An archive that has nothing but a directory, of zeros."""
    model, _ = forge.split(content)
    end = struct.pack("<HHHHLLH", 0, 0, 1, 1, 5_000_000, len(model), 0)
    return model + bytes(5_000_000) + b"PK\5\6" + end


# What is wrong -> how a good bundle gets it, what the message says.
BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "the file is empty"),
    "one byte": (lambda good: b"x", "not a TensorFlow Lite model"),
    "text": (lambda good: b"hello world " * 9, "not a TensorFlow Lite model"),
    "random bytes": (lambda good: bytes(os.urandom(4096)), ""),
    "LFS pointer": (lambda good: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "ZIP": (lambda good: forge.join(b"", {"a": b"b"}), "a ZIP archive"),
    "HDF5": (lambda good: b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "no metadata": (lambda good: forge.split(good)[0], "not made by `tfedge convert`"),
    "others' metadata": (lambda good: _files(good, manifest=None), "without tfedge metadata"),
    "cut in the model": (lambda good: good[: len(good) // 3], "cut short"),
    "cut in the archive": (lambda good: good[:-9], "cut short"),
    "head lost": (lambda good: good[100:], "not a TensorFlow Lite model"),
    "bit in the model": (lambda good: _flip(good, 999), "damaged"),
    "bit in the tokeniser": (lambda good: _flip(good, good.index(b'"[MASK]"')), "damaged metadata"),
    "manifest not JSON": (lambda good: _files(good, manifest=b"{"), "bad tfedge.json"),
    "manifest nested": (lambda good: _files(good, manifest=b"[" * 99_999), "nested too deeply"),
    "manifest a list": (lambda good: _files(good, manifest=b"[]"), "not a JSON object"),
    "manifest not UTF-8": (lambda good: _files(good, manifest=b'{"\xff": 1}'), "bad tfedge.json"),
    "no tokeniser": (lambda good: _files(good, tokenizer=None), "holds no tokenizer.json"),
    "later format": (lambda good: forge.with_manifest(good, format=2), "upgrade tfedge"),
    "no task": (lambda good: forge.with_manifest(good, task=...), "'task' is missing"),
    "unknown task": (lambda good: forge.with_manifest(good, task="dance"), "'dance'"),
    "name a number": (lambda good: forge.with_manifest(good, name=3), "'name' is not a string"),
    "no labels": (lambda good: forge.with_manifest(good, labels=None), "needs at least 2 labels"),
    "equal labels": (lambda good: forge.with_manifest(good, labels=["a", "a"]), "equal"),
    "labels a string": (lambda good: forge.with_manifest(good, labels="ab"), "list of strings"),
    "label of two lines": (lambda good: forge.with_manifest(good, labels=["a\n", "b\nc"]), "line"),
    "label of half a character": (
        lambda good: forge.with_manifest(good, labels=["a", "\ud800"]),
        "line of text",
    ),
    "label with a tab": (lambda good: forge.with_manifest(good, labels=["a\tb", "c"]), "of text"),
    "label that clears the screen": (
        lambda good: forge.with_manifest(good, labels=["a", "\x1b[2J"]),
        "line of text",
    ),
    "name that clears it": (lambda good: forge.with_manifest(good, name="\x1b[2J"), "the name is"),
    "no labels in words": (
        lambda good: forge.with_manifest(good, logit_bias=1.5),
        "has no logit_bias",
    ),
    "bias of text": (
        lambda good: forge.with_manifest(good, logit_bias="1.5"),
        "'logit_bias' is not a number with a point or null",
    ),
    "no embedding": (lambda good: forge.with_manifest(good, normalize=True), "has no embedding"),
    "manifest that inflates": (
        lambda good: forge.with_manifest(good, zipfile.ZIP_DEFLATED, extra={"x": [0] * (2 << 20)}),
        "4194304 are allowed",
    ),
    "directory that is all": (_directory, "claims a directory of 5000000 bytes"),
    "no signature": (lambda good: forge.with_manifest(good, signatures={}), "no signature"),
    "length zero": (lambda good: forge.with_manifest(good, signatures={"a": 0}), "length 0"),
    "length a truth": (lambda good: forge.with_manifest(good, signatures={"a": True}), "numbers"),
    "too long": (lambda good: forge.with_manifest(good, max_length=17), "max_length 17"),
    "unknown input": (lambda good: forge.with_manifest(good, inputs=["pixels"]), "pixels"),
    "no output": (lambda good: forge.with_manifest(good, outputs=[]), "needs an output 'logits'"),
    "model of no bytes": (lambda good: forge.with_manifest(good, model_bytes=0), "model_bytes"),
    "model too long": (lambda good: forge.with_manifest(good, model_bytes=10**15), "damaged"),
    "wrong hash": (lambda good: forge.with_manifest(good, model_sha256="0"), "damaged"),
    "huge claim": (lambda good: _zip_fields(good, size=2**32 - 2), "are allowed"),
    "size too small": (lambda good: _zip_fields(good, size=1), "damaged metadata"),
    "encrypted": (lambda good: _zip_fields(good, flags=1), "damaged metadata"),
    "unknown compression": (lambda good: _zip_fields(good, method=14), "unknown compression"),
    "not compressed": (lambda good: _zip_fields(good, method=8), "damaged metadata"),
    "ZIP bomb": (_bomb, "are allowed"),
    "many files": (_many, f"{MAX_FILES} are allowed"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_file(toys: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, message = BAD[kind]
    path = tmp_path / "model.tflite"
    path.write_bytes(spoil((toys / "classifier.tflite").read_bytes()))
    assert program.run(["--model", str(path), "good"]) == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"tfedge-infer: {path}: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _unreadable(path: Path) -> Path:
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    return path


# What a path is -> how to make it, what the message says.
BAD_PATHS: dict[str, tuple[Callable[[Path], Path | bytes], str]] = {
    "missing": (lambda path: path, "no such file"),
    "below a file": (lambda path: Path(__file__) / "x", "cannot be read"),
    "a folder": (lambda path: path.parent, "not a file"),
    "a pipe": (_fifo, "not a file"),
    "too long": (lambda path: path / ("x" * 9999), "cannot be read"),
    "forbidden": (_unreadable, "cannot be read: Permission denied"),
    "not UTF-8": (lambda path: os.fsencode(path) + b"\xff", "not valid UTF-8"),
}


@pytest.mark.parametrize("kind", BAD_PATHS)
def test_bad_path(tmp_path: Path, kind: str) -> None:
    make, message = BAD_PATHS[kind]
    result = infer("--model", make(tmp_path / "model.tflite"), "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert message in result.errors[0]


# Manifests that are sound by themselves but not what the model is -> what the message says.
LIES = {
    "other signature": ({"signatures": {"other": 16}}, "no such signature"),
    "other length": ({"signatures": {"serving_default": 32}}, "(1, 16)"),
    "an input less": ({"inputs": ["input_ids"]}, "attention_mask, input_ids, token_type_ids"),
    "a label more": ({"labels": ["a", "b", "c"]}, "(1, 2)"),
    "other task": ({"task": "token-classification"}, "(1, 2)"),
    "other outputs": ({"task": "sentence-embedding", "outputs": ["embedding"]}, "'embedding'"),
}


@pytest.mark.parametrize("kind", LIES)
def test_manifest_of_another_model(toys: Path, tmp_path: Path, kind: str) -> None:
    changes, message = LIES[kind]
    path = tmp_path / "model.tflite"
    path.write_bytes(forge.with_manifest((toys / "classifier.tflite").read_bytes(), **changes))
    result = infer("--model", path, "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert message in result.errors[0]


def test_tokeniser_of_another_kind(toys: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(_files((toys / "classifier.tflite").read_bytes(), tokenizer=b"{}"))
    result = infer("--model", path, "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert "not understood by tokenizers" in result.errors[0]


def _step(kind: str, **changes: object) -> dict[str, object]:
    return {"type": kind, **changes}


# Tokenisers that break at once -> what the message says.
TOKENIZERS: dict[str, tuple[dict[str, object], str]] = {
    "charsmap": ({"normalizer": _step("Precompiled", precompiled_charsmap="AAAA")}, "charsmap"),
    "parts of nothing": ({"pre_tokenizer": _step("FixedLength", length=0)}, "must be non-zero"),
    "undefined": ({}, "no entry found for key"),
    "many special tokens": ({}, "more special tokens around a text than the 16 tokens"),
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokeniser_that_breaks(toys: Path, tmp_path: Path, kind: str) -> None:
    """In one line, whatever tokenizers prints itself."""
    changes, message = TOKENIZERS[kind]
    good = (toys / "classifier.tflite").read_bytes()
    content = json.loads(forge.split(good)[1][TOKENIZER_FILE]) | changes
    frame = content["post_processor"]
    if kind == "undefined":
        frame["single"].insert(0, {"SpecialToken": {"id": "[NONE]", "type_id": 0}})
    if kind == "many special tokens":
        frame["single"] = frame["single"][:1] * 200 + frame["single"][1:]
    path = tmp_path / "model.tflite"
    path.write_bytes(_files(good, tokenizer=json.dumps(content).encode()))
    result = infer("--model", path, "good")
    assert (result.code, result.lines, len(result.errors)) == (3, [], 1)
    assert message in result.errors[0]


def test_tokeniser_that_breaks_on_a_text(toys: Path, tmp_path: Path) -> None:
    """The texts after it are answered, where the model is not tried first."""
    good = (toys / "classifier.tflite").read_bytes()
    pattern = {"pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    content = json.loads(forge.split(good)[1][TOKENIZER_FILE])
    content["pre_tokenizer"] = _step("Split", **pattern)
    path = tmp_path / "model.tflite"
    path.write_bytes(_files(good, tokenizer=json.dumps(content).encode()))
    texts = b"good\n" + b"a" * 60 + b"!\ngood\n"
    result = infer("--model", path, "--json", "--trust", stdin=texts)
    assert result.code == 1
    first, broken, last = result.objects
    assert first["label"] == last["label"] == "positive"
    assert broken["error"].startswith("the tokeniser breaks on it: Onig: ")
    assert result.errors == [f"tfedge-infer: line 2: {broken['error']}"]


@each_runtime
def test_threads_that_cannot_be_started(toys: Path, runtime: str) -> None:
    """tflite-runtime would wait for them for ever."""
    words = ("--model", str(toys / "classifier.tflite"), "--threads", "16", "--runtime", runtime)
    done = subprocess.run(
        [*COMMAND, *words, "good"],
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (230_000 << 10,) * 2),
    )
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 4
    assert line.startswith("tfedge-infer: 16 threads cannot be started here (")


def test_tokeniser_of_a_larger_model(toys: Path, tmp_path: Path) -> None:
    """A word beyond the embedding table is an error, never a read beyond it."""
    good = (toys / "classifier.tflite").read_bytes()
    tokenizer = forge.split(good)[1][TOKENIZER_FILE].replace(b'"good":5', b'"good":99999')
    path = tmp_path / "model.tflite"
    path.write_bytes(_files(good, tokenizer=tokenizer))
    result = infer("--model", path, "bad", "good", "bad")
    assert (result.code, len(result.errors)) == (1, 1)
    assert [line.split("\t")[0] for line in result.lines] == ["negative", "error", "negative"]
    assert "operation GATHER fails: " in result.errors[0]
