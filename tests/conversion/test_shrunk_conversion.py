"""Encoders whose layers differ, from a folder with tfedge's own keys to what a runtime says."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_folders
from bars import Bars

from tfedge.conversion.convert import ConvertOptions, convert
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, assign, load_weights, save_checkpoint
from tfedge.models.cost import flops
from tfedge.models.folder import copy_inputs
from tfedge.records import as_json
from tfedge.train.cut import Cut, cut_config, cut_tensors, tensors_of

LENGTH = 16
TASK = "text-classification"


def write_shrunk(folder: Path, family: str) -> Path:
    """A toy of whose layers one has three heads and 40 neurons, the other one head and 16."""
    source = toy_folders.write_folder(folder / "whole", family, TASK)
    checkpoint = Checkpoint(source)
    model = build(checkpoint.config, TASK).model
    load_weights(model, checkpoint, TASK)
    heads, neurons = ([0, 2, 3], [1]), (range(40), range(16))
    cut = Cut(range(32), (0, 1), heads, neurons, 8)
    config = cut_config(checkpoint.config, cut)
    smaller = build(config, TASK).model
    assign(smaller, cut_tensors(checkpoint.config, tensors_of(model), cut))
    labels = list(toy_folders.LABELS)
    save_checkpoint(smaller, config, TASK, folder / "shrunk", labels)
    copy_inputs(source, folder / "shrunk")
    return folder / "shrunk"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "quantization"),
    [
        ("bert", "int8"),
        pytest.param("distilbert", "int8", marks=pytest.mark.slow),
        ("bert", "dynamic"),
    ],
)
def test_layers_that_differ_are_converted(family: str, quantization: str, tmp_path: Path) -> None:
    folder = write_shrunk(tmp_path, family)
    data = toy_folders.write_sentences(tmp_path / "toy.tsv", 12)
    options = ConvertOptions(
        quantization=quantization,
        calibration=str(data),
        output=tmp_path / "out",
        max_drop=100.0,
        sequence_length=LENGTH,
        buckets=(8,),
        runtime="litert",
    )
    report = as_json(convert(str(folder), options, Bars()))
    assert report["float32_tflite_error"] < 1e-4
    assert report["evaluation"]["runtimes"]["litert"]["disagreement"] <= 0.25
    assert report["flops"] == flops(Checkpoint(folder).config, LENGTH)
    if quantization == "int8":
        assert report["quantization"]["float_operators"] == 0
