"""Whether a translation says what its original does, as far as that can be told without knowing both
languages: the same sections with the same code, figures and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from blocks import blocks

ANCHOR = re.compile(r"^#.*")


def sections(text: str) -> list[tuple[str, str]]:
    """Heading and content of each section that begins with `## `; the first is what comes before."""
    heading, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    return [
        ("(top)", heading),
        *((part.partition("\n")[0], part.partition("\n")[2]) for part in rest),
    ]


def _prose(text: str) -> str:
    """The text without its blocks of code, comments and the places that links lead to."""
    for block in blocks("", text):
        for line in block.text.splitlines():
            text = text.replace(f"    {line}\n", "\n", 1)
    return re.sub(r"\]\([^)]*\)|<!--.*?-->", "]", text)


def _code(text: str) -> list[str]:
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", _prose(text))]


def _figures(text: str) -> list[str]:
    plain = re.sub(r"`[^`]+`", "", _prose(text))
    return re.findall(r"\d+(?:[.,]\d+)*", plain)


def _links(text: str) -> list[str]:
    """Where the links lead; within the page only that they do, as its headings are translated."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [ANCHOR.sub("(a heading)", link) for link in found if not link.startswith("README")]


def _rows(text: str) -> list[str]:
    """A word for each row of a table, by its number of columns."""
    return [f"{line.count('|') - 1} columns" for line in text.splitlines() if line.startswith("|")]


KINDS: dict[str, Callable[[str], list[str]]] = {
    "figures": _figures,
    "code in a line": _code,
    "links": _links,
    "rows of tables": _rows,
}


def differences(original: str, translated: str) -> list[str]:
    """What has to be changed in the translation, a line each; none where it is in step."""
    ours, theirs = sections(original), sections(translated)
    if len(ours) != len(theirs):
        names = [heading for heading, _ in ours], [heading for heading, _ in theirs]
        return [f"sections: {len(ours)} in the original, {len(theirs)} translated: {names}"]
    found = []
    for (heading, text), (other_heading, other) in zip(ours, theirs, strict=True):
        where = f"section {other_heading!r}, of {heading!r}"
        shown, other_shown = ([one.text for one in blocks("", part)] for part in (text, other))
        if shown != other_shown:
            missing = [one for one in shown if one not in other_shown]
            surplus = [one for one in other_shown if one not in shown]
            found.append(f"{where}: blocks of code: missing {missing}, to be removed {surplus}")
        for kind, of in KINDS.items():
            wanted, there = Counter(of(text)), Counter(of(other))
            if wanted != there:
                missing, surplus = (
                    list((a - b).elements()) for a, b in ((wanted, there), (there, wanted))
                )
                found.append(f"{where}: {kind}: missing {missing}, to be removed {surplus}")
    return found
