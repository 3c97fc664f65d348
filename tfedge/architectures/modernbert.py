"""ModernBERT (Warner et al. 2024, arXiv:2412.13663): norms before attention and feed-forward network,
gates, rotary positions, and layers that see only the neighbours of a token."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tfedge.architectures.base import Architecture, EncoderConfig, Input, is_within, register
from tfedge.architectures.fields import Fields, check_pairs
from tfedge.architectures.parts import Biases, Embeddings, Parts, Stream

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

_FEWEST_TOKENS = 3
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
# What positions turn by, and what older files call it.
_BASES = {_GLOBAL: ("global_rope_theta", 160_000.0), _LOCAL: ("local_rope_theta", 10_000.0)}
_FINAL_NORM = "final_norm"
_POOLINGS = ("cls", "mean")
# The parts of tensors that hold several dense layers.
_SHARED = re.compile(r"\.(Wqkv|Wi)\.(query|key|value|input|gate)\.")
_PLACES = {"query": (0, 3), "key": (1, 3), "value": (2, 3), "input": (0, 2), "gate": (1, 2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModernBertConfig(EncoderConfig):
    """What transformers' configuration says beside the sizes."""

    layer_types: tuple[str, ...]  # of each layer
    bases: Mapping[str, float]  # of rotary positions, by the type of a layer
    reach: int  # how far away a local layer sees
    classifier_pooling: str
    classifier_act: str
    # Whether what these modules compute has biases: norms, attention, feed-forward networks, the
    # dense layer of heads.
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    classifier_bias: bool


def _own(config: EncoderConfig) -> ModernBertConfig:
    return cast(ModernBertConfig, config)


@register
class ModernBert(Architecture):
    """ModernBERT, by the names and defaults of transformers."""

    model_type = "modernbert"
    class_name = "ModernBert"
    config_class = ModernBertConfig
    adds_places = True
    keys: ClassVar[Mapping[str, str]] = {
        "hidden_act": "hidden_activation",
        "layer_norm_eps": "norm_eps",
        "hidden_dropout_prob": "mlp_dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
    embeddings = Embeddings(words="embeddings.tok_embeddings", norm="embeddings.norm")
    parts = Parts(
        prefix="layers",
        attention="attn",
        query="attn.Wqkv.query",
        key="attn.Wqkv.key",
        value="attn.Wqkv.value",
        attention_output="attn.Wo",
        attention_total="attn.sum",
        attention_norm="attn_norm",
        ffn_input="mlp.Wi.input",
        ffn_gate="mlp.Wi.gate",
        ffn_output="mlp.Wo",
        ffn_total="mlp.sum",
        ffn_norm="mlp_norm",
    )
    whole_because = "what its gates and its one residual stream lose is not measured yet"
    summary_modules = ("head.dense", "head.norm")
    token_summary_modules = summary_modules
    span_module = "classifier"
    encoder_modules = ()
    pretraining_heads = ("decoder",)
    pretraining_modules = pretraining_heads

    @property
    def prefix(self) -> str:
        return "model."

    def read(self, fields: Fields) -> dict[str, Any]:
        sizes = fields.sizes(
            hidden_size=768,
            num_hidden_layers=22,
            num_attention_heads=12,
            intermediate_size=1152,
        )
        flags = ("norm_bias", "attention_bias", "mlp_bias", "classifier_bias")
        check_pairs(sizes["hidden_size"] // sizes["num_attention_heads"])
        types = fields.layer_types((_GLOBAL, _LOCAL), sizes["num_hidden_layers"])
        return {
            **sizes,
            **{flag: fields.flag(flag, False) for flag in flags},
            "vocab_size": fields.size("vocab_size", 50_368),
            "max_position_embeddings": fields.size("max_position_embeddings", 8192),
            "hidden_act": fields.activation("gelu"),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", 1e-5),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.0),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.0),
            "layer_types": types,
            "bases": fields.rotary_bases(_BASES),
            "reach": fields.size("local_attention", 128) // 2,
            "classifier_pooling": fields.choice("classifier_pooling", _POOLINGS, "cls"),
            "classifier_act": fields.activation("gelu", "classifier_activation"),
        }

    def inputs(self, config: EncoderConfig) -> list[Input]:
        """See `Architecture`: `input_ids` and `attention_mask`."""
        return [Input("input_ids"), Input("attention_mask")]

    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        return _FEWEST_TOKENS, config.max_position_embeddings

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        """See `Architecture`; the last hidden states are normalised, as transformers gives them out."""
        config, names = _own(blocks.config), self.embeddings
        width, mask = config.hidden_size, inputs["attention_mask"]
        words = blocks.embedding(names.words, config.vocab_size, width, inputs["input_ids"])
        hidden_states = [blocks.dropout("embeddings", blocks.norm(names.norm, words))]
        everywhere = blocks.attention_bias(mask)
        biases = {}
        for kind in sorted({*config.layer_types}):
            bias = everywhere
            if kind == _LOCAL:
                bias = blocks.window_bias("window_bias", everywhere, mask, config.reach)
            rotary = blocks.rotary(f"rotary.{kind}", config.bases[kind], mask)
            biases[kind] = Biases(bias, rotary=rotary)
        for index, kind in enumerate(config.layer_types):
            hidden_states.append(self.layer(blocks, index, hidden_states[-1], biases[kind]))
        return [*hidden_states[:-1], blocks.norm(_FINAL_NORM, hidden_states[-1])]

    def layer(self, blocks: Blocks, index: int, x: Symbolic, biases: Biases) -> Symbolic:
        """One layer's hidden states, (B, S, C); the first has no norm before its attention."""
        config, names = blocks.config, self.parts.of_layer(index)
        y = blocks.norm(names.attention_norm, x) if index else x
        read = blocks.computed_rows(index, y, "query"), y, y
        context = blocks.self_attention(names, config.heads(index), read, biases)
        y = blocks.dense(names.attention_output, config.hidden_size, context)
        x = blocks.add(names.attention_total, y, blocks.computed_rows(index, x, "shortcut"))
        y = blocks.norm(names.ffn_norm, x)
        y = blocks.gated_dense(names, config.hidden_act, config.neurons(index), y)
        y = blocks.dense(names.ffn_output, config.hidden_size, blocks.dropout(names.product, y))
        return blocks.add(names.ffn_total, y, x)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: the head's dense layer and norm, on [CLS] or on the mean."""
        return [blocks.dropout("classifier", self.token_summary(blocks, blocks.token(hidden)))]

    def token_summary(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """See `Architecture`: a dense layer with an activation, normalised."""
        config, (dense, norm) = _own(blocks.config), self.summary_modules
        y = blocks.activated_dense(dense, config.classifier_act, config.hidden_size, hidden)
        return blocks.norm(norm, y)

    def classifies_mean(self, config: EncoderConfig) -> bool:
        return _own(config).classifier_pooling == "mean"

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: the residual stream, which all layers share and the first one reads as
        it is, what each norm puts out, and the gates."""
        writers, totals, norms = [self.embeddings.norm], [], []
        table = (self.embeddings.words,)
        result = [Stream(self.embeddings.norm, table, table, (self.embeddings.norm,))]
        for index in range(config.num_hidden_layers):
            names = self.parts.of_layer(index)
            if index:
                result.append(_output(names.attention_norm, *names.projections))
                norms.append(names.attention_norm)
            result.append(_output(names.ffn_norm, names.ffn_input, names.ffn_gate))
            norms.append(names.ffn_norm)
            gate, product = names.ffn_gate, names.product
            reader = (names.ffn_output,)
            result.append(Stream(gate, (gate,), products=(product,), readers=reader))
            writers += [names.attention_output, names.ffn_output]
            totals += [names.attention_total, names.ffn_total]
        norms.append(_FINAL_NORM)
        readers = self.parts.of_layer(0).projections
        return [
            Stream("residual", tuple(writers), tuple(totals), tuple(norms), readers=readers),
            *result,
        ]

    # The checkpoint.

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """See `Architecture`: queries, keys and values are one tensor, and so are both sides of the
        gate."""
        return _SHARED.sub(r".\1.", name)

    def part_of_tensor(self, config: EncoderConfig, name: str) -> tuple[int, int]:
        found = _SHARED.search(name)
        return _PLACES[found[2]] if found else (0, 1)

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        own = _own(config)
        if module.endswith("norm"):
            return own.norm_bias
        if is_within(f"{module}.", ("head",)):
            return own.classifier_bias
        if ".attn." in module:
            return own.attention_bias
        return own.mlp_bias if ".mlp." in module else True


def _output(norm: str, *readers: str) -> Stream:
    return Stream(f"{norm}.output", (norm,), readers=readers)
