"""NomicBERT, GTE and Jina embeddings v3: what they have of their own; that they agree with torch is in
tests/models/test_parity.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
import toy_folders
from conversions import assert_int8_agrees
from safetensors.numpy import load_file

from tfedge.errors import CheckpointError, InputError
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.config import parse_config
from tfedge.presets import load_preset
from tfedge.quantize.prepare import Lowering, Shape
from tfedge.tasks import task_and_labels

CLASSIFICATION, TOKENS, EMBEDDING, SPANS = (
    "text-classification",
    "token-classification",
    "sentence-embedding",
    "question-answering",
)
FAMILIES = ("nomic_bert", "gte", "jina_embeddings_v3")
VARIANTS = (*FAMILIES, "nomic_bert-wide", "gte-typeless")
# config.json of nomic-embed-text-v1.5 as Nomic's own code has it, for a toy.
OLDER: dict[str, Any] = {
    "activation_function": "swiglu",
    "attn_pdrop": 0.0,
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 2,
    "n_positions": 20,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "scale_attn_weights": True,
    "type_vocab_size": 2,
    "use_rms_norm": False,
    "vocab_size": 60,
}


def loaded(folder: Path, task: str) -> tuple[Checkpoint, keras.Model]:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, task, 2).model
    load_weights(model, checkpoint, task)
    return checkpoint, model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "tanh"),
        ("is_decoder", True),
        ("position_embedding_type", "relative_key"),
        ("rope_scaling", {"type": "ntk", "factor": 8.0}),
        ("rope_parameters", {"rope_type": "yarn", "factor": 4.0}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": 1}),
    ],
)
def test_values_that_no_graph_computes_are_refused(family: str, key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=r"config.json: (rope_theta|" + key + ") is"):
        parse_config({**cases.CONFIGS[family], key: value})


def test_heads_without_pairs_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"heads of 7 channels .* have no pairs"):
        parse_config({**cases.CONFIGS["nomic_bert"], "head_dim": 7})


def test_a_base_outside_of_an_object_is_read() -> None:
    source = {key: value for key, value in cases.CONFIGS["gte"].items() if "rope" not in key}
    bases = [parse_config({**source, **more}) for more in ({}, {"rope_theta": 20_000})]
    assert [vars(config)["base"] for config in bases] == [160_000, 20_000]


def test_a_config_of_nomics_own_code_is_read() -> None:
    newer = parse_config(cases.CONFIGS["nomic_bert"])
    assert parse_config(OLDER) == newer
    assert parse_config({**OLDER, "activation_function": "geglu"}).hidden_act == "gelu"
    # And both programs read what is exported.
    assert {**OLDER, "hidden_size": 32}.items() <= parse_config(OLDER).source.items()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "gelu"),
        ("qkv_proj_bias", True),
        ("prenorm", True),
        ("rotary_emb_fraction", 0.5),
        ("rotary_emb_interleaved", True),
        ("moe_every_n_layers", 2),
    ],
)
def test_what_nomics_own_code_can_do_besides_is_refused(key: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} is"):
        parse_config({**OLDER, key: value})


@pytest.mark.parametrize("family", VARIANTS)
@pytest.mark.parametrize("task", [CLASSIFICATION, TOKENS, SPANS, EMBEDDING])
def test_heads_are_told_apart_and_written_back(tmp_path: Path, family: str, task: str) -> None:
    source = cases.CONFIGS[family]
    if task == SPANS and source["model_type"] in cases.SPANLESS:
        with pytest.raises(InputError, match="transformers has no class with its head"):
            build(parse_config(source), task)
        return
    original = cases.random_checkpoint(tmp_path / "a", source, task, 4)
    checkpoint, model = loaded(tmp_path / "a", task)
    found, labels = task_and_labels(checkpoint)
    assert found == task
    save_checkpoint(model, checkpoint.config, task, tmp_path / "b", labels)
    copied = load_file(tmp_path / "b" / "model.safetensors")
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    kind = cases.CLASS_PREFIXES[source["model_type"]]
    assert written["architectures"] == [f"{kind}{cases.CLASS_SUFFIXES[task]}"]


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        # "137M" of Nussbaum et al. 2024: tables of 30,528 words and 2 types, of each layer 4 C^2 of
        # attention and 3 C * 3072 of the gated network, without biases.
        ("nomic-embed-text", 30_532 * 768 + 12 * (4 * 768**2 + 3 * 768 * 3072 + 4 * 768)),
        # "305M" on the hub: with biases but for the gate's.
        (
            "gte-multilingual-base",
            (250_048 + 1 + 2) * 768 + 12 * (4 * 768**2 + 3 * 768 * 3072 + 9 * 768),
        ),
        # "572M" of Sturua et al. 2024, with adapters of 13M.
        (
            "jina-embeddings-v3",
            (250_002 + 1 + 2) * 1024 + 24 * (4 * 1024**2 + 2 * 1024 * 4096 + 13 * 1024),
        ),
    ],
)
def test_the_published_sizes(preset: str, parameters: int) -> None:
    assert cost.parameters(parse_config(load_preset(preset).config)) == parameters


@pytest.mark.parametrize("family", VARIANTS)
def test_parameters_are_those_of_the_built_model(family: str) -> None:
    config = parse_config(cases.CONFIGS[family])
    assert cost.parameters(config) == build(config, EMBEDDING).model.count_params()


@pytest.mark.parametrize("graph", ["integer", "edgetpu"])
@pytest.mark.parametrize("family", VARIANTS)
def test_integer_graphs_are_the_plain_graph(
    tmp_path: Path, family: str, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.nn, "gelu", lambda x, approximate: x * tf.sigmoid(1.702 * x))
    folder = toy_folders.write_folder(tmp_path / "toy", family, CLASSIFICATION)
    checkpoint, plain = loaded(folder, CLASSIFICATION)
    random = np.random.RandomState(0)
    texts = [random.randint(5, 60, length).astype(np.int32) for length in range(5, 17)]
    lowering = Lowering(checkpoint, Shape(CLASSIFICATION, 2, 16, graph=graph), texts)
    lowering.decided["plans"] = {}
    inputs = cases.batch(checkpoint.config.source)
    found = lowering.build(GraphOptions()).model(inputs)["logits"]
    np.testing.assert_allclose(found, plain(inputs)["logits"], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_agrees_in_both_runtimes(tmp_path: Path, family: str) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", family, EMBEDDING, labels=())
    assert_int8_agrees(folder, tmp_path, (8,))


def test_what_no_code_of_transformers_computes_is_refused_by_name() -> None:
    with pytest.raises(
        CheckpointError, match="model_type 'new', which is refused: its code is not"
    ):
        parse_config({"model_type": "new"})
    with pytest.raises(CheckpointError, match="model_type 'eurobert', which is refused: its norms"):
        parse_config({"model_type": "eurobert"})
