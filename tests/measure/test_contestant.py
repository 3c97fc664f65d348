"""A contestant's process: how it starts, what it is asked, what becomes of one that misbehaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from program import each_runtime
from talker import FACTS, talker

from tfedge.errors import InputError, MissingPackageError, RejectedModelError, TfedgeError
from tfedge.measure.contestant import Contestant, Facts, converted, running


def start(contestant: Contestant) -> None:
    with running(contestant, "good"):
        pass


@each_runtime
def test_converted_model(toys: Path, runtime: str) -> None:
    path = toys / "buckets.tflite"
    contestant, bundle = converted(str(path), runtime, threads=2)
    assert (contestant.name, contestant.file) == (str(path), path)
    assert contestant.size_bytes == path.stat().st_size
    assert bundle.manifest.name == "buckets"
    assert contestant.facts == Facts(
        kind="tfedge", model="buckets", mode="float32", lengths=[8, 16]
    )
    assert contestant.is_float
    with running(contestant, "good") as process:
        assert process.runtime.startswith(runtime)
        assert process.threads == 2
        assert 0 < process.start_s < 60
        block = process.answer(["a good film", "", "dull"])
    assert [answer.get("label") for answer in block.answers] == ["positive", None, "negative"]
    assert block.tokenize_s.shape == block.infer_s.shape == (3,)
    assert block.peak_rss_bytes is not None
    assert block.peak_rss_bytes > contestant.size_bytes


def test_length_behind_the_path(toys: Path, tmp_path: Path) -> None:
    path = toys / "buckets.tflite"
    contestant, _ = converted(f"{path}@8", None, 1)
    assert contestant.name == f"{path}@8"
    assert (contestant.request or {})["length"] == 8
    with running(contestant, "good") as process:
        (answer,) = process.answer(["good " * 9]).answers
    assert answer["truncated"]
    with pytest.raises(
        InputError, match=r"buckets.tflite has no graph for 12 tokens; it has 8, 16$"
    ):
        converted(f"{path}@12", None, 1)
    odd = tmp_path / "model.tflite@8"
    odd.write_bytes(path.read_bytes())
    contestant, _ = converted(str(odd), None, 1)
    assert (contestant.file, (contestant.request or {})["length"]) == (odd, None)


def test_what_is_no_contestant(toys: Path, tmp_path: Path) -> None:
    for given, message in (
        (str(toys / "none.tflite"), "no such file"),
        (str(toys / "none.tflite@8"), r"none.tflite: no such file"),
        (str(toys / "classifier.tflite@fast"), "no such file"),
        (str(toys / "classifier.bare.tflite"), "not made by `tfedge convert`"),
        (str(tmp_path), "not a file"),
    ):
        with pytest.raises(InputError, match=message):
            converted(given, None, 1)


def test_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/a").write_bytes(bytes(3))
    (tmp_path / "model/deep/b").write_bytes(bytes(4))
    assert Contestant("toy", ("true",), tmp_path / "model", FACTS).size_bytes == 7


def test_refusals(toys: Path) -> None:
    contestant, _ = converted(str(toys / "future.tflite"), "litert", 1)
    with pytest.raises(
        RejectedModelError, match=r"future.tflite: its runtime does not run it: .*lacks"
    ):
        start(contestant)


@pytest.mark.parametrize(
    ("then", "kind", "message"),
    [
        ("crash", RejectedModelError, r"^toy: its runtime crashed running it \(SIGSEGV\)$"),
        (
            "refuse",
            RejectedModelError,
            "^toy: its runtime does not run it: it lacks the operation GELU$",
        ),
        ("junk", TfedgeError, "printed 'Welcome to the board!', which is not an answer"),
        ("list", TfedgeError, r"printed '\[\]', which is not an answer"),
        ("few", RejectedModelError, "^toy answered 0 of 1 texts$"),
    ],
)
def test_misbehaviour(tmp_path: Path, then: str, kind: type[TfedgeError], message: str) -> None:
    with pytest.raises(kind, match=message):
        start(talker(tmp_path, "toy", then=then))


def script(folder: Path, content: str) -> Contestant:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{content}\n")
    path.chmod(0o700)
    return Contestant("toy", (str(path),), path, FACTS)


def test_programs_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match=r"^litert is not installed$"):
        start(script(tmp_path, "echo litert is not installed >&2; exit 4"))
    with pytest.raises(RejectedModelError, match=r"does not run it: it said nothing$"):
        start(script(tmp_path, "exit 0"))
    with pytest.raises(TfedgeError, match=r"^toy: its program gave no proper answer \(KeyError"):
        start(script(tmp_path, "echo '{}'; read line; echo '{}'"))
    missing = Contestant("toy", (str(tmp_path / "python9"),), tmp_path, FACTS)
    with pytest.raises(TfedgeError, match=r"^cannot start .*python9: No such file or directory$"):
        start(missing)


def test_process_ends_with_the_block(tmp_path: Path) -> None:
    """Also where an interrupt ends it."""
    with pytest.raises(KeyboardInterrupt), running(talker(tmp_path), "good") as found:
        raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(found.process.pid, 0)


def test_more_than_a_pipe_holds(tmp_path: Path) -> None:
    with running(talker(tmp_path), "good") as process:
        assert len(process.answer(["good " * 1000] * 100).answers) == 100
    assert sys.executable == process.contestant.command[0]
