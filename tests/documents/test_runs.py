"""Runs the blocks of all documents, those of each in one folder and one after the other.

In the fast tests run the blocks of boards (`tfedge-infer`, Python) and of the shell; with `-m slow` all
that are not marked. `reader.py` and `stand_ins.py` say what is a toy and what stands in for a program.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import reader
import toy_images
from bars import Bars
from blocks import RUN, Block
from once import Once
from stand_ins import programs

from tfedge.conversion.convert import ConvertOptions, convert

pytest.importorskip("PIL")


def is_hosts(block: Block) -> bool:
    """Whether it converts or trains, which takes long."""
    return block.language == "sh" and "tfedge" in programs(block.text)


FAST = [block for block in RUN if not is_hosts(block)]


def _convert(source: Path, output: Path, quantization: str, **options: object) -> Path:
    made = ConvertOptions(quantization, buckets=(), output=output, max_drop=100.0, **options)
    convert(str(source), made, Bars())
    return output / source.name


@pytest.fixture(scope="session")
def checkpoints(once: Once) -> Path:
    return once.folder("documents checkpoints", reader.write_checkpoints)


@pytest.fixture(scope="session")
def board_models(once: Once, checkpoints: Path) -> Path:
    """Models of the board that `toys.py` has none like."""

    def make(folder: Path) -> None:
        work = folder.with_suffix(".work")
        images = str(toy_images.write_images(work / "images", 18))
        for source, names, options in (
            ("my-reranker", ["reranker"], {}),
            ("my-nli", ["nli"], {}),
            ("my-deit", ["my-deit_int8", "my-deit_mixed"], {"evaluation": images}),
        ):
            made = _convert(checkpoints / source, work, "float32", **options)
            for name in names:
                shutil.copy(made / f"{source}_float32.tflite", folder / f"{name}.tflite")

    return once.folder("documents board", make)


@pytest.fixture(scope="session")
def host_models(once: Once, checkpoints: Path, board_models: Path) -> Path:
    """Those of the board, and those that commands of the host read."""

    def make(folder: Path) -> None:
        shutil.copytree(board_models, folder, dirs_exist_ok=True)
        shutil.copytree(checkpoints, folder, dirs_exist_ok=True)
        work = folder.with_suffix(".work")
        source = checkpoints / "tinybert"
        made = _convert(source, work, "int8", keep_reference=True)
        _convert(source, work, "dynamic")
        (folder / "saved_models/tinybert").mkdir(parents=True)
        for kind, names in (
            ("int8", ("X", "X_int8", "saved_models/tinybert/tinybert_int8")),
            ("int8", ("saved_models/tinybert/tinybert_edgetpu_int8",)),
            ("int8_reference", ("X_int8_reference",)),
            ("dynamic", ("X_dynamic",)),
        ):
            for name in names:
                shutil.copy(made / f"tinybert_{kind}.tflite", folder / f"{name}.tflite")

    return once.folder("documents host", make)


def _run(chosen: Sequence[Block], folder: Path) -> None:
    before = ""
    for block in chosen:
        if "jq" in block.text and shutil.which("jq") is None:
            continue
        reader.run(block, folder, before, reader.TIMEOUT_S if is_hosts(block) else reader.QUICK_S)
        if block.language == "python":
            before += block.text


def _by_page(chosen: Sequence[Block]) -> Iterator[tuple[str, list[Block]]]:
    for page, found in itertools.groupby(chosen, key=lambda block: block.page):
        yield page, list(found)


BOARDS = list(_by_page(FAST))
HOSTS = [(page, chosen) for page, chosen in _by_page(RUN) if any(map(is_hosts, chosen))]


def test_something_runs() -> None:
    assert len(FAST) > 20


@pytest.mark.parametrize(("page", "chosen"), BOARDS, ids=[page for page, _ in BOARDS])
def test_blocks_of_the_board_run(
    page: str, chosen: list[Block], tmp_path: Path, toys: Path, board_models: Path
) -> None:
    reader.write_reader(tmp_path, toys, board_models)
    _run(chosen, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "chosen"), HOSTS, ids=[page for page, _ in HOSTS])
def test_all_blocks_run(
    page: str, chosen: list[Block], tmp_path: Path, toys: Path, host_models: Path
) -> None:
    reader.write_reader(tmp_path, toys, host_models)
    _run(chosen, tmp_path)
