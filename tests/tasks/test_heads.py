"""Heads, files and adapters that nothing reads are refused by name, where a task is guessed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cases
import numpy as np
import pytest
import toy_folders
from test_pooling import write_modules

from tfedge.cli.options import lessons, training_data
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.tasks import task_and_labels

EMBEDDING, CLASSIFICATION = "sentence-embedding", "text-classification"
BERT = cases.CONFIGS["bert"]
MASKED = ("cls.predictions.bias", "cls.predictions.transform.dense.weight")
PAIRS = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")


def write(
    folder: Path, named: str | None, added: Sequence[str] = (), architecture: str = "bert"
) -> Checkpoint:
    """An encoder whose config.json names a class, with more tensors."""
    config = cases.CONFIGS[architecture]
    tensors = cases.random_checkpoint(folder, config, EMBEDDING, seed=1)
    prefix = f"{config['model_type']}."
    tensors = {prefix + name: value for name, value in tensors.items()}
    tensors |= {name: np.zeros((1, 1), np.float32) for name in added}
    named_as = {} if named is None else {"architectures": [named]}
    cases.write_checkpoint(folder, {**config, **named_as}, tensors)
    return Checkpoint(folder)


def refusal(checkpoint: Checkpoint) -> str:
    with pytest.raises(CheckpointError) as caught:
        task_and_labels(checkpoint)
    message = str(caught.value)
    assert "\n" not in message and str(checkpoint.folder) in message
    return message


@pytest.mark.parametrize(
    ("architecture", "named", "added", "head"),
    [
        ("bert", "BertForPreTraining", (*MASKED, *PAIRS), "cls"),
        ("bert", "BertForNextSentencePrediction", PAIRS, "cls"),
        ("bert", "BertLMHeadModel", MASKED, "cls"),
        ("bert", "BertForMultipleChoice", ("classifier.weight", "classifier.bias"), "classifier"),
        ("roberta", "RobertaForMultipleChoice", ("classifier.weight",), "classifier"),
        (
            "modernbert",
            "ModernBertForMaskedLM",
            ("decoder.bias", "head.dense.weight", "head.norm.weight"),
            "decoder, head",
        ),
        (
            "electra",
            "ElectraForPreTraining",
            (
                "discriminator_predictions.dense.weight",
                "discriminator_predictions.dense_prediction.weight",
            ),
            "discriminator_predictions",
        ),
        (
            "electra",
            "ElectraForMultipleChoice",
            ("sequence_summary.summary.weight", "classifier.weight"),
            "classifier",
        ),
        (
            "albert",
            "AlbertForPreTraining",
            ("predictions.dense.weight", "sop_classifier.classifier.weight"),
            "predictions, sop_classifier",
        ),
        ("albert", "AlbertForMultipleChoice", ("classifier.weight",), "classifier"),
        ("mobilebert", "MobileBertForMaskedLM", MASKED, "cls"),
    ],
)
def test_other_heads_are_refused_by_name(
    tmp_path: Path, architecture: str, named: str, added: Sequence[str], head: str
) -> None:
    checkpoint = write(tmp_path, named, added, architecture)
    message = refusal(checkpoint)
    assert f"the head of a {named} ({head}) is of no task" in message
    assert "--task sentence-embedding" in message and "tfedge finetune" in message


@pytest.mark.parametrize(
    ("architecture", "named", "added"),
    [
        ("bert", "BertForMaskedLM", MASKED),
        ("roberta", "RobertaForMaskedLM", ("lm_head.bias", "lm_head.dense.weight")),
        ("electra", "ElectraForMaskedLM", ("generator_predictions.dense.weight",)),
        ("distilbert", "DistilBertForMaskedLM", ("vocab_transform.weight",)),
    ],
)
def test_heads_of_words_are_told_by_their_class(
    tmp_path: Path, architecture: str, named: str, added: Sequence[str]
) -> None:
    checkpoint = write(tmp_path, named, added, architecture)
    assert task_and_labels(checkpoint) == ("fill-mask", [])
    # That of pretraining is one too, where somebody says so.
    other = write(tmp_path / "other", "BertForPreTraining", (*MASKED, *PAIRS))
    assert "is of no task" in refusal(other)
    assert task_and_labels(other, "fill-mask") == ("fill-mask", [])


def test_a_head_of_no_class_is_refused_by_its_modules(tmp_path: Path) -> None:
    assert "the head in its weights (cls) is of no task" in refusal(write(tmp_path, None, MASKED))


def test_a_task_that_is_given_takes_the_encoder_alone(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, "BertForMaskedLM", MASKED)
    assert task_and_labels(checkpoint, EMBEDDING) == (EMBEDDING, [])
    embedder = build(checkpoint.config, EMBEDDING).model
    assert load_weights(embedder, checkpoint, EMBEDDING) == []
    # Fine-tuning starts a head of its own.
    fresh = load_weights(
        build(checkpoint.config, CLASSIFICATION).model, checkpoint, CLASSIFICATION, new_head=True
    )
    assert sorted(fresh) == ["classifier.bias", "classifier.weight"]


def test_finetune_alone_starts_from_any_head(tmp_path: Path) -> None:
    """Most encoders are published with the head of their pretraining."""
    folder = write(tmp_path / "toy", "BertForMaskedLM", MASKED).folder
    data = toy_folders.write_sentences(tmp_path / "data.tsv")
    given = {"data": str(data), "evaluation": None, "output": tmp_path / "out", "force": False}
    assert lessons(str(folder), {**given, "task": None}).folder == folder
    with pytest.raises(
        InputError, match="fill-mask, which is not trained: train a head with tfedge"
    ):
        training_data(str(folder), {**given})


@pytest.mark.parametrize(
    ("named", "added"),
    [
        ("BertModel", ()),
        ("BertModel", MASKED),
        ("BertForMaskedLM", ()),  # the encoder alone, under the class that it was trained as
        (None, ()),
        (None, ("bert.embeddings.position_ids", "fit_denses.0.weight")),
    ],
)
def test_encoders_are_for_embeddings(
    tmp_path: Path, named: str | None, added: Sequence[str]
) -> None:
    assert task_and_labels(write(tmp_path, named, added))[0] == EMBEDDING


@pytest.mark.parametrize("named", ["BertForMaskedLM", "BertModel"])
def test_an_encoder_of_sentence_transformers_is_for_embeddings(tmp_path: Path, named: str) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", "Normalize")
    assert task_and_labels(write(tmp_path, named, MASKED))[0] == EMBEDDING
    # So is one in a folder of its own.
    root = write_modules(tmp_path / "st", "Transformer", "Pooling", transformer="0_Transformer")
    inner = write(root / "0_Transformer", named, MASKED)
    assert task_and_labels(inner)[0] == EMBEDDING


def test_what_pretraining_left_beside_a_classifier_is_harmless(tmp_path: Path) -> None:
    tensors = cases.random_checkpoint(tmp_path, BERT, CLASSIFICATION, seed=1)
    tensors |= {name: np.zeros(1, np.float32) for name in MASKED}
    for named in ("BertForSequenceClassification", "BertForMaskedLM", "BertForSomething"):
        content = {**cases.hf_config(BERT, CLASSIFICATION), "architectures": [named]}
        cases.write_checkpoint(tmp_path, content, tensors)
        assert task_and_labels(Checkpoint(tmp_path))[0] == CLASSIFICATION


@pytest.mark.parametrize("name", ["model_head.pkl", "config_setfit.json"])
@pytest.mark.parametrize("transformer", ["", "0_Transformer"])
def test_the_head_of_setfit_is_refused(tmp_path: Path, name: str, transformer: str) -> None:
    root = write_modules(tmp_path, "Transformer", "Pooling", transformer=transformer)
    checkpoint = write(root / transformer, "BertModel")
    assert task_and_labels(checkpoint)[0] == EMBEDDING
    (root / name).write_bytes(b"{}")
    message = refusal(checkpoint)
    assert f"SetFit classifier ({name})" in message and "a pickle" in message
    assert "--task sentence-embedding" in message and "tfedge finetune" in message
    assert task_and_labels(checkpoint, EMBEDDING)[0] == EMBEDDING


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapters_are_refused(tmp_path: Path, name: str) -> None:
    """With or without the model's own files."""
    (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match=rf"adapter \({name}\).*merge_and_unload") as caught:
        Checkpoint(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="merge_and_unload"):
        write(tmp_path, "BertModel")
