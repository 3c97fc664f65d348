"""Writes what was measured as one HTML page and one Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfedge import files
from tfedge.report.read import read_results
from tfedge.report.sections import sections
from tfedge.show.markdown import markdown
from tfedge.show.page import page


def write_report(results: Sequence[Path], output: Path, title: str) -> list[Path]:
    """Puts results together.

    Args:
        results: files with what `tfedge bench --json` or `tfedge inspect --json` printed.
        output: the page to write, `X.html`; `X.md` is written beside it.

    Returns:
        Both files.

    Raises:
        InputError: a result cannot be used, or nothing can be written.
    """
    found = sections(read_results(results))
    written = [output.with_suffix(".html"), output.with_suffix(".md")]
    for path, text in zip(written, (page(title, found), markdown(title, found)), strict=True):
        files.write_bytes(path, text.encode(errors="backslashreplace"))
    return written
