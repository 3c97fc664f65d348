"""What `tfedge.runtime.probe` starts: `python -m tfedge.runtime.rehearsal`."""

from __future__ import annotations

import sys

import numpy as np

from tfedge.runtime import apart
from tfedge.runtime.bundle import Bundle, read_bundle
from tfedge.runtime.errors import InferenceError, TextError, one_line, shortened
from tfedge.runtime.interpreter import Device, Model
from tfedge.runtime.pipeline import Pipeline
from tfedge.runtime.probe import refused
from tfedge.runtime.runtimes import import_runtime
from tfedge.runtime.trial import examine


def _rehearse(bundle: Bundle, runtime: str, threads: int, device: Device) -> None:
    """Does what `load` does, tries the tokeniser, and runs each graph on the example, as far as it
    goes. Raises as `load` does, and as the runtime at the first text."""
    model = Model(bundle, runtime, threads, **device)
    pipeline = Pipeline(bundle, model)
    if bundle.tokenizer_json:
        _examine(bundle)
    try:
        encoded = pipeline.prepare(pipeline.example)
    except TextError:  # a tokeniser may know no word of it
        arrays = {}
    else:
        arrays = encoded.arrays(max(pipeline.max_length, len(encoded)))
    for key in bundle.manifest.signatures:
        shape = bundle.manifest.input_shape(key)
        inputs = {name: np.zeros(shape) for name in bundle.manifest.inputs}
        for name in inputs.keys() & arrays.keys():
            known = arrays[name][tuple(map(slice, shape))]
            inputs[name][tuple(map(slice, known.shape))] = known
        model.run(key, inputs)


def _examine(bundle: Bundle) -> None:
    try:
        examine(bundle.tokenizer_json)
    except BaseException as error:  # the panics of tokenizers are no Exceptions
        reason = one_line(error) or type(error).__name__
        raise refused(bundle.path, f"its tokeniser breaks on a text: {reason}") from error


def main(arguments: list[str]) -> int:
    """The program, with the arguments of `tfedge.runtime.apart.limit` first; prints what is wrong, and
    returns the exit code of `tfedge-infer` for that."""
    path, runtime, threads, delegate, device = arguments[2:]
    try:
        bundle = read_bundle(path)
        import_runtime(runtime)  # before the limits, which are for the model
        apart.limit(*arguments[:2])
        chosen: Device = {"delegate": delegate or None, "device": device or None}
        _rehearse(bundle, runtime, int(threads), chosen)
    except Exception as error:
        told = (
            error if isinstance(error, InferenceError) else refused(path, f"it breaks: {error!r}")
        )
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            told = refused(path, "it asks for too much memory")
        print(shortened(told))
        return told.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
