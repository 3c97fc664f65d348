"""Runs models on arrays for the host, on any board: `python -m tfedge.runtime.worker`.

The host measures converted models with it, in a process of their own. The first line of standard
input is the request, a JSON object:

    verb      what to do, a key of `VERBS`
    model     path of the .tflite
    runtime   a key of `RUNTIMES`; null takes the first that the model allows (outputs, clock)
    threads   of the runtime; null takes its default
    arrays    .npz with the inputs of the model, `input:NAME` (rows, ...) each
    result    .npz to write: the arrays that the verb returns

and what the verb's function reads besides. A line on standard output is a step done; an error is a
line on standard error, and the exit codes are those of `tfedge-infer`. `clock` has no arrays: it
goes on reading, see `tfedge.runtime.clock`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.clock import serve
from tfedge.runtime.errors import InferenceError, OptionError
from tfedge.runtime.interpreter import Model
from tfedge.runtime.quiet import quiet_start
from tfedge.runtime.runtimes import RUNTIMES, default_threads, runtime_name
from tfedge.runtime.tensors import Inspector, grams, stacked
from tfedge.runtime.turns import SECONDS, time_in_turns

INPUT = "input:"  # before the names of inputs in the archive
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the host asks for.

    Attributes:
        fields: the whole JSON object, see the module.
    """

    fields: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """A field; raises OptionError where it is absent."""
        try:
            return self.fields[name]
        except KeyError:
            raise OptionError(
                f"the request has no {name!r}; use the same version of tfedge on host and board"
            ) from None

    @property
    def runtime(self) -> str:
        """For what reads no manifest; raises OptionError where none is named."""
        if (runtime := self["runtime"]) not in RUNTIMES:
            raise OptionError(f"the request names no runtime; give one of {', '.join(RUNTIMES)}")
        return str(runtime)

    @property
    def threads(self) -> int:
        """Likewise; `default_threads` unless a number is given."""
        return self["threads"] or default_threads()

    def inputs(self) -> Arrays:
        """The inputs by name, (rows, ...) each.

        Raises:
            OptionError: the file cannot be read.
        """
        path = self["arrays"]
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name[len(INPUT) :]: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise OptionError(f"{path}: not a readable .npz file: {error}") from error


def _outputs(request: Request) -> Arrays:
    """The outputs of a bundle by name, float32 (rows, ...), of the graph for inputs of this shape."""
    inputs = request.inputs()
    if len({array.shape for array in inputs.values()}) != 1 or not all(map(len, inputs.values())):
        raise OptionError(
            f"{request['arrays']}: needs at least one array, all of one shape (rows, ...)"
        )
    bundle = read_bundle(request["model"])
    model = Model(bundle, request["runtime"], request["threads"])
    count, *sizes = next(iter(inputs.values())).shape
    shape, manifest = (1, *sizes), bundle.manifest
    keys = [key for key in manifest.signatures if manifest.input_shape(key) == shape]
    if not keys:
        raise OptionError(f"{request['model']} has no signature for inputs of shape {shape}")
    rows = []
    for row in range(count):
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        rows.append(model.run(keys[0], one))
        print(row + 1, flush=True)  # the host's progress bar reads this
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _tensors(request: Request) -> Arrays:
    """Outputs (rows, ...) of a subgraph by their `indices`, in their own dtypes.

    `signature` is the key of the signature and `subgraph` its index.
    """
    runs = _inspector(request, keep_all=False).runs(request.inputs(), request["indices"])
    return _by_index(request, stacked(runs))


def _grams(request: Request) -> Arrays:
    """Of tensors anywhere in a subgraph the sum of x x^T over the vectors x of the last axis at real
    tokens, (C, C); the tensors themselves would be gigabytes. It takes what `_tensors` takes."""
    runs = _inspector(request, keep_all=True).runs(request.inputs(), request["indices"])
    return _by_index(request, grams(runs))


def _inspector(request: Request, keep_all: bool) -> Inspector:
    signature, subgraph = request["signature"], request["subgraph"]
    path, runtime = request["model"], request.runtime
    return Inspector(path, runtime, request.threads, signature, subgraph, keep_all)


def _by_index(request: Request, found: list[np.ndarray]) -> Arrays:
    return {str(index): array for index, array in zip(request["indices"], found)}


def _turns(request: Request) -> Arrays:
    """Seconds (rounds, signatures) of the `signatures`, which run in turns for `rounds` rounds."""
    keys, inputs, rounds = request["signatures"], request.inputs(), request["rounds"]
    path, runtime = request["model"], request.runtime
    return {SECONDS: time_in_turns(path, keys, inputs, rounds, runtime, request.threads)}


def _clock(request: Request) -> None:
    """Answers texts; `length` is of the one graph that is to run, or null."""
    from tfedge.runtime.pipeline import load

    with quiet_start():
        pipeline = load(
            request["model"], request["runtime"], request["threads"], length=request["length"]
        )
    about = {"runtime": runtime_name(pipeline.runtime), "threads": pipeline.num_threads}
    serve(pipeline.encode, pipeline.answer, about)


VERBS: Mapping[str, Callable[[Request], Arrays | None]] = {
    "outputs": _outputs,
    "tensors": _tensors,
    "grams": _grams,
    "turns": _turns,
    "clock": _clock,
}


def main() -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    try:
        request = Request(json.loads(sys.stdin.readline()))
        verb = VERBS.get(request["verb"])
        if verb is None:
            raise OptionError(f"no verb {request['verb']!r}; this worker has {', '.join(VERBS)}")
        found = verb(request)
        if found is not None:
            np.savez(request["result"], **found)
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
