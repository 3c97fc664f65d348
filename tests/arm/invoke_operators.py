"""Runs models of one operator on one thread, for counting: `invoke_operators.py LIST`.

LIST has the path of a .tflite a line. Each runs once to warm up, which packs its weights. Then the
plugin `count_blocks.c` begins with empty caches, operands and results are touched, as the operators
before would have done it, and one run is counted: weights come from DRAM, as those of a model that is
larger than the caches do. Prints "RAN path" or "FAILED path why".
"""

import os
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_FAILURES = (ValueError, RuntimeError)


def _operand(detail):
    """Any values of an input; an index of every table."""
    shape, dtype = detail["shape"], detail["dtype"]
    if np.issubdtype(dtype, np.floating):
        return np.random.default_rng(0).standard_normal(shape).astype(dtype)
    if dtype == np.int8:
        return np.random.default_rng(0).integers(-128, 128, shape).astype(dtype)
    return np.zeros(shape, dtype)


def _count(path):
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    operands = [(item["index"], _operand(item)) for item in interpreter.get_input_details()]
    results = [item["index"] for item in interpreter.get_output_details()]
    for index, values in operands:
        interpreter.set_tensor(index, values)
    interpreter.invoke()
    os.getpriority(os.PRIO_USER, 0)
    for index in results:
        interpreter.get_tensor(index)
    for index, values in operands:
        interpreter.set_tensor(index, values)
    os.getpriority(os.PRIO_PROCESS, 0)
    interpreter.invoke()
    os.getpriority(os.PRIO_PROCESS, 0)


for path in Path(sys.argv[1]).read_text().split():
    try:
        _count(path)
    except _FAILURES as error:
        print("FAILED", path, " ".join(str(error).split()), flush=True)
    else:
        print("RAN", path, flush=True)
