"""The verdict that stands above all else: what was measured of a model, against float and peers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from tfedge.show.numbers import percent, size

# Of accuracies that differ by no more, one sentence in 200, none is called the better.
AS_GOOD = 0.005
_EVEN = 1.05  # ratios nearer to 1 are noise, or nothing to choose by


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of a verdict.

    `value` is None where it was not measured, and `how` then says what measures it; else `how` says on
    what it was measured. `words` are its part of the headline.
    """

    name: str
    unit: str  # of `value` and `float_`: "share", "bytes", "ms", "Minsn", "dB" or "operators"
    value: float | None
    float_: float | None  # the same of the model in float, where that was measured too
    words: str
    how: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is to be known of a model first."""

    model: str  # its name
    sentence: str
    figures: Sequence[Figure]


def verdict(model: str, figures: Iterable[Figure]) -> Verdict:
    """The verdict made of its figures; the sentence names those that were not measured, too."""
    found = list(figures)
    said = [figure.words for figure in found if figure.value is not None]
    absent = [figure.name for figure in found if figure.value is None]
    parts = [", ".join(said), f"not measured: {', '.join(absent)}" if absent else ""]
    return Verdict(model, f"{model}: {'; '.join(filter(None, parts))}", found)


def lines(found: Verdict) -> list[str]:
    """A verdict for a terminal: the sentence, and a line for each figure."""
    names = max(len(figure.name) for figure in found.figures)
    rows = []
    for figure in found.figures:
        against = f", float {amount_of(figure, figure.float_)}" if figure.float_ is not None else ""
        rows.append(f"  {figure.name:<{names}}  {shown(figure)}{against} ({figure.how})")
    return [found.sentence, *rows]


def shown(figure: Figure) -> str:
    """Its value in words."""
    return "not measured" if figure.value is None else amount_of(figure, figure.value)


def amount_of(figure: Figure, value: float) -> str:
    """A value of a figure, with its unit."""
    if figure.unit == "share":
        return percent(value)
    if figure.unit == "bytes":
        return size(round(value))
    if figure.unit == "operators":
        return f"{value:.0f}"
    return f"{_three(value)} {figure.unit}"


def missing(name: str, unit: str, how: str) -> Figure:
    """A figure that was not measured; `how` says what measures it."""
    return Figure(name, unit, None, None, "", how)


def accuracy(name: str, value: float, float_: float | None, how: str) -> Figure:
    """How good the answers are, 0 to 1, by what `name` says."""
    if float_ is None:
        return Figure(name, "share", value, None, f"{name} {percent(value)}", how)
    both = f"({percent(value)} against {percent(float_)})"
    if abs(value - float_) <= AS_GOOD:
        words = f"as accurate as float {both}"
    else:
        points = f"{100 * abs(value - float_):.1f} points"
        words = f"{points} {'more' if value > float_ else 'less'} accurate than float {both}"
    return Figure(name, "share", value, float_, words, how)


def agreement(value: float, how: str) -> Figure:
    """The share of answers that are float's, or the mean cosine to float's embeddings."""
    words = f"{percent(value)} of the answers of float"
    return Figure("same answer as float", "share", value, None, words, how)


def sized(value: float, float_: float | None, how: str) -> Figure:
    """The file's length in bytes."""
    words = size(round(value))
    if float_ is not None:
        words = compared(float_ / value, "smaller", "larger", "as large as float")
    return Figure("size", "bytes", value, float_, words, how)


def timed(value: float, float_: float | None, how: str) -> Figure:
    """Milliseconds of a text."""
    words = f"{_three(value)} ms a text"
    if float_ is not None:
        words = compared(
            float_ / value, "faster than float", "slower than float", "as fast as float"
        )
    return Figure("speed", "ms", value, float_, words, how)


def instructions(value: float, float_: float | None, how: str) -> Figure:
    """Million instructions of a text."""
    words = f"{_three(value)} million instructions a text"
    if float_ is not None:
        fewer = "fewer instructions than float", "more instructions than float"
        words = compared(float_ / value, *fewer, "as many instructions as float")
    return Figure("instructions", "Minsn", value, float_, words, how)


def compared(ratio: float, above: str, below: str, even: str) -> str:
    """`3.6 times smaller`, where `ratio` is how many times the other's figure is that of the model."""
    if max(ratio, 1 / ratio) < _EVEN:
        return even
    times, words = (ratio, above) if ratio > 1 else (1 / ratio, below)
    return f"{times:.{1 if times < 10 else 0}f} times {words}"


def _three(value: float) -> str:
    """A number above 0 with three digits, or all before the point."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
