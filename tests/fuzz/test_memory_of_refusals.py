"""What claims gigabytes is refused by a process, and those that it starts, of 200 MB."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import forge
import numpy as np
import pytest
import toy_folders
from oracle import MAX_RSS_MB
from program import environment

from tfedge.runtime.bundle import MANIFEST_FILE

_CLAIM = 400 << 20  # bytes, far more than may be taken
_CONVERT = ("-m", "tfedge.cli", "convert", "c", "--output", "out")
_INFER = ("-m", "tfedge.runtime.infer", "--model", "m.tflite", "good")
_TO = ("--output", "out")
_FINETUNE = ("-m", "tfedge.cli", "finetune", "c")
_OF_INDEX = ("--model", "m.tflite", "--index", "i.npz")
_SEARCH = ("-m", "tfedge.runtime.infer", "search", *_OF_INDEX, "good")
_EVAL = ("-m", "tfedge.cli", "eval", "--model", "m.tflite", "--data")


def _far(number: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "c/tokenizer.json"
        content = json.loads(path.read_text())
        content["model"]["vocab"]["good"] = number
        path.write_text(json.dumps(content))

    return spoil


def _described(**changes: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "c/config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def _special_tokens(folder: Path) -> None:
    (folder / "c/special_tokens_map.json").write_text('{"pad_token": [1]}')


def _many_tensors(folder: Path) -> None:
    path, empty = folder / "c/model.safetensors", {"dtype": "F32", "shape": [0]}
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, end = json.loads(content[8 : 8 + size]), len(content) - 8 - size
    for number in range(300_000):
        header[f"bert.encoder.layer.{number}.bias"] = {**empty, "data_offsets": [end, end]}
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + content[8 + size :])


def _fill(file: IO[bytes]) -> None:
    for _ in range(_CLAIM >> 20):
        file.write(bytes(1 << 20))


def _inflating_manifest(folder: Path) -> None:
    path = folder / "m.tflite"
    graph, files = forge.split(path.read_bytes())
    path.write_bytes(graph)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in {*files} - {MANIFEST_FILE}:
            archive.writestr(name, files[name])
        with archive.open(MANIFEST_FILE, "w") as file:
            _fill(file)


def _claimed_directory(folder: Path) -> None:
    path = folder / "m.tflite"
    end = struct.pack("<HHHHLLH", 0, 0, 1, 1, 3_000_000_000, 0, 0)
    path.write_bytes(path.read_bytes()[:-22] + b"PK\5\6" + end)


def _sparse_directory(folder: Path) -> None:
    """That has all the bytes that it claims."""
    path = folder / "m.tflite"
    graph, _ = forge.split(path.read_bytes())
    with path.open("wb") as file:
        file.write(graph)
        file.seek(3_000_000_000, os.SEEK_CUR)
        file.write(b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 1, 1, 3_000_000_000, len(graph), 0))


def _inflating_texts(folder: Path) -> None:
    with gzip.open(folder / "a.tsv.gz", "wb", 1) as file:
        file.write(b"text\tlabel\n")
        _fill(file)


def _distinct_labels(suffix: str) -> Callable[[Path], None]:
    """A table of 8 to 20 MB, with a label of its own in each row."""
    row = {".tsv": "t%d\tL%d\n", ".csv": "t%d,L%d\n", ".jsonl": '{"text": "t%d", "label": "L%d"}\n'}

    def write(folder: Path) -> None:
        with (folder / f"a{suffix}").open("w") as file:
            file.write({".tsv": "text\tlabel\n", ".csv": "text,label\n"}.get(suffix, ""))
            file.writelines(row[suffix] % (number, number) for number in range(600_000))

    return write


def _endless_row(folder: Path) -> None:
    with (folder / "a.tsv").open("wb") as file:
        file.truncate(3 << 30)


def _inflating_index(folder: Path) -> None:
    """With the names of all its arrays, and their shapes."""
    with np.load(folder / "i.npz") as found:
        arrays = dict(found)
    with zipfile.ZipFile(folder / "i.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                shape = (_CLAIM, *array.shape[1:])
                header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                if name == "texts":
                    _fill(file)


def _packed(name: str, *parts: tuple[bytes, int]) -> Callable[[Path], None]:
    """A gzipped file of some bytes, each so often."""

    def write(folder: Path) -> None:
        with gzip.open(folder / name, "wb", 1) as file:
            for content, count in parts:
                file.write(content * count)

    return write


def _results(folder: Path) -> None:
    """A list with an error, or several, for each of its items."""
    (folder / "r.json").write_text('{"counts": [' + "{}," * 99_999 + "{}]}")


KINDS: dict[str, tuple[Callable[[Path], None], Sequence[str]]] = {
    "an id of a billion": (_far(10**9), _CONVERT),
    "the last id": (_far(2**32 - 1), _CONVERT),
    "a wide encoder": (_described(hidden_size=30_000, intermediate_size=30_000), _CONVERT),
    "a deep encoder": (_described(num_hidden_layers=1000), _CONVERT),
    "a large vocabulary": (_described(vocab_size=2**31 - 1), _CONVERT),
    "a long context": (_described(max_position_embeddings=2**31 - 1), _CONVERT),
    "many tensors": (_many_tensors, _CONVERT),
    "special tokens": (_special_tokens, _CONVERT),
    "labels in words": (lambda folder: None, (*_CONVERT, "--labels", "a,b")),
    "a manifest": (_inflating_manifest, _INFER),
    "a directory": (_claimed_directory, _INFER),
    "a directory that is there": (_sparse_directory, _INFER),
    "texts": (_inflating_texts, (*_EVAL, "a.tsv.gz")),
    "texts to train on": (_inflating_texts, (*_FINETUNE, "--data", "a.tsv.gz", *_TO)),
    "labels of a TSV": (_distinct_labels(".tsv"), (*_EVAL, "a.tsv")),
    "labels of a CSV": (_distinct_labels(".csv"), (*_EVAL, "a.csv")),
    "labels of a JSONL": (_distinct_labels(".jsonl"), (*_EVAL, "a.jsonl")),
    "labels to train on": (_distinct_labels(".tsv"), (*_FINETUNE, "--data", "a.tsv", *_TO)),
    "values of a JSONL": (
        _packed("a.jsonl.gz", (b'{"text": [', 1), (b"[],", 5 << 20), (b"0]}", 1)),
        (*_EVAL, "a.jsonl.gz"),
    ),
    "values of SQuAD's": (
        _packed("a.json.gz", (b'{"data": [', 1), (b"[],", 5 << 20), (b"0]}", 1)),
        (*_EVAL, "a.json.gz"),
    ),
    "lines of CoNLL's": (_packed("a.conll.gz", (b"\n", 8 << 20)), (*_EVAL, "a.conll.gz")),
    "columns": (_packed("a.tsv.gz", (b"\t", 15 << 20)), (*_EVAL, "a.tsv.gz")),
    "cells": (_packed("a.csv.gz", (b"text,label\n", 1), (b",", 15 << 20)), (*_EVAL, "a.csv.gz")),
    "results": (_results, ("-m", "tfedge.cli", "report", "r.json", "--output", "out")),
    "a row": (_endless_row, (*_EVAL, "a.tsv")),
    "an index": (_inflating_index, _SEARCH),
}


# Says how a command ends, and how many KB the largest of all processes took that this has meant. A
# process of its own: until they are another program, what a large one starts counts as large as it is.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def _measured(folder: Path, command: Sequence[str]) -> tuple[int, float, str]:
    """Exit code, MB, and what is said."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, *command],
        cwd=folder,
        env={**environment(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    code, kilobytes = map(int, done.stdout.split())
    return code, kilobytes / 1024, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim(kind: str, toys: Path, tmp_path: Path) -> None:
    spoil, command = KINDS[kind]
    toy_folders.write_folder(tmp_path / "c", small=True)
    toy = "embedder" if command is _SEARCH else "classifier"
    (tmp_path / "m.tflite").write_bytes((toys / f"{toy}.tflite").read_bytes())
    if command is _SEARCH:
        (tmp_path / "a.txt").write_text("good\n")
        index = (*_SEARCH[:2], "index", *_OF_INDEX, "a.txt")
        assert _measured(tmp_path, index)[0] == 0
    spoil(tmp_path)
    code, megabytes, said = _measured(tmp_path, command)
    assert (code, said.count("\n"), said.startswith("tfedge")) == (3, 1, True), said
    assert megabytes < MAX_RSS_MB, said
    assert not (tmp_path / "out").exists()
