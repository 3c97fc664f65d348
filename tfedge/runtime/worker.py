"""Runs models on arrays for the host, on any board: `python -m tfedge.runtime.worker`.

The host measures converted models with it, in a process of their own. The first line of standard
input is the request, a JSON object:

    verb      what to do, a key of `VERBS`
    model     path of the .tflite
    runtime   a key of `RUNTIMES`; null takes the first that the model allows (outputs, clock)
    threads   of the runtime; null takes its default
    arrays    .npz with the inputs of the model, `input:NAME` (rows, ...) each
    result    .npz to write: the arrays that the verb returns; null prints that file as one line, in
              base64 behind `ARCHIVE`

and what the verb's function reads besides. A line on standard output is a step done; an error is a
line on standard error, and the exit codes are those of `tfedge-infer`.

The verb `look` needs nothing of that, and prints one line: the machine's `Conditions`.

The verb `clock` has no arrays: it answers texts and says how long each took, in a process that stays
alive. It first prints one line about itself, a JSON object with `runtime` and `threads`. Then each line
of standard input, a JSON list of texts, is a block; one line answers it, a JSON object with

    answers         an object a text, as `tfedge-infer --json` prints it
    tokenize_s      seconds that making tokens of each text took
    infer_s         seconds from the tokens of each text to its answer
    peak_rss_bytes  the most memory that the process has had resident so far
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.conditions import look
from tfedge.runtime.errors import (
    BackendError,
    InferenceError,
    OptionError,
    TextError,
    one_line,
)
from tfedge.runtime.interpreter import FAILURES, Model, quantise
from tfedge.runtime.machine import peak_rss_bytes
from tfedge.runtime.npz import pack, write_npz
from tfedge.runtime.runtimes import RUNTIMES, default_threads, import_runtime, runtime_name

INPUT = "input:"  # before the names of inputs in the archive
ARCHIVE = b"npz "
UNWRITTEN = "cannot be written"  # said of the result
SECONDS = "seconds"  # the name of what `turns` returns
WARM_UP_ROUNDS = 3  # of `turns`: first calls allocate memory, start threads and fill caches
_MASK = "attention_mask"
Arrays = dict[str, np.ndarray]


class Request(dict[str, Any]):
    """What the host asks for, the whole JSON object; see the module."""

    def __missing__(self, name: str) -> Any:
        raise OptionError(
            f"the request has no {name!r}; use the same version of tfedge on host and board"
        )

    def inputs(self) -> Arrays:
        """The inputs by name, (rows, ...) each; raises OptionError where they cannot be read."""
        path = self["arrays"]
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name[len(INPUT) :]: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise OptionError(f"{path}: not a readable .npz file: {error}") from error

    @contextlib.contextmanager
    def interpreter(self, default_delegate: bool = True, **options: Any) -> Iterator[Any]:
        """An interpreter of any .tflite, whose metadata are not read.

        Raises OptionError where the request names no runtime, BackendError where the runtime refuses
        the model, or fails within the block.
        """
        model, runtime = self["model"], self["runtime"]
        if runtime not in RUNTIMES:
            raise OptionError(f"the request names no runtime; give one of {', '.join(RUNTIMES)}")
        module = import_runtime(runtime)
        if not default_delegate:
            resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = resolver
        threads = self["threads"] or default_threads()
        try:
            yield module.Interpreter(model_path=model, num_threads=threads, **options)
        except InferenceError:
            raise
        except FAILURES as error:
            name = runtime_name(runtime)
            raise BackendError(
                f"{model}: {name} cannot run the model: {one_line(error)}"
            ) from error


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
        rows.append(model.run(keys[0], _row(inputs, row)))
        print(row + 1, flush=True)  # the host's progress bar reads this
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _tensors(request: Request) -> Arrays:
    """Outputs (rows, ...) of a subgraph by their `indices`, in their own dtypes.

    `signature` is the key of the signature and `subgraph` its index.
    """
    runs = _runs(request, request.inputs(), keep_all=False)
    return _by_index(request, map(np.stack, zip(*runs)))


def _grams(request: Request) -> Arrays:
    """Of tensors anywhere in a subgraph the sum of x x^T over the vectors x of the last axis at real
    tokens, float32 (C, C); the tensors themselves would be gigabytes. Asked for as in `_tensors`."""
    inputs = request.inputs()
    sums: list[Any] = [0] * len(request["indices"])
    for row, tensors in enumerate(_runs(request, inputs, keep_all=True)):
        real = inputs[_MASK][row].ravel() != 0 if _MASK in inputs else None
        for number, tensor in enumerate(tensors):
            vectors = tensor.reshape(-1, tensor.shape[-1])
            if real is not None and len(vectors) == len(real):  # one a token
                vectors = vectors[real]
            sums[number] += vectors.T @ vectors
    return _by_index(request, sums)


def _runs(request: Request, inputs: Arrays, keep_all: bool) -> Iterator[list[np.ndarray]]:
    """The tensors that each row of the inputs leads to.

    The default delegate (XNNPACK) is off: it rounds some values differently from the operators that
    the file holds. The memory of a tensor that is no output may be reused, unless all are kept.
    """
    options = {"experimental_preserve_all_tensors": keep_all}
    with request.interpreter(default_delegate=False, **options) as interpreter:
        run = interpreter.get_signature_runner(request["signature"])
        for number, values in enumerate(_fitted(request, inputs, run.get_input_details())):
            run(**values)
            yield [interpreter.get_tensor(i, request["subgraph"]) for i in request["indices"]]
            print(number + 1, flush=True)  # the host's progress bar reads this


def _turns(request: Request) -> Arrays:
    """Seconds (rounds, signatures) that the `signatures` take, each run once a round, on one row of
    the inputs after the other, with the default delegate, as when the model answers."""
    inputs, rounds = request.inputs(), request["rounds"]
    with request.interpreter() as interpreter:
        # tflite-runtime applies its default delegate only here, not in a signature's runner.
        interpreter.allocate_tensors()
        runners = [interpreter.get_signature_runner(key) for key in request["signatures"]]
        given = [list(_fitted(request, inputs, run.get_input_details())) for run in runners]
        seconds = np.empty((rounds, len(runners)))
        for number in range(-WARM_UP_ROUNDS, rounds):
            for index, (run, rows) in enumerate(zip(runners, given)):
                values = rows[number % len(rows)]
                begin = time.perf_counter()
                run(**values)
                if number >= 0:
                    seconds[number, index] = time.perf_counter() - begin
            print(number, flush=True)  # the host's progress bar reads this
    return {SECONDS: seconds}


def _fitted(request: Request, inputs: Arrays, details: Mapping[str, Any]) -> Iterator[Arrays]:
    """Of each row the tensors of a signature by name, in their own dtypes."""
    for name, detail in details.items():
        if name not in inputs:
            raise OptionError(
                f"{request['model']}: its input {name!r} is not among {sorted(inputs)}"
            )
        found, shape = (1, *inputs[name].shape[1:]), tuple(int(size) for size in detail["shape"])
        if found != shape:
            raise OptionError(f"{request['model']}: its input {name!r} is {shape}, not {found}")
    for row in range(min(len(inputs[name]) for name in details)):
        one = _row(inputs, row)
        yield {name: quantise(one[name], detail) for name, detail in details.items()}


def _row(inputs: Arrays, row: int) -> Arrays:
    return {name: array[row : row + 1] for name, array in inputs.items()}


def _by_index(request: Request, found: Iterable[np.ndarray]) -> Arrays:
    return {str(index): array for index, array in zip(request["indices"], found)}


def _clock(request: Request) -> None:
    """Answers texts; `length` is of the one graph that is to run, or null."""
    from tfedge.runtime.pipeline import load

    pipeline = load(
        request["model"],
        request["runtime"],
        request["threads"],
        length=request["length"],
        trust=True,  # this is a process of its own
    )
    about = {"runtime": runtime_name(pipeline.runtime), "threads": pipeline.num_threads}
    serve(pipeline.prepare, pipeline.answer, about)


def serve(
    encode: Callable[[Any], Any],
    answer: Callable[[Any, Any], dict[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """Answers blocks of texts from standard input until it ends, as `clock` does; see the module.

    Args:
        encode: text -> its tokens; may raise TextError.
        answer: text, tokens -> the answer; may raise TextError.
        about: what the first line says.
    """

    def timed(text: Any) -> tuple[dict[str, Any], float, float]:
        begin = encoded_at = time.perf_counter()
        try:
            encoded = encode(text)
            encoded_at = time.perf_counter()
            answered = answer(text, encoded)
        except TextError as error:
            answered = {"error": str(error)}
        return answered, encoded_at - begin, time.perf_counter() - encoded_at

    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        done = [timed(text) for text in json.loads(line)]
        block = {
            "answers": [answered for answered, _, _ in done],
            "tokenize_s": [seconds for _, seconds, _ in done],
            "infer_s": [seconds for _, _, seconds in done],
            "peak_rss_bytes": peak_rss_bytes(),
        }
        print(json.dumps(block), flush=True)


def _look(request: Request) -> None:
    print(json.dumps(dataclasses.asdict(look())), flush=True)


VERBS: Mapping[str, Callable[[Request], Arrays | None]] = {
    "outputs": _outputs,
    "tensors": _tensors,
    "grams": _grams,
    "turns": _turns,
    "clock": _clock,
    "look": _look,
}


def _write(arrays: Arrays, path: str | None) -> None:
    if path is not None:
        try:
            write_npz(Path(path), arrays)
        except OSError as error:  # of a full disk
            raise BackendError(f"{path}: {UNWRITTEN}: {error.strerror}") from error
        return
    content = io.BytesIO()
    pack(content, arrays)
    print(f"{ARCHIVE.decode()}{base64.b64encode(content.getvalue()).decode()}", flush=True)


def main() -> int:
    """The program; returns its exit code, those of `tfedge-infer`."""
    try:
        request = Request(json.loads(sys.stdin.readline()))
        verb = VERBS.get(request["verb"])
        if verb is None:
            raise OptionError(f"no verb {request['verb']!r}; this worker has {', '.join(VERBS)}")
        found = verb(request)
        if found is not None:
            _write(found, request["result"])
    except InferenceError as error:
        print(f"tfedge: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
