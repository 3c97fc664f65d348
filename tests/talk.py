"""The program of a contestant without a model, which says of itself what the test wants.

`python tests/talk.py SETTINGS` speaks as the verb `clock` of `tfedge.runtime.worker`. Nothing of tfedge
is imported: that takes ten times as long as all that it says. SETTINGS is a JSON object:

    name    what it calls itself in the log
    ms      what each text is said to take, one number a call in turn, the last one for ever;
            default 1
    label   its answer to everything; default "positive"
    log     a file to which each call appends a line: the name and the number of texts
    then    at the first call, after the greeting: "crash", "refuse", "junk", "few" or "list"
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def _misbehave(how: str) -> None:
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "refuse":
        print("a line before\nit lacks the operation GELU", file=sys.stderr)
        sys.exit(4)
    lines = {
        "junk": "Welcome to the board!",
        "list": "[]",
        "few": json.dumps({"answers": [], "tokenize_s": [], "infer_s": [], "peak_rss_bytes": None}),
    }
    print(lines[how], flush=True)


def main(settings: dict[str, Any]) -> None:
    print(json.dumps({"runtime": "talker 1", "threads": 1}), flush=True)
    times = list(settings.get("ms", [1]))
    for line in sys.stdin:
        texts = json.loads(line)
        if "then" in settings:
            _misbehave(settings["then"])
            continue
        if "log" in settings:
            with open(settings["log"], "a") as log:
                log.write(f"{settings['name']} {len(texts)}\n")
        seconds = (times.pop(0) if len(times) > 1 else times[0]) / 1e3
        answer = {"label": settings.get("label", "positive")}
        block = {
            "answers": [answer for _ in texts],
            "tokenize_s": [seconds / 4 for _ in texts],
            "infer_s": [seconds * 3 / 4 for _ in texts],
            "peak_rss_bytes": 12_000_000,
        }
        print(json.dumps(block), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
