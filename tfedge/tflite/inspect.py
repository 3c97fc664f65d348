"""Reads back what a .tflite really holds: its tensors, operators and signature."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from tfedge.tflite.metadata import parse, text


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output. Scale and zero point are None for a tensor that is not quantised."""

    name: str
    shape: list[int]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a model file holds.

    Attributes:
        inputs, outputs: of the first signature, by the signature's names.
        activations: tensors that operators compute, counted by dtype.
        constants: bytes of weights by dtype; those that several tensors share are there once.
        operators: operators by name and the dtype of their first output, e.g. `ADD INT8`.
        versions: the highest version of each operator.
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    activations: dict[str, int]
    constants: dict[str, int]
    operators: dict[str, int]
    versions: dict[str, int]

    @property
    def float_operators(self) -> dict[str, int]:
        """Operators that compute in floating point."""
        return {name: count for name, count in self.operators.items() if " FLOAT" in name}


def inspect(content: bytes) -> Contents:
    """Reads the flatbuffer `content`.

    Raises:
        InputError: it is no TensorFlow Lite model.
    """
    tree, schema = parse(content)
    dtypes = _names(schema.TensorType)
    builtin = _names(schema.BuiltinOperator)
    activations: Counter[str] = Counter()
    constants: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    versions: dict[str, int] = {}
    counted: set[int] = set()
    for subgraph in tree.subgraphs:
        for operator in subgraph.operators:
            code = tree.operatorCodes[operator.opcodeIndex]
            name = builtin[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if name == "CUSTOM":
                name = f"CUSTOM:{text(code.customCode)}"
            outputs = [dtypes[subgraph.tensors[index].type] for index in operator.outputs]
            activations.update(outputs)
            operators[f"{name} {outputs[0]}"] += 1
            versions[name] = max(versions.get(name, 0), code.version)
        for tensor in subgraph.tensors:
            data = tree.buffers[tensor.buffer].data
            if data is not None and tensor.buffer not in counted:
                counted.add(tensor.buffer)
                constants[dtypes[tensor.type]] += len(data)
    signature = tree.signatureDefs[0] if tree.signatureDefs else None
    return Contents(
        inputs=_tensors(tree, signature, "inputs", dtypes),
        outputs=_tensors(tree, signature, "outputs", dtypes),
        activations=dict(sorted(activations.items())),
        constants=dict(sorted(constants.items())),
        operators=dict(sorted(operators.items())),
        versions=dict(sorted(versions.items())),
    )


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _tensors(tree: Any, signature: Any, side: str, dtypes: dict[int, str]) -> list[Tensor]:
    if signature is None:
        return []
    tensors = tree.subgraphs[signature.subgraphIndex].tensors
    result = []
    for item in getattr(signature, side):
        tensor = tensors[item.tensorIndex]
        scale, zero_point = None, None
        found = tensor.quantization
        if found is not None and found.scale is not None and len(found.scale):
            scale, zero_point = float(found.scale[0]), int(found.zeroPoint[0])
        shape = [int(size) for size in tensor.shape]
        result.append(Tensor(text(item.name), shape, dtypes[tensor.type], scale, zero_point))
    return sorted(result, key=lambda tensor: tensor.name)
