"""NomicBERT (Nussbaum et al. 2024, arXiv:2402.01613): BERT with rotary positions, gates, few biases;
nomic-embed-text is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfedge.architectures.base import EncoderConfig, register
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Embeddings, Parts, WordHead
from tfedge.architectures.rotated import Rotated
from tfedge.errors import CheckpointError

_WORDS_OF_GATES = {"swiglu": "silu", "geglu": "gelu"}
# What files of Nomic's own code call the sizes, as GPT-2's do.
_OLDER = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "layer_norm_eps": "layer_norm_epsilon",
    "hidden_dropout_prob": "resid_pdrop",
    "attention_probs_dropout_prob": "attn_pdrop",
}
# What that code can do and these models do not; the values that change nothing.
_OFF: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        (
            *("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias", "prenorm", "use_rms_norm", "causal"),
            *("parallel_block", "rotary_emb_interleaved", "scale_attn_by_inverse_layer_idx"),
        ),
        (False, None),
    ),
    "scale_attn_weights": (True, None),
    "rotary_emb_fraction": (1.0, None),
    "rotary_emb_scale_base": (None,),
    "moe_every_n_layers": (0, -1, None),
}


@register
class NomicBert(Rotated):
    """NomicBERT, by the names of its checkpoints, which transformers keeps."""

    model_type = "nomic_bert"
    class_name = "NomicBert"
    usual_base = 1000.0
    embeddings = Embeddings(norm="emb_ln")
    parts = Parts(
        prefix="encoder.layers",
        attention="attn",
        query="attn.Wqkv.query",
        key="attn.Wqkv.key",
        value="attn.Wqkv.value",
        attention_output="attn.out_proj",
        attention_total="attn.sum",
        attention_norm="norm1",
        ffn_input="mlp.fc12",
        ffn_gate="mlp.fc11",
        ffn_output="mlp.fc2",
        ffn_total="mlp.sum",
        ffn_norm="norm2",
    )
    word_head = WordHead(norm="cls.predictions.transform.layer_norm")
    summary_modules = ("pooler.dense",)
    lacks_spans = True

    def parse(self, source: Mapping[str, Any]) -> EncoderConfig:
        return super().parse({**source, **_renamed(source)})

    def read(self, fields: Fields) -> dict[str, Any]:
        for key, allowed in _OFF.items():
            fields.unsupported(key, allowed)
        return super().read(fields)

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        return ".attn." not in module and ".mlp." not in module


def _renamed(source: Mapping[str, Any]) -> dict[str, Any]:
    """What a config.json of Nomic's own code says, in the words of transformers; nothing of others.

    transformers 5.23 does not translate them, and would take its defaults.
    """
    if "n_embd" not in source:
        return {}
    function = source.get("activation_function")
    if function not in _WORDS_OF_GATES:
        raise CheckpointError(
            f"config.json: activation_function is {function!r}; supported are "
            f"{', '.join(_WORDS_OF_GATES)}, the gates"
        )
    found = {key: source[older] for key, older in _OLDER.items() if older in source}
    found["hidden_act"] = _WORDS_OF_GATES[function]
    if "rotary_emb_base" in source:
        found["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": source["rotary_emb_base"],
        }
    return found
