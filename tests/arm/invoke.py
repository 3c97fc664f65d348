"""Runs graphs of a model on one thread, for counting: `invoke.py ENGINE MODEL N LENGTH...`.

ENGINE is a runtime, for a model of tfedge, or a peer's, see `benchmarks.peers.engine`. Each length
runs once to warm up, then N times between two marks of the plugin `count.c`.
"""

import os
import sys
from pathlib import Path

import numpy as np

from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.inputs import IMAGE_INPUTS, TEXT_INPUTS
from tfedge.runtime.interpreter import Model
from tfedge.runtime.runtimes import RUNTIMES


def converted(runtime, path):
    """What runs a model of tfedge, from a number of tokens and the inputs of a text."""
    bundle = read_bundle(path)
    manifest = bundle.manifest
    keys = {length: key for key, length in manifest.signatures.items()}
    model = Model(bundle, runtime, num_threads=1)

    def run(length, inputs):
        key = keys[length]
        if manifest.image is not None:
            grey = np.full(manifest.input_shape(key), 128, np.uint8)
            inputs = dict.fromkeys(IMAGE_INPUTS, grey)
        model.run(key, inputs)

    return run


def peer(engine, path):
    """What runs a peer's model."""
    from benchmarks.peers.engine import load_engine

    loaded = load_engine(engine, Path(path), 1)
    return lambda length, inputs: loaded.answer(inputs)


def mark():
    """Has the plugin tell its count."""
    os.getpriority(os.PRIO_PROCESS, 0)


name, path, count, *lengths = sys.argv[1:]
run = (converted if name in RUNTIMES else peer)(name, path)
for length in map(int, lengths):
    inputs = {name: np.ones((1, length), np.int32) for name in TEXT_INPUTS}
    run(length, inputs)
    mark()
    for _ in range(int(count)):
        run(length, inputs)
    mark()
