"""What README and docs tell people to type and to read exists."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from blocks import ALL, MARKED, RUN, TRANSLATIONS, Block
from stand_ins import PROGRAMS, REAL, programs
from translation import differences

from tfedge import cli
from tfedge.runtime import infer, search_commands

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
OURS = {"tfedge": cli.main, "tfedge-infer": infer.command}
# What a block may start: our programs, what stands in for others, and what every Linux has.
KNOWN = {*PROGRAMS, *REAL, "tfedge"}


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of ours, out of indented blocks and code in a line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^    (.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        lines += [line.strip().removesuffix("|") for line in block.splitlines()]
    for line in lines:
        found = re.match(r"(?:\S*/)?(tfedge(?:-infer)?) (.*)", line)
        if found:
            yield [found[1], *shlex.split(found[2], comments=True)]


def check(words: list[str]) -> None:
    """Fails where a command, an option or a value of few that are possible is unknown."""
    program, *rest = words
    command: click.Command = OURS[program]
    if program == "tfedge-infer" and rest[0] in search_commands.COMMANDS:
        command = search_commands.COMMANDS[rest.pop(0)]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    options = {
        name: option
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    for word, following in itertools.zip_longest(rest, rest[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in ("--", "--help"):
            continue
        assert name in options, words
        kind = options[name].type
        given = value if equals else following
        # Words in capitals stand for something.
        if isinstance(kind, click.Choice) and given and not given.isupper():
            assert given in kind.choices, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_known(page: Path) -> None:
    for words in commands(page):
        check(words)


def test_commands_are_found() -> None:
    """The search above sees what it is meant to see."""
    assert sum(1 for page in PAGES for _ in commands(page)) > 30
    for wrong in (
        ["tfedge", "no-such"],
        ["tfedge", "convert", "tinybert", "--quality", "5"],
        ["tfedge-infer", "search", "--by", "line"],
    ):
        with pytest.raises(AssertionError):
            check(wrong)
    with pytest.raises(AssertionError):
        check(["tfedge", "convert", "x", "--target", "rpi3"])


def test_every_page_is_listed() -> None:
    """For users in README's table, for developers in CONTRIBUTING."""
    readme = (ROOT / "README.md").read_text("utf-8").partition("\n## Documentation\n")[2]
    listed = readme.partition("\n## ")[0] + (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert f"({page.relative_to(ROOT)})" in listed, page


def test_goals_of_make_exist() -> None:
    goals = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        goal
        for page in PAGES
        for goal in re.findall(
            r"(?:`|^    )make ([a-z-]+)\b", page.read_text("utf-8"), re.MULTILINE
        )
    }
    assert named
    assert named <= goals


def test_github_runs_what_ci_runs() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"^      - run: (\.ci/.*)$", workflow, re.MULTILINE) == [".ci/run"]


def test_nothing_is_installed_by_a_name_that_is_not_published() -> None:
    """Until the first release PyPI has no tfedge: what is installed is a clone or a wheel."""
    sources = [path for path in ROOT.rglob("tfedge/**/*.py") if ".venv" not in path.parts]
    named = re.compile(r"pip\s+install\s+[\"']?tfedge(?![\w-]*-[0-9])")
    pages = [page for page in PAGES if page.name != "releasing.md"]
    found = [path for path in (*pages, *sources) if named.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_figures_of_boards_are_measured() -> None:
    """docs/which-board.md puts together what other pages measured, with the commands, and no more."""
    number = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")
    sources = ("docs/measured.md", "README.md", "docs/own-data.md", "docs/how-it-works.md")
    measured = {
        float(found)
        for name in sources
        for found in number.findall((ROOT / name).read_text("utf-8"))
    }
    text = (ROOT / "docs/which-board.md").read_text("utf-8")
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    figures = {float(found) for found in number.findall(tables.replace("tflite-runtime 2.14", ""))}
    assert len(figures) > 20
    # A share may be written as percent there.
    assert not {one for one in figures if not {one, round(100 * one, 4)} & measured}


@pytest.mark.parametrize("block", RUN, ids=str)
def test_can_run_or_says_why_not(block: Block) -> None:
    if block.language == "python":
        compile(block.text, str(block), "exec")
        return
    hint = f"{block}: put <!-- not run: WHY --> before it, if it cannot be run"
    assert block.language == "sh", hint
    assert programs(block.text) <= KNOWN, hint
    checked = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
    assert not checked.stderr, hint


@pytest.mark.parametrize("block", [block for block in ALL if block.mark == "run by"], ids=str)
def test_who_runs_it_reads_the_page(block: Block) -> None:
    assert block.page in (ROOT / block.reason).read_text(encoding="utf-8")


def test_every_document_is_looked_at() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/search.md", *MARKED} <= {
        block.page for block in ALL
    }
    assert "examples/prune.toml" in {block.page for block in RUN}
    assert len(RUN) > 50


@pytest.mark.parametrize("translation", TRANSLATIONS)
def test_translations_are_in_step(translation: str) -> None:
    original = TRANSLATIONS[translation]
    found = differences(*((ROOT / name).read_text("utf-8") for name in (original, translation)))
    assert not found, "\n".join(
        [
            f"{translation} has to say what {original} says. Translate there what was changed here;",
            "code, figures and the places that links lead to stay as they are and can be copied:",
            *found,
        ]
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("make test\n", "make tests\n", "blocks of code: missing ['make convert"),
        ("872 sentences", "873 sentences", "figures: missing ['873'], to be removed ['872']"),
        (
            "`--quiet`",
            "`--silent`",
            "code in a line: missing ['--silent'], to be removed ['--quiet']",
        ),
        ("(docs/pipe.md)", "(docs/pipes.md)", "links: missing ['docs/pipes.md']"),
        ("| int8, LiteRT 2.3 |", "| a | b |\n| int8, LiteRT 2.3 |", "missing ['2 columns']"),
        (
            "## Measured\n",
            "## Measured\n\n## And more\n",
            "'And more'",
        ),
    ],
)
def test_what_is_out_of_step_is_told(before: str, after: str, told: str) -> None:
    """By what a change of README.md would need in its translation."""
    original = (ROOT / "README.md").read_text("utf-8")
    assert before in original
    translated = (ROOT / "README.zh-CN.md").read_text("utf-8")
    assert told in "\n".join(differences(original.replace(before, after, 1), translated))
