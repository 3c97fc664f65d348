"""`tfedge-infer index` and `tfedge-infer search` from outside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from program import TIMEOUT_S, Result, infer, start
from test_stream import read_line, send

from tfedge.runtime import infer as infer_module
from tfedge.runtime import load, search
from tfedge.runtime.search import Index, Passage

NOTES = {
    "notes/a.md": "# A good film\n\n- Ada was born\n- bad, awful\n",
    "notes/sub/b.txt": "Bob\n",
    "notes/c.pdf": "great\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in NOTES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(toys: Path, folder: Path):
    """Runs a command on the index of the folder with the embedder or another toy."""

    def run(
        command: str, *arguments: str | Path, toy: str = "embedder", **options: bytes
    ) -> Result:
        model = ("--model", toys / f"{toy}.tflite")
        return infer(command, *model, "--index", folder / "x.npz", *arguments, **options)

    return run


def test_index_and_search(run, folder: Path) -> None:
    made = run("index", folder / "notes")
    assert (made.code, made.errors) == (0, [])
    said = "passages: 4, files: 2; texts: 4 new, 0 known, 0 gone"
    assert made.lines == [f"{folder}/x.npz: {said}"]
    found = run("search", "good")
    assert (found.code, found.errors, len(found.lines)) == (0, [], 4)
    score, place, text = found.lines[0].split("\t")
    assert 0 < float(score) <= 1
    assert (place, text) == (f"{folder}/notes/a.md:1", "# A good film")
    (best,) = run("search", "--json", "--top-k", "1", "bob").objects
    assert list(best) == ["query", "score", "path", "line", "text"]
    assert best.pop("score") == pytest.approx(1, abs=0.01)
    assert best == {"query": "bob", "path": f"{folder}/notes/sub/b.txt", "line": 1, "text": "Bob"}
    assert run("search", "--min-score", "0.99", "bob").lines[1:] == []
    assert run("search", "--min-score", "nan", "bob").code == 2
    long = folder / ("x" * 300)
    lost = run("index", long)
    assert (lost.code, lost.lines) == (3, [])
    assert lost.errors == [f"tfedge-infer: {long}: File name too long; give another path"]


def test_paths_lead_to_the_files_from_where_one_is(
    run, toys: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", folder / "notes")
    for place, path in ((".", "notes/sub/b.txt"), ("notes", "../notes/sub/b.txt")):
        monkeypatch.chdir(folder / place)
        index = os.path.relpath(folder / "x.npz")
        found = infer("search", "--model", toys / "embedder.tflite", "--index", index, "bob")
        assert found.lines[0].split("\t")[1] == f"{path}:1"


def test_names_and_texts_of_an_index_are_escaped(run, toys: Path, folder: Path) -> None:
    """Files may be called anything, and an index, too, may be anybody's."""
    (folder / "notes/\x1b]0;x\x07\n.txt").write_text("good\n")
    run("index", folder / "notes")
    found = run("search", "good")
    assert len(found.lines) == 5
    other = folder / "\x1b]0;x\x07\n.npz"
    made = run("index", "--index", other, folder / "notes")
    assert made.lines[0].startswith(f"{folder}/\\x1b]0;x\\x07\\x0a.npz: passages: 5,")
    assert f"{folder}/notes/\\x1b]0;x\\x07\\x0a.txt:1\tgood" in "\n".join(found.lines)
    with load(str(toys / "embedder.tflite")) as model:
        passages = [Passage("\x9b2J", 1, "good\x1b[2J\nand\tbad")]
        Index.build(model, passages).save(folder / "x.npz")
    (line,) = run("search", "good").lines
    assert line.endswith(f"\t{folder}/\\x9b2J:1\tgood\\x1b[2J and bad")


def test_again(run, folder: Path) -> None:
    run("index", folder / "notes")
    (folder / "notes/a.md").write_text("- Ada was born\nnew\n")
    (folder / "notes/sub/b.txt").rename(folder / "notes/d.txt")
    (line,) = run("index", folder / "notes").lines
    assert line.endswith(": passages: 3, files: 2; texts: 1 new, 2 known, 2 gone")
    assert run("search", "bob").lines[0].split("\t")[1] == f"{folder}/notes/d.txt:1"
    (line,) = run("index", folder / "notes/c.pdf").lines
    assert line.endswith(": passages: 1, files: 1; texts: 1 new, 0 known, 3 gone")


def test_paragraphs_and_suffixes(run, folder: Path) -> None:
    run("index", "--by", "paragraph", "--suffix", ".md", "--suffix", ".pdf", folder / "notes")
    texts = [found["text"] for found in run("search", "--json", "good").objects]
    assert sorted(texts) == ["# A good film", "- Ada was born - bad, awful", "great"]


def test_long_passages_are_cut(run, folder: Path) -> None:
    text = "\n".join(f"film {number} is good" for number in range(10))
    (folder / "long.txt").write_text(text)
    made = run("index", "--by", "file", folder / "long.txt")
    assert (made.code, made.errors) == (0, [])
    places = [int(found["line"]) for found in run("search", "--json", "--top-k", "99", "0").objects]
    assert len(places) >= 4
    assert set(places) <= set(range(1, 11))


def test_queries_from_standard_input(run, toys: Path, folder: Path) -> None:
    run("index", folder / "notes")
    arguments = ("--model", toys / "embedder.tflite", "--index", folder / "x.npz", "--top-k", "1")
    with start("search", *arguments) as process:
        for query, text in ((b"bob\n", b"Bob\n"), (b"awful\n", b"- bad, awful\n")):
            send(process, query)
            assert read_line(process).endswith(b"\t" + text)
            assert read_line(process) == b"\n"
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    stream = b"bob\n\nbad \xff\n" + b"good " * 20
    plain = run("search", "--top-k", "1", stdin=stream)
    assert plain.code == 1
    assert [line.split("\t")[0] for line in plain.lines[1:6]] == ["", "error", "", "error", ""]
    assert plain.errors == [
        "tfedge-infer: query 2: the text is empty",
        "tfedge-infer: query 3: the line is not valid UTF-8",
        "tfedge-infer: query 4: longer than 16 tokens, searched by its beginning",
    ]
    objects = run("search", "--top-k", "1", "--json", stdin=stream).objects
    assert [list(one)[1] for one in objects] == ["score", "error", "error", "score"]


def test_what_is_left_out_is_named(run, folder: Path) -> None:
    (folder / "notes/latin.txt").write_bytes(b"caf\xe9")
    made = run("index", folder / "notes")
    assert (made.code, len(made.lines)) == (1, 1)
    path = folder / "notes/latin.txt"
    assert made.errors == [f"tfedge-infer: left out: {path}: not UTF-8"]


def test_wrong_arguments(run, folder: Path) -> None:
    run("index", folder / "notes")
    before = (folder / "x.npz").read_bytes()
    (folder / "empty").mkdir()
    for command, arguments, toy, code, message in (
        ("index", [folder / "nowhere"], "embedder", 2, "nowhere: no such file or folder"),
        ("index", [folder / "empty"], "embedder", 1, "whose names end in .txt, .md (--suffix)"),
        ("index", [], "embedder", 2, "(see tfedge-infer index --help)"),
        ("index", ["--by", "word", folder], "embedder", 2, "'line', 'paragraph', 'file'"),
        ("index", [folder], "classifier", 2, "needs a sentence-embedding model"),
        ("search", ["x"], "reader", 2, "is for question-answering; one is `tfedge convert minilm`"),
        ("search", ["--top-k", "0", "x"], "embedder", 2, "'--top-k'"),
        ("search", ["--index", folder / "y.npz", "x"], "embedder", 3, "no such file; make it with"),
        ("index", ["--index", folder / "no/x.npz", folder], "embedder", 2, "no folder that can be"),
    ):
        result = run(command, *arguments, toy=toy)
        assert (result.code, result.lines, len(result.errors)) == (code, [], 1), arguments
        assert message in result.errors[0]
    assert (folder / "x.npz").read_bytes() == before


def test_bad_indexes(run, folder: Path) -> None:
    run("index", folder / "notes")
    path = folder / "x.npz"
    index = Index.load(path)
    with np.load(path) as arrays:
        kept = dict(arrays)
    other = index.about.to_json().replace(index.about.fingerprint.encode(), b"0" * 64)
    np.savez(path, **{**kept, "about": np.frombuffer(other, np.uint8)})
    for command in ("index", "search"):
        result = run(command, folder / "notes")
        assert (result.code, len(result.errors)) == (3, 1)
        assert "x.npz: the index was made with another conversion of 'embedder'" in result.errors[0]
    path.write_bytes(b"PK")
    for command in ("index", "search"):
        result = run(command, folder / "notes")
        assert (result.code, len(result.errors)) == (3, 1)
        assert "x.npz: damaged, or not made by" in result.errors[0]


def test_interrupt_keeps_what_is_embedded(
    run,
    toys: Path,
    folder: Path,
    in_process: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real, count = search.embed, 0

    def embed(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(search, "embed", embed)
    arguments = ["index", "--model", str(toys / "embedder.tflite"), "--runtime", in_process]
    arguments += ["--index", str(folder / "x.npz"), str(folder / "notes")]
    assert infer_module.run(arguments) == 130
    out, err = capfd.readouterr()
    assert out == ""
    assert "x.npz holds 2 of 4 texts; the same command goes on" in err
    found = run("search", "good")
    assert (found.code, len(found.lines)) == (0, 2)
    assert "is incomplete" in found.errors[0]
    (line,) = run("index", folder / "notes").lines
    assert line.endswith("2 new, 2 known, 0 gone")
    assert run("search", "good").errors == []


def test_progress_and_what_is_kept_meanwhile(
    toys: Path,
    folder: Path,
    in_process: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from tfedge.runtime import search_commands

    monkeypatch.setattr(search_commands, "_SAY_SECONDS", 0.0)
    monkeypatch.setattr(search_commands, "_SAVE_SECONDS", 0.0)
    kept: list[int] = []
    monkeypatch.setattr(Index, "save", lambda index, path: kept.append(len(index)))
    arguments = ["index", "--model", str(toys / "embedder.tflite"), "--runtime", in_process]
    arguments += ["--index", str(folder / "x.npz"), str(folder / "notes")]
    assert infer_module.run(arguments) == 0
    err = capfd.readouterr().err
    assert "3 of 4 texts embedded, 0 s left" in err
    assert f"3 passages read, now in {folder}/notes/a.md" in err
    assert kept == [1, 2, 3, 4, 4]


def test_words_of_commands_are_texts_behind_options(toys: Path) -> None:
    for word in ("index", "search"):
        result = infer("--model", toys / "classifier.tflite", "--json", word)
        assert (result.code, result.objects[0]["text"]) == (0, word)


@pytest.mark.parametrize("command", ["index", "search"])
def test_help_teaches(command: str) -> None:
    result = infer(command, "--help")
    assert result.code == 0
    text = "\n".join(result.lines)
    assert f"Usage: tfedge-infer {command} " in text
    assert all(word in text for word in ("Examples:", "Exit codes:", "--model", "--index"))
    assert f"tfedge-infer {command}" in "\n".join(infer("--help").lines)
