"""Sums up what a converted .tflite holds: its tensors, operators and signature."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from tfedge.inspect.graph import Signature, read_content
from tfedge.records import taken


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output. Scale and zero point are None for a tensor without one scale."""

    name: str
    shape: Sequence[int]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a model file holds."""

    inputs: list[Tensor]  # of the first signature, by the signature's names
    outputs: list[Tensor]
    activations: dict[str, int]  # tensors that operators compute, counted by dtype
    constants: dict[str, int]  # bytes of weights by dtype; those that tensors share count once
    operators: dict[str, int]  # by name and the dtype of their first output, e.g. `ADD INT8`
    versions: dict[str, int]  # the highest of each operator

    @property
    def float_operators(self) -> dict[str, int]:
        """Operators that compute in floating point."""
        return {name: count for name, count in self.operators.items() if " FLOAT" in name}


def contents(content: bytes) -> Contents:
    """What the .tflite `content` holds; raises InputError where it is no TensorFlow Lite model."""
    model = read_content("the converted model", content)
    activations: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    versions: dict[str, int] = {}
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            dtypes = [subgraph.tensors[index].dtype for index in operator.outputs]
            activations.update(dtypes)
            operators[f"{operator.name} {dtypes[0]}"] += 1
            versions[operator.name] = max(versions.get(operator.name, 0), operator.version)
    entry = model.signature(None) or Signature("", 0, {}, {})
    tensors = model.subgraphs[entry.subgraph].tensors
    inputs, outputs = (
        [taken(Tensor, tensors[index], name=name) for name, index in sorted(side.items())]
        for side in (entry.inputs, entry.outputs)
    )
    return Contents(
        inputs=inputs,
        outputs=outputs,
        activations=dict(sorted(activations.items())),
        constants=model.constants,
        operators=dict(sorted(operators.items())),
        versions=dict(sorted(versions.items())),
    )
