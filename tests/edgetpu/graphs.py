"""Graphs of operators alone, as published or put together, and the file of published pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.edgetpu.check import predict
from tfedge.edgetpu.result import Check
from tfedge.edgetpu.rules import load_rules
from tfedge.inspect.graph import ModelFile, Operator, Subgraph, Tensor

PAIRS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("pairs.json").read_text(encoding="utf-8")
)
_DTYPES = {"i8": "INT8", "u8": "UINT8", "i32": "INT32", "i64": "INT64", "f32": "FLOAT32"}
_DTYPES["i16"] = "INT16"


def tensor(text: str, name: str = "") -> Tensor:
    """`i8 1x4x4x3`; `=` before it makes a constant, `?` one of open size; values may follow."""
    kind, _, rest = text.lstrip("=?").partition(" ")
    sizes, _, values = rest.partition(" ")
    shape = tuple(int(size) for size in sizes.split("x") if size)
    found = Tensor(
        name=name,
        shape=shape,
        dtype=_DTYPES[kind],
        scale=None,
        zero_point=None,
        constant_bytes=None,
        dynamic=text.startswith("?"),
        values=tuple(int(value) for value in values.split(",")) if values else None,
    )
    if not text.startswith("="):
        return found
    return Tensor(**{**vars(found), "constant_bytes": found.bytes})


def published(pair: Mapping[str, Any]) -> Subgraph:
    """The model of a published pair."""
    operators = []
    for line in pair["operators"]:
        name, version, inputs, outputs, *options = line.split()
        indices = [tuple(int(index) for index in side.split(",")) for side in (inputs, outputs)]
        settings = {key: int(value) for key, value in (item.split("=") for item in options)}
        operators.append(Operator(name, int(version), indices[0], indices[1], settings))
    tensors = [tensor(text, str(index)) for index, text in enumerate(pair["tensors"])]
    made = {index for operator in operators for index in operator.outputs}
    read = {index for operator in operators for index in operator.inputs if index >= 0}
    entering = [i for i in sorted(read - made) if tensors[i].constant_bytes is None]
    return Subgraph(tensors, operators, tuple(entering), tuple(pair["outputs"]))


def chain(*steps: tuple[Any, ...]) -> Subgraph:
    """Operators in a row, each `(name, result, constants..., [options])`; the first step is the input.

    Args:
        steps: `(tensor,)`, then for each operator its name, maybe `@version` behind it, the tensor
            that it makes and its further operands, options as a dict at the end.
    """
    tensors, operators = [tensor(steps[0][0], "input")], []
    last = 0
    for name, result, *others in steps[1:]:
        options = others.pop() if others and isinstance(others[-1], dict) else {}
        inputs = [last]
        for other in others:
            inputs.append(len(tensors))
            tensors.append(tensor(other))
        tensors.append(tensor(result, name))
        last = len(tensors) - 1
        kind, _, version = name.partition("@")
        operators.append(Operator(kind, int(version or 1), tuple(inputs), (last,), options))
    return Subgraph(tensors, operators, (0,), (last,))


def predicted(subgraph: Subgraph) -> Check:
    """The prediction for a model of this graph alone."""
    return predict(ModelFile("", 0, "", [subgraph], [], {}), load_rules())
