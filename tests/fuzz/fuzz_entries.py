"""Where what strangers made comes in: a program, and a strategy of runs of it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import mutants
from forge import join, split
from hypothesis import strategies as st
from oracle import Case

from tfedge.runtime.bundle import MANIFEST_FILE, TOKENIZER_FILE

Cases = st.SearchStrategy[Case]
MODEL = "in/m.tflite"


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What is spoilt: all small, all good.

    Attributes:
        models: .tflite files of `toys.py` by name.
        checkpoint: files of a toy folder by name.
        texts: a table of texts and labels, TSV.
        index: what `tfedge-infer index` makes with the embedder.
        recipe, results: TOML, and what `inspect --json` prints.
    """

    models: Mapping[str, bytes]
    checkpoint: Mapping[str, bytes]
    texts: bytes
    index: bytes
    recipe: bytes
    results: bytes


@dataclasses.dataclass(frozen=True)
class Entry:
    """A way in. `share` is how many of all mutants come in here, in proportion to the others."""

    program: str
    cases: Callable[[Seeds], Cases]
    share: int = 2


def _asked(model: bytes, *options: str) -> Case:
    return Case({"m.tflite": model}, ["--model", MODEL, *options, "good film"], partial=True)


def _whole(seeds: Seeds) -> Cases:
    models = st.sampled_from([seeds.models[name] for name in ("classifier", "int8", "tagger")])
    return models.flatmap(mutants.spoilt_bytes).map(_asked)


def signed(graph: bytes, files: Mapping[str, bytes]) -> bytes:
    """A bundle whose manifest says that this is its graph, as whoever forges one would have it."""
    manifest = json.loads(files[MANIFEST_FILE])
    manifest |= {"model_bytes": len(graph), "model_sha256": hashlib.sha256(graph).hexdigest()}
    return join(graph, {**files, MANIFEST_FILE: json.dumps(manifest).encode()})


def _graph(runtime: str) -> Callable[[Seeds], Cases]:
    def cases(seeds: Seeds) -> Cases:
        @st.composite
        def draw_case(draw: st.DrawFn) -> Case:
            graph, files = split(
                seeds.models[draw(st.sampled_from(("classifier", "int8", "buckets")))]
            )
            return _asked(signed(draw(mutants.spoilt_words(graph)), files), "--runtime", runtime)

        return draw_case()

    return cases


def _member(name: str) -> Callable[[Seeds], Cases]:
    """A file within the bundle, as JSON."""

    def cases(seeds: Seeds) -> Cases:
        @st.composite
        def draw_case(draw: st.DrawFn) -> Case:
            graph, files = split(
                seeds.models[draw(st.sampled_from(("classifier", "tagger", "reader")))]
            )
            spoilt = draw(mutants.json_bytes(json.loads(files[name])))
            return _asked(
                join(graph, {**files, name: spoilt}), *draw(st.sampled_from(((), ("--json",))))
            )

        return draw_case()

    return cases


def _archive(seeds: Seeds) -> Cases:
    graph, files = split(seeds.models["classifier"])
    return mutants.spoilt_archive(files, graph).map(_asked)


def _stream(*options: str) -> Callable[[Seeds], Cases]:
    def cases(seeds: Seeds) -> Cases:
        good: list[Any] = [
            {"text": "good film", "id": 1},
            {"text": "bad", "text_pair": "film"},
            "good",
        ]
        one = mutants.TEXT
        if "--jsonl" in options:
            one = one | st.sampled_from(good).flatmap(mutants.json_bytes)
        lines = st.lists(
            one.map(lambda line: line.replace(b"\n", b" ") + b"\n"), min_size=1, max_size=12
        )

        def case(model: bytes, given: list[bytes]) -> Case:
            argv = ["--model", MODEL, "--trust", *options]
            return Case({"m.tflite": model}, argv, b"".join(given), len(given), partial=True)

        # Those of one text say of the option that they take no pairs, whatever the lines are.
        names = (
            ("classifier", "reader")
            if "--pair" in options
            else ("classifier", "tagger", "embedder", "buckets")
        )
        return st.builds(case, st.sampled_from([seeds.models[name] for name in names]), lines)

    return cases


def _index(seeds: Seeds) -> Cases:
    with zipfile.ZipFile(io.BytesIO(seeds.index)) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}

    @st.composite
    def one_array(draw: st.DrawFn) -> bytes:
        name = draw(st.sampled_from(sorted(arrays)))
        spoilt = draw(mutants.spoilt_bytes(arrays[name]) | mutants.spoilt_words(arrays[name]))
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            for other, content in arrays.items():
                archive.writestr(other, spoilt if other == name else content)
        return made.getvalue()

    def case(index: bytes) -> Case:
        files = {"m.tflite": seeds.models["embedder"], "i.npz": index}
        return Case(
            files,
            ["search", "--model", MODEL, "--trust", "--index", "in/i.npz", "good film"],
            partial=True,
        )

    spoilt = one_array() | mutants.spoilt_archive(arrays) | mutants.spoilt_bytes(seeds.index)
    return spoilt.map(case)


def _passages(seeds: Seeds) -> Cases:
    def case(notes: list[bytes], by: str) -> Case:
        files = {f"n/{number}.txt": text for number, text in enumerate(notes)}
        argv = ["index", "--model", MODEL, "--trust", "--index", "out/i.npz", "--by", by, "in/n"]
        return Case({"m.tflite": seeds.models["embedder"], **files}, argv, partial=True)

    notes = st.lists(mutants.TEXT, min_size=1, max_size=3)
    return st.builds(case, notes, st.sampled_from(("line", "paragraph", "file")))


_CHECKPOINT_COMMANDS = (
    ("convert", "in/c", "--calibration", "in/a.tsv", "--eval", "in/a.tsv", "--output", "out"),
    ("finetune", "in/c", "--data", "in/a.tsv", "--output", "out/f"),
    ("eval", "--model", "in/c", "--data", "in/a.tsv"),
)


def _checkpoint(seeds: Seeds) -> Cases:
    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        name = draw(st.sampled_from(sorted(seeds.checkpoint)))
        good = seeds.checkpoint[name]
        if name.endswith(".safetensors"):
            spoilt = draw(mutants.spoilt_safetensors(good))
        else:
            spoilt = draw(mutants.json_bytes(json.loads(good)))
        files = {f"c/{other}": content for other, content in seeds.checkpoint.items()}
        return Case(
            {**files, f"c/{name}": spoilt, "a.tsv": seeds.texts},
            draw(st.sampled_from(_CHECKPOINT_COMMANDS)),
        )

    return draw_case()


def _weights(seeds: Seeds) -> Cases:
    """The same folders, past the first look."""
    return _checkpoint(seeds).map(lambda case: Case(case.files, ["in/c"]))


def _data(seeds: Seeds) -> Cases:
    rows = [
        dict(zip(("text", "label"), line.split("\t"), strict=True))
        for line in seeds.texts.decode().splitlines()[:20]
    ]
    good = {
        "tsv": seeds.texts,
        "csv": seeds.texts.replace(b",", b";").replace(b"\t", b","),
        "jsonl": "".join(json.dumps(row) + "\n" for row in rows[1:]).encode(),
        "txt": "".join(row["text"] + "\n" for row in rows[1:]).encode(),
    }

    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        kind = draw(st.sampled_from(("tsv", "csv", "jsonl", "txt")))
        content = draw(mutants.spoilt_table(good[kind]))
        if kind == "jsonl" and draw(st.booleans()):
            content = draw(mutants.json_bytes(rows[1])) + b"\n" + good[kind]
        if draw(st.sampled_from((False, False, False, True))):
            kind, content = f"{kind}.gz", draw(mutants.packed(content))
        files = {f"a.{kind}": content}
        if draw(st.booleans()):
            folder = {f"c/{other}": weights for other, weights in seeds.checkpoint.items()}
            return Case(
                {**files, **folder},
                ["finetune", "in/c", "--data", f"in/a.{kind}", "--output", "out/f"],
            )
        files["m.tflite"] = seeds.models["classifier"]
        return Case(files, ["eval", "--model", MODEL, "--data", f"in/a.{kind}"])

    return draw_case()


def _recipe(seeds: Seeds) -> Cases:
    def case(content: bytes) -> Case:
        files = {"r.toml": content, "a.tsv": seeds.texts}
        files |= {f"c/{name}": good for name, good in seeds.checkpoint.items()}
        return Case(files, ["run", "in/r.toml", "--dry-run", "--output", "out/r"])

    lines = seeds.recipe.splitlines(keepends=True)
    values = (
        b"-1",
        b"1e999",
        b'""',
        b'"\\u0000"',
        b"[]",
        b"true",
        b"1979-05-27",
        b"nan",
        b'"' + b"a" * 9000 + b'"',
    )
    values += (
        b"[" * 2000 + b"]" * 2000,
        b'"../../../x"',
        b'"/etc"',
        b"99999999999999999999",
        b'"\x1b[31m"',
    )

    @st.composite
    def other_value(draw: st.DrawFn) -> bytes:
        spoilt = list(lines)
        for _ in range(draw(mutants.COUNTS)):
            place = draw(st.integers(0, len(lines) - 1))
            key, equals, _ = spoilt[place].partition(b"=")
            value = draw(
                st.sampled_from(values)
                | st.text(max_size=5).map(lambda text: json.dumps(text).encode())
            )
            spoilt[place] = (
                key + b"= " + value + b"\n" if equals else spoilt[place] + b"x = " + value + b"\n"
            )
        return b"".join(spoilt)

    return (other_value() | mutants.spoilt_bytes(seeds.recipe)).map(case)


def _report(seeds: Seeds) -> Cases:
    good = json.loads(seeds.results)

    def case(content: bytes, suffix: str) -> Case:
        return Case({"a.json": content}, ["report", "in/a.json", "--output", f"out/r.{suffix}"])

    return st.builds(case, mutants.json_bytes(good), st.sampled_from(("html", "md")))


def _inspect(seeds: Seeds) -> Cases:
    @st.composite
    def draw_case(draw: st.DrawFn) -> Case:
        graph, files = split(seeds.models[draw(st.sampled_from(("classifier", "int8", "buckets")))])
        model = signed(draw(mutants.spoilt_words(graph) | mutants.spoilt_bytes(graph)), files)
        argv = draw(
            st.sampled_from(
                (("inspect", MODEL), ("inspect", MODEL, "--json"), ("edgetpu", "check", MODEL))
            )
        )
        return Case({"m.tflite": model}, argv)

    return draw_case()


INFER, HOST = "tfedge-infer", "tfedge"
ENTRIES: dict[str, Entry] = {
    "model": Entry(INFER, _whole),
    "graph": Entry(INFER, _graph("tflite-runtime"), 3),
    "graph-litert": Entry(f"{INFER}@litert", _graph("litert"), 1),
    "manifest": Entry(INFER, _member(MANIFEST_FILE)),
    "tokenizer": Entry(INFER, _member(TOKENIZER_FILE), 3),
    "archive": Entry(INFER, _archive),
    "stream": Entry(INFER, _stream()),
    "stream-json": Entry(INFER, _stream("--jsonl", "--json"), 3),
    "stream-pairs": Entry(INFER, _stream("--pair"), 1),
    "index": Entry(INFER, _index, 3),
    "passages": Entry(INFER, _passages),
    "checkpoint": Entry(HOST, _checkpoint, 4),
    "weights": Entry("read_checkpoint:main", _weights, 1),
    "data": Entry(HOST, _data, 4),
    "recipe": Entry(HOST, _recipe, 3),
    "report": Entry(HOST, _report),
    "inspect": Entry(HOST, _inspect, 3),
}
