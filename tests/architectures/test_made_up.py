"""An architecture that only this file knows goes all the way: nothing else asks for its name.

Its modules have other names than those of any other, its layers share their weights (as ALBERT's do,
Lan et al. 2020), its encoder has a prefix that is not its `model_type`, and its classifier has names of
its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import records
import toy_folders
import toys
from bars import Bars
from safetensors.numpy import load_file, save_file

from tfedge.architectures import base
from tfedge.architectures.kinds import QUERY
from tfedge.architectures.parts import Embeddings, Parts
from tfedge.architectures.postnorm import PostNorm
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.errors import CheckpointError, InputError
from tfedge.measure import catalogue
from tfedge.models import cost
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import (
    Checkpoint,
    assign,
    load_weights,
    parameters,
    save_checkpoint,
)
from tfedge.models.config import parse_config
from tfedge.presets import Preset
from tfedge.quantize.calibrate import Observer
from tfedge.quantize.equalize import channel_factors, equalize
from tfedge.quantize.integer import IntegerBlocks
from tfedge.records import as_json
from tfedge.tasks import task_and_labels
from tfedge.train.cut import Cut, cut_config, cut_tensors, tensors_of
from tfedge.train.finetune import finetune
from tfedge.train.training import TrainingOptions

TASK = "text-classification"
CONFIG: dict[str, Any] = {
    "model_type": "made-up",
    "vocab_size": len(toys.VOCABULARY),
    "breadth": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
    "layer_norm_eps": 1e-5,
}


class MadeUp(PostNorm):
    """Two or more layers with one set of weights."""

    model_type = "made-up"
    class_name = "MadeUp"
    keys = {"hidden_size": "breadth"}  # noqa: RUF012
    embeddings = Embeddings("table.words", "table.of_types", "table.places", "table.all", "table.n")
    parts = Parts(
        prefix="trunk.block",
        attention="mix",
        query="mix.a",
        key="mix.b",
        value="mix.c",
        attention_output="mix.out",
        attention_total="mix.total",
        attention_norm="mix_norm",
        ffn_input="grow",
        ffn_output="narrow",
        ffn_total="narrow_total",
        ffn_norm="last_norm",
    )
    summary_modules = ("top.middle",)
    has_token_types = False
    counts_summary = True

    @property
    def prefix(self) -> str:
        return "inner."

    def read(self, fields: Any) -> dict[str, Any]:
        return {**super().read(fields), "classifiers": ("top.end",)}

    def tensor_name(self, config: base.EncoderConfig, name: str) -> str:
        block, _, part = name.removeprefix("trunk.block.").partition(".")
        return f"trunk.shared.{part}" if block.isdecimal() else name


def tensors(config: Mapping[str, Any] = CONFIG) -> dict[str, np.ndarray]:
    """Random weights by the names in a checkpoint."""
    hidden, inner = config["breadth"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "inner.table.words.weight": (config["vocab_size"], hidden),
        "inner.table.places.weight": (config["max_position_embeddings"], hidden),
    }
    layer = "inner.trunk.shared."
    dense = {f"{layer}mix.{part}": (hidden, hidden) for part in ("a", "b", "c", "out")}
    dense |= {f"{layer}grow": (inner, hidden), f"{layer}narrow": (hidden, inner)}
    dense |= {"top.middle": (hidden, hidden), "top.end": (2, hidden)}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    random = np.random.default_rng(0)
    found = {name: random.normal(0, 0.15, shape) for name, shape in shapes.items()}
    for norm in ("inner.table.n", f"{layer}mix_norm", f"{layer}last_norm"):
        found[f"{norm}.weight"] = 1 + random.normal(0, 0.15, hidden)
        found[f"{norm}.bias"] = random.normal(0, 0.15, hidden)
    return {name: value.astype(np.float32) for name, value in found.items()}


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    base.register(MadeUp)
    yield
    del base.ARCHITECTURES["made-up"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of the made-up architecture, as a Hugging Face folder."""
    made = tmp_path / "made-up"
    made.mkdir()
    labels = {str(index): label for index, label in enumerate(toys.LABELS)}
    (made / "config.json").write_text(json.dumps({**CONFIG, "id2label": labels}))
    (made / "tokenizer.json").write_bytes(toys.tokenizer_json())
    save_file(tensors(), made / "model.safetensors", metadata={"format": "pt"})
    return made


def batch() -> dict[str, np.ndarray]:
    """Random texts of 12 and 7 tokens."""
    ids = np.random.default_rng(1).integers(5, len(toys.VOCABULARY), (2, 12), np.int32)
    mask = (np.arange(12) < [[12], [7]]).astype(np.int32)
    return {"input_ids": ids * mask, "attention_mask": mask}


def test_the_checkpoint_says_what_it_is_for(folder: Path) -> None:
    assert task_and_labels(Checkpoint(folder)) == (TASK, list(toys.LABELS))


def test_a_checkpoint_is_read_and_written_back(folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, TASK).model
    assert load_weights(model, checkpoint, TASK) == []
    both = (model.get_layer(f"trunk.block.{index}.grow").kernel.numpy() for index in (0, 1))
    np.testing.assert_array_equal(*both)
    save_checkpoint(model, checkpoint.config, TASK, tmp_path / "copy", list(toys.LABELS))
    copied = load_file(tmp_path / "copy" / "model.safetensors")
    original = tensors()
    assert copied.keys() == original.keys()
    assert all(np.array_equal(copied[name], value) for name, value in original.items())
    content = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert content["architectures"] == ["MadeUpForSequenceClassification"]


def test_layers_that_share_weights_cannot_be_saved_apart(folder: Path, tmp_path: Path) -> None:
    config = Checkpoint(folder).config
    with pytest.raises(CheckpointError, match=r"trunk\.block\.1.* shares .*trunk\.shared"):
        untied = build(config, TASK, options=GraphOptions(tied=False)).model
        save_checkpoint(untied, config, TASK, tmp_path / "apart")


def test_a_head_of_another_task_is_left_out_and_a_new_one_is_fresh(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    load_weights(
        build(checkpoint.config, "sentence-embedding").model, checkpoint, "sentence-embedding"
    )
    bare = {name: value for name, value in tensors().items() if not name.startswith("top.")}
    save_file(bare, folder / "model.safetensors", metadata={"format": "pt"})
    fresh = load_weights(
        build(checkpoint.config, TASK).model, Checkpoint(folder), TASK, new_head=True
    )
    assert sorted(fresh) == [
        "top.end.bias",
        "top.end.weight",
        "top.middle.bias",
        "top.middle.weight",
    ]


def test_equalised_integers_answer_the_same(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    plain = build(checkpoint.config, TASK)
    load_weights(plain.model, checkpoint, TASK)
    streams = checkpoint.config.architecture.streams(checkpoint.config)
    sequences = [row[:length] for row, length in zip(batch()["input_ids"], (12, 7), strict=True)]
    factors = channel_factors(Observer(plain, sequences), streams)
    even = build(checkpoint.config, TASK, 2, GraphOptions(tied=False), IntegerBlocks)
    assign(even.model, tensors_of(plain.model))
    for name in (name for name, kind in even.kinds.items() if kind is QUERY):
        layer = even.model.get_layer(name)
        layer.set_weights([weight * 8**-0.5 for weight in layer.get_weights()])
    equalize(even.model, streams, factors)
    expected = plain.model(batch())["logits"]
    np.testing.assert_allclose(even.model(batch())["logits"], expected, atol=1e-4)
    assert max(np.ptp(factor) for factor in factors.values()) > 0.1


def test_cost_is_that_of_the_graph(folder: Path) -> None:
    config = Checkpoint(folder).config
    stored = sum(value.size for name, value in tensors().items() if not name.startswith("top."))
    assert cost.parameters(config) == stored
    deeper = parse_config({**CONFIG, "num_hidden_layers": 4})
    assert cost.parameters(deeper) == stored
    assert cost.flops(deeper, 8) == 2 * cost.flops(config, 8)


def test_it_is_listed_as_other_models_are(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = Preset("mine", "A made-up one", TASK, 16, "int8", "nobody/mine", CONFIG)
    monkeypatch.setattr(catalogue, "preset_names", lambda: ["mine"])
    monkeypatch.setattr(catalogue, "load_preset", lambda name: preset)
    (row,) = catalogue.catalogue(16)
    stored = sum(value.size for value in tensors().values()) - 2 * 33
    assert (row.name, row.parameters) == ("mine", stored)


def test_unknown_models_are_told_that_it_is_supported() -> None:
    with pytest.raises(CheckpointError, match=r"supported are .*bert, .*, made-up"):
        parse_config({"model_type": "unheard-of"})


def test_its_parts_can_be_cut(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    model = build(checkpoint.config, TASK).model
    load_weights(model, checkpoint, TASK)
    cut = Cut(range(16), (0, 1), [[0, 2]] * 2, [range(24)] * 2, 8)
    config = cut_config(checkpoint.config, cut)
    assert (config.hidden_size, config.heads(0), config.neurons(1)) == (16, 2, 24)
    assert config.source["breadth"] == 16
    smaller = build(config, TASK).model
    assign(smaller, cut_tensors(checkpoint.config, tensors_of(model), cut))
    names = {parameter.name for parameter in parameters(model)}
    assert names == {parameter.name for parameter in parameters(smaller)}
    with pytest.raises(InputError, match="a bert student cannot start from a made-up teacher"):
        checkpoint.config.architecture.check_starts(parse_config(toy_folders.config()))


def test_it_is_fine_tuned(folder: Path, tmp_path: Path) -> None:
    texts = toy_folders.sentences(8)
    options = TrainingOptions(epochs=1, batch_size=8, max_length=16)
    finetuned = tmp_path / "finetuned"
    finetune(records.request(folder, texts, finetuned, options, records.Record()), toys.LABELS)
    original, after = tensors(), load_file(finetuned / "model.safetensors")
    changed = {name for name, value in original.items() if not np.array_equal(after[name], value)}
    assert after.keys() == original.keys()
    assert changed >= {"top.end.weight", "inner.trunk.shared.grow.weight"}
    assert "inner.table.words.weight" not in changed  # as in every model


@pytest.mark.slow
def test_it_is_converted_and_agrees(folder: Path, tmp_path: Path) -> None:
    options = ConvertOptions(
        quantization="int8",
        calibration=str(toy_folders.write_sentences(tmp_path / "toy.tsv", 12)),
        output=tmp_path / "out",
        max_drop=100.0,
        sequence_length=16,
        buckets=(),
        runtime="litert",
    )
    report = as_json(convert(str(folder), options, Bars()))
    assert report["float32_tflite_error"] < 1e-4
