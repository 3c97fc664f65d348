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
        if "attention_mask" not in inputs:
            return outputs.last_hidden_state.mean(1)
        mask = inputs["attention_mask"].unsqueeze(-1).float()
        return (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)

    def without_mask(self) -> Graph:
        """The same for texts without padding, which have no mask."""
        names = [name for name in self.names if name != "attention_mask"]
        return Graph(self.model, names, self.task).eval()


class FirstOnly(torch.nn.Module):
    """A layer of BERT for its first position alone: (batch, tokens, width) -> (batch, 1, width)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, states: Any, *_: Any, **__: Any) -> Any:
        """Without a mask; what else a layer is given is for decoders."""
        own, first = self.layer.attention.self, states[:, :1]

        def heads(values: Any) -> Any:
            return values.unflatten(-1, (-1, own.attention_head_size)).transpose(1, 2)

        scores = heads(own.query(first)) @ heads(own.key(states)).transpose(2, 3)
        scores = scores / own.attention_head_size**0.5
        context = (scores.softmax(-1) @ heads(own.value(states))).transpose(1, 2).flatten(2)
        return self.layer.feed_forward_chunk(self.layer.attention.output(context, first))


def read_first(graph: Graph) -> None:
    """Has the last layer of a classifier without a mask compute the position that is read alone.

    Raises:
        ValueError: all positions are read, or its layers are not BERT's.
    """
    if graph.task != "text-classification":
        raise ValueError(f"{graph.task} reads all positions")
    encoder = getattr(graph.model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", [None])
    if not hasattr(getattr(layers[-1], "attention", None), "self") or hasattr(
        layers[-1], "bottleneck"
    ):
        raise ValueError(f"the layers of {graph.model.config.model_type} are not BERT's")
    layers[-1] = FirstOnly(layers[-1])


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
