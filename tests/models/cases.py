"""Toy encoders for the tests: configurations, checkpoints without torch, padded batches.

Needs numpy and safetensors only, so that `reference.py` can share it in an environment with torch
and without TensorFlow. The tensors' names and shapes are spelt out here, apart from tfedge's own.
"""

from __future__ import annotations

import json
import math
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
_XLM_ROBERTA: Config = {**_ROBERTA, "model_type": "xlm-roberta"}
# Its special tokens stand behind fairseq's four.
_CAMEMBERT: Config = {
    **_ROBERTA,
    "model_type": "camembert",
    "bos_token_id": 5,
    "eos_token_id": 6,
}
_MPNET: Config = {
    **{key: value for key, value in _ROBERTA.items() if key != "type_vocab_size"},
    "model_type": "mpnet",
    # Longer than the single distances, so that growing ones are in the batch's 12 tokens too.
    "relative_attention_num_buckets": 32,
}
_ELECTRA: Config = {**_BERT, "model_type": "electra", "embedding_size": 24, "pad_token_id": 0}
_ALBERT: Config = {
    **_BERT,
    "model_type": "albert",
    "embedding_size": 24,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "hidden_act": "gelu_new",
    "pad_token_id": 0,
}
_DEBERTA: Config = {
    **{key: value for key, value in _BERT.items() if key != "type_vocab_size"},
    "model_type": "deberta-v2",
    "layer_norm_eps": 1e-7,
    "pad_token_id": 1,
    "relative_attention": True,
    # Fewer than the distances of the batch's 12 tokens.
    "position_buckets": 8,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_ROFORMER: Config = {**_BERT, "model_type": "roformer", "rotary_value": False, "pad_token_id": 0}
_MODERNBERT: Config = {
    "model_type": "modernbert",
    "vocab_size": 60,
    "hidden_size": 32,
    # One that sees all and two that see near ones, not all of the batch's 12.
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "hidden_activation": "gelu",
    "norm_eps": 1e-5,
    **{
        "pad_token_id": 1,
        "bos_token_id": 2,
        "cls_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
    },
    "global_attn_every_n_layers": 3,
    "local_attention": 8,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "classifier_pooling": "mean",
}
_NOMIC_BERT: Config = {
    **_BERT,
    "model_type": "nomic_bert",
    "hidden_act": "silu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "pad_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0},
}
_GTE: Config = {
    **_BERT,
    "model_type": "gte",
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "rope_parameters": {"rope_type": "default", "rope_theta": 160000.0},
}
_JINA: Config = {
    **_ROBERTA,
    "model_type": "jina_embeddings_v3",
    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0},
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

_DINOV2: Config = {
    **{key: value for key, value in _VIT.items() if key != "intermediate_size"},
    "model_type": "dinov2",
    "mlp_ratio": 2,
    "layer_norm_eps": 1e-6,
}

_BEIT: Config = {
    **{key: value for key, value in _VIT.items() if key != "qkv_bias"},
    "model_type": "beit",
    "use_mask_token": False,
    "use_absolute_position_embeddings": False,
    "use_relative_position_bias": True,
    "use_shared_relative_position_bias": False,
    "layer_scale_init_value": 0.1,
    "drop_path_rate": 0.0,
    "use_mean_pooling": True,
}

_SWIN: Config = {
    **{key: _VIT[key] for key in ("image_size", "num_channels", "hidden_act")},
    **{key: _VIT[key] for key in ("hidden_dropout_prob", "attention_probs_dropout_prob")},
    "model_type": "swin",
    # Four windows of 3 x 3, moved in the second layer, then one.
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 1],
    "num_heads": [2, 4],
    "window_size": 3,
    "mlp_ratio": 2.0,
    "layer_norm_eps": 1e-6,
}

_DINOV3: Config = {
    **{name: _VIT[name] for name in ("image_size", "patch_size", "num_channels", "hidden_size")},
    **{name: _VIT[name] for name in ("num_hidden_layers", "num_attention_heads", "hidden_act")},
    "model_type": "dinov3_vit",
    "intermediate_size": 48,
    # Published is 1e-5, which graphs of integers leave out beside variances as small as the toys'.
    "layer_norm_eps": 1e-6,
    "num_register_tokens": 3,
    "rope_theta": 100.0,
    "key_bias": False,
}

_YOLOS: Config = {
    **_VIT,
    "model_type": "yolos",
    "image_size": [24, 32],
    "num_hidden_layers": 3,
    "num_detection_tokens": 5,
    "use_mid_position_embeddings": False,
}

_CLIP: Config = {
    "model_type": "clip",
    "projection_dim": 24,
    "vision_config": {
        **{name: _VIT[name] for name in ("image_size", "patch_size", "hidden_size")},
        **{name: _VIT[name] for name in ("num_hidden_layers", "num_attention_heads")},
        "intermediate_size": 48,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "text_config": {
        "vocab_size": 60,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "eos_token_id": 59,
    },
}

_SIGLIP: Config = {
    "model_type": "siglip",
    "vision_config": {
        **{key: value for key, value in _CLIP["vision_config"].items() if key != "projection_dim"},
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    },
    "text_config": {
        **{key: value for key, value in _CLIP["text_config"].items() if key != "eos_token_id"},
        "max_position_embeddings": 64,
        "projection_size": 32,
        "pad_token_id": 1,
        "bos_token_id": 1,
        "eos_token_id": 1,
    },
}
_TOWERS = {"clip": _CLIP, "siglip": _SIGLIP}

IMAGE_CONFIGS: dict[str, Config] = {
    "vit": _VIT,
    # Neither images nor patches are squares.
    "vit-wide": {**_VIT, "image_size": [16, 24], "patch_size": [4, 8], "layer_norm_eps": 1e-2},
    "deit": {**_VIT, "model_type": "deit"},
    "beit": _BEIT,
    # With places of patches and without what distances add, or scales.
    "beit-absolute": {
        **_BEIT,
        "use_absolute_position_embeddings": True,
        "use_relative_position_bias": False,
        "layer_scale_init_value": 0.0,
    },
    "dinov2": _DINOV2,
    # With positions of larger images than come.
    "dinov2-larger": {**_DINOV2, "image_size": 40, "pictures": 24},
    "dinov2_with_registers": {
        **_DINOV2,
        "model_type": "dinov2_with_registers",
        "num_register_tokens": 3,
        "image_size": 40,
        "pictures": 24,
    },
    "swin": _SWIN,
    # No squares, and windows and pairs of tokens that are filled up.
    "swin-wide": {
        **_SWIN,
        "image_size": [20, 28],
        "embed_dim": 8,
        "depths": [2, 1],
        "num_heads": [1, 2],
        "window_size": 2,
        "mlp_ratio": 1.5,
        "layer_norm_eps": 1e-2,
    },
}

DETECTION_CONFIGS: dict[str, Config] = {
    "yolos": _YOLOS,
    # With places between layers.
    "yolos-mid": {**_YOLOS, "use_mid_position_embeddings": True},
    # And with positions of images of another size.
    "yolos-larger": {
        **_YOLOS,
        "num_hidden_layers": 3,
        "image_size": [40, 24],
        "use_mid_position_embeddings": True,
        "pictures": [24, 32],
    },
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
    "xlm-roberta": _XLM_ROBERTA,
    "camembert": _CAMEMBERT,
    "mpnet": _MPNET,
    "electra": _ELECTRA,
    # As the base and large ones are, without a dense layer behind the tables; its head's function is
    # GELU all the same.
    "electra-relu": {**_ELECTRA, "embedding_size": 32, "hidden_act": "relu"},
    "albert": _ALBERT,
    # Six layers, of which 1, 3, and 2, 4, and 5, and 6 are one each; the dense layer behind tables as
    # wide as the hidden states stays.
    "albert-groups": {
        **_ALBERT,
        "embedding_size": 32,
        "num_hidden_layers": 3,
        "num_hidden_groups": 2,
        "inner_group_num": 2,
        "hidden_act": "relu",
    },
    "deberta-v2": _DEBERTA,
    # Dense layers of its own for distances, of which it tells 8 apart, positions and types.
    "deberta-v2-apart": {
        **_DEBERTA,
        "position_buckets": -1,
        "max_relative_positions": 4,
        "norm_rel_ebd": "none",
        "share_att_key": False,
        "position_biased_input": True,
        "type_vocab_size": 2,
        "pooler_hidden_act": "relu",
    },
    "deberta-v2-c2p": {**_DEBERTA, "pos_att_type": ["c2p"]},
    "roformer": _ROFORMER,
    # Tables of a width of their own, and another function, of the classifier too.
    "roformer-narrow": {**_ROFORMER, "embedding_size": 24, "hidden_act": "silu"},
    "modernbert": _MODERNBERT,
    # With all that may be left out, and in the words of transformers 5.
    "modernbert-biases": {
        **{key: value for key, value in _MODERNBERT.items() if "rope" not in key},
        **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), True),
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100},
        },
        "classifier_pooling": "cls",
        "hidden_activation": "silu",
        "classifier_activation": "relu",
    },
    "nomic_bert": _NOMIC_BERT,
    # Heads of a width of their own, and GELU behind the gate.
    "nomic_bert-wide": {**_NOMIC_BERT, "head_dim": 12, "hidden_act": "gelu"},
    "gte": _GTE,
    "gte-typeless": {**_GTE, "type_vocab_size": 0, "hidden_act": "silu"},
    "jina_embeddings_v3": _JINA,
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
FEATURES = "image-feature-extraction"
WORDS = "fill-mask"
OBJECTS = "object-detection"

# A head depends on the model type alone, so the recorded outputs have every head of these and one
# of each variant.
FAMILIES = (
    *("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "mpnet", "electra"),
    *("albert", "roformer", "deberta-v2", "modernbert", "mobilebert"),
    *("nomic_bert", "gte", "jina_embeddings_v3"),
)
# transformers has no class for question answering of these.
SPANLESS = ("nomic_bert", "gte")
TEXT_CASES = tuple(
    f"{config}.{head}"
    for config in CONFIGS
    for head in HEADS
    if head != "spans" or CONFIGS[config]["model_type"] not in SPANLESS
)
_WORDLESS = ("roformer", "deberta-v2", "modernbert", "mobilebert")
# What guesses words, of the architectures whose head for it is known.
WORD_CASES = tuple(f"{family}.words" for family in FAMILIES if family not in _WORDLESS)
IMAGE_CASES = (*(f"{config}.classes5" for config in IMAGE_CONFIGS), "deit.teacher5")
# Of which transformers has no classifier.
_HEADLESS: dict[str, Config] = {
    "dinov3_vit": _DINOV3,
    # Neither images nor patches are squares, and nothing stands between the first token and them.
    "dinov3_vit-wide": {
        **_DINOV3,
        "image_size": [16, 24],
        "patch_size": [4, 8],
        "num_register_tokens": 0,
        "key_bias": True,
    },
}
FEATURE_CASES = tuple(
    f"{config}.features"
    for config in (*IMAGE_CONFIGS, *_HEADLESS)
    if "-" not in config or config in _HEADLESS
)
# Of two towers one is read, so nothing that transformers loads is written.
TOWER_CASES = ("clip.features", "siglip.features")
DETECTION_CASES = ("yolos.objects", "yolos-mid.objects")
# Of which other positions are written than are read, so that answers are a rounding apart.
RESIZED_CASES = ("yolos-larger.objects",)
ALL_CASES: tuple[str, ...] = (
    *(*TEXT_CASES, *WORD_CASES),
    *(*IMAGE_CASES, *FEATURE_CASES, *DETECTION_CASES),
)
GOLDEN_CASES = tuple(
    name
    for name in (*ALL_CASES, *TOWER_CASES, *RESIZED_CASES)
    if name.split(".")[0] in FAMILIES
    or name.endswith(".classes2")
    or name in IMAGE_CASES
    or name in (*FEATURE_CASES, *TOWER_CASES, *DETECTION_CASES, *RESIZED_CASES)
)

CLASS_PREFIXES = {
    "bert": "Bert",
    "distilbert": "DistilBert",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
    "camembert": "Camembert",
    "mpnet": "MPNet",
    "electra": "Electra",
    "albert": "Albert",
    "deberta-v2": "DebertaV2",
    "roformer": "RoFormer",
    "modernbert": "ModernBert",
    "nomic_bert": "NomicBert",
    "gte": "Gte",
    "jina_embeddings_v3": "JinaEmbeddingsV3",
    "mobilebert": "MobileBert",
    "vit": "ViT",
    "deit": "DeiT",
    "clip": "CLIP",
    "siglip": "Siglip",
    "beit": "Beit",
    "swin": "Swin",
    "dinov3_vit": "DINOv3ViT",
    "dinov2": "Dinov2",
    "dinov2_with_registers": "Dinov2WithRegisters",
    "yolos": "Yolos",
}
# What the names of the encoder's tensors start with below a head, where it is not the model type.
_PREFIXES = {"xlm-roberta": "roberta", "camembert": "roberta", "modernbert": "model"}
_PREFIXES |= {"deberta-v2": "deberta", "jina_embeddings_v3": "roberta"}
CLASS_SUFFIXES = {
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "sentence-embedding": "Model",
    WORDS: "ForMaskedLM",
    IMAGES: "ForImageClassification",
    FEATURES: "Model",
    OBJECTS: "ForObjectDetection",
}


def parse(case: str) -> tuple[Config, str, int]:
    """The configuration, the task and the number of labels of a case's name."""
    config, head = case.split(".")
    if case in IMAGE_CASES:
        with_teacher = {"architectures": [f"DeiT{CLASS_SUFFIXES[IMAGES]}WithTeacher"]}
        changes = with_teacher if head.startswith("teacher") else {}
        return {**IMAGE_CONFIGS[config], **changes}, IMAGES, 5
    if case in (*FEATURE_CASES, *TOWER_CASES):
        return {**IMAGE_CONFIGS, **_HEADLESS, **_TOWERS}[config], FEATURES, 2
    if head == "words":
        return CONFIGS[config], WORDS, 2
    if head == "objects":
        return DETECTION_CONFIGS[config], OBJECTS, 3
    return (CONFIGS[config], *HEADS[head])


def batch(config: Mapping[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """A padded batch, int32 (4, 12) each; a pair of texts a row where there are token types.

    Of images `pixel_values`, float32 (4, 3, height, width) as transformers takes them.
    """
    random = np.random.RandomState(seed)
    config = config.get("vision_config", config)
    if "image_size" in config:
        sides = np.broadcast_to(config.get("pictures", config["image_size"]), 2)
        shape = (4, 3, *sides)
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


def asking(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A batch of `batch`, and what position is asked of each row, int32 (4, 12), all alike."""
    asked = np.repeat(np.array([[1], [6], [2], [0]], np.int32), SEQUENCE_LENGTH, axis=1)
    return {**inputs, "asked": asked}


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
    known = {key: value for key, value in config.items() if key != "pictures"}
    return {"architectures": [architecture], **known, **labels}


def random_checkpoint(
    folder: Path, config: Mapping[str, Any], task: str, seed: int, num_labels: int = 2
) -> dict[str, np.ndarray]:
    """Writes a Hugging Face folder with random weights, the same ones on every machine.

    Returns:
        The tensors by their stored names.
    """
    shapes = tensor_shapes(config, task, num_labels)
    tensors = {name: random_tensor(name, shape, seed) for name, shape in shapes.items()}
    settle(config, tensors)
    write_checkpoint(folder, hf_config(config, task, num_labels), tensors)
    write_preprocessor(folder, config)
    return tensors


def write_preprocessor(folder: Path, config: Mapping[str, Any]) -> None:
    """Says which images come, where not those of config.json do."""
    if "pictures" in config:
        height, width = (int(side) for side in np.broadcast_to(config["pictures"], 2))
        sides = {"height": height, "width": width}
        (folder / "preprocessor_config.json").write_text(json.dumps({"size": sides}))


def settle(config: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Gives tensors the values that they have in every checkpoint.

    MobileBERT's padding has an embedding of zeros, which transformers takes from the checkpoint where
    a batch has padding and from nowhere where a text is alone. RoFormer's table is of sines and
    cosines.
    """
    if config["model_type"] == "roformer":
        for name, tensor in tensors.items():
            if name.endswith("embed_positions.weight"):
                rows, size = tensor.shape
                for row in range(rows):
                    for place in range(size):
                        angle = row / 10_000 ** (2 * (place % (size // 2)) / size)
                        wave = math.sin if place < size // 2 else math.cos
                        tensor[row, place] = wave(angle)
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
    return np.asarray(noise + is_gain, np.float32)


def tensor_shapes(config: Mapping[str, Any], task: str, num_labels: int = 2) -> Shapes:
    """What transformers stores for the class of `task`, in PyTorch's orientation (out, in)."""
    model_type = config["model_type"]
    if task in (IMAGES, FEATURES):
        return _of_images(config, task, num_labels)
    if task == OBJECTS:
        return _yolos(config, num_labels)
    hidden = config["dim" if model_type == "distilbert" else "hidden_size"]
    families = {"distilbert": _distilbert, "mobilebert": _mobilebert, "mpnet": _mpnet}
    families |= {"electra": _electra, "albert": _albert, "modernbert": _modernbert}
    families |= {"nomic_bert": _nomic_bert, "gte": _gte, "jina_embeddings_v3": _jina}
    families["deberta-v2"] = _deberta
    families["roformer"] = _roformer
    encoder = families.get(model_type, _bert)
    has_pooler = task in {"text-classification", "sentence-embedding"} and (
        model_type == "bert" or (model_type == "mobilebert" and config["classifier_activation"])
    )
    shapes = encoder(config)
    if model_type == "albert" and task in {"text-classification", "sentence-embedding"}:
        shapes |= _dense("pooler", hidden, hidden)
    if has_pooler:
        shapes |= _dense("pooler.dense", hidden, hidden)
    if task == "sentence-embedding":
        return shapes
    prefix = _PREFIXES.get(model_type, model_type)
    shapes = {f"{prefix}.{name}": shape for name, shape in shapes.items()}
    if task == WORDS:
        return shapes | _word_head(config)
    if model_type == "modernbert":
        return shapes | _modernbert_head(config, 2 if task == "question-answering" else num_labels)
    if task == "question-answering":
        return shapes | _dense("qa_outputs", hidden, 2)
    if task == "text-classification" and prefix in ("roberta", "mpnet", "electra", "roformer"):
        shapes |= _dense("classifier.dense", hidden, hidden)
        return shapes | _dense("classifier.out_proj", hidden, num_labels)
    if task == "text-classification" and model_type == "deberta-v2":
        shapes |= _dense("pooler.dense", hidden, hidden)
    if task == "text-classification" and model_type in SPANLESS:
        shapes |= _dense(f"{prefix}.pooler.dense", hidden, hidden)
    if task == "text-classification" and model_type == "distilbert":
        shapes |= _dense("pre_classifier", hidden, hidden)
    return shapes | _dense("classifier", hidden, num_labels)


def _word_head(config: Mapping[str, Any]) -> Shapes:
    """What guesses words, but for the table, which is that of the words."""
    model_type, rows = config["model_type"], config["vocab_size"]
    hidden = config["dim" if model_type == "distilbert" else "hidden_size"]
    width = config.get("embedding_size", hidden)
    dense, norm, bias = {
        "bert": (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions",
        ),
        "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
        "albert": ("predictions.dense", "predictions.LayerNorm", "predictions"),
        "electra": (
            "generator_predictions.dense",
            "generator_predictions.LayerNorm",
            "generator_lm_head",
        ),
        "nomic_bert": (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.layer_norm",
            "cls.predictions",
        ),
        "gte": ("lm_head.dense", "lm_head.norm", "lm_head.decoder"),
    }.get(model_type, ("lm_head.dense", "lm_head.layer_norm", "lm_head"))
    shapes: Shapes = _dense(dense, hidden, width)
    return shapes | {f"{norm}.weight": (width,), f"{norm}.bias": (width,), f"{bias}.bias": (rows,)}


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


def _electra(config: Mapping[str, Any]) -> Shapes:
    hidden, words = config["hidden_size"], config["embedding_size"]
    shapes = {**_bert(config), **_embeddings(config, words, words)}
    return shapes | (_dense("embeddings_project", words, hidden) if words != hidden else {})


def _albert(config: Mapping[str, Any]) -> Shapes:
    hidden, words = config["hidden_size"], config["embedding_size"]
    shapes = _embeddings(config, words, words)
    shapes |= _dense("encoder.embedding_hidden_mapping_in", words, hidden)
    for group in range(config["num_hidden_groups"]):
        for index in range(config["inner_group_num"]):
            layer = f"encoder.albert_layer_groups.{group}.albert_layers.{index}"
            for part in ("query", "key", "value", "dense"):
                shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
            shapes |= _norm(f"{layer}.attention.LayerNorm", hidden)
            shapes |= _dense(f"{layer}.ffn", hidden, config["intermediate_size"])
            shapes |= _dense(f"{layer}.ffn_output", config["intermediate_size"], hidden)
            shapes |= _norm(f"{layer}.full_layer_layer_norm", hidden)
    return shapes


def _deberta(config: Mapping[str, Any]) -> Shapes:
    hidden, shapes = config["hidden_size"], {}
    left_out = [] if config["type_vocab_size"] else ["token_type"]
    left_out += [] if config["position_biased_input"] else ["position_embeddings"]
    for name, shape in _bert(config).items():
        for part in ("query", "key", "value"):
            name = name.replace(f"self.{part}", f"self.{part}_proj")
        if not any(part in name for part in left_out):
            shapes[name] = shape
    for index in range(0 if config["share_att_key"] else config["num_hidden_layers"]):
        for part in ("pos_key_proj", "pos_query_proj"):
            shapes |= _dense(f"encoder.layer.{index}.attention.self.{part}", hidden, hidden)
    either = config["position_buckets"]
    if either < 1:
        either = config["max_relative_positions"]
    shapes["encoder.rel_embeddings.weight"] = (2 * either, hidden)
    if config["norm_rel_ebd"] == "layer_norm":
        shapes |= _norm("encoder.LayerNorm", hidden)
    return shapes


def _roformer(config: Mapping[str, Any]) -> Shapes:
    hidden = config["hidden_size"]
    shapes = _electra({**config, "embedding_size": config.get("embedding_size") or hidden})
    del shapes["embeddings.position_embeddings.weight"]
    sizes = config["max_position_embeddings"], hidden // config["num_attention_heads"]
    return {**shapes, "encoder.embed_positions.weight": sizes}


def _rotated(config: Mapping[str, Any], norm: str) -> Shapes:
    """The tables of encoders with rotary positions, and the norm behind them."""
    hidden = config["hidden_size"]
    shapes = _embeddings(config, hidden, hidden)
    del shapes["embeddings.position_embeddings.weight"]
    norms = _norm(norm, hidden)
    return {
        name: shape for name, shape in shapes.items() if "LayerNorm" not in name and shape[0]
    } | norms


def _nomic_bert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    width = config["num_attention_heads"] * config.get(
        "head_dim", hidden // config["num_attention_heads"]
    )
    shapes = _rotated(config, "emb_ln")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{index}"
        shapes |= {
            f"{layer}.attn.Wqkv.weight": (3 * width, hidden),
            f"{layer}.attn.out_proj.weight": (hidden, width),
            f"{layer}.mlp.fc11.weight": (inner, hidden),
            f"{layer}.mlp.fc12.weight": (inner, hidden),
            f"{layer}.mlp.fc2.weight": (hidden, inner),
        }
        shapes |= _norm(f"{layer}.norm1", hidden) | _norm(f"{layer}.norm2", hidden)
    return shapes


def _gte(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = _rotated(config, "embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        shapes |= _dense(f"{layer}.attention.qkv_proj", hidden, 3 * hidden)
        shapes |= _dense(f"{layer}.attention.o_proj", hidden, hidden)
        shapes[f"{layer}.mlp.up_gate_proj.weight"] = (2 * inner, hidden)
        shapes |= _dense(f"{layer}.mlp.down_proj", inner, hidden)
        shapes |= _norm(f"{layer}.attn_ln", hidden) | _norm(f"{layer}.mlp_ln", hidden)
    return shapes


def _jina(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes = _rotated(config, "emb_ln")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{index}"
        shapes |= _dense(f"{layer}.mixer.Wqkv", hidden, 3 * hidden)
        shapes |= _dense(f"{layer}.mixer.out_proj", hidden, hidden)
        shapes |= _dense(f"{layer}.mlp.fc1", hidden, inner)
        shapes |= _dense(f"{layer}.mlp.fc2", inner, hidden)
        shapes |= _norm(f"{layer}.norm1", hidden) | _norm(f"{layer}.norm2", hidden)
    return shapes


def _modernbert(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {"embeddings.tok_embeddings.weight": (config["vocab_size"], hidden)}
    norms = ["embeddings.norm", "final_norm"]
    for index in range(config["num_hidden_layers"]):
        layer = f"layers.{index}"
        norms += [f"{layer}.attn_norm"] * (index > 0) + [f"{layer}.mlp_norm"]
        for name, inputs, outputs in (
            ("attn.Wqkv", hidden, 3 * hidden),
            ("attn.Wo", hidden, hidden),
            ("mlp.Wi", hidden, 2 * inner),
            ("mlp.Wo", inner, hidden),
        ):
            has_bias = config.get("attention_bias" if "attn" in name else "mlp_bias")
            shapes |= _with_bias(_dense(f"{layer}.{name}", inputs, outputs), has_bias)
    for norm in norms:
        shapes |= _with_bias(_norm(norm, hidden), config.get("norm_bias"))
    return shapes


def _modernbert_head(config: Mapping[str, Any], num_labels: int) -> Shapes:
    hidden = config["hidden_size"]
    return {
        **_with_bias(_dense("head.dense", hidden, hidden), config.get("classifier_bias")),
        **_with_bias(_norm("head.norm", hidden), config.get("norm_bias")),
        **_dense("classifier", hidden, num_labels),
    }


def _with_bias(shapes: Shapes, has_bias: bool | None) -> Shapes:
    return {name: shape for name, shape in shapes.items() if has_bias or "bias" not in name}


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


def _clip(config: Mapping[str, Any]) -> Shapes:
    images, texts, width = config["vision_config"], config["text_config"], config["projection_dim"]
    hidden, words, patch = images["hidden_size"], texts["hidden_size"], images["patch_size"]
    rows = (images["image_size"] // patch) ** 2 + 1
    embeddings = "vision_model.embeddings"
    shapes: Shapes = {
        f"{embeddings}.class_embedding": (hidden,),
        f"{embeddings}.patch_embedding.weight": (hidden, 3, patch, patch),
        f"{embeddings}.position_embedding.weight": (rows, hidden),
        "text_model.embeddings.token_embedding.weight": (texts["vocab_size"], words),
        "text_model.embeddings.position_embedding.weight": (
            texts["max_position_embeddings"],
            words,
        ),
        "visual_projection.weight": (width, hidden),
        "text_projection.weight": (width, words),
        "logit_scale": (),
    }
    for norm in ("vision_model.pre_layrnorm", "vision_model.post_layernorm"):
        shapes |= _norm(norm, hidden)
    return shapes | _norm("text_model.final_layer_norm", words) | _layers_of_towers(images, texts)


def _siglip(config: Mapping[str, Any]) -> Shapes:
    images, texts = config["vision_config"], config["text_config"]
    hidden, words, patch = images["hidden_size"], texts["hidden_size"], images["patch_size"]
    embeddings, head = "vision_model.embeddings", "vision_model.head"
    shapes: Shapes = {
        f"{embeddings}.patch_embedding.weight": (hidden, 3, patch, patch),
        f"{embeddings}.patch_embedding.bias": (hidden,),
        f"{embeddings}.position_embedding.weight": ((images["image_size"] // patch) ** 2, hidden),
        f"{head}.probe": (1, 1, hidden),
        f"{head}.attention.in_proj_weight": (3 * hidden, hidden),
        f"{head}.attention.in_proj_bias": (3 * hidden,),
        "text_model.embeddings.token_embedding.weight": (texts["vocab_size"], words),
        "text_model.embeddings.position_embedding.weight": (
            texts["max_position_embeddings"],
            words,
        ),
        "logit_scale": (1,),
        "logit_bias": (1,),
    }
    shapes |= _dense(f"{head}.attention.out_proj", hidden, hidden) | _norm(
        f"{head}.layernorm", hidden
    )
    shapes |= _dense(f"{head}.mlp.fc1", hidden, images["intermediate_size"])
    shapes |= _dense(f"{head}.mlp.fc2", images["intermediate_size"], hidden)
    shapes |= _dense("text_model.head", words, texts["projection_size"])
    shapes |= _norm("vision_model.post_layernorm", hidden)
    return shapes | _norm("text_model.final_layer_norm", words) | _layers_of_towers(images, texts)


def _layers_of_towers(images: Mapping[str, Any], texts: Mapping[str, Any]) -> Shapes:
    shapes: Shapes = {}
    for tower, sizes in (("vision_model", images), ("text_model", texts)):
        width, inner = sizes["hidden_size"], sizes["intermediate_size"]
        for index in range(sizes["num_hidden_layers"]):
            layer = f"{tower}.encoder.layers.{index}"
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes |= _dense(f"{layer}.self_attn.{part}", width, width)
            shapes |= _dense(f"{layer}.mlp.fc1", width, inner)
            shapes |= _dense(f"{layer}.mlp.fc2", inner, width)
            shapes |= _norm(f"{layer}.layer_norm1", width) | _norm(f"{layer}.layer_norm2", width)
    return shapes


def _of_images(config: Mapping[str, Any], task: str, num_labels: int) -> Shapes:
    if config["model_type"] in _TOWERS:
        return _clip(config) if config["model_type"] == "clip" else _siglip(config)
    families = {"beit": _beit, "dinov3_vit": _dinov3, "swin": _swin}
    families |= dict.fromkeys(("dinov2", "dinov2_with_registers"), _dinov2)
    shapes = families.get(config["model_type"], _vit)(config)
    if task == FEATURES:
        if config["model_type"] in ("vit", "deit"):
            shapes |= _dense("pooler.dense", config["hidden_size"], config["hidden_size"])
        return shapes
    shapes = {f"{config['model_type']}.{name}": shape for name, shape in shapes.items()}
    if config["model_type"] == "swin":
        read = config["embed_dim"] << len(config["depths"]) - 1
    else:
        read = config["hidden_size"] * (1 + config["model_type"].startswith("dinov2"))
    two = "architectures" in config and config["architectures"][0].endswith("WithTeacher")
    for head in ("cls_classifier", "distillation_classifier") if two else ("classifier",):
        shapes |= _dense(head, read, num_labels)
    return shapes


def _patches(config: Mapping[str, Any], tokens: Mapping[str, int], places: int) -> Shapes:
    """Of what images enter by, where so many of the learned tokens have places."""
    hidden = config["hidden_size"]
    height, width = np.broadcast_to(config["image_size"], 2)
    rows, columns = (int(size) for size in np.broadcast_to(config["patch_size"], 2))
    positions = int((height // rows) * (width // columns)) + places
    shapes: Shapes = {f"embeddings.{token}": (1, n, hidden) for token, n in tokens.items()}
    shapes["embeddings.position_embeddings"] = (1, positions, hidden)
    projection = "embeddings.patch_embeddings.projection"
    return shapes | {
        f"{projection}.weight": (hidden, 3, rows, columns),
        f"{projection}.bias": (hidden,),
    }


def _vit(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tokens = ("cls_token", "distillation_token")[: 1 + (config["model_type"] == "deit")]
    shapes = _patches(config, dict.fromkeys(tokens, 1), len(tokens))
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        shapes |= _dense(f"{layer}.intermediate.dense", hidden, inner)
        shapes |= _dense(f"{layer}.output.dense", inner, hidden)
        for part in ("before", "after"):
            shapes |= _norm(f"{layer}.layernorm_{part}", hidden)
    return shapes | _norm("layernorm", hidden)


def _yolos(config: Mapping[str, Any], num_labels: int) -> Shapes:
    hidden, found = config["hidden_size"], config["num_detection_tokens"]
    shapes = _vit(config) | _patches(config, {"cls_token": 1, "detection_tokens": found}, 1 + found)
    if config["use_mid_position_embeddings"]:
        places = shapes["embeddings.position_embeddings"]
        name = "encoder.mid_position_embeddings"
        shapes[name] = (config["num_hidden_layers"] - 1, *places)
    shapes = {f"vit.{name}": shape for name, shape in shapes.items()}
    for head, width in (("class_labels_classifier", num_labels + 1), ("bbox_predictor", 4)):
        for index, outputs in enumerate((hidden, hidden, width)):
            shapes |= _dense(f"{head}.layers.{index}", hidden, outputs)
    return shapes


def _beit(config: Mapping[str, Any]) -> Shapes:
    shapes, hidden = _vit(config), config["hidden_size"]
    if not config["use_absolute_position_embeddings"]:
        del shapes["embeddings.position_embeddings"]
    side = config["image_size"] // config["patch_size"]
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        attention = f"{layer}.attention.attention"
        del shapes[f"{attention}.key.bias"]
        if config["layer_scale_init_value"]:
            shapes |= dict.fromkeys((f"{layer}.lambda_1", f"{layer}.lambda_2"), (hidden,))
        if config["use_relative_position_bias"]:
            rows = (2 * side - 1) ** 2 + 3
            table = f"{attention}.relative_position_bias.relative_position_bias_table"
            shapes[table] = (rows, config["num_attention_heads"])
    for part in ("weight", "bias"):
        shapes[f"pooler.layernorm.{part}"] = shapes.pop(f"layernorm.{part}")
    return shapes


def _swin(config: Mapping[str, Any]) -> Shapes:
    width, patch = config["embed_dim"], config["patch_size"]
    projection = "embeddings.patch_embeddings.projection"
    shapes: Shapes = {f"{projection}.weight": (width, 3, patch, patch)}
    shapes |= {f"{projection}.bias": (width,), **_norm("embeddings.norm", width)}
    rows = (2 * config["window_size"] - 1) ** 2
    for stage, depth in enumerate(config["depths"]):
        if stage:
            merging = f"encoder.layers.{stage - 1}.downsample"
            shapes |= _norm(f"{merging}.norm", 4 * width)
            shapes[f"{merging}.reduction.weight"] = (2 * width, 4 * width)
            width *= 2
        for index in range(depth):
            layer = f"encoder.layers.{stage}.blocks.{index}"
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                shapes |= _dense(f"{layer}.attention.{part}", width, width)
            table = f"{layer}.attention.self.relative_position_bias_table"
            shapes[table] = (rows, config["num_heads"][stage])
            inner = int(config["mlp_ratio"] * width)
            shapes |= _dense(f"{layer}.intermediate.dense", width, inner)
            shapes |= _dense(f"{layer}.output.dense", inner, width)
            for part in ("before", "after"):
                shapes |= _norm(f"{layer}.layernorm_{part}", width)
    return shapes | _norm("layernorm", width)


def _dinov3(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    rows, columns = (int(size) for size in np.broadcast_to(config["patch_size"], 2))
    tokens = {"cls_token": 1, "mask_token": 1, "register_tokens": config["num_register_tokens"]}
    shapes: Shapes = {f"embeddings.{name}": (1, n, hidden) for name, n in tokens.items()}
    shapes["embeddings.patch_embeddings.weight"] = (hidden, 3, rows, columns)
    shapes["embeddings.patch_embeddings.bias"] = (hidden,)
    for index in range(config["num_hidden_layers"]):
        layer = f"layer.{index}"
        for part in "qkvo":
            shapes |= _dense(f"{layer}.attention.{part}_proj", hidden, hidden)
        if not config["key_bias"]:
            del shapes[f"{layer}.attention.k_proj.bias"]
        shapes |= _dense(f"{layer}.mlp.up_proj", hidden, inner)
        shapes |= _dense(f"{layer}.mlp.down_proj", inner, hidden)
        for number in (1, 2):
            shapes |= _norm(f"{layer}.norm{number}", hidden)
            shapes[f"{layer}.layer_scale{number}.lambda1"] = (hidden,)
    return shapes | _norm("norm", hidden)


def _dinov2(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["hidden_size"] * config["mlp_ratio"]
    tokens = {"cls_token": 1}
    if "num_register_tokens" in config:
        tokens["register_tokens"] = config["num_register_tokens"]
    shapes = _patches(config, tokens, 1) | {"embeddings.mask_token": (1, hidden)}
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("attention.query", "attention.key", "attention.value", "output.dense"):
            shapes |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        shapes |= _dense(f"{layer}.mlp.fc1", hidden, inner) | _dense(
            f"{layer}.mlp.fc2", inner, hidden
        )
        for number in (1, 2):
            shapes |= _norm(f"{layer}.norm{number}", hidden)
            shapes[f"{layer}.layer_scale{number}.lambda1"] = (hidden,)
    return shapes | _norm("layernorm", hidden)


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
