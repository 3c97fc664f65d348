"""Toy checkpoints of images and the images that they tell apart.

The encoder's weights are random; the classifier is fitted to what the encoder makes of some images, so
that the answers depend on the images and are no near ties.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
from safetensors.numpy import load_file, save_file

LABELS = ("across", "down", "blob")
SIDE = 24
_GROWTH = 3.0  # of what is drawn with a deviation of 0.02
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "image_mean": [0.5, 0.4, 0.6],
    "image_std": [0.5, 0.25, 0.5],
}


def draw(label: str, seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Stripes across or down, or a round blob, in random colours with some noise, uint8 (h, w, 3)."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    phase = random.uniform(0, 0.3)
    shape = {
        "across": np.sin(2 * np.pi * (3 * y + phase)),
        "down": np.sin(2 * np.pi * (3 * x + phase)),
        "blob": 1 - 8 * ((x - 0.5 - phase / 2) ** 2 + (y - 0.5 - phase / 2) ** 2),
    }[label]
    dark, light = random.randint(0, 90, 3), random.randint(160, 256, 3)
    mix = np.clip((shape + 1) / 2, 0, 1)[..., np.newaxis]
    pixels = dark + (light - dark) * mix + random.normal(0, 6, (height, width, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def drawn(count: int, seed: int = 0, side: int = SIDE) -> tuple[list[np.ndarray], list[int]]:
    """Images of all labels in turns, and the numbers of their labels."""
    numbers = [index % len(LABELS) for index in range(count)]
    return [draw(LABELS[n], 1000 * seed + i, side, side) for i, n in enumerate(numbers)], numbers


def write_images(
    folder: Path, count: int = 30, seed: int = 0, suffix: str = ".png", side: int = SIDE
) -> Path:
    """`drawn` as files, a folder a label."""
    from PIL import Image

    for index, (pixels, number) in enumerate(zip(*drawn(count, seed, side), strict=True)):
        path = folder / LABELS[number] / f"{index:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def write_folder(
    folder: Path, name: str = "vit", teacher: bool = False, side: int = SIDE, **changes: Any
) -> Path:
    """Writes config.json, model.safetensors and preprocessor_config.json, of squares."""
    config = {**cases.IMAGE_CONFIGS[name], "num_hidden_layers": 1, **changes}
    if teacher:
        config["architectures"] = ["DeiTForImageClassificationWithTeacher"]
    cases.random_checkpoint(folder, config, cases.IMAGES, 1, len(LABELS))
    _name_labels(folder)
    preprocessor = {**PREPROCESSOR, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    _fit_classifiers(folder)
    return folder


def write_full_size(folder: Path, preset: str) -> Path:
    """As `write_folder`, of a preset's size, with dense weights as large as training makes them."""
    from tfedge.models.checkpoint import initialize
    from tfedge.presets import load_preset

    initialize(load_preset(preset), folder, None)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("weight") and tensor.ndim > 1:
            tensors[name] = _GROWTH * tensor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _name_labels(folder)
    _fit_classifiers(folder, 300)
    return folder


def _name_labels(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["id2label"] = {str(index): label for index, label in enumerate(LABELS)}
    content["label2id"] = {label: index for index, label in enumerate(LABELS)}
    (folder / "config.json").write_text(json.dumps(content))


def _fit_classifiers(folder: Path, count: int = 90) -> None:
    """Ridge regression of the labels on what the classifiers read of `count` images."""
    import tf_keras as keras

    from tfedge.models.build import build
    from tfedge.models.checkpoint import Checkpoint, load_weights
    from tfedge.models.preprocessor import pixels, read_preprocessor
    from tfedge.quantize.prepare import Shape

    config = Checkpoint(folder).config
    tensors = load_file(folder / "model.safetensors")
    for name in config.classifiers:
        width = tensors[f"{name}.weight"].shape[1]
        tensors[f"{name}.weight"] = np.zeros((len(LABELS), width), np.float32)
        tensors[f"{name}.bias"] = np.zeros(len(LABELS), np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    made_of = pixels(read_preprocessor(folder, config))
    shape = Shape(cases.IMAGES, len(LABELS), config.max_position_embeddings, pixels=made_of)
    encoder = build(config, shape.task, shape.num_labels, shape.options())
    load_weights(encoder.model, Checkpoint(folder), shape.task)
    images, numbers = drawn(count, seed=7, side=config.image_size[0])
    wanted = 4 * np.eye(len(LABELS))[numbers] - 2
    for name in config.classifiers:
        read = keras.Model(encoder.model.input, encoder.model.get_layer(name).input)
        states = read.predict(
            {"pixel_values": np.stack(images).astype(np.float32)}, batch_size=10, verbose=0
        )
        features = np.concatenate([states, np.ones((len(states), 1))], axis=1)
        gram = features.T @ features + 0.1 * np.eye(features.shape[1])
        fitted = np.linalg.solve(gram, features.T @ wanted).astype(np.float32)
        tensors[f"{name}.weight"] = np.ascontiguousarray(fitted[:-1].T)
        tensors[f"{name}.bias"] = np.ascontiguousarray(fitted[-1])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_features(folder: Path, name: str) -> Path:
    """Writes a checkpoint without a head, whose first token is as large as patches are."""
    config = {**cases.parse(f"{name}.features")[0], "num_hidden_layers": 1}
    tensors = cases.random_checkpoint(folder, config, cases.FEATURES, 1)
    if "embeddings.cls_token" in tensors:
        tensors["embeddings.cls_token"] *= 10
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


def write_detector(folder: Path, name: str = "yolos-larger") -> Path:
    """Writes a checkpoint that finds objects: which, and where, depends on the image."""
    cases.random_checkpoint(folder, cases.DETECTION_CONFIGS[name], cases.OBJECTS, 1, len(LABELS))
    _name_labels(folder)
    content = {**PREPROCESSOR, "image_processor_type": "YolosImageProcessor"}
    content["size"] = {"height": SIDE, "width": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    _spread_objects(folder)
    return folder


def _spread_objects(folder: Path) -> None:
    """Has what tokens make of some images be of all labels, or none, and boxes of many sizes."""
    import tf_keras as keras

    from tfedge.models.build import build
    from tfedge.models.checkpoint import Checkpoint, load_weights
    from tfedge.models.preprocessor import pixels, read_preprocessor
    from tfedge.quantize.prepare import Shape

    checkpoint = Checkpoint(folder)
    made_of = pixels(read_preprocessor(folder, checkpoint.config))
    tokens = checkpoint.config.max_position_embeddings
    shape = Shape(cases.OBJECTS, len(LABELS), tokens, pixels=made_of)
    model = build(checkpoint.config, shape.task, shape.num_labels, shape.options()).model
    load_weights(model, checkpoint, shape.task)
    heads = {name: f"{name}.layers.2" for name in ("class_labels_classifier", "bbox_predictor")}
    outputs = {name: model.get_layer(layer).output for name, layer in heads.items()}
    images = [draw(LABELS[index % 3], 7000 + index, SIDE, 32) for index in range(30)]
    read = {"pixel_values": np.stack(images).astype(np.float32)}
    found = keras.Model(model.input, outputs).predict(read, batch_size=10, verbose=0)
    tensors = load_file(folder / "model.safetensors")
    for name, spread in (("class_labels_classifier", 4.0), ("bbox_predictor", 0.7)):
        mean, deviation = (getattr(np, what)(found[name], axis=(0, 1)) for what in ("mean", "std"))
        factor = spread / deviation
        tensors[f"{heads[name]}.weight"] *= factor[:, np.newaxis]
        tensors[f"{heads[name]}.bias"] = factor * (tensors[f"{heads[name]}.bias"] - mean)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
