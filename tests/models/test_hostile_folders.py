"""Checkpoints that somebody made to do harm, or by chance would: each is refused, and says why."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_folders
from safetensors.numpy import load_file, save_file

from tfedge import tasks
from tfedge.data.tokenizer import check_tokenizer, load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.folder import MODULES, copy_rest, modules_of

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PROMPTS = "config_sentence_transformers.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_folders.write_folder(tmp_path / "inner" / "checkpoint", small=True)


@pytest.fixture
def at_once() -> Iterator[None]:
    """Has the test fail that waits for ever."""

    def fail(*_: object) -> None:
        raise AssertionError("it waits")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def _edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def _opened(folder: Path) -> None:
    tasks.task_and_labels(Checkpoint(folder))


# What `path` of a module is -> what it leads to.
PATHS = ["..", "../..", "/etc", ".", "a/b", "a/../..", "a\0b", "x" * 300, ["1_Pooling"], 7]


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_module_lies_in_its_folder(folder: Path, path: object) -> None:
    modules = [{"path": "", "type": "x.Transformer"}, {"path": path, "type": "x.Pooling"}]
    (folder / MODULES).write_text(json.dumps(modules))
    for read in (modules_of, Checkpoint):
        with pytest.raises(CheckpointError, match="is not the name of a folder in it"):
            read(folder)


def test_a_link_leads_no_module_elsewhere(folder: Path) -> None:
    """Nor does what is copied to a new checkpoint."""
    other = folder.parent / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    (folder / "1_Pooling").symlink_to(other)
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (folder / MODULES).write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="'1_Pooling' is not the name of a folder in it"):
        copy_rest(folder, folder.parent / "new")
    (folder / "1_Pooling").unlink()
    other.rename(folder / "1_Pooling")
    copy_rest(folder, folder.parent / "new")
    assert (folder.parent / "new" / "1_Pooling" / "config.json").read_text() == "{}"


SHARDS = {
    "brackets": ("[" * 100_000, "is not readable JSON"),
    "a list": ("[]", "is not an index of shards"),
    "a list as a name": ('{"weight_map": {"a": ["x"]}}', "is not an index of shards"),
    "a number as a name": ('{"weight_map": {"a": 1}}', "is not an index of shards"),
    "a path": ('{"weight_map": {"a": "../model.safetensors"}}', "is not an index of shards"),
    "the folder above": ('{"weight_map": {"a": ".."}}', "is not an index of shards"),
    "NUL": ('{"weight_map": {"a": "\\u0000"}}', "is not an index of shards"),
    "a long name": (json.dumps({"weight_map": {"a": "x" * 400}}), "is not an index of shards"),
    "half a character": ('{"weight_map": {"a": "\\ud800"}}', "must give the name of a file"),
    "no UTF-8": (b"\xff", "is not readable JSON"),
    "large": (b" " * (5 << 20), "has more than 4,194,304 bytes"),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_an_index_of_shards(folder: Path, kind: str) -> None:
    content, message = SHARDS[kind]
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(folder)


# What config.json, or another file, says -> what is said of it.
SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "half a character": ("config.json", {"id2label": {"0": "\ud800", "1": "b"}}, "calls label 0"),
    "controls": ("config.json", {"id2label": {"0": "a", "1": "\x1b[2J"}}, "calls label 1"),
    "a tab": ("config.json", {"id2label": {"0": "a\tb", "1": "c"}}, "calls label 0"),
    "a list": ("config.json", {"id2label": ["a", "b"]}, "it must be an object"),
    "an empty list": ("config.json", {"id2label": []}, "it must be an object"),
    "many labels": (
        "config.json",
        {"id2label": {str(number): f"L{number}" for number in range(90_000)}},
        r"names 90,000 labels, and classifier\.weight has 2 rows for them; one of the two",
    ),
    "no epsilon": ("config.json", {"layer_norm_eps": 0}, "layer_norm_eps is 0; it must be a num"),
    "large": ("config.json", {"hidden_size": 30_000, "intermediate_size": 30_000}, "describes an"),
    "deep": ("config.json", {"num_hidden_layers": 1000}, "config.json describes an encoder"),
    "prompt": (PROMPTS, {"default_prompt_name": ["x"], "prompts": {}}, "must be the name of a"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings(folder: Path, kind: str) -> None:
    name, changes, message = SETTINGS[kind]
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (folder / MODULES).write_text(json.dumps(modules))
    path = folder / name
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **changes}))
    with pytest.raises(CheckpointError, match=message):
        _opened(folder)


# A tensor's values -> what is said of it. The second one is a claim that takes no room in the file.
TENSORS = {
    "scalar": (np.array(1.0, np.float32), "is of shape \\[\\]"),
    "rows of nothing": (np.zeros((10**9, 0), np.float32), "is of shape \\[1000000000, 0\\]"),
    "no rows": (np.zeros((0, 32), np.float32), "is of shape \\[0, 32\\]"),
    "one axis": (np.zeros(2, np.float32), "is of shape \\[2\\]"),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_classifier_has_a_row_for_each_label(folder: Path, kind: str) -> None:
    tensor, message = TENSORS[kind]
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "classifier.weight": tensor}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"classifier.weight {message}"):
        _opened(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_are_finite(folder: Path, value: float) -> None:
    """Those of words that no text has, too: they would decide the range of all."""
    tensors = load_file(folder / WEIGHTS)
    name = "embeddings.word_embeddings.weight"
    tensors[f"bert.{name}"][-1, 0] = value
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"{name} has numbers that are not finite"):
        Checkpoint(folder).read(name)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        MODULES,
        PROMPTS,
        "vocab.txt",
        WEIGHTS,
    ],
)
@pytest.mark.usefixtures("at_once")
def test_nothing_waits_for_a_pipe(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=r"is a pipe or a device; give a file|has no model\.saf"):
        _opened(folder)
        load_tokenizer(folder)


def _step(kind: str, **changes: Any) -> dict[str, Any]:
    return {"type": kind, **changes}


_REPLACE = _step("Replace", pattern={"String": "a"}, content="a" * 100)
_SPLIT = {"behavior": "Isolated", "invert": False}
_HUGE = base64.b64encode((2**32 - 4).to_bytes(4, "little") + bytes(8)).decode()
# What of tokenizer.json is another -> what is said of it.
TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "charsmap": ({"normalizer": _step("Precompiled", precompiled_charsmap="AAAA")}, "charsmap"),
    "huge charsmap": (
        {"normalizer": _step("Precompiled", precompiled_charsmap=_HUGE)},
        "more than 2048 MB of memory",
    ),
    "parts of nothing": ({"pre_tokenizer": _step("FixedLength", length=0)}, "non-zero"),
    "backtracking": (
        {"pre_tokenizer": _step("Split", pattern={"Regex": "(a+)+$"}, **_SPLIT)},
        "retry-limit",
    ),
    "growth": (
        {"normalizer": _step("Sequence", normalizers=[_REPLACE] * 5)},
        "by more than 1000 others",
    ),
    "growth of another letter": (
        {
            "normalizer": _step(
                "Sequence",
                normalizers=[{**_REPLACE, "pattern": {"Regex": "\\x{df}"}, "content": "ß" * 99}]
                * 3,
            )
        },
        "by more than 1000 others",
    ),
    "nested": ({"post_processor": None}, "recursion limit"),
    "undefined": ({"post_processor": None}, "no entry found for key"),
    "many special tokens": ({"post_processor": None}, "special tokens"),
    "no token for padding": ({"model": None}, "has no padding token"),
    "far": ({"model": None}, "a tokeniser of 1000000001 tokens"),
    "farthest": ({"model": None}, "a tokeniser of 4294967296 tokens"),
}


def _spoil(content: dict[str, Any], kind: str) -> None:
    """What is made of the toys' own."""
    frame = content["post_processor"]
    if kind == "nested":
        for _ in range(300):
            content["post_processor"] = _step("Sequence", processors=[content["post_processor"]])
    elif kind == "undefined":
        frame["single"].insert(0, {"SpecialToken": {"id": "[NONE]", "type_id": 0}})
    elif kind == "many special tokens":
        frame["single"] = frame["single"][:1] * 200 + frame["single"][1:]
    elif kind == "no token for padding":
        content["model"]["vocab"]["[XXX]"] = content["model"]["vocab"].pop("[PAD]")
    elif kind == "far":
        content["model"]["vocab"]["good"] = 10**9
    elif kind == "farthest":
        content["model"]["vocab"]["good"] = 2**32 - 1
    else:
        content.update(TOKENIZERS[kind][0])


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokeniser_that_breaks(
    folder: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a process of its own: nothing is printed of a panic, and no memory is taken in this one."""
    _edit(folder / "tokenizer.json", lambda content: _spoil(content, kind))
    vocab_size = Checkpoint(folder).config.vocab_size
    with pytest.raises(CheckpointError, match=TOKENIZERS[kind][1]) as caught:
        load_tokenizer(folder, vocab_size)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
    if kind not in ("many special tokens", "no token for padding"):  # which transformers may add
        with pytest.raises(CheckpointError, match=TOKENIZERS[kind][1]):
            check_tokenizer(folder, vocab_size)


def test_a_slow_tokeniser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place in the text takes long, though none too long for the library."""
    monkeypatch.setattr("tfedge.runtime.trial._SECONDS", 1)
    pattern = {"Regex": "(a|a){1,20}[^a]!"}
    step = _step("Split", pattern=pattern, **_SPLIT)
    _edit(folder / "tokenizer.json", lambda content: content.update(pre_tokenizer=step))
    with pytest.raises(CheckpointError, match="it takes more than 1 seconds"):
        check_tokenizer(folder, None)
