"""Loads a checkpoint as a torch module with one output, for torch itself and for exporters."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.peers.settings import Settings
from tfedge.runtime.inputs import TEXT_INPUTS

_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "sentence-embedding": "AutoModel",
}


class Graph(torch.nn.Module):
    """From the inputs, int64 (batch, tokens) each, to logits or to the mean of the tokens' states."""

    def __init__(self, model: Any, names: list[str], task: str) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.task = task

    def forward(self, *values: Any) -> Any:
        """The output, float32 (batch, labels) or (batch, channels)."""
        inputs = dict(zip(self.names, values, strict=True))
        outputs = self.model(**inputs)
        if self.task == "text-classification":
            return outputs.logits
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        return (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)


def load_graph(folder: Path, settings: Settings, attention: str) -> Graph:
    """The checkpoint in float32.

    Args:
        attention: transformers' `attn_implementation`.

    Raises:
        ValueError: the checkpoint lacks weights of the task, or has other labels than the model.
        OSError: it cannot be read.
    """
    if "tfedge" in json.loads((folder / "config.json").read_text(encoding="utf-8")):
        raise ValueError(
            "its layers differ in heads or neurons (the key tfedge of config.json), for which "
            "transformers has no model"
        )
    model, info = getattr(transformers, _CLASSES[settings.task]).from_pretrained(
        str(folder),
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,  # a checkpoint of float16 would be exported so
        attn_implementation=attention,
        output_loading_info=True,
    )
    # Sentence embeddings do not use BERT's pooler, which checkpoints of them may lack.
    missing = sorted(
        key
        for key in info["missing_keys"]
        if settings.task == "text-classification" or not key.startswith("pooler.")
    )
    if missing:
        raise ValueError(
            f"the checkpoint lacks weights for {settings.task}: {', '.join(missing[:5])}"
        )
    labels = len(settings.labels or ())
    if settings.task == "text-classification" and model.config.num_labels != labels:
        raise ValueError(
            f"it has {model.config.num_labels} labels and the model {labels}; give the checkpoint "
            "that was converted"
        )
    parameters = inspect.signature(model.forward).parameters
    names = [name for name in TEXT_INPUTS if name in parameters]
    return Graph(model.eval(), names, settings.task).eval()


def example(graph: Graph, batch: int = 2) -> dict[str, Any]:
    """Inputs of 7 random tokens a row, int64 (batch, 7) each, for tracing and for checks."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(graph.model.config.vocab_size, (batch, 7), generator=generator)
    filled = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    return {name: filled[name] for name in graph.names}
