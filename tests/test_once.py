"""What is made once a run is made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from once import Once, digest


def test_is_made_once_for_a_key(tmp_path: Path) -> None:
    calls: list[Path] = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("content")

    once = Once(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: once.folder("a", make), range(8)))
    assert len(calls) == len(made) == 1
    assert (made.pop() / "file").read_text() == "content"
    once.folder("b", make)
    assert len(calls) == 2


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("full")

    once = Once(tmp_path)
    with pytest.raises(OSError, match="full"):
        once.folder("a", fail)
    assert list(once.folder("a", lambda folder: None).iterdir()) == []


def test_digest_tells_names_and_contents(tmp_path: Path) -> None:
    def of(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
        return digest(folder)

    assert of(a="1", b="2") == of(b="2", a="1")
    assert len({of(a="1", b="2"), of(a="2", b="1"), of(a="12"), of(a="1")}) == 4
