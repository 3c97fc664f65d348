"""A config.json that describes no supported encoder is refused, and the key is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cases
import pytest

from tfedge.architectures.mobilebert import MobileBertConfig
from tfedge.architectures.vit import ImageConfig
from tfedge.errors import CheckpointError
from tfedge.models.config import parse_config, read_config

BERT = cases.CONFIGS["bert"]
MOBILEBERT = cases.CONFIGS["mobilebert"]
VIT = cases.IMAGE_CONFIGS["vit"]


@pytest.mark.parametrize("name", cases.CONFIGS)
def test_supported_configurations_are_read(name: str) -> None:
    config = parse_config(cases.CONFIGS[name])
    width = getattr(config, "intra_bottleneck_size", config.hidden_size)
    own = config.source.get("head_dim", width // config.num_attention_heads)
    assert config.head_size == own
    assert config.source == cases.CONFIGS[name]


@pytest.mark.parametrize("name", cases.IMAGE_CASES)
def test_configurations_of_images_are_read(name: str) -> None:
    config = parse_config(cases.parse(name)[0])
    leading = {"deit": 2, "dinov2_with_registers": 4, "swin": 0}.get(config.model_type, 1)
    assert isinstance(config, ImageConfig)
    assert config.max_position_embeddings == config.patches + leading
    assert len(config.classifiers) == (2 if "teacher" in name else 1)


def test_defaults_of_images_are_those_of_transformers() -> None:
    config = parse_config({"model_type": "deit"})
    assert isinstance(config, ImageConfig)
    assert (config.image_size, config.patch_size, config.patches) == ((224, 224), (16, 16), 196)
    assert (config.hidden_size, config.num_hidden_layers, config.head_size) == (768, 12, 64)


def test_defaults_are_those_of_transformers() -> None:
    config = parse_config(
        {key: BERT[key] for key in BERT if key not in {"hidden_act", "layer_norm_eps"}}
    )
    assert (config.hidden_act, config.layer_norm_eps) == ("gelu", 1e-12)
    kept = (
        "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "max_position_embeddings", "type_vocab_size",
    )  # fmt: skip
    config = parse_config({key: MOBILEBERT[key] for key in kept})
    assert isinstance(config, MobileBertConfig)
    assert (config.hidden_act, config.hidden_dropout_prob) == ("relu", 0.0)
    assert config.normalization_type == "no_norm"
    assert (config.embedding_size, config.intra_bottleneck_size) == (128, 128)
    assert config.trigram_input and config.use_bottleneck and config.key_query_shared_bottleneck
    assert config.num_feedforward_networks == 4 and not config.use_bottleneck_attention


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (
            BERT,
            {"model_type": "xlnet"},
            "model_type 'xlnet'; supported are ",
        ),
        (BERT, {"model_type": "convbert"}, "'convbert', which is refused: its convolutions"),
        (BERT, {"model_type": "flaubert"}, "'flaubert', which is refused: its tokeniser"),
        (BERT, {"model_type": "xlm"}, "'xlm', which is refused: its tokeniser"),
        (BERT, {"model_type": None}, "model_type None"),
        (VIT, {"num_channels": 1}, "num_channels is 1, which no builder supports"),
        (VIT, {"qkv_bias": False}, "qkv_bias is False"),
        (VIT, {"image_size": 25}, "an image of 25 x 25 pixels cannot be cut into patches of 8 x 8"),
        (VIT, {"image_size": [24]}, "image_size is [24]; it must be a whole number"),
        (VIT, {"patch_size": 0}, "patch_size is 0"),
        (VIT, {"image_size": 10**6}, "image_size is 1000000"),
        (VIT, {"num_attention_heads": 5}, "32 channels cannot be split into 5"),
        (BERT, {"model_type": ["bert"]}, "model_type ['bert']"),
        (BERT, {"num_attention_heads": 5}, "32 channels cannot be split into 5 attention heads"),
        (MOBILEBERT, {"intra_bottleneck_size": 18}, "18 channels cannot be split into 4"),
        (BERT, {"hidden_size": "32"}, "hidden_size is '32'; it must be a whole number"),
        (BERT, {"hidden_size": 32.0}, "hidden_size is 32.0"),
        (BERT, {"hidden_size": 0}, "hidden_size is 0"),
        (BERT, {"vocab_size": -1}, "vocab_size is -1"),
        (BERT, {"vocab_size": 2_000_001}, "vocab_size is 2000001"),
        (BERT, {"vocab_size": True}, "vocab_size is True"),
        (BERT, {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        (MOBILEBERT, {"num_feedforward_networks": 10**6}, "num_feedforward_networks is 1000000"),
        (BERT, {"vocab_size": 10**6, "hidden_size": 10**5}, "a matrix of 100000000000 weights"),
        (BERT, {"hidden_act": "mish"}, "hidden_act is 'mish'; supported are gelu, gelu_python,"),
        (BERT, {"hidden_act": ["gelu"]}, "hidden_act is ['gelu']"),
        (BERT, {"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
        (BERT, {"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        (BERT, {"hidden_dropout_prob": 1.5}, "hidden_dropout_prob is 1.5"),
        (BERT, {"position_embedding_type": "relative_key"}, "position_embedding_type is"),
        (BERT, {"position_embedding_type": ["absolute"]}, "position_embedding_type is"),
        (BERT, {"is_decoder": True}, "is_decoder is True"),
        (MOBILEBERT, {"use_bottleneck": "yes"}, "use_bottleneck is 'yes'; it must be true or"),
        (MOBILEBERT, {"normalization_type": "rms"}, "normalization_type is 'rms'"),
        (MOBILEBERT, {"key_query_shared_bottleneck": False}, "use_bottleneck needs"),
        (cases.CONFIGS["distilbert"], {"dim": None}, "dim is None"),
        (cases.CONFIGS["distilbert"], {"activation": "tanh"}, "activation is 'tanh'"),
    ],
)
def test_wrong_values_are_named(base: cases.Config, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)):
        parse_config({**base, **change})


@pytest.mark.parametrize(
    "key", [key for key in BERT if key not in {"model_type", "hidden_act", "layer_norm_eps"}]
)
def test_missing_sizes_are_named(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"{key} is None"):
        parse_config({name: value for name, value in BERT.items() if name != key})


@pytest.mark.parametrize(
    "content",
    [b"", b'{"model_type": "bert', b"[1, 2]", b"null", b"\xff\xfe\x00", b"[" * 100_000],
    ids=["empty", "truncated", "list", "null", "binary", "nested"],
)
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist; a checkpoint is a folder with"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError):
        read_config(tmp_path / "nowhere")


def test_labels_come_in_the_order_of_the_logits() -> None:
    names = {str(index): f"l{index}" for index in reversed(range(11))}
    assert parse_config({**BERT, "id2label": names}).labels == [f"l{i}" for i in range(11)]
    assert parse_config(BERT).labels is None
    for damage in ({"a": "x"}, {"0": "x", "2": "y"}, {"-1": "x"}, ["x", "y"]):
        with pytest.raises(CheckpointError, match=r"id2label in config\.json"):
            _ = parse_config({**BERT, "id2label": damage}).labels


def test_a_written_config_reads_back(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MOBILEBERT))
    assert read_config(tmp_path) == parse_config(MOBILEBERT)


EXTENSION = {"heads": [3, 2], "neurons": [40, 48], "head_size": 8}


def test_layers_that_differ_are_read() -> None:
    config = parse_config({**BERT, "tfedge": EXTENSION})
    assert [config.heads(index) for index in (0, 1)] == [3, 2]
    assert [config.neurons(index) for index in (0, 1)] == [40, 48]
    assert config.head_size == 8
    only = parse_config({**BERT, "tfedge": {"neurons": [40, 48]}})
    assert [only.heads(index) for index in (0, 1)] == [4, 4]


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        (
            [],
            "tfedge is []; it must be an object with no other keys than heads, neurons, head_size",
        ),
        (None, "tfedge is None"),
        ({"legs": 2}, "tfedge is {'legs': 2}"),
        ({"heads": [3]}, "tfedge.heads is [3]; it must be a list of 2 whole numbers from 1 to 4"),
        ({"heads": [3, 5]}, "tfedge.heads is [3, 5]"),
        ({"heads": [3, 0]}, "tfedge.heads is [3, 0]"),
        ({"heads": [3, True]}, "tfedge.heads is [3, True]"),
        ({"heads": [3, 2.0]}, "tfedge.heads is [3, 2.0]"),
        ({"heads": 3}, "tfedge.heads is 3"),
        ({"neurons": [40, 49]}, "tfedge.neurons is [40, 49]; it must be a list of 2 whole"),
        ({"neurons": [[40], 48]}, "tfedge.neurons is [[40], 48]"),
        ({"head_size": 0}, "tfedge.head_size is 0; it must be a whole number from 1 to 8"),
        ({"head_size": 9}, "tfedge.head_size is 9"),
        ({"heads": [3, 3], "head_size": 11}, "tfedge.head_size is 11; it must be a whole"),
        ({"head_size": [8]}, "tfedge.head_size is [8]"),
    ],
)
def test_malformed_layers_that_differ(extension: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        parse_config({**BERT, "tfedge": extension})
    assert "\n" not in str(caught.value)


def test_layers_that_differ_are_not_for_mobilebert() -> None:
    with pytest.raises(CheckpointError, match=r"tfedge is only for .*bert, .*distilbert"):
        parse_config({**MOBILEBERT, "tfedge": {"neurons": [40, 40]}})


@pytest.mark.parametrize("kind", ["siglip2", "swinv2", "mobilevit", "segformer", "dinov3_convnext"])
def test_other_models_of_images_are_refused_by_name(kind: str) -> None:
    with pytest.raises(
        CheckpointError, match=f"model_type '{kind}', which is refused: .*not built"
    ):
        parse_config({"model_type": kind})
