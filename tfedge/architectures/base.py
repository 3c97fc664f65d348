"""What an architecture tells of itself, and the configuration that it reads from a config.json."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from tfedge.architectures.fields import EXTENSION, Fields, head_size, read_differing, refuse_matrix
from tfedge.architectures.parts import Embeddings, Parts, Stream, TextTower, WordHead
from tfedge.errors import CheckpointError, InputError

if TYPE_CHECKING:
    import numpy as np

    from tfedge.models.blocks import Blocks, Symbolic, Tensors

# By the `model_type` of their config.json.
ARCHITECTURES: dict[str, Architecture] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and choices that every encoder has; architectures add their own in a subclass."""

    architecture: Architecture = dataclasses.field(repr=False)
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int  # the most tokens that an input may have
    first_position: int = 0  # the row of the position table that belongs to the first token
    head_size: int  # width of one attention head. Usually `hidden_size / num_attention_heads`.
    score_terms: int = 1  # of scores: products of as many vectors of a head's width
    # Of each layer, where they differ from those for all.
    layer_heads: tuple[int, ...] = ()
    layer_neurons: tuple[int, ...] = ()
    type_vocab_size: int = 0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    normalization_type: str = "layer_norm"  # `layer_norm` or `no_norm`, a gain and a bias alone
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    pooling: str = "mean"  # how tokens become a sentence embedding, see `tfedge.models.config`
    # The dense layers of a classifier of whole inputs, each of which reads a token of its own, from
    # the first one on; the logits are their mean.
    classifiers: tuple[str, ...] = ("classifier",)
    # The `config.json` this was read from, kept so that export loses no key of it.
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def model_type(self) -> str:
        """The name of the architecture, as config.json has it."""
        return self.architecture.model_type

    @property
    def query_scale(self) -> float:
        """What queries are multiplied by, so that scores stay of one size whatever is added up."""
        return float((self.head_size * self.score_terms) ** -0.5)

    @property
    def rows_read(self) -> int:
        """The tokens, from the first one on, that a head reads which does not read all."""
        return len(self.classifiers)

    def heads(self, layer: int) -> int:
        """The attention heads of one layer."""
        return self.layer_heads[layer] if self.layer_heads else self.num_attention_heads

    def neurons(self, layer: int) -> int:
        """The neurons between the two dense layers of one layer's feed-forward network."""
        return self.layer_neurons[layer] if self.layer_neurons else self.intermediate_size

    @property
    def labels(self) -> list[str] | None:
        """Label names in the order of the logits, or None where the checkpoint names none."""
        id2label = self.source.get("id2label")
        if id2label is None or id2label == {}:
            return None
        if not isinstance(id2label, Mapping):
            raise CheckpointError(
                f"id2label in config.json is {id2label!r:.80}; it must be an object, "
                '{"0": "the first label", ...}'
            )
        try:
            by_index = {int(index): str(label) for index, label in id2label.items()}
        except ValueError as error:
            raise CheckpointError(
                f"id2label in config.json has a key that is no number: {error}"
            ) from error
        missing = next((index for index in range(len(by_index)) if index not in by_index), None)
        if missing is not None:
            raise CheckpointError(
                f"id2label in config.json has {len(by_index)} labels, and none is number {missing}; "
                f"they must be 0 to {len(by_index) - 1}"
            )
        return [by_index[index] for index in range(len(by_index))]


@dataclasses.dataclass(frozen=True)
class Input:
    """One input of an encoder, by Hugging Face's name."""

    name: str
    shape: tuple[int | None, ...] = (None,)  # without the batch; None is the number of tokens
    dtype: str = "int32"

    @property
    def sides(self) -> tuple[int, ...]:
        """The parts of the shape that are the same for every input."""
        return tuple(side for side in self.shape if side is not None)


class Made(NamedTuple):
    """A tensor that is computed of several of a checkpoint."""

    shape: tuple[int, ...]
    parts: tuple[str, ...]  # their names
    make: Callable[[Mapping[str, np.ndarray]], np.ndarray]  # of the parts as they are stored


class Architecture(abc.ABC):
    """What is particular to one `model_type`; a subclass stands below `@register`."""

    model_type: str
    class_name: str  # what the names of transformers' classes start with
    reads: Literal["texts", "images"] = "texts"
    only_task: str | None = None  # the one that its models can be for, where that is so
    text_tower: TextTower | None = None  # that stands beside the one of images, to compare both
    describes_first: bool = True  # whether `features` reads no token but the first
    lacks_spans: bool = False  # whether transformers has no class for question answering
    # Whether scores get more than the mask: what depends on the places of query and key.
    adds_places: bool = False
    frames_texts: bool = True  # whether special tokens stand around a text
    # What config.json calls the sizes that go by another name than BERT's.
    keys: ClassVar[Mapping[str, str]] = {}
    config_class: type[EncoderConfig] = EncoderConfig
    embeddings = Embeddings()
    parts = Parts()  # names within a layer, BERT's by default
    can_be_cut: bool = False  # whether encoders can be made smaller layer by layer, by `parts`
    # Why they cannot, where that is so.
    whole_because: str = "its layers are thin between wide hidden states already"
    # Modules whose table has a column for each head, which all layers read.
    head_tables: tuple[str, ...] = ()
    # The modules of `summary`, which are trained with a classifier.
    summary_modules: tuple[str, ...] = ()
    # The modules of `token_summary`, which are trained with a head that reads all tokens.
    token_summary_modules: tuple[str, ...] = ()
    span_module: str = "qa_outputs"  # the dense layer of question answering
    # Those modules of heads that the checkpoint keeps within the encoder.
    encoder_modules: tuple[str, ...] = ("pooler",)
    # What pretraining leaves in a checkpoint and no task reads: the heads of its own task, and what
    # is of no use without another model or a head.
    pretraining_heads: tuple[str, ...] = (
        "cls",
        "lm_head",
        "vocab_transform",
        "vocab_layer_norm",
        "vocab_projector",
    )
    pretraining_modules: tuple[str, ...] = (*pretraining_heads, "fit_dense", "fit_denses", "pooler")
    word_head: WordHead | None = None  # that of pretraining, where it is known
    # Whether the published number of weights includes `summary_modules`.
    counts_summary: bool = False

    # The configuration.

    def parse(self, source: Mapping[str, Any]) -> EncoderConfig:
        """Turns the content of a `config.json` into a configuration; see `parse_config`."""
        values = self.read(Fields(source, self.keys))
        sizes = ("vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size")
        refuse_matrix(values["hidden_size"], *(values[size] for size in sizes))
        if "head_size" not in values:
            values["head_size"] = head_size(values["hidden_size"], values["num_attention_heads"])
        if EXTENSION in source:
            if not self.can_be_cut:
                raise CheckpointError(f"config.json: {EXTENSION} is only for {_cuttable()}")
            values |= read_differing(source[EXTENSION], values)
            if self.head_tables and set(values["layer_heads"]) != {values["num_attention_heads"]}:
                raise CheckpointError(
                    f"config.json: {EXTENSION}.heads is {source[EXTENSION]['heads']}, and the layers "
                    f"of a {self.model_type} share a table with a column for each head; leave it out"
                )
        return self.config_class(architecture=self, source=dict(source), **values)

    @abc.abstractmethod
    def read(self, fields: Fields) -> dict[str, Any]:
        """The arguments of `config_class`, without what `parse` adds."""

    def for_images(self, config: EncoderConfig, sides: tuple[int, int]) -> EncoderConfig:
        """The configuration for images of other sides than config.json has, where it takes them."""
        return config

    def resized(
        self, config: EncoderConfig, sizes: Mapping[str, int], differing: Mapping[str, Any]
    ) -> EncoderConfig:
        """The configuration with other sizes, by the names of `EncoderConfig`; `differing` is what
        `EXTENSION` is to say of layers that differ, empty where none do."""
        source = {key: value for key, value in config.source.items() if key != EXTENSION}
        source |= {self.keys.get(key, key): value for key, value in sizes.items()}
        left = self.parse({**source, EXTENSION: differing} if differing else source)
        return dataclasses.replace(left, pooling=config.pooling)  # which no config.json says

    # The graph.

    @abc.abstractmethod
    def inputs(self, config: EncoderConfig) -> list[Input]:
        """What the encoder reads."""

    @abc.abstractmethod
    def lengths(self, config: EncoderConfig) -> tuple[int, int]:
        """The fewest and the most tokens of an input; an image always has the same number."""

    @abc.abstractmethod
    def encode(self, blocks: Blocks, inputs: Tensors) -> list[Symbolic]:
        """The hidden states (B, S, C) after the embeddings and after each layer."""

    @abc.abstractmethod
    def summary(self, blocks: Blocks, hidden: Symbolic) -> list[Symbolic]:
        """What each of the config's `classifiers` reads, (B, C), of the last hidden states."""

    def token_summary(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """What heads that read all tokens read of the last hidden states, (B, S, C): those."""
        return hidden

    def counted(self, blocks: Blocks, inputs: Tensors) -> Symbolic:
        """The tokens that a mean is of, 1 for each, int32 (B, S): by default all of a text."""
        return inputs["attention_mask"]

    def classifies_mean(self, config: EncoderConfig) -> bool:
        """Whether classifiers of whole inputs read the mean of all tokens, which `summary` is then
        given as the hidden state of one."""
        return False

    def classifies_first(self, config: EncoderConfig) -> bool:
        """Whether classifiers of whole inputs read no tokens but the first; see `classifiers`."""
        return not self.classifies_mean(config)

    def features(self, blocks: Blocks, hidden: Symbolic) -> Symbolic:
        """What images are alike by, (B, C), of the last hidden states: the first token as classifiers
        read it."""
        return self.summary(blocks, hidden)[0]

    @abc.abstractmethod
    def streams(self, config: EncoderConfig) -> list[Stream]:
        """What of an encoder can only be scaled together."""

    def named_parts(self) -> Parts:
        """`parts`, by which layers are cut; raises InputError where they cannot be."""
        if not self.can_be_cut:
            raise InputError(
                f"a model of the family {self.model_type} cannot be cut: {self.whole_because}; take a "
                f"model of the families {_cuttable()}"
            )
        return self.parts

    def check_starts(self, student: EncoderConfig) -> None:
        """Raises InputError for a student that cannot be made of a teacher of this architecture."""
        if student.architecture is not self or not self.can_be_cut:
            raise InputError(
                f"a {student.model_type} student cannot start from a {self.model_type} teacher; both "
                f"must be of one architecture among {_cuttable()}"
            )

    def check_reads_texts(self, stage: str) -> None:
        """Raises InputError where only models of texts can do what the user calls `stage`."""
        if self.reads == "images":
            raise InputError(
                f"{stage} is for models of texts, and a {self.model_type} reads images; tfedge "
                "convert, eval, inspect, bench and export take it"
            )

    def check_length(self, config: EncoderConfig, asked: object) -> None:
        """Raises InputError where numbers of tokens are asked for and all inputs have the same."""
        least, most = self.lengths(config)
        if least == most and asked:
            raise InputError(
                f"an image of a {self.model_type} always has {most} tokens; leave out --seq-len and "
                "--buckets"
            )

    def check_tokens(self, config: EncoderConfig, length: int) -> None:
        """Raises InputError where an input cannot have so many tokens."""
        least, most = self.lengths(config)
        if not least <= length <= most:
            raise InputError(
                f"sequence length {length} is not possible: this encoder takes {least} to {most} tokens"
            )

    def residuals(self, config: EncoderConfig) -> list[Stream]:
        """The streams of residual connections, in the order of the data's flow."""
        return [stream for stream in self.streams(config) if stream.dense]

    def kept_sizes(self) -> tuple[str, ...]:
        """The sizes that a student has of the teacher from which it starts."""
        return ("vocab_size", "num_attention_heads", "max_position_embeddings", "type_vocab_size")

    def allows_width(self, config: EncoderConfig, width: int) -> bool:
        """Whether an encoder may be cut to so many hidden channels."""
        return True

    # The checkpoint.

    @property
    def prefix(self) -> str:
        """What the encoder's tensors start with in a checkpoint that has a head."""
        return f"{self.model_type}."

    def tensor_name(self, config: EncoderConfig, name: str) -> str:
        """The checkpoint's name of one of our parameters or layers, without `prefix`.

        Several may have one tensor: layers that share their weights.
        """
        return name

    def shares_weights(self, config: EncoderConfig) -> bool:
        """Whether layers of this encoder share their weights."""
        layers = map(self.parts.layer, range(config.num_hidden_layers))
        names = [self.tensor_name(config, f"{layer}.{self.parts.query}") for layer in layers]
        return len(set(names)) < len(names)

    def part_of_tensor(self, config: EncoderConfig, name: str) -> tuple[int, int]:
        """Which of how many equal parts of its tensor, by rows, one of our parameters is: queries,
        keys and values may be one tensor."""
        return 0, 1

    def has_bias(self, config: EncoderConfig, module: str) -> bool:
        """Whether a dense layer adds a bias, or a norm a shift."""
        return True

    def stored_name(self, config: EncoderConfig, name: str) -> str:
        """As `tensor_name`, of the head of words too, whose table is that of the words."""
        if (head := self.word_head) is not None:
            shared = {
                f"{head.decoder}.weight": f"{self.embeddings.words}.weight",
                f"{head.decoder}.bias": f"{head.bias}.bias",
            }
            name = shared.get(name, name)
        return self.tensor_name(config, name)

    def place_weights(self, config: EncoderConfig, heads: int) -> int:
        """Of how many weights the numbers of `Blocks.place_bias` are made, in a layer of some heads."""
        return 0

    def table_width(self, config: EncoderConfig) -> int:
        """The channels of the tables of words, types and positions."""
        return config.hidden_size

    def is_unread(self, config: EncoderConfig, tensor: str) -> bool:
        """Whether transformers stores a tensor that this configuration never uses."""
        return False

    def padding_id(self, config: EncoderConfig) -> int | None:
        """The token that is padding wherever it stands, in texts too; None where the mask tells."""
        return None

    def loaded(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        """A tensor of the checkpoint, by its name without `prefix`, as the graph has it."""
        return tensor

    def stored(self, config: EncoderConfig, name: str, tensor: np.ndarray) -> np.ndarray:
        """`loaded`, taken back: a tensor of the graph as the checkpoint has it."""
        return tensor

    def made(self, config: EncoderConfig, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Made]:
        """Tensors that are computed of those that a checkpoint stores, of these `shapes` by their
        names; the parts then are no tensors of their own."""
        return {}

    def fixed_tensors(self, config: EncoderConfig) -> Mapping[str, np.ndarray]:
        """What transformers stores though it follows from the configuration, without `prefix`."""
        return {}

    def class_of(self, config: EncoderConfig, kind: str) -> str:
        """The class that an exported config.json names, ending in `ForSequenceClassification`, say."""
        return self.class_name + kind

    def exported(self, config: EncoderConfig) -> Mapping[str, Any]:
        """Keys of config.json that must have another value where the model is exported."""
        return {}


_Known = TypeVar("_Known", bound=type[Architecture])


def register(known: _Known) -> _Known:
    """A decorator of classes that makes an architecture known by its `model_type`."""
    ARCHITECTURES[known.model_type] = known()
    return known


def is_within(name: str, modules: Iterable[str]) -> bool:
    """Whether a tensor belongs to one of some modules."""
    return any(name.startswith(f"{module}.") for module in modules)


def _cuttable() -> str:
    return ", ".join(name for name, known in ARCHITECTURES.items() if known.can_be_cut)
