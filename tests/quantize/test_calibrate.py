"""Which range a tensor gets: by its own error, or by what is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy_images
from safetensors.numpy import load_file, save_file

from tfedge.models.checkpoint import Checkpoint
from tfedge.quantize import prepare as preparing
from tfedge.quantize.calibrate import Observer, calibrate
from tfedge.quantize.outliers import Excess
from tfedge.quantize.prepare import Lowering, Shape, prepare

READ_BY_GELU = "encoder.layer.0.intermediate.dense"


@pytest.fixture
def vit(tmp_path: Path) -> Checkpoint:
    """A ViT with large negative values, and a few positive ones, before its GELU."""
    pytest.importorskip("PIL")
    folder = toy_images.write_folder(tmp_path / "vit")
    tensors = load_file(folder / "model.safetensors")
    bias = "vit.encoder.layer.0.intermediate.dense.bias"
    tensors[bias] = np.full_like(tensors[bias], -9)
    tensors[bias][0] = 12
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return Checkpoint(folder)


def test_what_a_gelu_of_a_vit_reads(vit: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Excess, "decide", lambda *_: {})  # all in one range
    images, _ = toy_images.drawn(12)
    tokens = vit.config.max_position_embeddings
    lowering = Lowering(vit, Shape("image-classification", 3, tokens), images)
    assert lowering.pre_norm
    observer = Observer(lowering.dynamic, images)
    by_its_own_error = calibrate(observer).ranges[READ_BY_GELU]
    chosen = calibrate(observer, pre_norm=True).ranges[READ_BY_GELU]
    assert by_its_own_error.min < -8
    assert -5 < chosen.min <= 0
    assert chosen.max > 11.5
    monkeypatch.setattr(preparing, "Lowering", lambda *_: lowering)
    prepared = prepare(vit, lowering.shape, images)
    assert prepared.calibration.ranges[READ_BY_GELU] == chosen
