"""Answers texts as `tfedge-infer --json` does, for counting: `invoke_answers.py RUNTIME MODEL FILE`.

One thread. FILE has a text a line. The plugin `count.c` gets four marks for each: before and behind
the answer, and within it before and behind the graph. Each text is answered twice, the second time
with marks.
"""

import os
import sys
from pathlib import Path

from tfedge.runtime import load, render


def mark():
    """Has the plugin tell its count."""
    os.getpriority(os.PRIO_PROCESS, 0)


def marked(run):
    """A signature's run between two marks."""

    def run_marked(**inputs):
        mark()
        outputs = run(**inputs)
        mark()
        return outputs

    return run_marked


def answer(pipeline, text):
    """From the bytes of a line to those of an answer."""
    print(render.as_json(pipeline(text.decode())), flush=True)


runtime, path, file = sys.argv[1:]
texts = Path(file).read_bytes().splitlines()
pipeline = load(path, runtime, num_threads=1, trust=True)
for text in texts:
    answer(pipeline, text)
signatures = pipeline._model._signatures
for signature in signatures.values():
    object.__setattr__(signature, "run", marked(signature.run))
for text in texts:
    mark()
    answer(pipeline, text)
    mark()
