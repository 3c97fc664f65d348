"""What encoders of texts share that normalise after attention and after the feed-forward network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfedge.architectures.base import Architecture, EncoderConfig, Input
from tfedge.architectures.fields import Fields
from tfedge.architectures.parts import Biases, Parts, Stream, residual

if TYPE_CHECKING:
    from tfedge.models.blocks import Blocks, Symbolic, Tensors

# [CLS], a token and [SEP].
_FEWEST_TOKENS = 3


class PostNorm(Architecture):
    """An encoder as in BERT (Devlin et al. 2019), by the names in `parts`."""

    can_be_cut = True
    # Whether tokens have types, by the text of a pair that they are in. Where there is but one type
    # it is no input.
    has_token_types = True
    # Whether positions have rows of a table, which are added to those of words.
    has_positions = True
    # What config.json may call that.
    position_types: tuple[str | None, ...] = ("absolute", None)
    # Whether training drops some of what attention adds to the hidden states.
    drops_attention = True

    def read(self, fields: Fields) -> dict[str, Any]:
        fields.unsupported("position_embedding_type", self.position_types)
        fields.unsupported("is_decoder", (False, None))
        return {
            **fields.sizes(),
            "vocab_size": fields.size("vocab_size"),
            "max_position_embeddings": fields.size("max_position_embeddings"),
            "type_vocab_size": self.types(fields),
            "hidden_act": fields.activation("gelu"),
            "layer_norm_eps": fields.epsilon("layer_norm_eps", 1e-12),
            "hidden_dropout_prob": fields.number("hidden_dropout_prob", 0.1),
            "attention_probs_dropout_prob": fields.number("attention_probs_dropout_prob", 0.1),
        }

    def types(self, fields: Fields) -> int:
        """The types of tokens."""
        return fields.size("type_vocab_size") if self.has_token_types else 0

    def inputs(self, config: EncoderConfig) -> list[Input]:
        """See `Architecture`: `input_ids`, `attention_mask` and, with types, `token_type_ids`."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        return [Input(name) for name in names[: 3 if config.type_vocab_size > 1 else 2]]

    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        return _FEWEST_TOKENS, config.max_position_embeddings

    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        hidden_states = [self.embed(blocks, inputs)]
        mask = blocks.attention_bias(inputs["attention_mask"])
        biases = self.biases(blocks, mask, inputs["attention_mask"])
        for index in range(blocks.config.num_hidden_layers):
            hidden_states.append(self.layer(blocks, index, hidden_states[-1], biases))
        return hidden_states

    def biases(self, blocks: Blocks, bias: Symbolic, attention_mask: Symbolic) -> Biases:
        """What of all attentions depends on places, beside the `bias` of padding."""
        return Biases(bias, self.relative_bias(blocks, attention_mask))

    def relative_bias(self, blocks: Blocks, attention_mask: Symbolic) -> Symbolic | None:
        """What all layers add to scores for how far tokens lie apart; BERT nothing."""
        return None

    def projection(self, config: EncoderConfig) -> str | None:
        """The dense layer from the tables to the hidden states; BERT has none."""
        return None

    def embed(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        """The hidden states (B, S, C) that enter the first layer."""
        config, names, ids = blocks.config, self.embeddings, inputs["input_ids"]
        width = self.table_width(config)
        terms = [blocks.embedding(names.words, config.vocab_size, width, ids)]
        if config.type_vocab_size:
            terms.append(blocks.token_types(names.types, width, inputs))
        if self.has_positions:
            terms.append(blocks.positions(names.positions, width, ids))
        total = blocks.add(names.total, *terms)
        embedded = blocks.dropout("embeddings", blocks.norm(names.norm, total))
        name = self.projection(config)
        return blocks.dense(name, config.hidden_size, embedded) if name else embedded

    def layer(self, blocks: Blocks, index: int, x: Symbolic, biases: Biases) -> Symbolic:
        """One layer's hidden states, (B, S, C)."""
        config, names = blocks.config, self.parts.of_layer(index)
        rows = blocks.computed_rows(index, x)
        context = blocks.self_attention(names, config.heads(index), (rows, x, x), biases)
        y = blocks.dense(names.attention_output, config.hidden_size, context)
        if self.drops_attention:
            y = blocks.dropout(names.attention_output, y)
        x = blocks.norm(names.attention_norm, blocks.add(names.attention_total, y, rows))
        y = self.neurons(blocks, names, config.neurons(index), x)
        y = blocks.dropout(names.ffn_output, blocks.dense(names.ffn_output, config.hidden_size, y))
        return blocks.norm(names.ffn_norm, blocks.add(names.ffn_total, y, x))

    def neurons(self, blocks: Blocks, names: Parts, units: int, x: Symbolic) -> Symbolic:
        """What is between the two dense layers of a feed-forward network, (B, S, units)."""
        return blocks.activated_dense(names.ffn_input, blocks.config.hidden_act, units, x)

    def ffn_readers(self, names: Parts) -> tuple[str, ...]:
        """The dense layers that a feed-forward network begins with."""
        return (names.ffn_input,)

    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """See `Architecture`: a dense layer with tanh on [CLS]."""
        first = blocks.token(hidden)
        (name,) = self.summary_modules
        pooled = blocks.tanh("pooler.act", blocks.dense(name, blocks.config.hidden_size, first))
        return [blocks.dropout("pooler", pooled)]

    def entry(self, config: EncoderConfig) -> Stream:
        """The stream of the sum of the embeddings."""
        names = self.embeddings
        types = (names.types,) if config.type_vocab_size else ()
        positions = (names.positions,) if self.has_positions else ()
        writers = (names.words, *types, *positions)
        total = names.total if len(writers) > 1 else names.words
        return Stream(names.norm, writers, (total,), (names.norm,))

    def streams(self, config: EncoderConfig) -> list[Stream]:
        """See `Architecture`: from one norm to the next, in the order of the data's flow; a dense layer
        behind the tables reads a stream and starts another."""
        result = [self.entry(config)]
        source = self.embeddings.norm
        if name := self.projection(config):
            result.append(Stream(f"{source}.output", (source,), readers=(name,)))
            source = name
        for index in range(config.num_hidden_layers):
            names = self.parts.of_layer(index)
            attention = names.attention_output, names.attention_total, names.attention_norm
            result.append(residual(source, names.projections, *attention))
            ffn = names.ffn_output, names.ffn_total, names.ffn_norm
            result.append(residual(names.attention_norm, self.ffn_readers(names), *ffn))
            source = names.ffn_norm
        return result
