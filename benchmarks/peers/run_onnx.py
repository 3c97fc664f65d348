"""Runs an .onnx file with ONNX Runtime, all of its graph optimisations on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.peers.engine import Engine, Feed


def load(model: Path, threads: int) -> Engine:
    """See `benchmarks.peers.engine.load_engine`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    inputs = {
        given.name: np.int32 if "int32" in given.type else np.int64
        for given in session.get_inputs()
    }

    def run(feed: Feed) -> np.ndarray:
        (output,) = session.run(None, dict(feed))
        return np.asarray(output)

    return Engine(f"onnxruntime {onnxruntime.__version__}", inputs, run)
