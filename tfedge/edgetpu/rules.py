"""The published rules of the Edge TPU compiler, as `rules.json` beside this file has them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule that keeps an operator off the Edge TPU.

    Attributes:
        status: the compiler's own wording.
        rule: what is demanded.
        source: where that was published.
        change: what to do about it.
    """

    status: str
    rule: str
    source: str
    change: str


@dataclasses.dataclass(frozen=True)
class Supported:
    """An operator of the table.

    Attributes:
        runtime: the first version of the Edge TPU runtime that has it; 10 stands for all.
        limit: the table's limit, empty where there is none.
        seen: the published pair or log in which it is mapped; empty where none is known.
        refused: one in which it is not for its sizes, likewise.
    """

    runtime: int
    limit: str
    source: str
    seen: str
    refused: str


@dataclasses.dataclass(frozen=True)
class Question:
    """What the published rules leave open.

    Attributes:
        mapped: how it is counted until someone has compiled it.
    """

    question: str
    mapped: bool
    why: str
    source: str


@dataclasses.dataclass(frozen=True)
class Link:
    """What the chip is attached by."""

    bytes_per_second: float
    words: str


@dataclasses.dataclass(frozen=True)
class Device:
    """The chip and its compiler, each figure in words too and with its source.

    Attributes:
        compiler: its version.
        least_free_bytes, most_free_bytes: left for parameters in published logs, which activations
            decide.
    """

    compiler: str
    tops: float
    tops_words: str
    tops_source: str
    cache_bytes: int
    cache_source: str
    least_free_bytes: int
    most_free_bytes: int
    free_source: str
    links: Mapping[str, Link]


@dataclasses.dataclass(frozen=True)
class Rules:
    """All of `rules.json`.

    Attributes:
        ceilings: operator -> the highest version that the compiler reads, and the TensorFlow that
            brought the next one (None where there is none yet).
        first_unreadable_code: builtin operators from this number on are unknown to the compiler.
        changes: operator -> what to put in its place.
    """

    general: Mapping[str, Rule]
    operators: Mapping[str, Supported]
    ceilings: Mapping[str, tuple[int, str | None]]
    ceiling_source: str
    code_source: str
    first_unreadable_code: int
    changes: Mapping[str, str]
    questions: Mapping[str, Question]
    device: Device

    def limit(self, operator: str, rule: str | None = None, source: str | None = None) -> Rule:
        """The rule that an operator of the table exceeds; by default the table's own limit."""
        general, known = self.general["limit"], self.operators[operator]
        return Rule(
            general.status,
            rule or known.limit,
            source or known.source,
            self.changes.get(operator, general.change),
        )


@functools.cache
def load_rules() -> Rules:
    """The rules that come with the package."""
    content = json.loads(Path(__file__).with_name("rules.json").read_text(encoding="utf-8"))
    sources, device = content["sources"], content["device"]
    links = {name: Link(**item) for name, item in device["links"].items()}
    return Rules(
        general={
            name: Rule(item["status"], item["rule"] or "", sources[item["source"]], item["change"])
            for name, item in content["general"].items()
        },
        operators={
            name: Supported(
                item["runtime"],
                item.get("limit", ""),
                sources[item["source"]],
                sources.get(item.get("seen"), ""),
                sources.get(item.get("refused"), ""),
            )
            for name, item in content["operators"].items()
        },
        ceilings={name: (most, since) for name, (most, since) in content["ceilings"].items()},
        ceiling_source=sources["versions"],
        code_source=sources["codes"],
        first_unreadable_code=content["first_unreadable_code"],
        changes=content["changes"],
        questions={
            name: Question(
                item["question"], item["counted"] == "mapped", item["why"], sources[item["source"]]
            )
            for name, item in content["questions"].items()
        },
        device=Device(**{**device, "links": links}),
    )
