"""Checkpoints are read strictly: what does not fit is refused, and every fault is named."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import cases
import ml_dtypes
import numpy as np
import pytest
import tf_keras as keras
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tfedge import files
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import (
    Checkpoint,
    initialize,
    load_weights,
    parameters,
    save_checkpoint,
)
from tfedge.models.config import parse_config
from tfedge.models.folder import copy_inputs
from tfedge.presets import load_preset
from tfedge.tasks import task_and_labels

CONFIG = cases.CONFIGS["bert"]
TASK = "text-classification"
WORDS = "bert.embeddings.word_embeddings.weight"
QUERY = "encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A toy BERT with two labels; each test loads its own weights or fails before it does."""
    return build(parse_config(CONFIG), TASK).model


@pytest.fixture
def tensors(tmp_path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint that fits `model`, already written to `tmp_path`."""
    return cases.random_checkpoint(tmp_path, CONFIG, TASK, seed=1)


def rewrite(folder: Path, tensors: dict[str, np.ndarray]) -> Checkpoint:
    """Replaces the weights of a folder."""
    cases.write_checkpoint(folder, cases.hf_config(CONFIG, TASK), tensors)
    return Checkpoint(folder)


def variable(model: keras.Model, name: str) -> np.ndarray:
    """A variable of the model under the checkpoint's name, as the checkpoint holds it."""
    return next(p for p in parameters(model) if p.name == name).stored


def test_equal_labels_of_images_get_their_numbers(tmp_path: Path) -> None:
    config = cases.IMAGE_CONFIGS["vit"]
    cases.random_checkpoint(tmp_path, config, cases.IMAGES, 1, 4)
    names = {"0": "crane", "1": "cat", "2": "crane", "3": "dog"}
    content = {**cases.hf_config(config, cases.IMAGES, 4), "id2label": names}
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = task_and_labels(Checkpoint(tmp_path))
    assert found == (cases.IMAGES, ["crane (0)", "cat", "crane (2)", "dog"])


def write_safetensors(path: Path, header: Any, data: bytes, length: int | None = None) -> None:
    """A safetensors file with any header, and any claim of its length."""
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", length or len(encoded)) + encoded + data)


def test_every_tensor_arrives(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    assert load_weights(model, Checkpoint(tmp_path), TASK) == []
    for name, expected in tensors.items():
        assert np.array_equal(variable(model, name.removeprefix("bert.")), expected), name


def test_missing_surplus_and_misshaped_tensors_are_all_listed(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    del tensors[f"bert.{QUERY}.weight"], tensors["bert.encoder.layer.1.output.dense.bias"]
    tensors["bert.encoder.layer.2.output.dense.bias"] = np.zeros(32, np.float32)
    tensors["adapter.weight"] = np.zeros(3, np.float32)
    tensors[WORDS] = np.zeros((61, 32), np.float32)
    tensors["classifier.bias"] = np.zeros(5, np.float32)
    before = [value.copy() for value in model.get_weights()]
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, rewrite(tmp_path, tensors), TASK)
    message = str(caught.value)
    missing, surplus, misshaped = message.split(": ", 2)[2].split("; ")
    assert missing.startswith("missing: ") and surplus.startswith("surplus: ")
    assert f"{QUERY}.weight" in missing and "encoder.layer.1.output.dense.bias" in missing
    assert surplus == "surplus: adapter.weight, encoder.layer.2.output.dense.bias"
    assert "embeddings.word_embeddings.weight is [61, 32], not [60, 32]" in misshaped
    assert "classifier.bias is [5], not [2]" in misshaped
    # Nothing is assigned before everything is known to fit.
    assert all(map(np.array_equal, before, model.get_weights()))


def test_a_matrix_the_wrong_way_round_is_misshaped(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)
    with pytest.raises(CheckpointError, match=r"mis-shaped: .* is \[32, 48\], not \[48, 32\]"):
        load_weights(model, rewrite(tmp_path, tensors), TASK)


def test_sharded_weights(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for shard, members in shards.items():
        save_file({name: tensors[name] for name in members}, tmp_path / shard)
    weight_map = {name: shard for shard, members in shards.items() for name in members}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    checkpoint = Checkpoint(tmp_path)
    load_weights(model, checkpoint, TASK)
    assert np.array_equal(variable(model, f"{QUERY}.weight"), tensors[f"bert.{QUERY}.weight"])
    assert len(checkpoint.sha256) == 64

    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"missing: model-00002-of-00002\.safetensors"):
        Checkpoint(tmp_path)
    for damage in ("[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": [1]}}', '{"weight'):
        index.write_text(damage)
        with pytest.raises(CheckpointError):
            Checkpoint(tmp_path)


@pytest.mark.usefixtures("tensors")
def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickle.*safe_serialization=True"):
        Checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        Checkpoint(tmp_path)


@pytest.mark.usefixtures("tensors")
def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    for content in (b"", whole[:4], whole[:300], whole[:-1], whole + b"\0", pointer):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            Checkpoint(tmp_path)


@pytest.mark.usefixtures("tensors")
@pytest.mark.parametrize(
    ("shape", "end", "length"),
    [
        ([2], 8, None),
        ([2**40], 2**42, None),
        ([2**40, 2**40], 8, None),
        ([1], 4, 2**40),
        ([1], 4, 500),
    ],
    ids=["data", "terabytes", "overflow", "header", "header-past-the-end"],
)
def test_claims_beyond_the_file_are_refused(
    tmp_path: Path, shape: list[int], end: int, length: int | None
) -> None:
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}
    write_safetensors(tmp_path / "model.safetensors", header, bytes(4), length)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("change", [{"num_hidden_layers": 1000}, {"hidden_size": 30_000}])
def test_a_config_far_larger_than_the_weights_is_refused(
    tmp_path: Path, model: keras.Model, change: dict[str, int]
) -> None:
    """Before anything of that size is built."""
    save_checkpoint(model, parse_config(CONFIG), TASK, tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | change))
    with pytest.raises(CheckpointError, match=r"config.json describes an encoder of .* numbers"):
        Checkpoint(tmp_path)


def test_a_config_larger_than_tensors_that_are_others(tmp_path: Path, model: keras.Model) -> None:
    """The file is as large as the encoder, by a tensor of a gigabyte that takes no room on the disk."""
    save_checkpoint(model, parse_config(CONFIG), TASK, tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {"hidden_size": 9_000}))
    header: dict[str, Any] = {"other.weight": {"shape": [1 << 28]}}
    header |= {
        name: {"shape": list(tensor.shape)}
        for name, tensor in load_file(tmp_path / "model.safetensors").items()
    }
    end = 0
    for about in header.values():
        start, end = end, end + 4 * math.prod(about["shape"])
        about |= {"dtype": "F32", "data_offsets": [start, end]}
    write_safetensors(tmp_path / "model.safetensors", header, b"")
    with open(tmp_path / "model.safetensors", "ab") as file:
        file.truncate(file.tell() + end)
    with pytest.raises(CheckpointError, match=r"layers, and the weights lack [\d,]{11,} of them"):
        Checkpoint(tmp_path)


def test_old_names_of_layer_norms(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    def old(name: str) -> str:
        if "LayerNorm" not in name:
            return name
        return name.replace(".weight", ".gamma").replace(".bias", ".beta")

    renamed = {old(name): value for name, value in tensors.items()}
    assert renamed.keys() != tensors.keys()
    load_weights(model, rewrite(tmp_path, renamed), TASK)
    name = "embeddings.LayerNorm.bias"
    assert np.array_equal(variable(model, name), tensors[f"bert.{name}"])


def test_two_tensors_for_one_name_are_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray]
) -> None:
    tensors[WORDS.removeprefix("bert.")] = tensors[WORDS] + 1
    with pytest.raises(CheckpointError, match="is the same tensor as"):
        rewrite(tmp_path, tensors)


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "model.", "module._orig_mod.model."])
@pytest.mark.parametrize("inner", ["bert.", ""])
def test_what_wrappers_put_before_all_names_is_left_out(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray], wrapper: str, inner: str
) -> None:
    wrapped = {wrapper + name.replace("bert.", inner, 1): value for name, value in tensors.items()}
    assert wrapped.keys() != tensors.keys()
    checkpoint = rewrite(tmp_path, wrapped)
    assert load_weights(model, checkpoint, TASK) == []
    name = f"{QUERY}.weight"
    assert np.array_equal(variable(model, name), tensors[f"bert.{name}"])
    assert np.array_equal(checkpoint.read(name), tensors[f"bert.{name}"])


def test_prefixes_of_images_are_left_out_too(tmp_path: Path) -> None:
    config = cases.IMAGE_CONFIGS["vit"]
    tensors = cases.random_checkpoint(tmp_path, config, cases.IMAGES, 1, 4)
    names = Checkpoint(tmp_path).names
    wrapped = {f"module.{name}": value for name, value in tensors.items()}
    cases.write_checkpoint(tmp_path, cases.hf_config(config, cases.IMAGES, 4), wrapped)
    assert Checkpoint(tmp_path).names == names


def test_a_prefix_of_some_tensors_is_named(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    """Of all but the head, say; nothing is guessed."""
    wrapped = {f"model.{name}": value for name, value in tensors.items() if "bert." in name}
    wrapped |= {name: value for name, value in tensors.items() if "bert." not in name}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, rewrite(tmp_path, wrapped), TASK)
    message = str(caught.value)
    count = sum(name.startswith("model.") for name in wrapped)
    assert 0 < count < len(wrapped)
    assert f"{count} of {len(wrapped)} tensors start with 'model.'" in message
    assert "name.removeprefix('model.')" in message and "\n" not in message


def test_a_prefix_that_uncovers_no_encoder_stays(
    tmp_path: Path, tensors: dict[str, np.ndarray]
) -> None:
    strange = {f"module.other.{name}": value for name, value in tensors.items()}
    assert rewrite(tmp_path, strange).names == set(strange)


def test_long_lists_are_summed_up(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    few = {name: value for name, value in tensors.items() if "encoder.layer.1" not in name}
    surplus = {f"extra.{index}": np.zeros(1, np.float32) for index in range(6)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, rewrite(tmp_path, few | surplus), TASK)
    missing, extra = str(caught.value).split(": ", 2)[2].split("; ")
    assert missing.startswith("missing: encoder.layer.1.")
    assert missing.count(", ") == 4
    assert missing.endswith(f" and {len(tensors) - len(few) - 5} more")
    assert extra == "surplus: extra.0, extra.1, extra.2, extra.3, extra.4 and 1 more"


def test_heads_of_pretraining_and_buffers_are_ignored(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray]
) -> None:
    one = np.zeros(1, np.float32)
    for name in ("cls.predictions.bias", "cls.seq_relationship.weight", "fit_denses.0.weight"):
        tensors[name] = one
    tensors["bert.embeddings.position_ids"] = np.arange(20)[None]
    load_weights(model, rewrite(tmp_path, tensors), TASK)


@pytest.mark.parametrize("task", ["sentence-embedding", "token-classification"])
def test_the_pooler_is_ignored_where_nothing_reads_it(tmp_path: Path, task: str) -> None:
    tensors = cases.random_checkpoint(tmp_path, CONFIG, task, seed=1)
    tensors["bert.pooler.dense.weight"] = np.zeros((32, 32), np.float32)
    tensors.pop("pooler.dense.weight", None)
    cases.write_checkpoint(tmp_path, CONFIG, tensors)
    load_weights(build(parse_config(CONFIG), task).model, Checkpoint(tmp_path), task)


def test_a_new_head_may_be_missing(tmp_path: Path, model: keras.Model) -> None:
    cases.random_checkpoint(tmp_path, CONFIG, "token-classification", seed=1)
    tensors = load_file(tmp_path / "model.safetensors")
    encoder = {name: value for name, value in tensors.items() if "classifier" not in name}
    checkpoint = rewrite(tmp_path, encoder)
    with pytest.raises(CheckpointError, match=r"an encoder without a head.*--task"):
        load_weights(model, checkpoint, TASK)
    fresh = load_weights(model, checkpoint, TASK, new_head=True)
    assert sorted(fresh) == [
        "classifier.bias", "classifier.weight", "pooler.dense.bias", "pooler.dense.weight",
    ]  # fmt: skip
    del encoder[WORDS]
    with pytest.raises(CheckpointError, match=r"missing: embeddings\.word_embeddings\.weight$"):
        load_weights(model, rewrite(tmp_path, encoder), TASK, new_head=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floating_point_types_load(
    tmp_path: Path, model: keras.Model, tensors: dict[str, np.ndarray], dtype: type
) -> None:
    narrowed: dict[str, np.ndarray] = {name: value.astype(dtype) for name, value in tensors.items()}
    load_weights(model, rewrite(tmp_path, narrowed), TASK)
    loaded = variable(model, f"{QUERY}.weight")
    assert loaded.dtype == np.float32
    assert np.array_equal(loaded, narrowed[f"bert.{QUERY}.weight"].astype(np.float32))


@pytest.mark.parametrize("dtype", ["I8", "F8_E4M3"])
def test_quantised_checkpoints_are_refused(tmp_path: Path, dtype: str) -> None:
    cases.write_checkpoint(tmp_path, cases.hf_config(CONFIG, TASK), {})
    size = 20_000  # as many numbers as config.json describes, or more
    header = {"a.weight": {"dtype": dtype, "shape": [size], "data_offsets": [0, size]}}
    write_safetensors(tmp_path / "model.safetensors", header, bytes(size))
    with pytest.raises(CheckpointError, match=f"a.weight is {dtype}; weights must be floating"):
        Checkpoint(tmp_path).read("a.weight")
    if dtype == "F8_E4M3":  # which numpy has no type for
        with pytest.raises(CheckpointError, match="is F8_E4M3; weights must be floating"):
            Checkpoint(tmp_path).stored("a.weight")


def test_the_unused_bottleneck_of_mobilebert_is_no_surplus(tmp_path: Path) -> None:
    config = cases.CONFIGS["mobilebert-bottleneck-attention"]
    tensors = cases.random_checkpoint(tmp_path, config, TASK, seed=1)
    assert any(".bottleneck.attention." in name for name in tensors)
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, TASK).model
    load_weights(model, checkpoint, TASK)
    # The export asks transformers for no module that it has no weights for.
    save_checkpoint(model, checkpoint.config, TASK, tmp_path / "out")
    exported = json.loads((tmp_path / "out/config.json").read_text())
    assert set(load_file(tmp_path / "out/model.safetensors")) == set(
        cases.tensor_shapes(exported, TASK)
    )


def test_nothing_follows_the_last_token_of_mobilebert(tmp_path: Path) -> None:
    """transformers pads no single text; a graph of one length does, with a token that has weights."""
    config = cases.CONFIGS["mobilebert"]
    tensors = cases.random_checkpoint(tmp_path, config, TASK, seed=1)
    words = "mobilebert.embeddings.word_embeddings.weight"
    tensors[words] = tensors[words] + np.float32(0.3)
    cases.write_checkpoint(tmp_path, cases.hf_config(config, TASK), tensors)
    checkpoint = Checkpoint(tmp_path)
    model = build(checkpoint.config, TASK).model
    load_weights(model, checkpoint, TASK)
    table = variable(model, "embeddings.word_embeddings.weight")
    assert not table[0].any() and np.array_equal(table[1:], tensors[words][1:])

    def logits(padding: int) -> np.ndarray:
        ids = np.array([[5, 6, 7, *[0] * padding]], np.int32)
        mask = np.array([[1, 1, 1, *[0] * padding]], np.int32)
        types = np.zeros_like(ids)
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return model(batch)["logits"].numpy()

    np.testing.assert_allclose(logits(5), logits(0), atol=1e-6)


def test_export_keeps_the_config_and_copies_the_tokenizer(
    tmp_path: Path, model: keras.Model
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "vocab.txt").write_text("[PAD]\n")
    config = parse_config({**CONFIG, "problem_type": "x", "transformers_version": "3.0"})
    out = tmp_path / "out"
    save_checkpoint(model, config, TASK, out, ["bad", "good"], dtype="float16")
    copy_inputs(source, out)
    written = json.loads((out / "config.json").read_text())
    assert CONFIG.items() <= written.items() and written["problem_type"] == "x"
    assert "transformers_version" not in written
    assert written["architectures"] == ["BertForSequenceClassification"]
    assert Checkpoint(out).config.labels == ["bad", "good"]
    assert (out / "vocab.txt").read_text() == "[PAD]\n"
    assert {value.dtype for value in load_file(out / "model.safetensors").values()} == {
        np.dtype(np.float16)
    }
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json", "model.safetensors", "vocab.txt",
    ]  # fmt: skip


@st.composite
def configs(draw: st.DrawFn) -> cases.Config:
    """Any small encoder."""
    config = dict(cases.CONFIGS[draw(st.sampled_from(sorted(cases.CONFIGS)))])
    heads = draw(st.integers(1, 3))
    # Rotary positions turn the channels of a head in pairs.
    turns = config["model_type"] in ("roformer", "modernbert") or "rope_parameters" in config
    sizes: dict[str, int] = {
        "hidden_size": heads * (2 * draw(st.integers(1, 2)) if turns else draw(st.integers(1, 4))),
        "num_attention_heads": heads,
        "num_hidden_layers": draw(st.integers(1, 2)),
        "intermediate_size": draw(st.integers(1, 9)),
        "vocab_size": draw(st.integers(1, 9)),
        "max_position_embeddings": draw(st.integers(3, 9)),
    }
    if config["model_type"] == "distilbert":
        names = {
            "hidden_size": "dim",
            "num_attention_heads": "n_heads",
            "num_hidden_layers": "n_layers",
            "intermediate_size": "hidden_dim",
        }
        sizes = {names.get(name, name): size for name, size in sizes.items()}
    elif config["model_type"] != "mpnet":
        sizes["type_vocab_size"] = draw(st.integers(1, 3))
    if config["model_type"] in ("electra", "albert"):
        sizes["embedding_size"] = draw(st.integers(1, 9))
    if config["model_type"] == "albert":
        sizes["num_hidden_groups"] = draw(st.integers(1, sizes["num_hidden_layers"]))
        sizes["inner_group_num"] = draw(st.integers(1, 2))
    if config["model_type"] == "mobilebert":
        sizes["intra_bottleneck_size"] = heads * draw(st.integers(1, 4))
        sizes["embedding_size"] = draw(st.integers(1, 9))
        sizes["num_feedforward_networks"] = draw(st.integers(1, 3))
    return {**config, **sizes}


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(configs(), st.sampled_from(sorted(cases.HEADS)), st.integers(0, 2**31 - 1))
def test_save_and_load_is_exact(
    tmp_path_factory: pytest.TempPathFactory, config: cases.Config, head: str, seed: int
) -> None:
    assume(head != "spans" or config["model_type"] not in cases.SPANLESS)
    task, num_labels = cases.HEADS[head]
    folder = tmp_path_factory.mktemp("round")
    tensors = cases.random_checkpoint(folder / "in", config, task, seed, num_labels)
    checkpoint = Checkpoint(folder / "in")
    first = build(checkpoint.config, task, num_labels).model
    load_weights(first, checkpoint, task)
    labels = checkpoint.config.labels
    save_checkpoint(first, checkpoint.config, task, folder / "out", labels)
    for name, value in load_file(folder / "out/model.safetensors").items():
        assert np.array_equal(value, tensors[name]), name
    again = Checkpoint(folder / "out")
    second = build(again.config, task, num_labels).model
    load_weights(second, again, task)
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))


def test_a_full_disk_is_one_line_and_keeps_the_old_weights(
    tmp_path: Path, model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_checkpoint(model, parse_config(CONFIG), TASK, tmp_path)
    assert weights.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [weights]


def test_a_preset_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with its first file alone stood in the way of the same command."""
    preset = load_preset("deit-tiny")
    small = {**preset.config, "num_hidden_layers": 1, "image_size": 32}
    preset = dataclasses.replace(preset, config=small)
    with monkeypatch.context() as full:
        full.setattr(files, "write_json", _without_room)
        with pytest.raises(OSError, match="No space left"):
            initialize(preset, tmp_path / "new", None)
    assert list(tmp_path.iterdir()) == []
    initialize(preset, tmp_path / "new", None)
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"config.json", "model.safetensors", "preprocessor_config.json"}


def _without_room(path: Path, content: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))
