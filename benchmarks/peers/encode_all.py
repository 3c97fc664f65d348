"""Embeds a list of texts again and again: `python -m benchmarks.peers.encode_all BACKEND MODEL`.

BACKEND is `tfedge`, and MODEL then a .tflite, or one of sentence-transformers'.
The first line of standard input is JSON, `texts` and `vectors`, the .npy in which their embeddings are
left; for each further line all texts are embedded and the seconds printed, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.settings import EXIT_INPUT, EXIT_MISSING

Encode = Callable[[Sequence[str]], np.ndarray]
TFEDGE = "tfedge"
# What sentence-transformers is told of a backend; `onnx-int8` is a file that its own tools make.
BACKENDS = {"torch": "torch", "onnx": "onnx", "onnx-int8": "onnx", "openvino": "openvino"}
_INT8 = "avx512_vnni"  # the processor that ONNX Runtime's integers are made for


def _tfedge(model: Path, threads: int) -> Encode:
    from tfedge.runtime import load

    return load(model, num_threads=threads, runtime="litert").encode


def _sentence_transformers(backend: str, model: Path, threads: int) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    torch.set_num_threads(threads)
    kind = BACKENDS[backend]
    options: dict[str, Any] = {}
    if kind == "openvino":
        options = {"ov_config": {"INFERENCE_NUM_THREADS": threads}}
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        options = {"provider": "CPUExecutionProvider", "session_options": session}
    made = SentenceTransformer(str(model), device="cpu", backend=kind, model_kwargs=options)
    if backend == "onnx-int8":
        export_dynamic_quantized_onnx_model(made, _INT8, str(model))
        options["file_name"] = f"onnx/model_qint8_{_INT8}.onnx"
        made = SentenceTransformer(str(model), device="cpu", backend=kind, model_kwargs=options)
    return lambda texts: made.encode(list(texts), show_progress_bar=False)


def main(arguments: list[str] | None = None) -> int:
    """The program; returns its exit code: 0, 3 for an unusable file, 4 for a missing package."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.encode_all")
    parser.add_argument("backend", choices=[TFEDGE, *BACKENDS])
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    asked = json.loads(sys.stdin.readline())
    try:
        if given.backend == TFEDGE:
            encode = _tfedge(given.model, given.threads)
        else:
            encode = _sentence_transformers(given.backend, given.model, given.threads)
    except ImportError as error:
        print(f"{error.name or error} is not installed", file=sys.stderr)
        return EXIT_MISSING
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return EXIT_INPUT
    np.save(asked["vectors"], encode(asked["texts"]))
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        encode(asked["texts"])
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
