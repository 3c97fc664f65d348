"""What a peer's runtime looks like to the program that answers texts with it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Feed = Mapping[str, np.ndarray]

ENGINES = ("ctranslate2", "mnn", "onnx", "openvino", "torch")


@dataclasses.dataclass(frozen=True)
class Engine:
    """A loaded model.

    Attributes:
        runtime: what runs it, with its version.
        inputs: the names of its inputs and their integer types; int (1, tokens) each.
        run: inputs by name -> the output, float32 (1, labels) or (1, channels).
    """

    runtime: str
    inputs: Mapping[str, type]
    run: Callable[[Feed], np.ndarray]

    def answer(self, arrays: Feed) -> np.ndarray:
        """Runs the model on those of `arrays` that it takes, cast to its types."""
        return self.run({name: arrays[name].astype(kind) for name, kind in self.inputs.items()})


def load_engine(name: str, model: Path, threads: int) -> Engine:
    """Loads a model with the module `run_NAME`.

    Args:
        name: one of `ENGINES`.
        threads: of one operator; operators run one after the other.

    Raises:
        ImportError: the runtime is not installed.
        ValueError, OSError: the model cannot be read.
    """
    module = importlib.import_module(f"benchmarks.peers.run_{name}")
    engine: Engine = module.load(model, threads)
    return engine
