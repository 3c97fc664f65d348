"""Labels of a CLIP in words: the vectors and answers are those of transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_images
from bars import Bars
from labelled import converted_answer
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tfedge.architectures.clip import Clip
from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.models.labels import LabelledCheckpoint, TextTower
from tfedge.models.stored import Checkpoint
from tfedge.tasks import find

ZERO_SHOT = "zero-shot-image-classification"
# Of transformers 5.23 for the tokens below and `cases.batch`: CLIPModel's logits_per_image, and the
# first numbers of its text_embeds.
LOGITS = [
    [0.043949, -0.02124],
    [0.069711, 0.033292],
    [0.014205, -0.011281],
    [-0.032537, -0.072928],
]
VECTORS = [[0.248818, 0.388579, 0.109436], [0.143763, 0.299087, 0.04603]]
TOKENS = {"[UNK]": 0, "a": 3, "cat": 20, "dog": 41, "blob": 7, "across": 8, "down": 9, "<end>": 59}


def write_clip(folder: Path, end: int = 59) -> Path:
    """A toy with a tokeniser of seven words; `end` is what config.json has for the last token."""
    config = dict(cases.parse("clip.features")[0])
    config["text_config"] = {**config["text_config"], "eos_token_id": end}
    cases.random_checkpoint(folder, config, cases.FEATURES, 1)
    tokenizer = Tokenizer(models.WordLevel(TOKENS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", 59)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("end", [59, 2])  # 2 is in OpenAI's files, and means the largest token
def test_vectors_are_those_of_transformers(tmp_path: Path, end: int) -> None:
    tower = TextTower(Checkpoint(write_clip(tmp_path, end)), Clip.text_tower)
    found = tower.vectors(tower.tokens(["a cat", "a dog"]))
    np.testing.assert_allclose(found[:, :3], VECTORS, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_logits_are_those_of_transformers(tmp_path: Path) -> None:
    checkpoint = LabelledCheckpoint(write_clip(tmp_path), ("cat", "dog"), "a {}")
    model = build(checkpoint.config, ZERO_SHOT, 2).model
    assert load_weights(model, checkpoint, ZERO_SHOT) == []
    pixels = np.moveaxis(cases.batch(checkpoint.config.source)["pixel_values"], 1, -1)
    outputs = {name: value.numpy() for name, value in model({"pixel_values": pixels}).items()}
    lengths = np.linalg.norm(outputs["embedding"], axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["logits"] / lengths, LOGITS, atol=1e-4)
    # The board's half makes probabilities of one image's.
    row = {name: value[:1] for name, value in outputs.items()}
    answer = find(ZERO_SHOT).answer(row, None, "a.jpg", ["cat", "dog"])
    expected = 1 / (1 + np.exp(LOGITS[0][1] - LOGITS[0][0]))
    assert answer["label"] == "cat"
    assert answer["score"] == pytest.approx(expected, abs=1e-4)


def test_a_file_answers_with_the_labels(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "toy")
    (source / "preprocessor_config.json").write_text('{"size": {"height": 24, "width": 24}}')
    _, answer = converted_answer(source, tmp_path)
    assert {*answer["scores"]} == {*toy_images.LABELS}
    assert sum(answer["scores"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "template", "message"),
    [
        (("cat",), "{}", "--labels are 1"),
        (("cat", "cat"), "{}", "none twice"),
        (("cat", ""), "{}", "none empty"),
        (("cat", "a\nb"), "{}", "each in one line"),
        (("cat", "dog"), "a photo", "it must have {} once"),
        (("cat", "dog"), "{} {0}", "it must have {} once"),
        (("cat", "dog"), "{} }", "it must have {} once"),
    ],
)
def test_labels_that_are_none(
    tmp_path: Path, labels: tuple[str, ...], template: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LabelledCheckpoint(write_clip(tmp_path), labels, template)


PANICS = {  # a template that names a token which is nowhere
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "cannot be used"),
        ({"post_processor": PANICS}, "cannot be used"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 2000}},
            "may replace a character by more than 1000",
        ),
        ("fifo", "tokenizer.json is a pipe"),
    ],
)
def test_tokenisers_that_break_are_refused(tmp_path: Path, changes: Any, message: str) -> None:
    """Labels are tokenised in the process that converts, which none of them may end."""
    folder = write_clip(tmp_path)
    path = folder / "tokenizer.json"
    known = json.loads(path.read_text())
    path.unlink()
    if changes == "fifo":
        os.mkfifo(path)
    else:
        path.write_text("{" if changes is None else json.dumps(known | changes))
    with pytest.raises(CheckpointError, match=message):
        LabelledCheckpoint(folder, ("cat", "dog"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logit_scale", np.array(1e9), "makes no finite numbers"),
        ("logit_scale", np.zeros(3), "no logit_scale of one number"),
        ("text_projection.weight", np.zeros((4, 3)), "text_projection.weight has the shape"),
        ("text_model.final_layer_norm.bias", np.zeros(3), "it must be"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", np.zeros((2, 3)), "it must be"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", np.zeros(3), "it must be of rank 2"),
        ("text_model.embeddings.token_embedding.weight", np.zeros((60, 6)), "it must be"),
    ],
)
def test_towers_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, value: np.ndarray, message: str
) -> None:
    folder = write_clip(tmp_path)
    weights = load_file(folder / "model.safetensors")
    assert name in weights
    save_file(weights | {name: value.astype(np.float32)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        LabelledCheckpoint(folder, ("cat", "dog")).read("labels.weight")


def test_heads_that_do_not_divide_are_refused(tmp_path: Path) -> None:
    folder = write_clip(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_attention_heads"] = 7
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="7 heads, by which"):
        LabelledCheckpoint(folder, ("cat", "dog"))


def test_what_has_no_texts_is_refused(tmp_path: Path) -> None:
    cases.random_checkpoint(tmp_path, cases.IMAGE_CONFIGS["vit"], cases.FEATURES, 1)
    with pytest.raises(InputError, match="a vit has none; leave them out"):
        LabelledCheckpoint(tmp_path, ("cat", "dog"))
    for options, message in (
        ({"template": "a {}"}, "--template is for --labels"),
        ({"labels": ("a", "b"), "task": cases.FEATURES}, "go together"),
        ({"task": ZERO_SHOT}, "go together"),
    ):
        with pytest.raises(InputError, match=message):
            convert(str(tmp_path), ConvertOptions(**options), Bars())  # type: ignore[arg-type]
