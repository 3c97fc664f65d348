"""The operators of encoders, by their numbers in TFLite's schema, and how much their kernels read.

Operators with graphs of their own (IF, WHILE), with resources (VAR_HANDLE, HASHTABLE) or strings are
left out: no conversion makes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

ABSENT = -1  # the index of an input that is not there
CUSTOM = 32
_MANY = 1 << 10


class Operator(NamedTuple):
    """An operator: how many inputs it has, which of them may be absent, and how many outputs."""

    name: str
    least: int
    most: int
    outputs: tuple[int, int] = (1, 1)
    optional: tuple[int, ...] = ()


# By number of inputs.
_PLAIN: Mapping[int, str] = {
    1: """1 AVERAGE_POOL_2D 5 DEPTH_TO_SPACE 6 DEQUANTIZE 8 FLOOR 11 L2_NORMALIZATION 14 LOGISTIC
        17 MAX_POOL_2D 19 RELU 20 RELU_N1_TO_1 21 RELU6 25 SOFTMAX 26 SPACE_TO_DEPTH 28 TANH 43 SQUEEZE
        47 EXP 50 LOG_SOFTMAX 53 CAST 59 NEG 66 SIN 73 LOG 75 SQRT 76 RSQRT 77 SHAPE 87 LOGICAL_NOT
        92 SQUARE 93 ZEROS_LIKE 98 LEAKY_RELU 101 ABS 104 CEIL 108 COS 110 RANK 111 ELU 114 QUANTIZE
        116 ROUND 117 HARD_SWISH 150 GELU 158 SIGN""",
    2: """0 ADD 7 EMBEDDING_LOOKUP 18 MUL 34 PAD 36 GATHER 39 TRANSPOSE 40 MEAN 41 SUB 42 DIV
        55 MAXIMUM 56 ARG_MAX 57 MINIMUM 58 LESS 61 GREATER 62 GREATER_EQUAL 63 LESS_EQUAL 69 TILE
        70 EXPAND_DIMS 71 EQUAL 72 NOT_EQUAL 74 SUM 78 POW 79 ARG_MIN 81 REDUCE_PROD 82 REDUCE_MAX
        84 LOGICAL_OR 86 LOGICAL_AND 89 REDUCE_MIN 90 FLOOR_DIV 91 REDUCE_ANY 94 FILL 95 FLOOR_MOD
        99 SQUARED_DIFFERENCE 100 MIRROR_PAD 107 GATHER_ND 126 BATCH_MATMUL 128 CUMSUM 130 BROADCAST_TO
        145 BROADCAST_ARGS""",
    3: """37 BATCH_TO_SPACE_ND 38 SPACE_TO_BATCH_ND 60 PADV2 64 SELECT 65 SLICE 96 RANGE
        123 SELECT_V2""",
    4: "45 STRIDED_SLICE 85 ONE_HOT",
}


def _plain() -> Iterator[tuple[int, Operator]]:
    for count, words in _PLAIN.items():
        numbers, names = words.split()[::2], words.split()[1::2]
        for number, name in zip(numbers, names):
            yield int(number), Operator(name, count, count)


OPERATORS: Mapping[int, Operator] = {
    **dict(_plain()),
    2: Operator("CONCATENATION", 1, _MANY),
    3: Operator("CONV_2D", 2, 3, optional=(2,)),
    4: Operator("DEPTHWISE_CONV_2D", 2, 3, optional=(2,)),
    9: Operator("FULLY_CONNECTED", 2, 3, optional=(2,)),
    22: Operator("RESHAPE", 1, 2),
    CUSTOM: Operator("CUSTOM", 0, _MANY, (0, _MANY), tuple(range(_MANY))),
    48: Operator("TOPK_V2", 2, 2, (2, 2)),
    49: Operator("SPLIT", 2, 2, (1, _MANY)),
    83: Operator("PACK", 1, _MANY),
    88: Operator("UNPACK", 1, 1, (1, _MANY)),
    102: Operator("SPLIT_V", 3, 3, (1, _MANY)),
    106: Operator("ADD_N", 1, _MANY),
}
