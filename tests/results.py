"""Results as commands print them, with something else in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def changed(path: Path, folder: Path, change: Any) -> Path:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    made = folder / "changed.json"
    made.write_text(json.dumps(content), encoding="utf-8")
    return made
