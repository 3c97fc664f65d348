"""Answers texts with ONNX Runtime: `python -m tfedge.measure.peers.answer_onnx X.onnx PEER.json`.

It speaks as `tfedge.runtime.clock` does. PEER.json says what a bundle's manifest says (`task`,
`labels`, `max_length`, `normalize`) and holds its tokeniser (`tokenizer`, a tokenizer.json as a
string), so that texts are cut into the same tokens and answers are read off in the same way.

A text is run at its own length, without padding, with all of ONNX Runtime's graph optimisations.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.runtime.clock import serve
from tfedge.runtime.tasks import TASKS
from tfedge.runtime.tokenizer import Encoded, TextEncoder

_EXIT_INPUT = 3
_EXIT_MISSING = 4


class OnnxAnswers:
    """An ONNX Runtime session with the tokenising and the answers of the board's runtime."""

    def __init__(self, model: Path, peer: Mapping[str, Any], threads: int) -> None:
        """Args:
        peer: the contents of PEER.json.
        threads: of one operator; operators run one after the other.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._types = {
            given.name: np.int32 if "int32" in given.type else np.int64
            for given in self._session.get_inputs()
        }
        (output,) = self._session.get_outputs()
        self._output = output.name
        self._task = TASKS[peer["task"]]
        self._labels = tuple(peer["labels"] or ())
        self._normalize = bool(peer["normalize"])
        self._encoder = TextEncoder(peer["tokenizer"].encode(), peer["max_length"])
        self.about = {"runtime": f"onnxruntime {onnxruntime.__version__}", "threads": threads}

    def encode(self, text: str) -> Encoded:
        """The tokens of a text; raises TextError."""
        return self._encoder.encode(text)

    def answer(self, text: str, encoded: Encoded) -> dict[str, Any]:
        """What `tfedge-infer` would answer to a text, with this model's numbers."""
        arrays = encoded.arrays(len(encoded))  # int32 (1, tokens)
        feed = {name: arrays[name].astype(dtype) for name, dtype in self._types.items()}
        outputs = {self._output: self._session.run(None, feed)[0]}
        if self._normalize:
            outputs["embedding"] /= max(float(np.linalg.norm(outputs["embedding"])), 1e-12)
        return {"text": text, **self._task.answer(outputs, encoded, self._labels, None)}


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code: 0, 3 for an unusable file, 4 for a missing package."""
    parser = argparse.ArgumentParser(prog="python -m tfedge.measure.peers.answer_onnx")
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        peer = json.loads(options.peer.read_text(encoding="utf-8"))
        model = OnnxAnswers(options.model, peer, options.threads)
    except ImportError as error:
        print(f"{error.name or error} is not installed", file=sys.stderr)
        return _EXIT_MISSING
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _EXIT_INPUT
    serve(model.encode, model.answer, model.about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
