"""Counts how a program ends that is interrupted as it starts: `interrupts.py 60 tfedge-infer ...`.

Each time after a random part of the first tenth of a second. Until Python has begun with tfedge, it
tells of the interrupt by a traceback, and so while pip's script imports what it needs.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter

SECONDS = 0.1


def ending(command: list[str], seconds: float) -> str:
    """How a command ends that is interrupted after that time."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    if b"KeyboardInterrupt" not in errors:
        return "without a word" if not errors.strip() else "with other words"
    return "with a traceback, " + ("of the script" if b"tfedge" in errors else "of Python's start")


def main(tries: str, *command: str) -> None:
    """The program."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # not as a shell has it in the background
    rng = random.Random(0)
    found = Counter(ending(list(command), rng.uniform(0, SECONDS)) for _ in range(int(tries)))
    for how, count in sorted(found.items()):
        print(f"{count:4} {how}")


if __name__ == "__main__":
    main(*sys.argv[1:])
