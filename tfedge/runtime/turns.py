"""Times the signatures of any .tflite in turns.

The host learns with it what the parts of a graph take (`tfedge inspect --time`). All run in one
process, with the default delegate, as they do when the model answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfedge.runtime.errors import BackendError, OptionError, one_line
from tfedge.runtime.interpreter import quantise
from tfedge.runtime.runtimes import import_runtime, runtime_name

SECONDS = "seconds"
_WARM_UP_ROUNDS = 3  # first calls allocate memory, start threads and fill caches


def time_in_turns(
    model: str,
    keys: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    rounds: int,
    runtime: str,
    threads: int,
) -> np.ndarray:
    """Runs each signature once a round, on one row of the inputs after the other.

    Args:
        inputs: (rows, ...) by name, as the real values that they stand for.

    Returns:
        Seconds, float64 (rounds, signatures).

    Raises:
        OptionError: an input is absent or does not fit.
        BackendError: the runtime refuses the model, or fails.
    """
    module = import_runtime(runtime)
    try:
        interpreter = module.Interpreter(model_path=model, num_threads=threads)
        # tflite-runtime applies its default delegate only here, not in a signature's runner.
        interpreter.allocate_tensors()
        runners = [interpreter.get_signature_runner(key) for key in keys]
        given = [_rows(model, runner, inputs) for runner in runners]
        seconds = np.empty((rounds, len(keys)))
        for number in range(-_WARM_UP_ROUNDS, rounds):
            for index, (runner, rows) in enumerate(zip(runners, given)):
                values = rows[number % len(rows)]
                begin = time.perf_counter()
                runner(**values)
                if number >= 0:
                    seconds[number, index] = time.perf_counter() - begin
            print(number, flush=True)  # the host's progress bar reads this
    except (ValueError, RuntimeError, MemoryError) as error:
        name = runtime_name(runtime)
        raise BackendError(f"{model}: {name} cannot run the model: {one_line(error)}") from error
    return seconds


def _rows(model: str, runner: Any, inputs: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The inputs of each run of a signature, in its tensors' own dtypes."""
    details = runner.get_input_details()
    for name, detail in details.items():
        shape = tuple(int(size) for size in detail["shape"])
        found = inputs[name].shape[1:] if name in inputs else None
        if found is None or (1, *found) != shape:
            raise OptionError(f"{model}: its input {name!r} is {shape}; given was {found}")
    count = min(len(inputs[name]) for name in details)
    return [
        {name: quantise(inputs[name][row : row + 1], detail) for name, detail in details.items()}
        for row in range(count)
    ]


def rounds_in_all(rounds: int) -> int:
    """How many lines of progress there will be."""
    return rounds + _WARM_UP_ROUNDS
