"""Toy encoders for the tests: configurations, checkpoints without torch, padded batches.

Needs numpy and safetensors only, so that `reference.py` can share it in an environment with torch
and without TensorFlow. The tensors' names and shapes are spelt out here, apart from tfedge's own.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

SEQUENCE_LENGTH = 12
LENGTHS = (12, 7, 3, 9)

_BERT: Config = {
    "model_type": "bert",
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
_DISTILBERT: Config = {
    "model_type": "distilbert",
    "vocab_size": 60,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": 20,
    "activation": "gelu",
}
_ROBERTA: Config = {
    **_BERT,
    "model_type": "roberta",
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
_MPNET: Config = {
    **{key: value for key, value in _ROBERTA.items() if key != "type_vocab_size"},
    "model_type": "mpnet",
    # Longer than the single distances, so that growing ones are in the batch's 12 tokens too.
    "relative_attention_num_buckets": 32,
}
_MOBILEBERT: Config = {
    "model_type": "mobilebert",
    "vocab_size": 60,
    "embedding_size": 16,
    "hidden_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "hidden_act": "relu",
    "layer_norm_eps": 1e-12,
    "normalization_type": "no_norm",
    "trigram_input": True,
    "use_bottleneck": True,
    "intra_bottleneck_size": 16,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": True,
    "num_feedforward_networks": 4,
    "classifier_activation": True,
}

_VIT: Config = {
    "model_type": "vit",
    "image_size": 24,
    "patch_size": 8,
    "num_channels": 3,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "qkv_bias": True,
}

IMAGE_CONFIGS: dict[str, Config] = {
    "vit": _VIT,
    # Neither images nor patches are squares.
    "vit-wide": {**_VIT, "image_size": [16, 24], "patch_size": [4, 8], "layer_norm_eps": 1e-2},
    "deit": {**_VIT, "model_type": "deit"},
}

CONFIGS: dict[str, Config] = {
    "bert": _BERT,
    # TinyBERT's proportions: heads of 26 channels, as in 312 = 12 * 26, and 4 layers.
    "tinybert": {
        **_BERT,
        "hidden_size": 104,
        "num_hidden_layers": 4,
        "intermediate_size": 400,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
    },
    "distilbert": _DISTILBERT,
    "distilbert-relu": {**_DISTILBERT, "activation": "relu"},
    "roberta": _ROBERTA,
    "mpnet": _MPNET,
    "mobilebert": _MOBILEBERT,
    "mobilebert-bottleneck-attention": {**_MOBILEBERT, "use_bottleneck_attention": True},
    "mobilebert-plain-classifier": {**_MOBILEBERT, "classifier_activation": False},
    "mobilebert-no-bottleneck": {**_MOBILEBERT, "use_bottleneck": False},
    "mobilebert-no-trigram": {**_MOBILEBERT, "trigram_input": False},
    # An epsilon large enough to show which norms do not read it.
    "mobilebert-layer-norm": {
        **_MOBILEBERT,
        "normalization_type": "layer_norm",
        "layer_norm_eps": 1e-2,
    },
}

# Task and number of labels, by a short name.
HEADS: dict[str, tuple[str, int]] = {
    "classes2": ("text-classification", 2),
    "classes5": ("text-classification", 5),
    "tokens": ("token-classification", 3),
    "spans": ("question-answering", 2),
    "embedding": ("sentence-embedding", 2),
}
# `teacher` has DeiT's second classifier, on the distillation token.
IMAGE_HEADS = ("classes5", "teacher5")
IMAGES = "image-classification"

# A head depends on the model type alone, so the recorded outputs have every head of these and one
# of each variant.
FAMILIES = ("bert", "distilbert", "roberta", "mpnet", "mobilebert")
TEXT_CASES = tuple(f"{config}.{head}" for config in CONFIGS for head in HEADS)
IMAGE_CASES = (*(f"{config}.classes5" for config in IMAGE_CONFIGS), "deit.teacher5")
ALL_CASES = (*TEXT_CASES, *IMAGE_CASES)
GOLDEN_CASES = tuple(
    name
    for name in ALL_CASES
    if name.split(".")[0] in FAMILIES or name.endswith(".classes2") or name in IMAGE_CASES
)

CLASS_PREFIXES = {
    "bert": "Bert",
    "distilbert": "DistilBert",
    "roberta": "Roberta",
    "mpnet": "MPNet",
    "mobilebert": "MobileBert",
    "vit": "ViT",
    "deit": "DeiT",
}
CLASS_SUFFIXES = {
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "sentence-embedding": "Model",
    IMAGES: "ForImageClassification",
}


def parse(case: str) -> tuple[Config, str, int]:
    """The configuration, the task and the number of labels of a case's name."""
    config, head = case.split(".")
    if case in IMAGE_CASES:
        with_teacher = {"architectures": [f"DeiT{CLASS_SUFFIXES[IMAGES]}WithTeacher"]}
        changes = with_teacher if head.startswith("teacher") else {}
        return {**IMAGE_CONFIGS[config], **changes}, IMAGES, 5
    return (CONFIGS[config], *HEADS[head])


def batch(config: Mapping[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """A padded batch, int32 (4, 12) each; a pair of texts a row where there are token types.

    Of images `pixel_values`, float32 (4, 3, height, width) as transformers takes them.
    """
    random = np.random.RandomState(seed)
    if "image_size" in config:
        shape = (4, 3, *np.broadcast_to(config["image_size"], 2))
        return {"pixel_values": random.standard_normal(shape).astype(np.float32)}
    mask = (np.arange(SEQUENCE_LENGTH) < np.array(LENGTHS)[:, None]).astype(np.int32)
    # transformers takes a padding token for padding wherever it stands.
    padding = config.get("pad_token_id", 0)
    ids = random.randint(padding + 1, config["vocab_size"], mask.shape).astype(np.int32)
    inputs = {"input_ids": np.where(mask, ids, np.int32(padding)), "attention_mask": mask}
    if config.get("type_vocab_size", 0) > 1:
        second = np.arange(SEQUENCE_LENGTH) >= np.array(LENGTHS)[:, None] // 2
        inputs["token_type_ids"] = second.astype(np.int32) * mask
    return inputs


def without_padding(
    outputs: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Outputs with zeros for padding tokens that have a position of their own, as RoBERTa's have.

    Nobody reads what comes out there, and a graph of one length numbers all positions.
    """
    mask = inputs.get("attention_mask")
    if mask is None or not inputs["input_ids"][mask == 0].any():
        return dict(outputs)

    def visible(value: np.ndarray) -> np.ndarray:
        if value.shape[:2] != mask.shape:
            return value
        return np.asarray(value * mask.reshape(mask.shape + (1,) * (value.ndim - 2)))

    return {name: visible(np.asarray(value)) for name, value in outputs.items()}


def hf_config(config: Mapping[str, Any], task: str, num_labels: int = 2) -> Config:
    """The content of a `config.json` as transformers writes it for the class of `task`."""
    names = {str(index): f"LABEL_{index}" for index in range(num_labels)}
    architecture = CLASS_PREFIXES[config["model_type"]] + CLASS_SUFFIXES[task]
    labels = {"id2label": names, "label2id": {name: int(index) for index, name in names.items()}}
    return {"architectures": [architecture], **config, **labels}


def random_checkpoint(
    folder: Path, config: Mapping[str, Any], task: str, seed: int, num_labels: int = 2
) -> dict[str, np.ndarray]:
    """Writes a Hugging Face folder with random weights, the same ones on every machine.

    Returns:
        The tensors by their stored names.
    """
    shapes = tensor_shapes(config, task, num_labels)
    tensors = {name: random_tensor(name, shape, seed) for name, shape in shapes.items()}
    blank_padding(config, tensors)
    write_checkpoint(folder, hf_config(config, task, num_labels), tensors)
    return tensors


def blank_padding(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Gives MobileBERT's padding an embedding of zeros, which transformers takes from the checkpoint
    where a batch has padding and from nowhere where a text is alone."""
    if config["model_type"] == "mobilebert":
        for name, tensor in tensors.items():
            if name.endswith("word_embeddings.weight"):
                tensor[0] = 0


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> None:
    """Writes config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def random_tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Weights large enough that outputs are not degenerate; norms have gains around 1."""
    # RandomState's streams are frozen by NEP 19; default_rng's may change with numpy's version.
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    noise = 0.15 * random.standard_normal(shape)
    is_gain = len(shape) == 1 and name.endswith(".weight")
    return (noise + is_gain).astype(np.float32)


def tensor_shapes(config: Mapping[str, Any], task: str, num_labels: int = 2) -> Shapes:
    """What transformers stores for the class of `task`, in PyTorch's orientation (out, in)."""
    model_type = config["model_type"]
    if task == IMAGES:
        return _image_classifier(config, num_labels)
    hidden = config["dim" if model_type == "distilbert" else "hidden_size"]
    families = {"distilbert": _distilbert, "mobilebert": _mobilebert, "mpnet": _mpnet}
    encoder = families.get(model_type, _bert)
    has_pooler = task in {"text-classification", "sentence-embedding"} and (
        model_type == "bert" or (model_type == "mobilebert" and config["classifier_activation"])
    )
    shapes = encoder(config)
    if has_pooler:
        shapes |= _dense("pooler.dense", hidden, hidden)
    if task == "sentence-embedding":
        return shapes
    shapes = {f"{model_type}.{name}": shape for name, shape in shapes.items()}
    if task == "question-answering":
        return shapes | _dense("qa_outputs", hidden, 2)
    if task == "text-classification" and model_type in ("roberta", "mpnet"):
        shapes |= _dense("classifier.dense", hidden, hidden)
        return shapes | _dense("classifier.out_proj", hidden, num_labels)
    if task == "text-classification" and model_type == "distilbert":
        shapes |= _dense("pre_classifier", hidden, hidden)
    return shapes | _dense("classifier", hidden, num_labels)


def _dense(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _embeddings(config: Mapping[str, Any], hidden: int, words: int) -> Shapes:
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], words),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
    }
    if "type_vocab_size" in config:
        types = (config["type_vocab_size"], hidden)
        shapes["embeddings.token_type_embeddings.weight"] = types
    return shapes | _norm("embeddings.LayerNorm", hidden)


def _bert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = _embeddings(config, hidden, hidden)
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm", hidden)
        shapes |= _feed_forward(layer, hidden, inner)
    return shapes


def _mpnet(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = _embeddings(config, hidden, hidden)
    heads = (config["relative_attention_num_buckets"], config["num_attention_heads"])
    shapes["encoder.relative_attention_bias.weight"] = heads
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in "qkvo":
            shapes |= _dense(f"{layer}.attention.attn.{part}", hidden, hidden)
        shapes |= _norm(f"{layer}.attention.LayerNorm", hidden)
        shapes |= _feed_forward(layer, hidden, inner)
    return shapes


def _feed_forward(name: str, hidden: int, inner: int) -> Shapes:
    return (
        _dense(f"{name}.intermediate.dense", hidden, inner)
        | _dense(f"{name}.output.dense", inner, hidden)
        | _norm(f"{name}.output.LayerNorm", hidden)
    )


def _distilbert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["dim"], config["hidden_dim"]
    shapes = _embeddings(config, hidden, hidden)
    for index in range(config["n_layers"]):
        layer = f"transformer.layer.{index}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        shapes |= _norm(f"{layer}.sa_layer_norm", hidden)
        shapes |= _dense(f"{layer}.ffn.lin1", hidden, inner)
        shapes |= _dense(f"{layer}.ffn.lin2", inner, hidden)
        shapes |= _norm(f"{layer}.output_layer_norm", hidden)
    return shapes


def _image_classifier(config: Mapping[str, Any], num_labels: int) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    height, width = np.broadcast_to(config["image_size"], 2)
    rows, columns = (int(size) for size in np.broadcast_to(config["patch_size"], 2))
    tokens = ("cls_token", "distillation_token")[: 1 + (config["model_type"] == "deit")]
    positions = int((height // rows) * (width // columns)) + len(tokens)
    shapes: Shapes = {f"embeddings.{token}": (1, 1, hidden) for token in tokens}
    shapes["embeddings.position_embeddings"] = (1, positions, hidden)
    projection = "embeddings.patch_embeddings.projection"
    shapes |= {f"{projection}.weight": (hidden, 3, rows, columns), f"{projection}.bias": (hidden,)}
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        shapes |= _dense(f"{layer}.intermediate.dense", hidden, inner)
        shapes |= _dense(f"{layer}.output.dense", inner, hidden)
        for part in ("before", "after"):
            shapes |= _norm(f"{layer}.layernorm_{part}", hidden)
    shapes |= _norm("layernorm", hidden)
    shapes = {f"{config['model_type']}.{name}": shape for name, shape in shapes.items()}
    two = "architectures" in config and config["architectures"][0].endswith("WithTeacher")
    for head in ("cls_classifier", "distillation_classifier") if two else ("classifier",):
        shapes |= _dense(head, hidden, num_labels)
    return shapes


def _mobilebert(config: Mapping[str, Any]) -> Shapes:
    hidden, words = config["hidden_size"], config["embedding_size"]
    shapes = _embeddings(config, hidden, words)
    window = 3 if config["trigram_input"] else 1
    shapes |= _dense("embeddings.embedding_transformation", window * words, hidden)
    for index in range(config["num_hidden_layers"]):
        shapes |= _mobilebert_layer(config, f"encoder.layer.{index}")
    return shapes


def _mobilebert_layer(config: Mapping[str, Any], layer: str) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    thin = config["intra_bottleneck_size"] if config["use_bottleneck"] else hidden
    value = thin if config["use_bottleneck_attention"] else hidden
    shapes = _dense(f"{layer}.attention.self.value", value, thin)
    for part in ("self.query", "self.key", "output.dense"):
        shapes |= _dense(f"{layer}.attention.{part}", thin, thin)
    shapes |= _norm(f"{layer}.attention.output.LayerNorm", thin)
    for index in range(config["num_feedforward_networks"] - 1):
        shapes |= _feed_forward(f"{layer}.ffn.{index}", thin, inner)
    shapes |= _feed_forward(layer, thin, inner)
    if config["use_bottleneck"]:
        # transformers builds the shared bottleneck also where nothing reads it.
        parts = ("input", "attention") if config["key_query_shared_bottleneck"] else ("input",)
        for part in parts:
            shapes |= _dense(f"{layer}.bottleneck.{part}.dense", hidden, thin)
            shapes |= _norm(f"{layer}.bottleneck.{part}.LayerNorm", thin)
        shapes |= _dense(f"{layer}.output.bottleneck.dense", thin, hidden)
        shapes |= _norm(f"{layer}.output.bottleneck.LayerNorm", hidden)
    return shapes


def excerpt(array: np.ndarray, count: int = 12) -> list[float]:
    """Evenly spaced values of an array, from its first to its last."""
    flat = np.asarray(array, np.float64).ravel()
    chosen = np.linspace(0, flat.size - 1, min(count, flat.size)).round().astype(int)
    return [float(f"{value:.8g}") for value in flat[chosen]]
