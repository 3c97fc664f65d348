"""The published rules of the Edge TPU compiler, as `rules.json` beside this file has them."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfedge.records import Count, read_record


@dataclasses.dataclass(frozen=True)
class Rule:
    """What decides about an operator."""

    status: str  # the compiler's own wording
    rule: str  # what is demanded
    source: str  # where that was published
    change: str | None  # what to do about it; None where the operator is mapped


@dataclasses.dataclass(frozen=True)
class Supported:
    """An operator of the table; empty what is not known of it."""

    runtime: int  # the first version of the Edge TPU runtime that has it; 10 stands for all
    source: str
    limit: str = ""  # of the table
    seen: str = ""  # the published pair or log in which it is mapped
    refused: str = ""  # one in which it is not, for its sizes
    weights: Sequence[int] = ()  # which inputs have to be constant
    # Elements, or by what factor it enlarges; where `sizes` says, or said.
    seen_to: float = math.inf
    refused_from: float = math.inf
    sizes: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What the published rules leave open."""

    question: str
    operators: Count = 0  # of a graph, that it is about
    counted: str  # as "mapped" or "CPU", until someone has compiled one
    why: str
    source: str


@dataclasses.dataclass(frozen=True)
class Link:
    """What the chip is attached by."""

    bytes_per_second: float
    words: str


@dataclasses.dataclass(frozen=True)
class Device:
    """The chip and its compiler, each figure in words too and with its source."""

    compiler: str  # its version
    tops: float
    tops_words: str
    tops_source: str
    cache_bytes: int
    cache_source: str
    least_free_bytes: int  # left for parameters in published logs, which activations decide
    most_free_bytes: int
    free_source: str
    links: Mapping[str, Link]
    assumptions: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Rules:
    """All of `rules.json`."""

    sources: Mapping[str, str]
    general: Mapping[str, Rule]
    operators: Mapping[str, Supported]
    # By operator the highest version that the compiler reads, and the TensorFlow that brought the
    # next one (None where there is none yet).
    ceilings: Mapping[str, tuple[int, str | None]]
    first_unreadable_code: int  # from this on the compiler knows no builtin operator
    shapes: Mapping[str, Sequence[int]]  # by operator, which inputs say what shape the result has
    counting: Sequence[str]  # operators whose inputs' values do
    changes: Mapping[str, str]  # by operator, what to put in its place
    questions: Mapping[str, Question]
    device: Device

    def against(self, operator: str, general: str) -> Rule:
        """A rule for all operators, with the change for this one where the table lacks it."""
        rule = self.general[general]
        if operator in self.operators:
            return rule
        return dataclasses.replace(rule, change=self.changes.get(operator, rule.change))

    def limit(self, operator: str, rule: str | None = None, source: str | None = None) -> Rule:
        """The rule that an operator of the table exceeds; by default the table's own limit."""
        general, known = self.general["limit"], self.operators[operator]
        change = self.changes.get(operator, general.change)
        return Rule(general.status, rule or known.limit, source or known.source, change)


@functools.cache
def load_rules() -> Rules:
    """The rules that come with the package, sources in full."""
    path = Path(__file__).with_name("rules.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for part in ("general", "operators", "questions"):
        for item in content[part].values():
            named = {"source", "seen", "refused"} & set(item)
            item |= {key: content["sources"][item[key]] for key in named}
    return read_record(content, Rules, str(path), "tfedge")
