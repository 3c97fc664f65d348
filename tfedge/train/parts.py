"""What the parts of an encoder layer are called in the families that can be cut."""

from __future__ import annotations

import dataclasses

from tfedge.errors import InputError
from tfedge.models.config import EncoderConfig


@dataclasses.dataclass(frozen=True)
class Parts:
    """Names of modules within a layer, as in the checkpoint, and of two of its activations.

    Attributes:
        prefix: of every layer's modules, before the layer's index.
        context: the tensor with each head's context, (B, H, S, D).
        activation: the tensor of the neurons, (B, S, I).
    """

    prefix: str
    query: str
    key: str
    value: str
    attention_output: str
    attention_norm: str
    ffn_input: str
    ffn_output: str
    ffn_norm: str
    context: str
    activation: str

    def layer(self, index: int) -> str:
        """The name of a layer."""
        return f"{self.prefix}.{index}"


_PARTS = {
    "bert": Parts(
        prefix="encoder.layer",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_output="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        ffn_input="intermediate.dense",
        ffn_output="output.dense",
        ffn_norm="output.LayerNorm",
        context="attention.self.context.heads",
        activation="intermediate.dense.act",
    ),
    "distilbert": Parts(
        prefix="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        ffn_input="ffn.lin1",
        ffn_output="ffn.lin2",
        ffn_norm="output_layer_norm",
        context="attention.context.heads",
        activation="ffn.lin1.act",
    ),
}


def parts_of(config: EncoderConfig) -> Parts:
    """The names of a family.

    Raises:
        InputError: the family cannot be cut.
    """
    if config.model_type not in _PARTS:
        raise InputError(
            f"a {config.model_type} cannot be cut: its layers are thin between wide hidden states "
            f"already; take a model of the families {', '.join(_PARTS)}"
        )
    return _PARTS[config.model_type]
