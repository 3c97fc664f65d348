"""Labels of a SigLIP in words: tokens, vectors and scores are those of transformers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_images
from labelled import converted_answer
from test_parity import torch_python
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tfedge.architectures.siglip import Siglip
from tfedge.errors import CheckpointError
from tfedge.models.build import build
from tfedge.models.checkpoint import load_weights
from tfedge.models.label_tokens import padded_tokens
from tfedge.models.labels import LabelledCheckpoint, TextTower
from tfedge.models.preprocessor import pixels, read_preprocessor
from tfedge.runtime.image import read_pixels
from tfedge.tasks import find

ZERO_SHOT = "zero-shot-image-classification"
PIPELINE = Path(__file__).with_name("siglip_pipeline.py")
# Ends and padding are one token, as in what Google published.
PIECES = [
    "<pad>",
    "</s>",
    "<unk>",
    "\u2581a",
    "\u2581cat",
    "\u2581dog",
    "\u2581blob",
    "\u2581across",
]
PIECES += ["\u2581down", "\u2581photo", "\u2581of"]
SIZE = {"size": {"height": 24, "width": 24}, "image_processor_type": "SiglipImageProcessor"}
SETTINGS = {"tokenizer_class": "SiglipTokenizer", "model_input_names": ["input_ids"]}
# Of transformers 5.23, SiglipModel for the tokens below and `cases.batch`: logits_per_image, and the
# first numbers of its text_embeds.
LOGITS = [
    [0.129997, 0.131555],
    [0.00715, 0.00737],
    [0.00798, 0.009075],
    [-0.006336, -0.006025],
]
VECTORS = [[0.130003, 0.03451, 0.25555], [0.130075, 0.035531, 0.255219]]


def write_siglip(folder: Path, ends: bool = True, **settings: Any) -> Path:
    """A toy with a tokeniser of eight words."""
    cases.random_checkpoint(folder, cases.parse("siglip.features")[0], cases.FEATURES, 3)
    tokenizer = Tokenizer(models.Unigram([(piece, -2.0) for piece in PIECES], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 1)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**SETTINGS, **settings}))
    (folder / "preprocessor_config.json").write_text(json.dumps(SIZE))
    return folder


def scores(folder: Path, labels: tuple[str, ...], template: str, image: Path) -> dict[str, float]:
    """The answer of the float model to an image."""
    checkpoint = LabelledCheckpoint(folder, labels, template)
    model = build(checkpoint.config, ZERO_SHOT, len(labels)).model
    assert load_weights(model, checkpoint, ZERO_SHOT) == []
    settings = read_preprocessor(folder, checkpoint.config)
    made_of = pixels(settings)
    found = read_pixels(str(image), settings) * np.array(made_of.scale) + np.array(made_of.offset)
    outputs = model({"pixel_values": found.astype(np.float32)[np.newaxis]})
    rows = {name: value.numpy() for name, value in outputs.items()}
    rows["logit_bias"] = np.array([[checkpoint.logit_bias]], np.float32)
    answer = find(ZERO_SHOT).answer(rows, None, image, labels)
    assert answer["score"] == answer["scores"][answer["label"]] == max(answer["scores"].values())
    return dict(answer["scores"])


@pytest.mark.torch
@pytest.mark.parametrize("names", [["input_ids"], ["input_ids", "attention_mask"]])
def test_scores_are_those_of_the_pipeline(tmp_path: Path, names: list[str]) -> None:
    """Of labels with capitals and punctuation, and of one that is longer than texts may be."""
    images = toy_images.write_images(tmp_path / "images", 6, side=40)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [torch_python(), str(PIPELINE), str(tmp_path / "toy"), str(images), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = json.loads((tmp_path / "toy/answers.json").read_text())
    assert len(expected) == 6
    for path, theirs in expected.items():
        ours = scores(tmp_path / "toy", tuple(theirs), "A photo of {}.", Path(path))
        assert ours == pytest.approx(theirs, abs=1e-4)
        # Near 1, where these are, scores tell little, and the odds that they stand for more.
        odds, of_theirs = (
            {label: np.log(score / (1 - score)) for label, score in side.items()}
            for side in (ours, theirs)
        )
        assert odds == pytest.approx(of_theirs, abs=2e-3)
        assert max(odds.values()) - min(odds.values()) > 0.05


def test_tokens_are_canonical_and_padded(tmp_path: Path) -> None:
    folder = write_siglip(tmp_path)
    for text in ("a cat", " A  Cat! ", "a, (cat)."):
        ((ids, seen),) = padded_tokens(folder, [text], 64)
        assert ids.tolist() == [3, 4, 1] + 61 * [1]
        assert seen.all()
    ((ids, _),) = padded_tokens(folder, ["a cat " * 40], 64)
    assert ids.tolist() == 31 * [3, 4] + [3, 1]
    write_siglip(tmp_path, model_input_names=["input_ids", "attention_mask"], pad_token="<pad>")
    ((ids, seen),) = padded_tokens(folder, ["a cat"], 64)
    assert (ids.tolist(), seen.tolist()) == ([3, 4, 1] + 61 * [0], 3 * [True] + 61 * [False])
    write_siglip(tmp_path, do_lower_case=False, pad_token={"content": "<pad>"})
    ((ids, _),) = padded_tokens(folder, ["a Cat"], 64)
    assert 2 in ids


def test_vectors_and_logits_are_those_of_transformers(tmp_path: Path) -> None:
    checkpoint = LabelledCheckpoint(write_siglip(tmp_path), ("cat", "dog"), "a {}")
    tower = TextTower(checkpoint, Siglip.text_tower)
    vectors = tower.vectors(tower.tokens(["a cat", "a dog"]))
    np.testing.assert_allclose(vectors[:, :3], VECTORS, atol=1e-5)
    model = build(checkpoint.config, ZERO_SHOT, 2).model
    assert load_weights(model, checkpoint, ZERO_SHOT) == []
    images = np.moveaxis(cases.batch(checkpoint.config.source)["pixel_values"], 1, -1)
    outputs = {name: value.numpy() for name, value in model({"pixel_values": images}).items()}
    lengths = np.linalg.norm(outputs["embedding"], axis=1, keepdims=True)
    logits = outputs["logits"] / lengths + checkpoint.logit_bias
    np.testing.assert_allclose(logits, LOGITS, atol=1e-5)


def test_a_file_answers_with_scores_by_themselves(tmp_path: Path) -> None:
    # Of few tokens that are seen, or labels would differ little.
    names = ["input_ids", "attention_mask"]
    source = write_siglip(tmp_path / "toy", model_input_names=names)
    path, answer = converted_answer(source, tmp_path)
    expected = scores(source, toy_images.LABELS, "a {}", path)
    assert answer["scores"] == pytest.approx(expected, abs=0.03)
    assert sum(answer["scores"].values()) != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer_class": "GemmaTokenizer"}, "tokenizer_class is 'GemmaTokenizer'"),
        ({"padding_side": "left"}, "padding_side is 'left'; it must be right"),
        ({"do_lower_case": 1}, "do_lower_case is 1; it must be a bool"),
        ({"model_input_names": "input_ids"}, "it must be a list"),
        ({"pad_token": "[PAD]"}, r"pad_token is '\[PAD\]'; it must be a token of tokenizer.json"),
        ({"eos_token": 3}, "eos_token is 3; it must be a token of tokenizer.json"),
        ({"ends": False}, "puts no </s> behind a text"),
    ],
)
def test_other_tokenisers_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        LabelledCheckpoint(write_siglip(tmp_path, **settings), ("cat", "dog"))
