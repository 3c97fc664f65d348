"""Tables made of encoders: what each row is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import records
import toy_folders
import toys
from bars import Bars
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tfedge.cli import main
from tfedge.cli.training import run_distillation
from tfedge.errors import InputError
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.config import normalizes_embeddings
from tfedge.tasks import task_and_labels
from tfedge.train.run import TrainingRun
from tfedge.train.static import frame_of, frequency_weights, make_static, principal
from tfedge.train.training import TrainingOptions

EMBEDDING = "sentence-embedding"


def embedder(folder: Path) -> Path:
    return toy_folders.write_folder(folder, "bert", EMBEDDING, labels=())


def test_rows_are_what_the_teacher_says_of_each_token_alone(tmp_path: Path) -> None:
    """But for a rotation, and the weight of its place."""
    teacher = embedder(tmp_path / "teacher")
    found = make_static(teacher, tmp_path / "table", 64, Bars())
    assert (found.rows, found.width) == (len(toys.VOCABULARY), 32)
    assert found.variance == pytest.approx(1)
    rows = load_file(tmp_path / "table" / "model.safetensors")["embeddings"]
    rows = rows / frequency_weights(len(rows))[:, np.newaxis]
    config = Checkpoint(teacher).config
    model = build(config, EMBEDDING, options=GraphOptions(normalize=False)).model
    load_weights(model, Checkpoint(teacher), EMBEDDING)
    ids = np.array([[2, token, 3] for token in (5, 9, 20)], np.int32)  # [CLS] token [SEP]
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    inputs["token_type_ids"] = np.zeros_like(ids)
    alone = model(inputs)["embedding"].numpy()
    made = rows[[5, 9, 20]]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        expected = np.linalg.norm(alone[one] - alone[other])
        assert np.linalg.norm(made[one] - made[other]) == pytest.approx(expected, rel=1e-4)


def test_it_is_the_same_every_time_and_is_read_as_model2vec_reads_it(tmp_path: Path) -> None:
    teacher = embedder(tmp_path / "teacher")
    for name in ("one", "two"):
        make_static(teacher, tmp_path / name, 8, Bars())
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    checkpoint = Checkpoint(tmp_path / "one")
    assert task_and_labels(checkpoint) == (EMBEDDING, [])
    assert (checkpoint.config.model_type, checkpoint.config.hidden_size) == ("model2vec", 8)
    assert normalizes_embeddings(tmp_path / "one")
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert (config["normalize"], config["pooling"]) == (True, "mean")
    kinds = json.loads((tmp_path / "one" / "modules.json").read_text())
    assert [one["type"].split(".")[-1] for one in kinds] == ["StaticEmbedding", "Normalize"]


def test_rows_that_no_text_has_are_left_out(tmp_path: Path) -> None:
    teacher = embedder(tmp_path / "teacher")
    content = (teacher / "tokenizer.json").read_text()
    (teacher / "tokenizer.json").write_text(content.replace('"bob":', '"[unused7]":'))
    found = make_static(teacher, tmp_path / "table", 8, Bars())
    assert found.rows == len(toys.VOCABULARY) - 1
    tokenizer = Tokenizer.from_file(str(tmp_path / "table" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == found.rows
    assert tokenizer.encode("ada was good").tokens == ["ada", "was", "good"]


def test_principal_components() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 4)) * [1.0, 5.0, 0.1, 2.0] + 3
    found, share = principal(rows, 2)
    _, sizes, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    expected = (rows - rows.mean(0)) @ axes[:2].T
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-9)
    assert share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())


def test_frequent_tokens_count_little() -> None:
    """As `compute_weights` of model2vec/distill/inference.py has it."""
    inverse = 1 / np.arange(2, 1002)
    expected = 1e-4 / (1e-4 + inverse / inverse.sum())
    np.testing.assert_allclose(frequency_weights(1000), expected)
    assert (np.diff(frequency_weights(1000)) > 0).all()


def test_special_tokens_around_a_text() -> None:
    tokenizer = Tokenizer.from_str(toys.tokenizer_json().decode())
    assert frame_of(tokenizer) == ([2], [3])


def test_what_cannot_be_made_into_a_table_is_refused(tmp_path: Path) -> None:
    teacher = embedder(tmp_path / "teacher")
    make_static(teacher, tmp_path / "table", 8, Bars())
    with pytest.raises(InputError, match="exists; choose another --output"):
        make_static(teacher, tmp_path / "table", 8, Bars())
    with pytest.raises(InputError, match="is a table already; give an encoder"):
        make_static(tmp_path / "table", tmp_path / "other", 8, Bars())
    options = TrainingOptions(epochs=1, batch_size=8, max_length=16)
    texts = toy_folders.sentences(8)
    given = tmp_path / "table", texts, tmp_path / "out", options, records.Record()
    with pytest.raises(InputError, match="has no layers that could be trained"):
        TrainingRun(records.request(*given))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tinybert", "--student", "static"], "PRESET does not apply to --student static"),
        (["--student", "static", "--data", "a.tsv"], "--data does not apply to --student static"),
        (["--student", "static", "--epochs", "5"], "--epochs does not apply to --student static"),
        (["tinybert"], "Missing option '--data'; only --student static goes without"),
        (["--data", "a.tsv"], "Missing argument 'PRESET'"),
        (["tinybert", "--data", "a.tsv", "--width", "8"], "--width is for --student static alone"),
    ],
)
def test_options_of_the_other_kind_of_student_are_refused(words: list[str], message: str) -> None:
    distil = main.commands["distil"]
    given = [*words, "--teacher", "minilm", "--output", "nowhere"]
    with distil.make_context("distil", given, help_option_names=[]) as context:
        settings = {name: value for name, value in context.params.items() if name != "as_json"}
        preset, teacher, cache = (settings.pop(name) for name in ("preset", "teacher", "cache"))
        with pytest.raises(Exception, match=message):
            run_distillation(preset, teacher, cache, settings)
