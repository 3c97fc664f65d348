"""The folders that finetune, distil, prune, shrink and qad write, as transformers 5 loads them.

That every architecture and head answers there as here is in test_parity.py; here are the tokeniser,
the labels, and encoders that have been cut.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import cases
import numpy as np
import pytest
import test_parity
import toy_folders

from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, assign, load_weights, save_checkpoint
from tfedge.models.folder import copy_rest
from tfedge.train.cut import Cut, cut_config, cut_tensors, tensors_of

TASK = "text-classification"
LABELS = list(toy_folders.LABELS)
TEXTS = ["The film is GOOD.", "awful, xyz?", "naïve"]
WHOLE = Cut(range(32), (0, 1), [range(4)] * 2, [range(48)] * 2, 8)
ORDINARY = Cut(range(32), (0, 1), [range(4)] * 2, [range(16)] * 2, 8)
DIFFERING = Cut(range(32), (0, 1), [range(3), range(1)], [range(16)] * 2, 8)


def write_cut(folder: Path, cut: Cut) -> Path:
    """What compression writes of a toy of which `cut` is left."""
    source = Checkpoint(toy_folders.write_folder(folder / "source"))
    model = build(source.config, TASK).model
    load_weights(model, source, TASK)
    config = cut_config(source.config, cut)
    smaller = build(config, TASK).model
    assign(smaller, cut_tensors(source.config, tensors_of(model), cut))
    save_checkpoint(smaller, config, TASK, folder / "cut", LABELS)
    copy_rest(source.folder, folder / "cut")
    return folder / "cut"


def test_tokeniser_and_labels(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = write_cut(tmp_path, WHOLE)
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)(TEXTS)["input_ids"]
    ours = encode(load_tokenizer(folder), TEXTS, 64)
    assert theirs == [row.tolist() for row in ours]
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    assert [config.id2label[index] for index in range(config.num_labels)] == LABELS
    assert config.architectures == ["BertForSequenceClassification"]


@pytest.mark.torch
@pytest.mark.parametrize("cut", [WHOLE, ORDINARY], ids=["whole", "fewer-neurons"])
def test_auto_model_answers_the_same(tmp_path: Path, cut: Cut) -> None:
    python = test_parity.torch_python()
    folder = write_cut(tmp_path, cut)
    batch = cases.batch(toy_folders.config())
    np.savez(folder / "batch.npz", **batch)
    test_parity.run_reference(python, "run", folder)
    ours = test_parity.answers(test_parity.load(folder, TASK)[1], batch)
    theirs = dict(np.load(folder / "reference.npz"))
    assert test_parity.largest_difference(ours, theirs) < test_parity.TOLERANCE


@pytest.mark.torch
def test_auto_model_refuses_layers_that_differ(tmp_path: Path) -> None:
    """It knows nothing of the key `tfedge`, but the widths give it away."""
    folder = write_cut(tmp_path, DIFFERING)
    assert "tfedge" in Checkpoint(folder).config.source
    np.savez(folder / "batch.npz", **cases.batch(toy_folders.config()))
    command = [test_parity.torch_python(), str(test_parity.REFERENCE), "run", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "RuntimeError: You set `ignore_mismatched_sizes` to `False`" in result.stderr
