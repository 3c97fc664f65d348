"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from tfedge.runtime.errors import escaped

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def amount(count: int) -> str:
    """Three digits and a unit: 1234567 is 1.23 M."""
    for factor, unit in _UNITS:
        if count >= factor:
            return f"{count / factor:{'.3g' if count < 1000 * factor else '.2e'}} {unit}"
    return str(count)


def size(count: int) -> str:
    """A number of bytes."""
    return f"{amount(count)}B" if count >= 1000 else f"{count} B"


def megabytes(count: int | None) -> str:
    """A number of bytes that may not be known, in whole megabytes."""
    return f"{count / 1e6:.0f} MB" if count else ""


def percent(share: float) -> str:
    """0..1 in percent, with a decimal."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float) -> str:
    """A time of one run."""
    return f"{1e3 * seconds:.2f} ms"


def interval(ends: Sequence[float] | None) -> str:
    """A range; empty for a tensor that has none."""
    return "" if ends is None else f"{ends[0]:.3g} .. {ends[1]:.3g}"


def typed_shape(dtype: str, sizes: Sequence[int]) -> str:
    """A tensor's dtype and shape."""
    return f"{dtype} {'x'.join(map(str, sizes))}"


def some(items: Sequence[str], limit: int = 4) -> str:
    """The first of them, and how many more there are."""
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")


def harmless(text: str) -> str:
    """`text` of several lines and columns with what a terminal would obey as escapes."""
    return "\n".join("\t".join(map(escaped, line.split("\t"))) for line in text.split("\n"))


def visible(text: str) -> str:
    """`text` with what a terminal would obey, or what nobody sees, as escapes.

    Names come from the file, which may be anyone's.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )
