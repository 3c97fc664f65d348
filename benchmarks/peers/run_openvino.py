"""Runs an OpenVINO model on the processor, tuned for the time of one text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from benchmarks.peers.engine import Engine, Feed
from benchmarks.peers.export_openvino import FILE, FLOAT


def load(model: Path, threads: int) -> Engine:
    """See `benchmarks.peers.engine.load_engine`; `model` is a folder."""
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    if model.parent.name == FLOAT:
        settings["INFERENCE_PRECISION_HINT"] = "f32"  # new processors would take bfloat16
    compiled = openvino.Core().compile_model(str(model / FILE), "CPU", settings)
    names = [given.get_any_name() for given in compiled.inputs]
    request = compiled.create_infer_request()

    def run(feed: Feed) -> np.ndarray:
        (output,) = request.infer(dict(feed)).values()
        return np.array(output)  # the request's own buffer is used again

    version = openvino.__version__.partition("-")[0]
    return Engine(f"openvino {version}", dict.fromkeys(names, np.int64), run)
