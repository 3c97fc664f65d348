"""Quantises a float .tflite by ai-edge-quantizer; see `benchmarks.peers.settings`.

Writes OUTPUT/KIND/NAME.tflite for each --kind, NAME being the source's: `dynamic`, int8 weights per
channel, and `int8`, static weights and activations with ranges from the calibration texts. These are
its own recipes dynamic_wi8_afp32 and static_wi8_ai8.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

KINDS = ("dynamic", "int8")
# Texts a signature: calibration fetches every tensor of every graph, and a range is soon found.
_CALIBRATED = 40


def quantize(model: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the model of each kind and yields its path.

    Args:
        model: float32, a signature for each length.
    """
    from ai_edge_quantizer import quantizer, recipe

    recipes = {"dynamic": recipe.dynamic_wi8_afp32, "int8": recipe.static_wi8_ai8}
    for kind in kinds:
        target = output / kind / model.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with _silent():
            work = quantizer.Quantizer(str(model), recipes[kind]())
            ranges = None
            if work.need_calibration:
                ranges = work.calibrate(_samples(model, settings), num_threads=1)
            result = work.quantize(ranges)
        target.write_bytes(_with_weights_inside(bytes(result.quantized_model)))
        yield target


def _samples(model: Path, settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Inputs by signature: the first calibration texts, cut to its length."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    samples: dict[str, list[dict[str, Any]]] = {}
    for key in interpreter.get_signature_list():
        details = interpreter.get_signature_runner(key).get_input_details()
        length = int(details["input_ids"]["shape"][1])
        samples[key] = [
            {name: array for name, array in encoded.arrays(length).items() if name in details}
            for encoded in itertools.islice(settings.encoded(length), _CALIBRATED)
        ]
    return samples


def _with_weights_inside(content: bytes) -> bytes:
    """The model with its weights in the flatbuffer; it writes them behind it, as for 2 GB and more."""
    import numpy as np
    from ai_edge_litert.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(content)
    for buffer in tree.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps its reports and progress bars away from standard output, which lists files."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.quantize_tflite", KINDS, quantize))
