"""What languages are written with, so that pieces of others can be told."""

from __future__ import annotations

import dataclasses
import functools
import string
import unicodedata
from collections.abc import Sequence
from importlib import resources

from tfedge.errors import InputError
from tfedge.settings import read_settings


@dataclasses.dataclass(frozen=True)
class Writing:
    """The letters of some languages, small ones alone, and their scripts."""

    letters: frozenset[str]
    scripts: frozenset[str]  # the first words of characters' names in Unicode

    def has(self, text: str) -> bool:
        """Whether all letters of a text are of these languages; digits, punctuation and signs are of
        every one."""
        return all(map(self._has_character, unicodedata.normalize("NFC", text.lower())))

    def _has_character(self, char: str) -> bool:
        if unicodedata.category(char)[0] not in "LM" or char in self.letters:
            return True
        return unicodedata.name(char, "").partition(" ")[0] in self.scripts


def language_codes() -> list[str]:
    """All that are known, in ISO 639-1."""
    return sorted(code for table in _tables().values() for code in table)


def writing_of(codes: Sequence[str]) -> Writing:
    """What languages are written with together; raises InputError for a code that is not known."""
    letters: set[str] = set()
    scripts: set[str] = set()
    for code in codes:
        tables = [name for name, table in _tables().items() if code in table]
        if not tables:
            raise InputError(f"no language {code!r}; known are {', '.join(language_codes())}")
        found = _tables()[tables[0]][code]
        if tables[0] == "scripts":
            scripts |= set(found)
        else:
            letters |= set(found) | set(string.ascii_lowercase if tables[0] == "latin" else "")
    return Writing(frozenset(letters), frozenset(scripts))


@functools.cache
def _tables() -> dict[str, dict[str, str | list[str]]]:
    """`latin`, `letters` and `scripts`, each by language."""
    with resources.as_file(resources.files(__package__) / "languages.toml") as path:
        return read_settings(path)
