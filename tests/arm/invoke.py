"""Runs a graph of a model N times, on one thread: `invoke.py RUNTIME MODEL LENGTH N`."""

import sys

import numpy as np

from tfedge.runtime.bundle import INPUTS, read_bundle
from tfedge.runtime.interpreter import Model

runtime, path, length, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
bundle = read_bundle(path)
(key,) = (key for key, size in bundle.manifest.signatures.items() if size == length)
model = Model(bundle, runtime, num_threads=1)
inputs = {name: np.ones((1, length), np.int32) for name in INPUTS}
for _ in range(1 + count):  # one to warm up
    model.run(key, inputs)
