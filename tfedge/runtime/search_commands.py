"""The commands `tfedge-infer index` and `tfedge-infer search`."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfedge.runtime import lines, render
from tfedge.runtime.errors import (
    IndexFileError,
    InferenceError,
    OptionError,
    TextError,
    escaped,
    one_line,
)
from tfedge.runtime.inputs import TEXT
from tfedge.runtime.lines import Request
from tfedge.runtime.passages import BY, SUFFIXES, cut, find_files, read_passages
from tfedge.runtime.terminal import LOADING, complain, load_model, loading_options, print_line

if TYPE_CHECKING:
    import numpy as np

    from tfedge.runtime.pipeline import Pipeline
    from tfedge.runtime.search import Hit, Index, Passage

MAX_PASSAGES = 500_000
_SAVE_SECONDS = 300.0  # between two files that keep what is embedded, should the power fail
_SAY_SECONDS = 5.0

INDEX_HELP = """Makes or renews the index that `tfedge-infer search` reads: a vector of each line (or
paragraph, or file) of the files given, and of the .txt and .md files in the folders given.

\b
Examples:
  tfedge-infer index --model minilm.tflite --index notes.npz notes
  tfedge-infer index --model minilm.tflite --index notes.npz --by paragraph notes diary.txt
  tfedge-infer index --model minilm.tflite --index code.npz --suffix .py --suffix .sh src

The same command again embeds what is new or changed, by its text, and drops what is gone: an index
holds what the last command named and no more. After Ctrl-C it goes on from where it was.

Hidden files and folders are left out, and symbolic links inside folders, as ripgrep does; and
passages without a letter or a digit. A passage longer than the model is cut into parts that overlap
by a fifth. Files that are not UTF-8, cannot be read or have more than 8 MB are named and left out.

\b
Exit codes:
  0    all was indexed
  1    something was left out, and named; or the index could not be written
  2    wrong options
  3    the model or the index is missing, damaged, or one was not made for the other
  4    no suitable runtime or delegate
  130  interrupted (Ctrl-C); what was embedded is kept
"""

SEARCH_HELP = """Finds the passages nearest in meaning to a query, in an index of `tfedge-infer index`.

\b
Examples:
  tfedge-infer search --model minilm.tflite --index notes.npz "when are plants watered"
  tfedge-infer search --model minilm.tflite --index notes.npz --json --top-k 1 "plants"
  tfedge-infer search --model minilm.tflite --index notes.npz --min-score 0.4 < queries.txt

Without queries as arguments, each line of standard input is one, answered as soon as it is there.

\b
Output, a line a passage, best first:
  score TAB path:line TAB text     the score is the cosine, -1 to 1
and after the passages of each line of standard input, or of each of several queries, an empty line.
With --json, a line a passage: {"query", "score", "path", "line", "text"}, and no empty lines.
A query that cannot be answered gives `error TAB -` (--json: "query" and "error") and a line on
standard error that says why.

\b
Exit codes:
  0    every query was answered, if by no passage
  1    at least one query could not be answered
  2    wrong options
  3    the model or the index is missing, damaged, or one was not made for the other
  4    no suitable runtime or delegate
  130  interrupted (Ctrl-C)
  141  the reader of the output went away
"""


def _refuse_nan(context: click.Context, option: click.Parameter, value: float) -> float:
    """No range holds NaN off, since every comparison with it is false."""
    if value != value:
        raise click.BadParameter(f"{value} is no number", context, option)
    return value


_SETTINGS = {"help_option_names": ["-h", "--help"]}
_MODEL = click.option(
    "--model", metavar="FILE", required=True, help="The .tflite file, a sentence-embedding model."
)
_INDEX = click.option("--index", metavar="FILE", required=True, help="The index, an .npz file.")


@dataclasses.dataclass(frozen=True)
class Indexing:
    """The command line of `index`."""

    paths: tuple[str, ...]
    model: str
    index: str
    by: str
    suffixes: tuple[str, ...]
    loading: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Searching:
    """The command line of `search`."""

    queries: tuple[str, ...]
    model: str
    index: str
    top_k: int
    min_score: float
    as_json: bool
    loading: Mapping[str, Any]


# The commands only parse: click would turn Ctrl-C into an exit code of its own.
@click.command("index", help=INDEX_HELP, context_settings=_SETTINGS)
@click.argument("paths", nargs=-1, required=True, metavar="FOLDER_OR_FILE...")
@_MODEL
@_INDEX
@click.option(
    "--by",
    type=click.Choice(BY),
    default="line",
    help="What a passage is: a line, a paragraph (lines up to an empty one) or a file (default: line).",
)
@click.option(
    "--suffix",
    "suffixes",
    multiple=True,
    default=SUFFIXES,
    metavar=".END",
    help="Which files of folders are read; may be given more than once (default: .txt and .md).",
)
@loading_options
def index_command(**options: Any) -> Callable[[], int]:
    loading = {name: options.pop(name) for name in LOADING}
    return functools.partial(_index, Indexing(**options, loading=loading))


@click.command("search", help=SEARCH_HELP, context_settings=_SETTINGS)
@click.argument("queries", nargs=-1, metavar="[QUERY]...")
@_MODEL
@_INDEX
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    default=5,
    metavar="N",
    help="The N nearest passages (default: 5).",
)
@click.option(
    "--min-score",
    type=click.FloatRange(-1, 1),
    default=-1.0,
    callback=_refuse_nan,
    metavar="X",
    help="Only passages of at least this score.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a passage and a line.")
@loading_options
def search_command(**options: Any) -> Callable[[], int]:
    loading = {name: options.pop(name) for name in LOADING}
    return functools.partial(_search, Searching(**options, loading=loading))


COMMANDS: Mapping[str, click.Command] = {"index": index_command, "search": search_command}


def _load(path: str, loading: Mapping[str, Any]) -> Pipeline:
    model = load_model(path, loading)
    if "embedding" not in model.task.outputs:
        raise OptionError(
            f"search needs a sentence-embedding model, and {path} is for {model.manifest.task}; one is"
            " `tfedge convert minilm`"
        )
    return model


def _load_index(path: str, model: Pipeline) -> Index:
    from tfedge.runtime.search import Index  # needs numpy, which may not load; see `load_model`

    index = Index.load(path)
    try:
        index.check(model)
    except IndexFileError as error:
        raise IndexFileError(f"{path}: {error}") from error
    return index


class _Reports:
    """What is left out, said at once and counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, message: str) -> None:
        self.count += 1
        complain(f"left out: {message}")


class _Clock:
    """Whether `seconds` have passed since the last time they had."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.monotonic()

    def __call__(self) -> bool:
        if (now := time.monotonic()) - self._last < self._seconds:
            return False
        self._last = now
        return True


def _index(options: Indexing) -> int:
    model = _load(options.model, options.loading)
    place = Path(options.index)
    if not os.access(place.parent, os.W_OK):
        raise OptionError(
            f"{place.parent} is no folder that can be written; choose another for --index"
        )
    vectors = _load_index(options.index, model).vectors(model) if place.exists() else {}
    before = set(vectors)
    left_out = _Reports()
    passages = list(_passages(options, model, vectors, left_out))
    if not passages:
        raise InferenceError(
            f"no passage in {', '.join(options.paths)}: of folders, files are read whose names end in"
            f" {', '.join(options.suffixes)} (--suffix)"
        )
    texts = {passage.text for passage in passages}
    try:
        _embed(model, passages, vectors, options.index, left_out)
    except KeyboardInterrupt:
        _save(model, passages, vectors, options.index)
        complain(
            f"interrupted: {options.index} holds {len(texts & vectors.keys())} of {len(texts)} texts;"
            " the same command goes on"
        )
        raise
    done = _save(model, passages, vectors, options.index, complete=True)
    print_line(
        f"{escaped(options.index)}: passages: {len(done)}, files: {len(done.about.paths)};"
        f" texts: {len(texts & vectors.keys() - before)} new, {len(texts & before)} known,"
        f" {len(before - texts)} gone"
    )
    return TextError.exit_code if left_out.count else 0


def _passages(
    options: Indexing, model: Pipeline, known: Mapping[str, Any], left_out: Callable[[str], None]
) -> Iterator[Passage]:
    """The passages of all files, none longer than the model."""
    from tfedge.runtime.search import Passage

    def fits(text: str) -> bool:
        return text in known or not model.prepare(text).truncated

    folder, count, is_time = Path(options.index).parent, 0, _Clock(_SAY_SECONDS)
    files = find_files(options.paths, options.suffixes, left_out)
    for file in dict.fromkeys(map(os.path.normpath, files)):
        try:
            found = read_passages(file, options.by)
        except TextError as error:
            left_out(str(error))
            continue
        path = os.path.relpath(file, folder)
        for line, text in found:
            try:
                for begin, part in cut(line, text, fits, model.max_length):
                    count += 1
                    yield Passage(path, begin, part)
                    if is_time():
                        complain(f"{count} passages read, now in {file}")
                    if count > MAX_PASSAGES:
                        raise OptionError(
                            f"more than {MAX_PASSAGES} passages: make several indexes, or choose "
                            "--by file"
                        )
            except TextError as error:
                left_out(f"{file}:{line}: {error}")


def _embed(
    model: Pipeline,
    passages: Iterable[Passage],
    vectors: dict[str, np.ndarray],
    path: str,
    left_out: Callable[[str], None],
) -> None:
    """Adds to `vectors` what they lack, and keeps it in the file at `path` now and then."""
    from tfedge.runtime.search import embed

    passages = list(passages)
    missing = {passage.text: passage for passage in passages if passage.text not in vectors}
    begun, is_time, is_time_to_save = time.monotonic(), _Clock(_SAY_SECONDS), _Clock(_SAVE_SECONDS)
    for done, (text, passage) in enumerate(missing.items(), 1):
        try:
            vectors[text] = embed(model, text)
        except TextError as error:
            left_out(f"{passage.path}:{passage.line}: {error}")
        if done < len(missing) and is_time():
            left = (time.monotonic() - begun) / done * (len(missing) - done)
            complain(f"{done} of {len(missing)} texts embedded, {_duration(left)} left")
        if is_time_to_save():
            _save(model, passages, vectors, path)


def _save(
    model: Pipeline,
    passages: Iterable[Passage],
    vectors: Mapping[str, np.ndarray],
    path: str,
    complete: bool = False,
) -> Index:
    from tfedge.runtime.search import Index

    embedded = [passage for passage in passages if passage.text in vectors]
    index = Index.of(model, embedded, vectors, complete)
    index.save(path)
    return index


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _search(options: Searching) -> int:
    model = _load(options.model, options.loading)
    index = _load_index(options.index, model)
    if not index.about.complete:
        complain(f"{options.index} is incomplete: its making was interrupted; repeat it")
    if options.queries:
        return _answer(model, index, (Request(query) for query in options.queries), options)
    if sys.stdin is None:
        raise OptionError("no queries: standard input is closed")
    if sys.stdin.isatty():
        complain("reading queries from the terminal, one per line; Ctrl-D ends")
    with lines.stop_signal() as stop:
        found = lines.read_lines(sys.stdin.fileno(), stop)
        return _answer(model, index, lines.parse_lines(found, TEXT.parse, None), options)


def _answer(model: Pipeline, index: Index, requests: Iterator[Request], options: Searching) -> int:
    code = 0
    for number, request in enumerate(requests, 1):
        try:
            if request.error is not None:
                raise TextError(request.error)
            if model.prepare(request.text).truncated:
                limit, kept = model.max_length, model.kept
                complain(f"query {number}: longer than {limit} tokens, searched by its {kept}")
            hits = index.search(model, request.text, options.top_k, options.min_score)
            for hit in hits:
                print_line(_line(hit, request.text, options))
        except TextError as error:
            code = TextError.exit_code
            fields = {"query": request.text, "error": str(error)}
            print_line(render.as_json(fields) if options.as_json else render.UNANSWERED)
            complain(f"query {number}: {error}")
        if len(options.queries) != 1 and not options.as_json:
            print_line("")
    return code


def _line(hit: Hit, query: str, options: Searching) -> str:
    # Where the file is from here; the index has it from its own folder.
    path = os.path.normpath(Path(options.index).parent / hit.path)
    if options.as_json:
        return render.as_json({"query": query, **hit._asdict(), "path": path})
    # Files may be called anything, and the index may be anybody's.
    return f"{hit.score:.4f}\t{escaped(path)}:{hit.line}\t{one_line(hit.text)}"
