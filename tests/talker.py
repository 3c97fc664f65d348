"""A contestant without a model, see talk.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tfedge.measure.contestant import Contestant, Facts

FACTS = Facts(kind="talker", model="talker", mode="none")
PROGRAM = Path(__file__).with_name("talk.py")


def talker(file: Path, name: str = "talker", **settings: Any) -> Contestant:
    """The contestant, which claims to have its weights in `file`."""
    command = (sys.executable, str(PROGRAM), json.dumps({"name": name, **settings}))
    return Contestant(name, command, file, FACTS)
