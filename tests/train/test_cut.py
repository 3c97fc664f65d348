"""Encoders cut out of larger ones: what is kept, what thin heads keep of it, what is refused."""

from __future__ import annotations

import functools
from typing import Any

import cases
import numpy as np
import pytest
import tf_keras as keras
import toy_folders
from hypothesis import given, settings
from hypothesis import strategies as st

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, assign, load_weights
from tfedge.models.config import parse_config
from tfedge.train.cut import Cut, _cut_layer, _low_rank, cut_config, cut_tensors, plan, tensors_of

TASK = "text-classification"
CONFIG = parse_config(toy_folders.config())
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    folder = toy_folders.write_folder(tmp_path_factory.mktemp("teacher"))
    model = build(CONFIG, TASK).model
    load_weights(model, Checkpoint(folder), TASK)
    return model


@pytest.fixture
def tensors(teacher: keras.Model) -> Tensors:
    """The teacher's tensors; each test may change its own."""
    return {name: value.copy() for name, value in tensors_of(teacher).items()}


@functools.cache
def built(config: EncoderConfig) -> keras.Model:
    """A model for any weights; each test puts in its own."""
    return build(config, TASK).model


def logits(config: EncoderConfig, tensors: Tensors) -> np.ndarray:
    model = built(config)
    assign(model, tensors)
    return np.asarray(model(cases.batch(config.source))["logits"])


def resized(**sizes: int) -> EncoderConfig:
    return parse_config(toy_folders.config(**sizes))


@settings(max_examples=50, deadline=None)
@given(
    wide=st.integers(1, 8),
    columns=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    rank=st.integers(1, 8),
    seed=st.integers(0, 999),
)
def test_low_rank_is_that_of_a_full_svd(
    wide: int, columns: tuple[int, int], rank: int, seed: int
) -> None:
    random = np.random.RandomState(seed)
    a, b = (random.normal(size=(wide, count)) for count in columns)
    rank = min(rank, wide, *columns)
    thin_a, thin_b = _low_rank(a, b, rank)
    assert (thin_a.shape, thin_b.shape) == ((rank, columns[0]), (rank, columns[1]))
    u, s, vt = np.linalg.svd(a.T @ b)
    best = (u[:, :rank] * s[:rank]) @ vt[:rank]
    np.testing.assert_allclose(thin_a.T @ thin_b, best, atol=1e-10)


def test_equal_sizes_reproduce_the_teacher(tensors: Tensors) -> None:
    kept = plan(CONFIG, CONFIG, tensors)
    assert kept.channels == list(range(32))
    assert kept.layers == (0, 1)
    student = cut_tensors(CONFIG, tensors, kept)
    assert student.keys() == tensors.keys()
    for name, value in student.items():
        assert np.array_equal(value, tensors[name]), name


def test_dead_neurons_are_the_ones_that_go(teacher: keras.Model, tensors: Tensors) -> None:
    dead = {"0": [0, 5, 6, 7, 20, 30, 46, 47], "1": [1, 2, 3, 4, 8, 9, 10, 11]}
    for layer, neurons in dead.items():
        tensors[f"encoder.layer.{layer}.output.dense.weight"][:, neurons] = 0
    smaller = resized(intermediate_size=40)
    student = cut_tensors(CONFIG, tensors, plan(CONFIG, smaller, tensors))
    assert student["encoder.layer.0.intermediate.dense.weight"].shape == (40, 32)
    np.testing.assert_allclose(logits(smaller, student), logits(CONFIG, tensors), atol=1e-5)


def test_dead_channels_are_the_ones_that_go(tensors: Tensors) -> None:
    dead = [0, 9, 10, 31]
    for name, value in tensors.items():
        if "LayerNorm" in name:
            value[dead] = 0
    smaller = resized(hidden_size=28)
    kept = plan(CONFIG, smaller, tensors)
    assert kept.channels == [index for index in range(32) if index not in dead]


@pytest.mark.parametrize("hidden_size", [4, 16, 24])
def test_kept_channels_ascend_and_are_the_strongest(tensors: Tensors, hidden_size: int) -> None:
    channels = plan(CONFIG, resized(hidden_size=hidden_size), tensors).channels
    assert len(channels) == hidden_size
    assert np.all(np.diff(channels) > 0)
    # The strongest of few are among the strongest of more.
    assert set(channels) < set(plan(CONFIG, resized(hidden_size=28), tensors).channels)


def test_channel_that_is_read_most_is_kept(tensors: Tensors) -> None:
    few = resized(hidden_size=4)
    (weakest, *_) = set(range(32)) - set(plan(CONFIG, resized(hidden_size=28), tensors).channels)
    tensors["encoder.layer.1.intermediate.dense.weight"][:, weakest] *= 100
    assert weakest in plan(CONFIG, few, tensors).channels


@pytest.mark.parametrize(
    ("of", "to", "layers"),
    [
        (2, 1, (1,)),
        (12, 4, (2, 5, 8, 11)),
        (6, 4, (0, 2, 3, 5)),
        (3, 3, (0, 1, 2)),
        # In floating point 11 * (15 / 11) is less than 15.
        (15, 11, (0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 14)),
    ],
)
def test_layers_are_spread_and_end_with_the_last(of: int, to: int, layers: tuple[int, ...]) -> None:
    large, small = resized(num_hidden_layers=of), resized(num_hidden_layers=to)
    tensors = {
        name: np.ones(shape, np.float32)
        for name, shape in cases.tensor_shapes(large.source, "sentence-embedding").items()
    }
    assert plan(large, small, tensors).layers == layers


def test_thin_heads_keep_forms_of_low_rank(tensors: Tensors) -> None:
    """Heads of 8 channels of which 4 are silent: 4 channels compute the same."""
    layer = {
        name.removeprefix("encoder.layer.0."): value
        for name, value in tensors.items()
        if name.startswith("encoder.layer.0.")
    }
    silent = np.arange(32) % 8 >= 4
    for part in ("query", "value"):
        layer[f"attention.self.{part}.weight"][silent] = 0
        layer[f"attention.self.{part}.bias"][silent] = 0
    parts = CONFIG.architecture.named_parts()
    thin = _cut_layer(layer, parts, 8, Cut(range(32), (0,), [range(4)], [range(48)], 4), 0)
    x = np.random.RandomState(0).normal(size=(5, 32)).astype(np.float32)
    np.testing.assert_allclose(scores(thin, x, 4), scores(layer, x, 8), atol=1e-5)
    np.testing.assert_allclose(attended(thin, x), attended(layer, x), atol=1e-5)


def scores(layer: Tensors, x: np.ndarray, size: int) -> np.ndarray:
    """Each head's scaled scores (H, S, S) of hidden states x (S, C)."""
    query, key = (project(layer, part, x).reshape(len(x), 4, size) for part in ("query", "key"))
    return np.einsum("qhd,khd->hqk", query, key) / np.sqrt(size)


def attended(layer: Tensors, x: np.ndarray) -> np.ndarray:
    """What the output's dense layer makes of the values, without its bias (S, C)."""
    return project(layer, "value", x) @ layer["attention.output.dense.weight"].T


def project(layer: Tensors, part: str, x: np.ndarray) -> np.ndarray:
    weight = layer[f"attention.self.{part}.weight"]
    return x @ weight.T + layer[f"attention.self.{part}.bias"]


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden_size": 16},
        {"hidden_size": 20, "intermediate_size": 24, "num_hidden_layers": 1},
        {"hidden_size": 4, "intermediate_size": 1},
    ],
)
def test_student_loads_and_runs(tensors: Tensors, sizes: dict[str, int]) -> None:
    smaller = resized(**sizes)
    kept = plan(CONFIG, smaller, tensors)
    student = cut_tensors(CONFIG, tensors, kept)
    assert all(value.dtype == np.float32 for value in student.values())
    values = logits(smaller, student)
    assert values.shape == (4, 2)
    assert np.isfinite(values).all()
    words = student["embeddings.word_embeddings.weight"]
    expected = tensors["embeddings.word_embeddings.weight"][:, kept.channels]
    assert np.array_equal(words, expected)


# What does not fit -> the student, what the message says.
MISFITS: dict[str, tuple[dict[str, Any], str]] = {
    "wider": ({"hidden_size": 36}, "hidden_size is 36, larger than the teacher's 32"),
    "deeper": ({"num_hidden_layers": 3}, "num_hidden_layers is 3"),
    "more neurons": ({"intermediate_size": 49}, "intermediate_size is 49"),
    "other heads": ({"num_attention_heads": 8}, "differ in num_attention_heads"),
    "wider heads": ({"num_attention_heads": 2}, "head_size is 16, larger than the teacher's 8"),
    "other words": ({"vocab_size": 60}, "differ in vocab_size"),
    "other positions": ({"max_position_embeddings": 16}, "differ in max_position_embeddings"),
    "other types": ({"type_vocab_size": 1}, "differ in type_vocab_size"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_student_that_does_not_fit(tensors: Tensors, kind: str) -> None:
    sizes, message = MISFITS[kind]
    with pytest.raises(InputError, match=message):
        plan(CONFIG, resized(**sizes), tensors)


@pytest.mark.parametrize("architecture", ["distilbert", "mobilebert"])
def test_other_families_are_refused(tensors: Tensors, architecture: str) -> None:
    other = parse_config(toy_folders.config(architecture))
    with pytest.raises(InputError, match=f"a {architecture} student cannot start from a bert"):
        plan(CONFIG, other, tensors)
    with pytest.raises(InputError, match=f"a bert student cannot start from a {architecture}"):
        plan(other, CONFIG, tensors)


FAMILIES = ("bert", "distilbert", "roberta", "electra")


@pytest.mark.parametrize("family", [*FAMILIES, "mpnet", "xlm-roberta", "camembert"])
def test_a_student_starts_from_a_teacher_of_its_family(family: str) -> None:
    config = parse_config(toy_folders.config(family))
    smaller = cut_config(config, cut_of([4], [24]))
    tensors = tensors_of(build(config, TASK).model)
    kept = plan(config, smaller, tensors)
    assert kept.layers == (1,)
    assert np.isfinite(logits(smaller, cut_tensors(config, tensors, kept))).all()


@settings(max_examples=8, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    heads=st.lists(st.sets(st.integers(0, 3), max_size=3), min_size=2, max_size=2),
    neurons=st.lists(st.sets(st.integers(0, 47), max_size=40), min_size=2, max_size=2),
)
def test_removing_what_writes_nothing_changes_no_answer(
    family: str, heads: list[set[int]], neurons: list[set[int]]
) -> None:
    config = parse_config(toy_folders.config(family))
    parts = config.architecture.named_parts()
    tensors = {name: value.copy() for name, value in tensors_of(built(config)).items()}
    for index in range(2):
        layer = parts.layer(index)
        for head in heads[index]:
            tensors[f"{layer}.{parts.attention_output}.weight"][:, 8 * head : 8 * head + 8] = 0
        tensors[f"{layer}.{parts.ffn_output}.weight"][:, sorted(neurons[index])] = 0
    cut = Cut(
        range(32),
        (0, 1),
        [sorted(set(range(4)) - gone) for gone in heads],
        [sorted(set(range(48)) - gone) for gone in neurons],
        8,
    )
    smaller = cut_config(config, cut)
    assert [smaller.heads(index) for index in range(2)] == [4 - len(gone) for gone in heads]
    made = cut_tensors(config, tensors, cut)
    np.testing.assert_allclose(logits(smaller, made), logits(config, tensors), atol=1e-5)


def test_removing_a_layer_that_does_nothing() -> None:
    """Of three layers one is left out: the others are where they were, under new numbers."""
    config = parse_config(toy_folders.config("distilbert", n_layers=3))
    tensors = tensors_of(build(config, TASK).model)
    whole = [range(4)] * 2, [range(48)] * 2
    made = cut_tensors(config, tensors, Cut(range(32), (0, 2), *whole, 8))
    for new, old in ((0, 0), (1, 2)):
        name = "ffn.lin1.weight"
        expected = tensors[f"transformer.layer.{old}.{name}"]
        assert np.array_equal(made[f"transformer.layer.{new}.{name}"], expected)
    assert not any("layer.2." in name for name in made)


def cut_of(heads: list[int], neurons: list[int], channels: int = 32, head_size: int = 8) -> Cut:
    kept_heads, kept_neurons = (list(map(range, counts)) for counts in (heads, neurons))
    return Cut(range(channels), range(len(heads)), kept_heads, kept_neurons, head_size)


@pytest.mark.parametrize("family", FAMILIES)
def test_configuration_is_ordinary_where_it_can_be(family: str) -> None:
    config = parse_config(toy_folders.config(family))
    depth, heads, neurons = (
        ("n_layers", "n_heads", "hidden_dim")
        if family == "distilbert"
        else ("num_hidden_layers", "num_attention_heads", "intermediate_size")
    )
    for cut, expected in (
        (cut_of([4], [48]), (1, 4, 48)),
        (cut_of([4, 4], [24, 24]), (2, 4, 24)),
        (cut_of([3, 3], [48, 48], 24), (2, 3, 48)),  # three heads of 8 fill 24 channels
        (cut_of([4, 4], [48, 48], 16, 4), (2, 4, 48)),
    ):
        source = cut_config(config, cut).source
        assert "tfedge" not in source
        assert (source[depth], source[heads], source[neurons]) == expected
    made = cut_config(config, cut_of([3, 2], [40, 8]))
    assert made.source["tfedge"] == {"heads": [3, 2], "head_size": 8, "neurons": [40, 8]}
    assert made.source[neurons] == 40
    assert cut_config(config, cut_of([3, 3], [40, 40])).source["tfedge"] == {
        "heads": [3, 3],
        "head_size": 8,
    }
    # What is equal again is ordinary again.
    assert "tfedge" not in cut_config(made, cut_of([4, 4], [8, 8])).source


def test_a_teacher_with_fewer_heads_than_its_student(tensors: Tensors) -> None:
    fewer = cut_config(CONFIG, cut_of([4, 3], [48, 48]))
    message = "layer 1 of the student has 4 heads, layer 1 of the teacher, from which it would"
    with pytest.raises(InputError, match=message):
        plan(fewer, CONFIG, tensors)
