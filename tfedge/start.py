"""The entry points of `tfedge-infer`, of `python -m tfedge.runtime`, and of `tfedge`.

Until `main` has begun, Python tells an interrupt by a traceback. So nothing that is written in Python
is imported before: typing takes longer than all the rest, and so does signal, which is _signal with
enums.
"""

from __future__ import annotations

import _signal as signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Runs `tfedge.runtime.infer`, which tells an interrupt by its exit code once a model is loaded;
    until then, for a few tenths of a second, it ends the process as it does any other."""
    # A shell lets what it starts in the background ignore interrupts.
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tfedge.runtime import infer

    infer.main(heeds)


def host() -> None:
    """Runs `tfedge`, which says how to go on after an interrupt; until it is imported, one ends the
    process as it does any other."""
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tfedge.cli import run

    if heeds:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
