"""Logs as the compiler prints them, of three versions and in all their ends."""

from __future__ import annotations

import pytest

from tfedge.edgetpu.compile import read_log

MAPPED = "Mapped to Edge TPU"
# github.com/mathieugalle/edgetpu-compiler-pad-fail, not_padded_edgetpucompiler_output.log
ALL_MAPPED = """Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 1
Try to compile segment with 134 ops
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 986 ms.

Input model: model_input/model.tflite
Input size: 2.88MiB
Output model: model_output/model_edgetpu.tflite
Output size: 3.31MiB
On-chip memory used for caching model parameters: 3.86MiB
On-chip memory remaining for caching model parameters: 3.83MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 134
Operation log: model_output/model_edgetpu.log

Operator                       Count      Status

ADD                            12         Mapped to Edge TPU
RELU                           1          Mapped to Edge TPU
CONCATENATION                  3          Mapped to Edge TPU
PAD                            4          Mapped to Edge TPU
RESHAPE                        10         Mapped to Edge TPU
RESIZE_NEAREST_NEIGHBOR        2          Mapped to Edge TPU
CONV_2D                        83         Mapped to Edge TPU
QUANTIZE                       2          Mapped to Edge TPU
DEPTHWISE_CONV_2D              17         Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""
# google-coral/edgetpu#342, the report's end
TINY = """
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 153

Operator                       Count      Status

TRANSPOSE                      70         Operation not supported
PAD                            1          Mapped to Edge TPU
PAD                            17         More than one subgraph is not supported
QUANTIZE                       1          Mapped to Edge TPU
"""
# google-coral/edgetpu#879
UNREADABLE = """Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'QUANTIZE' version '3'. An older version of this builtin \
might be supported. Are you using an old TFLite binary with a newer model?

ERROR: Registration failed.

Invalid model: /mnt/e/models/quantized_model.tflite
Model could not be parsed
"""
# google-coral/edgetpu#512
TOO_LARGE = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.
ERROR: Restored original execution plan after delegate application failure.
Compilation failed: Compilation failed due to large activation tensors in model.
Compilation child process completed within timeout period.
Compilation failed!
"""


def test_all_mapped() -> None:
    log = read_log(ALL_MAPPED)
    assert log.version == "16.0.384591198"
    assert (log.subgraphs, log.operators, log.on_tpu, log.on_cpu) == (1, 134, 134, 0)
    assert log.table["CONV_2D", MAPPED] == 83
    assert log.cached_bytes == round(3.86 * 2**20)
    assert log.streamed_bytes == 0
    assert log.failure is None


def test_statuses() -> None:
    log = read_log(TINY)
    assert (log.on_tpu, log.on_cpu) == (2, 153)
    assert log.table["PAD", "More than one subgraph is not supported"] == 17
    assert log.remaining_bytes is None


def test_report_and_log_file_one_after_the_other() -> None:
    assert read_log(ALL_MAPPED + ALL_MAPPED).table == read_log(ALL_MAPPED).table


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (UNREADABLE, "builtin opcode 'QUANTIZE' version '3'"),
        (TOO_LARGE, "large activation tensors"),
        ("Internal compiler error. Aborting! ", "Internal compiler error"),
    ],
)
def test_failures(text: str, failure: str) -> None:
    found = read_log(text).failure
    assert found is not None
    assert failure in found


def test_nothing_said() -> None:
    log = read_log("")
    assert (log.version, log.on_tpu, log.failure) == ("", None, None)
