"""What the converter makes of integer graphs: integers, whatever the architecture and the task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras
import toy_folders

from tfedge.errors import InputError
from tfedge.inspect.contents import contents as held
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.places import TokenTable
from tfedge.quantize.prepare import Shape, prepare
from tfedge.tflite.tflite import to_tflite

CASES = [
    ("bert", "text-classification"),
    pytest.param("bert", "token-classification", marks=pytest.mark.slow),
    pytest.param("bert", "sentence-embedding", marks=pytest.mark.slow),
    ("bert", "question-answering"),
    pytest.param("distilbert", "text-classification", marks=pytest.mark.slow),
    pytest.param("mobilebert", "text-classification", marks=pytest.mark.slow),
    pytest.param("mobilebert-layer-norm", "text-classification", marks=pytest.mark.slow),
]
# The highest versions that tflite-runtime 2.14 registers for int8 (TensorFlow 2.14,
# tensorflow/lite/core/kernels/register.cc).
KNOWN_VERSIONS = {
    "ADD": 5,
    "BATCH_MATMUL": 4,
    "CONV_2D": 8,
    "DEPTHWISE_CONV_2D": 7,
    "GATHER": 7,
    "GELU": 2,
    "MINIMUM": 4,
    "MUL": 7,
    "RESHAPE": 1,
    "RSQRT": 3,
    "SOFTMAX": 3,
    "STRIDED_SLICE": 8,
    "SUB": 5,
    "SUM": 3,
    "TANH": 3,
    "TRANSPOSE": 6,
}


@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_nothing_is_left_in_float(
    architecture: str, task: str, tmp_path: Path, sequences: list[np.ndarray]
) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", architecture, task)
    graphs = prepare(Checkpoint(folder), Shape(task, 2, 16), sequences).graphs()
    contents = held(to_tflite(graphs, "int8", "tflite-runtime"))
    assert set(contents.activations) <= {"INT8", "INT32"}
    assert {tensor.dtype for tensor in contents.outputs} == {"INT8"}
    assert all(version <= KNOWN_VERSIONS[name] for name, version in contents.versions.items())
    # With float outputs, one conversion an output and no more.
    contents = held(to_tflite(graphs, "int8-float-io", "tflite-runtime"))
    assert {tensor.dtype for tensor in contents.outputs} == {"FLOAT32"}
    assert contents.float_operators == {"DEQUANTIZE FLOAT32": len(contents.outputs)}


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown quantization 'int3'; known are float32"):
        to_tflite({}, "int3", "litert")
    with pytest.raises(InputError, match=r"unknown runtime 'onnx'; known are tflite-runtime"):
        to_tflite({}, "int8", "onnx")


def test_the_table_of_an_images_tokens_is_a_constant() -> None:
    """Of a full size: of constants this large the converter folds products and sums alone."""
    patches = keras.Input((197, 192), 1, name="patches")
    table = TokenTable(197, (("cls_token", 1), ("distillation_token", 1)), name="embeddings")(
        patches
    )
    model = keras.Model({"patches": patches}, {"y": keras.layers.Add()([patches, table])})
    content = to_tflite({197: model}, "float32", "litert")
    assert held(content).operators == {"ADD FLOAT32": 1}
