"""What README and docs tell people to type and to read exists."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tfedge import cli
from tfedge.runtime import infer, search_commands

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
PROGRAMS = {"tfedge": cli.main, "tfedge-infer": infer.command}


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
    command: click.Command = PROGRAMS[program]
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
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in listed, page


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
