"""Whether the Edge TPU can run an operator: the published rules, applied to its tensors.

Where a rule is silent, published pairs of a model and its compiled form decide; what neither says
is a question of `rules.json` and marked as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tfedge.edgetpu.rules import Rule, Rules, Supported
from tfedge.inspect.cost import lacks_operand
from tfedge.inspect.graph import Operator, Subgraph, Tensor

_EIGHT_BITS = {"INT8", "UINT8"}
_PARAMETERS = {"INT8", "UINT8", "INT32"}  # of constants: weights; biases, axes and shapes


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What becomes of one operator, were it alone."""

    refused: Rule | None = None  # None where it can be mapped
    seen: bool = False  # mapped in this form, in a published pair or log
    question: str | None = None  # the key of the open question on which that depends


@dataclasses.dataclass(frozen=True)
class _Case:
    operator: Operator
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    rules: Rules

    @property
    def known(self) -> Supported:
        return self.rules.operators[self.operator.name]

    def values(self, position: int) -> tuple[int, ...] | None:
        """The values of an input; None where they are not known."""
        return self.inputs[position].values if position < len(self.inputs) else None

    def over(self, rule: str | None = None, source: str | None = None) -> Verdict:
        """A verdict against it: the table's limit, or another."""
        return Verdict(self.rules.limit(self.operator.name, rule, source))


def judge(operator: Operator, subgraph: Subgraph, rules: Rules) -> Verdict:
    """Applies the rules to one operator, first those for all, then those of its kind; raises
    InputError where it lacks an operand."""
    outputs = [subgraph.tensors[index] for index in operator.outputs]
    case = _Case(operator, subgraph.operands(operator), outputs, rules)
    if (general := _general(case)) is not None:
        question = "activations" if operator.name == "BATCH_MATMUL" else None
        return Verdict(rules.against(operator.name, general), question=question)
    try:
        found = _SPECIFIC.get(operator.name, lambda case: None)(case)
    except IndexError as error:
        raise lacks_operand(operator) from error
    return found or Verdict(seen=bool(case.known.seen))


def _general(case: _Case) -> str | None:
    """The key of the first rule for all operators that is broken."""
    name, data = case.operator.name, _data(case)
    if name not in case.rules.operators:
        floats = any(tensor.is_float for tensor in (*case.inputs, *case.outputs))
        return "8 bits" if floats or name.startswith("CUSTOM:") else "table"
    if name == "QUANTIZE" and any(tensor.is_float for tensor in case.inputs):
        return "float input"
    if moving_shapes(case.operator, case.inputs, case.rules):
        return "static"
    constants = {tensor.dtype for tensor in case.inputs if tensor.constant}
    if not ({tensor.dtype for tensor in data} <= _EIGHT_BITS and constants <= _PARAMETERS):
        return "8 bits"
    weights = [tensor for i, tensor in enumerate(case.inputs) if i in case.known.weights]
    if not all(tensor.constant for tensor in weights):
        return "constant"
    if any(size > 1 for tensor in data for size in tensor.shape[:-3]):
        return "rank"
    return None


def moving_shapes(operator: Operator, inputs: Sequence[Tensor], rules: Rules) -> bool:
    """Whether the shape of an operator's result is only known when the model runs.

    A size that is merely left open in the file, as a batch often is, does not count: the compiler
    takes it as 1 (LibrEdgeTPU dense_256).
    """
    given = (inputs[i] for i in rules.shapes.get(operator.name, ()) if i < len(inputs))
    return operator.name in rules.counting or any(not tensor.constant for tensor in given)


def _data(case: _Case) -> list[Tensor]:
    """The activations. The states of an LSTM, which are variables, are none."""
    inputs = [tensor for tensor in case.inputs if not tensor.constant]
    if case.operator.name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        inputs = inputs[:1]
    return [*inputs, *case.outputs]


def _fused(case: _Case) -> Verdict | None:
    return case.over() if case.operator.options.get("FusedActivationFunction") else None


def _concatenation(case: _Case) -> Verdict | None:
    constants = [item for item in case.inputs if item.constant]
    if constants and len(case.inputs) != 2:
        return case.over()
    # Whether a constant is all zeros is not read, so one is not proven to map.
    return _fused(case) or (Verdict() if constants else None)


def _convolution(case: _Case) -> Verdict | None:
    options = case.operator.options
    dilations = (options.get("DilationHFactor", 1), options.get("DilationWFactor", 1))
    kernel = case.inputs[1].shape[1:3]
    # Along a kernel of size 1 there is nothing to dilate: edgetpu-tcn's 3 x 1 by 4 x 1 is mapped.
    counting = {rate for rate, size in zip(dilations, kernel, strict=False) if size > 1}
    return case.over() if len(counting) > 1 else None


def _fully_connected(case: _Case) -> Verdict | None:
    if case.operator.options.get("WeightsFormat"):
        return case.over()
    return _rows(case, "dense-rows")


def _softmax(case: _Case) -> Verdict | None:
    if case.inputs[0].shape and case.inputs[0].shape[-1] > case.known.seen_to:
        return case.over()
    return _rows(case, "softmax-rows")


def _rows(case: _Case, question: str) -> Verdict | None:
    """What is said of several rows at once."""
    result = case.outputs[0]
    if not result.shape or result.elements == result.shape[-1]:
        return None
    known = case.rules.questions[question]
    refused = None if known.counted == "mapped" else case.over(source=known.source).refused
    return Verdict(refused, question=question)


def _reduction(case: _Case) -> Verdict | None:
    given, shape = case.values(1), case.inputs[0].shape
    if given is None:
        return Verdict()
    axes = [axis % len(shape) for axis in given] if shape else []
    if 0 in axes and len(shape) > 1 and (shape[0] > 1 or len(shape) > 3):
        return case.over()
    if case.operator.name != "MEAN":
        return None
    count = case.inputs[0].elements // max(1, case.outputs[0].elements)
    if len(shape) - 1 in axes:
        return case.over() if shape[-1] % 4 else Verdict()
    if count >= case.known.refused_from:
        rule = f"A mean over {case.known.refused_from:,.0f} elements has been seen left on the CPU."
        return case.over(rule, case.known.refused)
    return Verdict() if count > case.known.seen_to else None


def _batch_axis(case: _Case) -> Verdict | None:
    """SPLIT and PACK, which may not touch the batch."""
    if case.operator.name == "SPLIT":
        given, shape = case.values(0), case.inputs[-1].shape
        axis = given[0] if given else None
    else:
        axis, shape = case.operator.options.get("Axis"), case.outputs[0].shape
    if axis is None:
        return Verdict()
    return case.over() if axis % max(1, len(shape)) == 0 and len(shape) > 1 else None


def _pad(case: _Case) -> Verdict | None:
    paddings = case.values(1)
    if paddings is None:
        return Verdict()
    return case.over() if len(case.inputs[0].shape) > 3 and any(paddings[:2]) else None


def _strided_slice(case: _Case) -> Verdict | None:
    strides, options = case.values(3), case.operator.options
    if strides is None:
        return Verdict()
    masks = options.get("EllipsisMask") or options.get("NewAxisMask")
    return None if set(strides) <= {1} and not masks else Verdict(case.rules.general["strides"])


def _tile(case: _Case) -> Verdict | None:
    shape = case.inputs[0].shape
    is_point = set(shape[:-1]) <= {1}
    same_depth = shape[-1:] == case.outputs[0].shape[-1:]
    return None if is_point and same_depth else Verdict(case.rules.general["table"])


def _resize(case: _Case) -> Verdict | None:
    before, after = case.inputs[0].shape, case.outputs[0].shape
    if len(before) != 4 or len(after) != 4:
        return case.over()
    factor = max(after[i] / max(1, before[i]) for i in (1, 2))
    if factor >= case.known.refused_from:
        return case.over(source=case.known.refused)
    return Verdict() if factor > case.known.seen_to else None


def _element_wise(case: _Case) -> Verdict | None:
    result = case.outputs[0].elements
    both = len(case.inputs) == 2 and all(item.elements < result for item in case.inputs)
    return Verdict(question="broadcast") if both else None


_SPECIFIC: dict[str, Callable[[_Case], Verdict | None]] = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), _element_wise),
    "SQUARED_DIFFERENCE": _element_wise,
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _fused),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _convolution),
    **dict.fromkeys(("SPLIT", "PACK"), _batch_axis),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    "CONCATENATION": _concatenation,
    "FULLY_CONNECTED": _fully_connected,
    "SOFTMAX": _softmax,
    "PAD": _pad,
    "STRIDED_SLICE": _strided_slice,
    "PRELU": lambda case: case.over() if max(case.inputs[1].shape[:-1], default=1) > 1 else None,
    "RESHAPE": lambda case: Verdict() if case.outputs[0].elements > case.known.seen_to else None,
    # YOLOv9-t: 14 mapped, 2 not, and their shapes are not published.
    "TRANSPOSE": lambda case: Verdict(),
    "TILE": _tile,
}
