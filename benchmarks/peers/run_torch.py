"""Runs what `export_torch` has written: a pickled module, or TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.engine import Engine, Feed
from benchmarks.peers.export_torch import INPUTS_KEY, SCRIPT


def load(model: Path, threads: int) -> Engine:
    """See `benchmarks.peers.engine.load_engine`."""
    warnings.simplefilter("ignore")  # quantize_dynamic and TorchScript are deprecated
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if model.stem == SCRIPT:
        extra = {INPUTS_KEY: ""}
        module = torch.jit.load(str(model), _extra_files=extra)
        given = extra[INPUTS_KEY]
        names = (given.decode() if isinstance(given, bytes) else given).split()
    else:
        # The file is our own, of this run; a module is more than the weights alone.
        module, names = torch.load(model, weights_only=False)

    def run(feed: Feed) -> np.ndarray:
        with torch.inference_mode():
            output = module(*(torch.from_numpy(feed[name]) for name in names))
        return np.asarray(output.numpy())

    return Engine(f"torch {torch.__version__}", dict.fromkeys(names, np.int64), run)
