"""What is drawn and said of outliers, for a terminal and for a page."""

from __future__ import annotations

from tfedge.inspect.outliers import LayerOutliers, Rounding
from tfedge.inspect.result import Outliers
from tfedge.show.table import Column, Section, Table, number, table

_SENTENCES = 8  # at most; the table has the other layers
_ADVICE = (
    "What to do: int8 of tfedge gives such channels and neurons paths of their own; dynamic keeps "
    "activations in float between layers and rounds each token apart, so outlier tokens cost the "
    "others nothing. A model of another converter is helped by leaving these layers in float"
)


def costliest(outliers: Outliers, most: int) -> Table:
    """The layers to which 8 bits with one scale do most harm, at most `most` of them."""
    columns: list[Column[LayerOutliers]] = [
        Column("layer", lambda row: row.layer),
        number("median token dB", lambda row: _decibels(row.one_scale.token_snr_db)),
        number("all dB", lambda row: _decibels(row.one_scale.snr_db)),
        number("largest", lambda row: f"{row.peak:.4g}"),
        number("outlier channels", lambda row: f"{row.outlier_channels} of {row.channels}"),
        number("outlier tokens", lambda row: f"{row.outlier_tokens} of {row.tokens}"),
    ]
    if any(row.own for row in outliers.layers):
        columns[3:3] = [
            number("own scale: median token dB", lambda row: _own(row.own, "token_snr_db")),
            number("all dB", lambda row: _own(row.own, "snr_db")),
        ]
    title = f"What rounding a tensor alone leaves of it, the worst of {len(outliers.layers)} layers"
    return table(columns, outliers.ranked[:most], title)


def outlier_notes(outliers: Outliers) -> list[str]:
    """Sentences on the layers with outliers, those that lose most first; what to do, and how it was
    measured."""
    found = [row for row in outliers.ranked if row.outlier_channels or row.outlier_tokens]
    lines = [_sentence(row) for row in found[:_SENTENCES]]
    if more := len(found) - len(lines):
        lines.append(f"{more} more layers have outliers")
    none = f"No channel or token reaches more than {outliers.factor:g} times the median one's peak"
    return [*lines, _ADVICE if found else none, _how(outliers)]


def outliers_section(outliers: Outliers) -> Section:
    """All layers, and what there is to say of them."""
    drawn = costliest(outliers, len(outliers.layers))
    return Section("Outliers", None, outlier_notes(outliers), [drawn], is_fine=True)


def _sentence(row: LayerOutliers) -> str:
    parts = []
    if row.outlier_channels:
        names = ", ".join(str(channel.index) for channel in row.largest)
        more = row.outlier_channels - len(row.largest)
        parts.append(
            f"{row.outlier_channels} of {row.channels} channels ({names}"
            f"{f' and {more} more' if more else ''}) {_verb('reach', row.outlier_channels)} "
            f"{row.peak:.4g}, the median channel {row.channel_median:.2g}"
        )
    if row.outlier_tokens:
        named = ", ".join(f"{token.token!r} ({token.count})" for token in row.frequent)
        parts.append(
            f"{row.outlier_tokens} of {row.tokens} tokens {_verb('go', row.outlier_tokens)} far "
            f"beyond the median token's {row.token_median:.2g}, mostly {named}"
        )
    parts.append(f"with one scale for all, 8 bits leave {_words(row.one_scale)}")
    if row.own:
        parts.append(f"its scale in the file leaves {_words(row.own)}")
    return f"{row.layer}: {'; '.join(parts)}"


def _verb(verb: str, count: int) -> str:
    return f"{verb}es" if count == 1 else verb


def _words(found: Rounding) -> str:
    if found.snr_db is None or found.token_snr_db is None:
        return "nothing out" if found.snr_db is None else f"{found.snr_db:.1f} dB"
    return f"the median token {_decibels(found.token_snr_db)} dB ({found.snr_db:.1f} dB over all)"


def _how(outliers: Outliers) -> str:
    left_out = f"; {outliers.left_out} layers in integers are left out" if outliers.left_out else ""
    return (
        f"outliers of {outliers.float_model}: {outliers.rows} rows of {outliers.data} without padding, "
        f"in {outliers.runtime}; an outlier's peak is more than {outliers.factor:g} times the median "
        "peak. Each tensor is rounded alone, in the range of least squared error; outliers fill the "
        "figure over all, the median token's tells what is left of the others"
        f"{left_out}"
    )


def _decibels(found: float | None) -> str:
    return "exact" if found is None else f"{found:z.1f}"  # never -0.0


def _own(found: Rounding | None, field: str) -> str:
    return "" if found is None else _decibels(getattr(found, field))
