"""Programs with the faults that the fuzzers are to find, so that it is known that they do.

Each reads the file that its argument names, and misbehaves where a byte 0xFF is in it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tfedge import cli


def _program(misbehave: Callable[[], int]) -> Callable[[list[str]], int]:
    def main(arguments: list[str]) -> int:
        if b"\xff" in Path(arguments[0]).read_bytes():
            return misbehave()
        print("good")
        return 0

    return main


def _say(words: str, code: int = 3) -> int:
    sys.stderr.write(words)
    return code


def _hang() -> int:
    while True:
        time.process_time()


def _eat() -> int:
    eaten = b"x" * (300 << 20)  # written, as zeros would not be
    return _say(f"planted: {len(eaten)} bytes are too many\n")


def _write(path: str) -> Callable[[], int]:
    def write() -> int:
        Path(path).write_text("x")
        return _say("planted: no\n")

    return write


def _end(error: Exception) -> int:
    """As `tfedge` does where it meets an error that it did not expect."""

    @click.command()
    def fail() -> None:
        raise error

    sys.argv = ["tfedge"]
    cli.run(fail)
    return 0


def _raise() -> int:
    raise KeyError("planted")


well = _program(lambda: _say("planted: a.txt has a byte 255; give another\n"))
crash = _program(lambda: os.kill(os.getpid(), signal.SIGSEGV) or 0)
hang = _program(_hang)
eat = _program(_eat)
trace = _program(_raise)
outside = _program(_write("../../planted.txt"))
change = _program(_write("in/a.txt"))
half = _program(_write("out/half.tflite"))
litter = _program(_write("tmp/left"))
chatter = _program(lambda: _say("planted: no\nplanted: and no\n"))
colour = _program(lambda: _say("planted: \x1b[31mno\n"))
long = _program(lambda: _say("planted: " + "no" * 1000 + "\n"))
told = _program(lambda: _end(KeyError("planted")))
code = _program(lambda: _say("planted: no\n", 9))
silent = _program(lambda: 3)
