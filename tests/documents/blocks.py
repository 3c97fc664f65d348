"""The blocks of code in documents, and what stands before them in a comment that readers do not see.

    <!-- not run: needs a Coral -->
    <!-- run by: tests/runtime/test_search_guide.py -->

A comment holds for the one block that follows it.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^\s*<!-- (not run|run by): (\S.*) -->$")
FENCE = re.compile(r"^(\s*)```(\w*)$")
# Of a document all blocks of which share one mark: that, and the reason.
MARKED = {
    # Its HTTP by tests/runtime/test_http_service.py.
    "docs/pipe.md": ("run by", "tests/runtime/test_pipe_guide.py"),
    "docs/boards.md": ("run by", "tests/boards/test_guide.py"),
    "docs/python.md": ("run by", "tests/api/test_guide.py"),
    "examples/http_service.py": ("run by", "tests/runtime/test_http_service.py"),
    "examples/trec.toml": ("not run", "README.md has its command, with the files elsewhere"),
    **{
        f"examples/{name}.toml": ("not run", "tests/recipes/test_examples.py runs it")
        for name in (
            *("emotions", "entailment", "entities", "intents", "private_data", "questions"),
            *("reranking", "search", "sentiment", "similarity", "slots"),
        )
    },
}
# The code of a translation is that of its original, see `translation.py`.
TRANSLATIONS = {"README.zh-CN.md": "README.md"}
INDENT = 4
INDENT_IN_LIST = 6  # after "- "; after "1. " it is 7


@dataclasses.dataclass(frozen=True)
class Block:
    """Some lines of code.

    Attributes:
        page: the document, relative to the repository.
        line: of its first line, from 1.
        language: "sh", "python", or what else its fence says.
        text: its lines, without the indent and the fence.
        mark: "not run" or "run by", or "" where nothing is said; such a block is run.
        reason: why it is not run, or by which test it is.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All documents but translations: what is written in Markdown, and examples with their comments."""
    folders = ("docs", "benchmarks", "saved_models/tinybert")
    inside = (path for name in folders for path in (ROOT / name).rglob("*.md"))
    examples = (path for path in (ROOT / "examples").iterdir() if path.suffix in _READ)
    found = sorted([*ROOT.glob("*.md"), *inside, *examples])
    return [path for path in found if path.name not in TRANSLATIONS]


def _comments(content: str) -> str:
    """The comments of a recipe that stand by themselves, as Markdown."""
    lines = [line for line in content.splitlines() if line.startswith("#") or not line]
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


# How the Markdown of a file is found, by its suffix.
_READ: dict[str, Callable[[str], str]] = {
    ".md": str,
    ".toml": _comments,
    ".py": lambda content: ast.get_docstring(ast.parse(content)) or "",
}


def language_of(text: str) -> str:
    """Of a block that does not say it: what Python can read, and what calls or imports, is Python."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return "sh"
    is_python = any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in nodes)
    return "python" if is_python else "sh"


def _indented(lines: list[str], start: int, indent: int) -> int:
    """Where the indented block that begins at `start` ends, blank lines at its end left out."""
    end = start
    while end < len(lines) and (lines[end].startswith(" " * indent) or not lines[end].strip()):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return end


def _fenced(lines: list[str], start: int) -> int:
    """Where the block whose fence is at `start` has its other fence."""
    return next(index for index in range(start + 1, len(lines)) if lines[index].strip() == "```")


def _dedent(lines: list[str]) -> str:
    width = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "".join(f"{line[width:]}\n" for line in lines)


def blocks(page: str, text: str) -> Iterator[Block]:
    """All blocks of a document; raises ValueError where a mark has no block behind it.

    A line of a paragraph or of a list may be indented too: a block has an empty line before it.
    """
    lines = text.split("\n")
    mark = ("", "")
    index = 0
    indent = INDENT
    while index < len(lines):
        line = lines[index]
        if found := MARK.match(line):
            if mark[0]:
                raise ValueError(f"{page}:{index + 1}: two marks for one block")
            mark = (found[1], found[2])
        elif fence := FENCE.match(line):
            end = _fenced(lines, index)
            content = _dedent(lines[index + 1 : end])
            yield Block(page, index + 2, fence[2] or language_of(content), content, *mark)
            mark, index = ("", ""), end
        elif line.startswith(" " * indent) and not lines[index - 1].strip():
            end = _indented(lines, index, indent)
            content = _dedent(lines[index:end])
            yield Block(page, index + 1, language_of(content), content, *mark)
            mark, index = ("", ""), end - 1
        elif line.strip():
            if mark[0]:
                raise ValueError(f"{page}:{index + 1}: {mark} has no block behind it")
            if re.match(r"(- |\d+\. )", line):
                indent = INDENT_IN_LIST
            elif not line.startswith(" "):
                indent = INDENT
        index += 1
    if mark[0]:
        raise ValueError(f"{page}: {mark} has no block behind it")


def blocks_of(page: Path) -> list[Block]:
    """As `blocks`, of a file; those of a document in `MARKED` have that mark."""
    name = str(page.relative_to(ROOT))
    found = blocks(name, _READ[page.suffix](page.read_text(encoding="utf-8")))
    if name in MARKED:
        mark, reason = MARKED[name]
        return [dataclasses.replace(one, mark=mark, reason=reason) for one in found]
    return list(found)


ALL = [block for page in pages() for block in blocks_of(page)]
RUN = [block for block in ALL if not block.mark]
