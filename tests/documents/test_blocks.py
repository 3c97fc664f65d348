"""Blocks of code and what is said before them are found; `test_docs.py` asks for both in documents."""

from __future__ import annotations

import pytest
from blocks import blocks
from stand_ins import programs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\n\n    make x\n\n    ls\n\nb", [("sh", "make x\n\nls\n", "")]),
        ("a\n    no block\n", []),
        ("- a\n\n      ls\n\n    no block\n", [("sh", "ls\n", "")]),
        ("1. a\n\n       ls\n         more\n", [("sh", "ls\n  more\n", "")]),
        ("```sh\nls\n```", [("sh", "ls\n", "")]),
        ("\n    import os\n    os.sep\n", [("python", "import os\nos.sep\n", "")]),
        (
            "<!-- not run: a b -->\n\n    ls\n\nc\n\n    ls\n",
            [("sh", "ls\n", "not run"), ("sh", "ls\n", "")],
        ),
        ("<!-- run by: x.py -->\n```ini\nls\n```\n", [("ini", "ls\n", "run by")]),
    ],
)
def test_blocks_are_found(text: str, found: list[tuple[str, str, str]]) -> None:
    assert [(one.language, one.text, one.mark) for one in blocks("x.md", text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "<!-- not run: x -->\ntext\n",
        "<!-- not run: x -->\n",
        "<!-- not run: x -->\n<!-- not run: y -->\n\n    ls\n",
    ],
)
def test_marks_have_a_block(text: str) -> None:
    with pytest.raises(ValueError, match=r"x\.md.*(no block behind|two marks)"):
        list(blocks("x.md", text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tfedge convert x | jq .", {"tfedge", "jq"}),
        ("edge/bin/pip install x && ls", {"pip", "ls"}),
        ("cat > a <<'END'\nrm x\nEND\nls", {"cat", "ls"}),
        ("for x in a b; do tfedge convert $x\ndone", {"for", "tfedge", "done"}),
        ("0.3064  notes", {"0.3064"}),
    ],
)
def test_programs_are_found(text: str, found: set[str]) -> None:
    assert programs(text) == found
