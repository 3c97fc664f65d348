"""Runs an .mnn file with MNN on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.engine import Engine, Feed
from benchmarks.peers.export_mnn import FLOAT
from benchmarks.peers.native import silence_native_output

_LOW_MEMORY = 2  # without it weights of 8 bits are widened again, and products are those of floats


def load(model: Path, threads: int) -> Engine:
    """See `benchmarks.peers.engine.load_engine`.

    What is float between products of integers has 16 bits where the processor computes with them.
    """
    silence_native_output()  # importing it prints as well
    import MNN
    import MNN.expr
    import MNN.nn

    settings = {
        "backend": "CPU",
        "numThread": threads,
        "precision": "high" if model.parent.name == FLOAT else "low",
        "memory": _LOW_MEMORY,
    }
    manager = MNN.nn.create_runtime_manager((settings,))
    try:
        net = MNN.nn.load_module_from_file(str(model), [], [], runtime_manager=manager)
    except SystemError as error:  # what MNN's binding does where there is no module to return
        raise ValueError(f"MNN cannot load {model}") from error
    names = net.get_info()["inputNames"]

    def run(feed: Feed) -> np.ndarray:
        values = [feed[name] for name in names]
        inputs = [
            MNN.expr.const(value, list(value.shape), MNN.expr.NCHW, MNN.expr.int)
            for value in values
        ]
        (output,) = net.onForward(inputs)
        return np.array(output.read())  # the module's own buffer is used again

    return Engine(f"mnn {MNN.version()}", dict.fromkeys(names, np.int32), run)
