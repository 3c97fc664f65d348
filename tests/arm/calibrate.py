"""Fits what turns counts on emulated boards into time, on published latencies: `make calibrate-boards`.

`published.tsv` has for pairs of a model and a board the latency that others published of the real
board, and what was counted of the same program under emulation. The fit's errors are those of each
row predicted from the others (leave-one-out), and of each family of models from the other families,
since a network in int8 tells much of the same in float32.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from cycles import LEVELS
from scipy.optimize import nnls

PUBLISHED = Path(__file__).with_name("published.tsv")
TRANSFORMERS = Path(__file__).with_name("transformers.tsv")  # which are predicted, not fitted
FITTED = Path(__file__).parents[2] / "tfedge/inspect/boards.toml"
_CLOCKS = {"rpi4": 1.8, "rpi5": 2.4, "jetson-nano": 1.43}  # GHz, as the boards run today
_HEAD = """\
# In cycles what an instruction, one of llvm-mca's cycles and a line that the first cache lacks take
# on a board, and in nanoseconds a line from DRAM; its clock; the largest error of a published row
# that is predicted from the others; how many of these rows are LiteRT's. Where none is, the error is
# no less than the largest by which constants of ncnn's rows miss LiteRT's on other boards. Made by
# `make calibrate-boards`.
"""
_LITERT = "LiteRT"
# Sizes and versions of one network, whose errors have much in common.
_FAMILIES = (
    *("effdet", "squeezenet", "mobilenet_v2", "mobilenet_v3", "mobilenet", "shufflenet_v2"),
    *("shufflenet", "efficientnet", "googlenet", "resnet", "ssdlite", "ssdk3"),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One published latency and what was counted."""

    runtime: str
    model: str
    board: str
    ghz: float
    published_ms: float
    instructions: float  # millions, as are all below
    mca: float  # cycles by llvm-mca
    refills: float  # lines that level 1 lacked and level 2 had, or level 3
    lines: float  # lines from DRAM

    @property
    def mcycles(self) -> float:
        """Million cycles of the real board."""
        return self.published_ms * self.ghz

    @property
    def litert(self) -> bool:
        return self.runtime.startswith(_LITERT)

    @property
    def family(self) -> str:
        return next((name for name in _FAMILIES if self.model.startswith(name)), self.model)


# What one constant is multiplied by, in million cycles or to become so. A line from DRAM takes a time,
# not cycles. ncnn's rows have a time that no count shows, as long in a small network as in a large one.
TERMS: Mapping[str, Callable[[Row], float]] = {
    "instructions": lambda row: row.instructions,
    "mca": lambda row: row.mca,
    "refill_cycles": lambda row: row.refills,
    "dram_ns": lambda row: row.lines * row.ghz,
    "ncnn_mcycles": lambda row: 0.0 if row.litert else 1.0,
}
_OF_NCNN = ("ncnn_mcycles",)
FORMS: Mapping[str, tuple[str, ...]] = {
    "instructions": ("instructions",),
    "mca": ("mca",),
    "mca and misses": ("mca", "refill_cycles", "dram_ns"),
    "both and misses": ("instructions", "mca", "refill_cycles", "dram_ns"),
    "both, misses, ncnn apart": tuple(TERMS),
}
CHOSEN = "both, misses, ncnn apart"


@dataclasses.dataclass(frozen=True)
class Fit:
    """The constants of one board and their errors.

    Attributes:
        errors: of each row predicted from the others, relative, above 0 where it is predicted too long.
        family_errors: the same, predicted from rows of other families alone.
    """

    board: str
    rows: Sequence[Row]
    constants: Mapping[str, float]
    errors: np.ndarray
    family_errors: np.ndarray

    @property
    def worst(self) -> float:
        return float(np.abs(self.errors).max())

    @property
    def litert_rows(self) -> int:
        return sum(row.litert for row in self.rows)


def read_rows(path: Path = PUBLISHED) -> list[Row]:
    """The published rows."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return [_row(fields) for fields in csv.DictReader(lines, delimiter="\t")]


def _row(fields: Mapping[str, str]) -> Row:
    misses = [int(fields[name]) / 1e6 for name in ("m1", "m2", "m3")]
    lines = misses[LEVELS[fields["board"]] - 1]
    return Row(
        *(fields[name] for name in ("runtime", "model", "board")),
        *(float(fields[name]) for name in ("ghz", "published_ms", "Minsn", "Mcycles_mca")),
        refills=misses[0] - lines,
        lines=lines,
    )


def solve(rows: Sequence[Row], terms: Sequence[str]) -> np.ndarray:
    """The constants, none below 0, with the least sum of squared relative errors; (terms,)."""
    scaled = [[TERMS[term](row) / row.mcycles for term in terms] for row in rows]
    return nnls(np.array(scaled), np.ones(len(rows)))[0]


def _predict(constants: np.ndarray, terms: Sequence[str], row: Row) -> float:
    """Million cycles of a row."""
    return sum(value * TERMS[term](row) for term, value in zip(terms, constants, strict=True))


def _left_out(
    rows: Sequence[Row], terms: Sequence[str], same: Callable[[Row, Row], bool]
) -> np.ndarray:
    """Relative errors of rows, each predicted without those that are the `same`; (rows,)."""
    errors = []
    for row in rows:
        constants = solve([other for other in rows if not same(row, other)], terms)
        errors.append(_predict(constants, terms, row) / row.mcycles - 1)
    return np.array(errors)


def errors_across(rows: Sequence[Row], form: str = CHOSEN) -> dict[str, np.ndarray]:
    """Relative errors of LiteRT's rows, by board, where ncnn's rows alone are fitted."""
    found = {}
    for board in boards(rows):
        both = [
            [row for row in rows if row.board == board and row.litert is it] for it in (False, True)
        ]
        if all(both):
            constants = solve(both[0], FORMS[form])
            found[board] = np.array(
                [_predict(constants, FORMS[form], row) / row.mcycles - 1 for row in both[1]]
            )
    return found


def told_error(found: Fit, rows: Sequence[Row]) -> float:
    """The error to tell of a board: what nothing of LiteRT was published of may be missed as far as
    others are from ncnn's rows."""
    if found.litert_rows:
        return found.worst
    return max(found.worst, *(np.abs(errors).max() for errors in errors_across(rows).values()))


def fit(board: str, rows: Sequence[Row], form: str = CHOSEN) -> Fit:
    """Fits one board's rows."""
    rows, terms = [row for row in rows if row.board == board], FORMS[form]
    return Fit(
        board,
        rows,
        dict(zip(terms, map(float, solve(rows, terms)), strict=True)),
        _left_out(rows, terms, lambda one, other: one is other),
        _left_out(rows, terms, lambda one, other: one.family == other.family),
    )


def boards(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.board for row in rows))


def _percent(errors: np.ndarray) -> str:
    return f"{100 * np.abs(errors).mean():.1f} / {100 * np.abs(errors).max():.1f}"


def _form_lines(rows: Sequence[Row]) -> list[str]:
    lines = ["board\tform\tconstants\tleft out: mean / worst %\tfamily left out: mean / worst %"]
    for board in boards(rows):
        for form, terms in FORMS.items():
            found = fit(board, rows, form)
            errors = _percent(found.errors), _percent(found.family_errors)
            lines.append("\t".join((board, form, str(len(terms)), *errors)))
    return lines


def _error_lines(fits: Sequence[Fit]) -> list[str]:
    lines = ["board\truntime\trows\tleft out: mean / worst %\tfamily left out\tworst row"]
    for found in fits:
        for runtime in dict.fromkeys(row.runtime for row in found.rows):
            of_it = np.array([row.runtime == runtime for row in found.rows])
            errors = found.errors[of_it]
            worst = int(np.abs(errors).argmax())
            name = [row.model for row in found.rows if row.runtime == runtime][worst]
            lines.append(
                f"{found.board}\t{runtime}\t{len(errors)}\t{_percent(errors)}\t"
                f"{_percent(found.family_errors[of_it])}\t{name} {100 * errors[worst]:+.0f}"
            )
    return lines


def _row_lines(fits: Sequence[Fit]) -> list[str]:
    return ["board\truntime\tmodel\tpublished ms\tpredicted ms\terror %"] + [
        f"{row.board}\t{row.runtime}\t{row.model}\t{row.published_ms:g}\t"
        f"{row.published_ms * (1 + error):.1f}\t{100 * error:+.1f}"
        for found in fits
        for row, error in zip(found.rows, found.errors, strict=True)
    ]


def _transformer_lines(fits: Sequence[Fit], rows: Sequence[Row]) -> list[str]:
    """How far those that are not fitted are missed."""
    lines = ["Transformers, not fitted\truntime\tpublished ms\tpredicted ms\terror %"]
    constants = {found.board: found.constants for found in fits}
    for row in rows:
        weights = np.array(list(constants[row.board].values()))
        ms = _predict(weights, list(constants[row.board]), row) / row.ghz
        error = 100 * (ms / row.published_ms - 1)
        lines.append(
            f"{row.board} {row.model}\t{row.runtime}\t{row.published_ms:g}\t{ms:.0f}\t{error:+.0f}"
        )
    return lines


def toml(fits: Sequence[Fit]) -> str:
    """What `tfedge` reads of it; LiteRT is the runtime."""
    lines, rows = [_HEAD], [row for found in fits for row in found.rows]
    for found in fits:
        lines += [f"[{found.board}]", f"ghz = {_CLOCKS[found.board]}"]
        lines += [
            f"{term} = {value:.4g}"
            for term, value in found.constants.items()
            if term not in _OF_NCNN
        ]
        lines += [
            f"error = {told_error(found, rows):.3f}",
            f"litert_rows = {found.litert_rows}",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=PUBLISHED, help="default: %(default)s")
    parser.add_argument("--each", action="store_true", help="print every row's error too")
    given = parser.parse_args()
    rows = read_rows(given.rows)
    fits = [fit(board, rows) for board in boards(rows)]
    print("\n".join([*_form_lines(rows), "", f"chosen: {CHOSEN}", *_error_lines(fits)]))
    if given.each:
        print("\n".join(["", *_row_lines(fits)]))
    for board, errors in errors_across(rows).items():
        print(f"{board}: LiteRT's rows by the constants of ncnn's: {_percent(errors)} %")
    print()
    for found in fits:
        constants = ", ".join(f"{name} {value:.3g}" for name, value in found.constants.items())
        print(f"{found.board}: {constants}; error told {100 * told_error(found, rows):.0f} %")
    print("\n".join(["", *_transformer_lines(fits, read_rows(TRANSFORMERS))]))
    if given.rows == PUBLISHED:
        FITTED.write_text(toml(fits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
