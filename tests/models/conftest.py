"""Collects the largest differences from torch, which the project quotes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_ERRORS: dict[str, float] = {}


@pytest.fixture
def record_parity(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    """Records the largest difference of one architecture: in the test's report and the summary."""

    def record(architecture: str, error: float) -> None:
        record_property("max_error", error)
        _ERRORS[architecture] = max(error, _ERRORS.get(architecture, 0.0))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for architecture, error in _ERRORS.items():
        terminalreporter.write_line(f"parity with torch: {architecture}: at most {error:.1e} apart")
