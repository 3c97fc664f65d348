"""What is zero in a checkpoint is zero in every .tflite made of it, read out of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_folders
from ai_edge_litert import schema_py_generated as schema
from safetensors.numpy import load_file, save_file

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize.prepare import Shape, float_graphs, prepare
from tfedge.quantize.weights import gptq, round_nearest
from tfedge.tflite.tflite import to_tflite
from tfedge.tflite.weights import quantize_weights

DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}
LENGTH = 16


def pruned_folder(folder: Path, architecture: str) -> dict[str, np.ndarray]:
    """Writes a toy in which half of every matrix is zero; returns which half, by name."""
    toy_folders.write_folder(folder, architecture, small=True)
    tensors = load_file(folder / "model.safetensors")
    random = np.random.RandomState(3)
    masks = {}
    for name, value in tensors.items():
        if value.ndim == 2 and "position" not in name and "token_type" not in name:
            # Some of the ones must be large: the largest of a row sets its scale.
            value += np.where(value < 0, -0.01, 0.01).astype(value.dtype)
            masks[name] = random.random_sample(value.shape) < 0.5
            value[masks[name]] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return masks


def constants(content: bytes) -> list[np.ndarray]:
    """Every constant matrix of a file, (outputs, inputs), as 0 where the stored value means 0."""
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    found = []
    for tensor in tree.subgraphs[0].tensors:
        data = tree.buffers[tensor.buffer].data
        if data is None or tensor.type not in DTYPES or len(tensor.shape) < 2:
            continue
        assert tensor.sparsity is None
        value = np.frombuffer(np.asarray(data, np.uint8).tobytes(), DTYPES[tensor.type])
        zero_points = tensor.quantization.zeroPoint if tensor.quantization else None
        if zero_points is not None and tensor.type == schema.TensorType.INT8:
            assert len(set(zero_points)) == 1
            value = value.astype(np.int32) - int(zero_points[0])
        found.append(value.reshape(tensor.shape[0], -1))
    return found


def zeros_kept(name: str, mask: np.ndarray, matrices: list[np.ndarray]) -> bool:
    """Whether one of the matrices is this one, by where it is zero and where it is not."""
    if "embedding_transformation" in name:
        # As a convolution over three tokens its taps are in reverse order.
        thirds = np.concatenate(np.split(mask, 3, axis=1)[::-1], axis=1)
        if zeros_kept("", thirds, matrices):
            return True
    for matrix in matrices:
        for value in (matrix, matrix.T):
            if value.shape == mask.shape and not value[mask].any():
                # Rounding makes a few more zeros in 8 bits.
                assert np.mean(value[~mask] == 0) < 0.1
                return True
    return False


@pytest.mark.parametrize(
    ("architecture", "quantization"),
    [
        ("bert", "int8"),
        ("mobilebert", "int8"),
        ("bert", "dynamic"),
        ("bert", "float16"),
        ("bert", "float32"),
    ],
)
def test_zeros_are_zeros_in_the_file(
    architecture: str, quantization: str, tmp_path: Path, sequences: list[np.ndarray]
) -> None:
    masks = pruned_folder(tmp_path / "toy", architecture)
    checkpoint, shape = Checkpoint(tmp_path / "toy"), Shape("text-classification", 2, LENGTH)
    if quantization == "int8":
        graphs = prepare(checkpoint, shape, sequences).graphs()
    else:
        graphs = float_graphs(checkpoint, shape)
    is_dynamic = quantization == "dynamic"
    content = to_tflite(graphs, "float32" if is_dynamic else quantization, "litert")
    if is_dynamic:
        content = quantize_weights(
            content,
            lambda _, values: round_nearest(values, 8),
            lambda _, values: round_nearest(values, 8),
        )
    matrices = constants(content)
    lost = [name for name, mask in masks.items() if not zeros_kept(name, mask, matrices)]
    assert lost == []


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_by_what_the_layer_computes_leaves_zeros(bits: int) -> None:
    """It changes every other weight to make up for the rounding of one."""
    random = np.random.RandomState(0)
    weights = random.randn(8, 40).astype(np.float32)
    weights[random.random_sample(weights.shape) < 0.5] = 0
    inputs = random.randn(100, 40) @ random.randn(40, 40)
    rounded = gptq(weights, inputs.T @ inputs, bits)
    assert not rounded.integers[weights == 0].any()
    assert rounded.integers[weights != 0].any()
