"""Converts a checkpoint for CTranslate2; see `benchmarks.peers.settings` for the command.

Writes the folder OUTPUT/KIND/model for each --kind, `float` and `dynamic` (weights of 8 bits,
activations quantised as they come): the encoder as CTranslate2's own converter makes it, and beside it
the head, which it leaves out, with the names of the inputs.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.settings import Settings, run_maker

FLOAT, DYNAMIC = "float", "dynamic"
KINDS = (FLOAT, DYNAMIC)
COMPUTE = {FLOAT: "float32", DYNAMIC: "int8"}  # CTranslate2's `compute_type`
HEAD, CONFIG = "head.npz", "config.json"
ENCODERS = ("bert", "distilbert")  # of those that are measured here


def export(folder: Path, output: Path, settings: Settings, kinds: list[str]) -> Iterator[Path]:
    """Writes the model of each kind and yields its path.

    Raises:
        ValueError: see `load_graph`; CTranslate2 knows no such encoder.
    """
    import numpy as np
    from ctranslate2.converters import TransformersConverter

    from benchmarks.peers.torch_graph import load_graph

    graph = load_graph(folder, settings, "eager").without_mask()
    model = graph.model
    if (kind_of := model.config.model_type) not in ENCODERS:
        raise ValueError(f"CTranslate2 has no {kind_of}; it has {', '.join(ENCODERS)}")
    layers = _head(model) if settings.task == "text-classification" else {}
    source = _as_before(folder, output)
    for kind in kinds:
        target = output / kind / "model"
        target.parent.mkdir(parents=True, exist_ok=True)
        TransformersConverter(str(source)).convert(str(target), quantization=COMPUTE[kind])
        _name_all_tokens(target)
        np.savez(target / HEAD, inputs=graph.names, **layers)
        yield target


def _as_before(folder: Path, output: Path) -> Path:
    """A copy of a checkpoint whose config.json names what CTranslate2 4.8 asks BERT's configuration
    for, and for which transformers has no default since version 5."""
    copy = output / "source"
    shutil.copytree(folder, copy)
    config = json.loads((copy / CONFIG).read_text(encoding="utf-8"))
    (copy / CONFIG).write_text(json.dumps({"position_embedding_type": "absolute", **config}))
    return copy


def _name_all_tokens(folder: Path) -> None:
    """A special token that a tokeniser lacks is written as null, which CTranslate2 then refuses; as it
    is given numbers, any token will do."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    any_token = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))[0]
    named = {key: any_token if value is None else value for key, value in config.items()}
    (folder / CONFIG).write_text(json.dumps(named))


def _head(model: Any) -> dict[str, Any]:
    """The weights and biases of a classifier behind the encoder's first position, float32: of the layer
    with an activation, and of the labels."""
    is_bert = model.config.model_type == "bert"
    first = model.bert.pooler.dense if is_bert else model.pre_classifier
    parts = {"tanh" if is_bert else "relu": first, "labels": model.classifier}
    return {
        f"{name}.{part}": getattr(layer, part).detach().numpy()
        for name, layer in parts.items()
        for part in ("weight", "bias")
    }


if __name__ == "__main__":
    sys.exit(run_maker("benchmarks.peers.export_ctranslate2", KINDS, export))
