"""Importance: zero exactly where nothing depends on a part, and a slope that can be checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_folders

from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.errors import InputError
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import Checkpoint, assign, load_weights
from tfedge.models.config import parse_config
from tfedge.train.cut import tensors_of
from tfedge.train.examples import Examples
from tfedge.train.importance import Importance, importance_of_weights, measure_importance

FAMILIES = ("bert", "distilbert", "roberta", "electra")
TASKS = ("text-classification", "sentence-embedding")


def encoder(folder: Path, task: str) -> Encoder:
    checkpoint = Checkpoint(folder)
    made = build(checkpoint.config, task)
    load_weights(made.model, checkpoint, task)
    return made


def examples(folder: Path, count: int = 40) -> Examples:
    texts = toy_folders.sentences(count).texts
    tokenizer = load_tokenizer(folder, Checkpoint(folder).config.vocab_size)
    return Examples(encode(tokenizer, texts, 16), np.zeros(count, np.int32))


def measured(folder: Path, made: Encoder, seed: int = 0) -> Importance:
    config = Checkpoint(folder).config
    return measure_importance(made, config, examples(folder), seed, lambda count: None)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_parts_without_a_way_out_have_none(tmp_path: Path, family: str, task: str) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", family, task)
    made = encoder(folder, task)
    parts = Checkpoint(folder).config.architecture.named_parts()
    tensors = tensors_of(made.model)
    head, neurons = 2, [0, 5, 47]
    size = Checkpoint(folder).config.head_size
    first = parts.layer(0)
    tensors[f"{first}.{parts.attention_output}.weight"][:, head * size : (head + 1) * size] = 0
    tensors[f"{first}.{parts.ffn_output}.weight"][:, neurons] = 0
    assign(made.model, tensors)
    found = measured(folder, made)
    assert np.flatnonzero(found.heads[0] == 0).tolist() == [head]
    assert np.flatnonzero(found.neurons[0] == 0).tolist() == neurons
    assert all(np.all(values > 0) for values in (found.heads[1], found.neurons[1]))
    assert np.all(found.channels > 0) and np.all(found.layers > 0)
    assert found.channels.shape == (32,)


def test_channels_that_are_never_written_have_none(tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy")
    made = encoder(folder, "text-classification")
    tensors = tensors_of(made.model)
    for name, value in tensors.items():
        if "LayerNorm" in name:
            value[[3, 30]] = 0
    assign(made.model, tensors)
    assert np.flatnonzero(measured(folder, made).channels == 0).tolist() == [3, 30]


def test_importance_is_the_squared_effect_of_a_small_change(tmp_path: Path) -> None:
    """The divergence of answers after weakening a head a little, to the second order."""
    folder = toy_folders.write_folder(tmp_path / "toy")
    made = encoder(folder, "text-classification")
    texts = examples(folder)
    # Each text many times, since the importance is an expectation over drawn labels.
    config = Checkpoint(folder).config
    often = Examples(texts.sequences * 100, np.zeros(4000, np.int32))
    expected = measure_importance(made, config, often, 0, lambda count: None).heads[1][0]
    before = log_probabilities(made, texts)
    tensors, weakened = tensors_of(made.model), 0.05
    tensors["encoder.layer.1.attention.output.dense.weight"][:, :8] *= 1 - weakened
    assign(made.model, tensors)
    after = log_probabilities(made, texts)
    divergence = np.mean((np.exp(before) * (before - after)).sum(1))
    assert divergence == pytest.approx(weakened**2 / 2 * expected, rel=0.25)


def log_probabilities(made: Encoder, texts: Examples) -> np.ndarray:
    rows = []
    for sequence in texts.sequences:
        inputs = {
            "input_ids": sequence[None],
            "attention_mask": np.ones((1, len(sequence)), np.int32),
            "token_type_ids": np.zeros((1, len(sequence)), np.int32),
        }
        logits = np.asarray(made.model(inputs)["logits"], np.float64)[0]
        rows.append(logits - np.log(np.exp(logits).sum()))
    return np.array(rows)


def test_the_same_seed_gives_the_same(tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy")
    made = encoder(folder, "text-classification")
    first, second, other = (measured(folder, made, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.neurons[0], second.neurons[0])
    assert not np.array_equal(first.neurons[0], other.neurons[0])


def test_texts_count_alike_whatever_their_padding(tmp_path: Path) -> None:
    """A layer's influence of all texts is the mean of those of single ones."""
    folder = toy_folders.write_folder(tmp_path / "toy")
    made = encoder(folder, "text-classification")
    texts, config = examples(folder, 3), Checkpoint(folder).config
    together = measure_importance(made, config, texts, 0, lambda count: None)
    single = [
        measure_importance(made, config, Examples([one], texts.labels[:1]), 0, lambda count: None)
        for one in texts.sequences
    ]
    mean = np.mean([found.layers for found in single], axis=0)
    np.testing.assert_allclose(together.layers, mean, rtol=1e-4)


def test_by_weights_alone_dead_neurons_count_nothing(tmp_path: Path) -> None:
    folder = toy_folders.write_folder(tmp_path / "toy", "distilbert")
    made = encoder(folder, "text-classification")
    tensors = tensors_of(made.model)
    tensors["transformer.layer.1.ffn.lin2.weight"][:, [1, 7]] = 0
    found = importance_of_weights(Checkpoint(folder).config, tensors)
    assert np.flatnonzero(found.neurons[1] == 0).tolist() == [1, 7]


def test_mobilebert_is_refused() -> None:
    config = parse_config(toy_folders.config("mobilebert"))
    with pytest.raises(InputError, match="family mobilebert cannot be cut: its layers are thin"):
        config.architecture.named_parts()
