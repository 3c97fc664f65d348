"""Rows that are held by their columns are those that came."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfedge.data.rows import Table

NAMES = ("text", "label", "", "x")
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers() | st.none()))


@given(ROWS)
def test_rows_come_back(rows: list[dict[str, Any]]) -> None:
    table = Table(iter(rows))
    assert len(table) == len(rows)
    assert [list(row.items()) for row in table] == [list(row.items()) for row in rows]
    assert [table[index] for index in range(len(rows))] == rows
    assert [table[-1 - index] for index in range(len(rows))] == rows[::-1]
    assert table[1:3] == rows[1:3]
    assert table.names == list(dict.fromkeys(name for row in rows for name in row))
    for name in NAMES:
        assert list(table.column(name)) == [row.get(name) for row in rows]
    with pytest.raises(IndexError):
        table[len(rows)]
