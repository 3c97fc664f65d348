"""The configuration of an encoder, read from a Hugging Face `config.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.errors import CheckpointError
from tfedge.models.pooling import CLS, MEAN, pooling_of

MODEL_TYPES = ("bert", "distilbert", "mobilebert")
ACTIVATIONS = ("gelu", "relu", "gelu_new")
NORMALISATIONS = ("layer_norm", "no_norm")

# The key of config.json under which layers that differ are described; see `_extension`.
EXTENSION = "tfedge"

# No published encoder comes near these; larger numbers are damage or an attack on memory.
LARGEST_SIZE = 2_000_000
LARGEST_DEPTH = 1_000
# A .tflite file ends at 2 GB, so not even at one byte a weight could a larger matrix be converted.
LARGEST_MATRIX = 2**31

# DistilBERT's config names the same sizes differently.
_DISTILBERT_KEYS = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Sizes and choices of a BERT-like encoder.

    Attributes:
        model_type: one of `MODEL_TYPES`.
        head_size: width of one attention head. Usually `hidden_size / num_attention_heads`.
        layer_heads: attention heads of each layer where they differ from `num_attention_heads`.
        layer_neurons: feed-forward neurons of each layer where they differ from
            `intermediate_size`.
        embedding_size: width of the word embedding; differs from `hidden_size` in MobileBERT.
        intra_bottleneck_size: width inside MobileBERT's bottlenecks; `hidden_size` elsewhere.
        pooling: how tokens become a sentence embedding, see `tfedge.models.pooling`.
        source: the `config.json` this was read from, kept so that export loses no key of it.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    head_size: int
    embedding_size: int
    layer_heads: tuple[int, ...] = ()
    layer_neurons: tuple[int, ...] = ()
    type_vocab_size: int = 0
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    normalization_type: str = "layer_norm"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    # MobileBERT only.
    use_bottleneck: bool = False
    use_bottleneck_attention: bool = False
    key_query_shared_bottleneck: bool = False
    trigram_input: bool = False
    classifier_activation: bool = True
    num_feedforward_networks: int = 1
    intra_bottleneck_size: int = 0
    pooling: str = MEAN
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def heads(self, layer: int) -> int:
        """The attention heads of one layer."""
        return self.layer_heads[layer] if self.layer_heads else self.num_attention_heads

    def neurons(self, layer: int) -> int:
        """The neurons between the two dense layers of one layer's feed-forward network."""
        return self.layer_neurons[layer] if self.layer_neurons else self.intermediate_size

    def reads_first_token_only(self, task: str) -> bool:
        """Whether a task's head reads no token but [CLS]."""
        embeds_first = task == "sentence-embedding" and self.pooling == CLS
        return task == "text-classification" or embeds_first

    @property
    def labels(self) -> list[str] | None:
        """Label names in the order of the logits, or None where the checkpoint names none."""
        id2label = self.source.get("id2label")
        if not isinstance(id2label, Mapping) or not id2label:
            return None
        try:
            by_index = {int(index): str(label) for index, label in id2label.items()}
        except ValueError as error:
            raise CheckpointError(
                f"id2label in config.json has a key that is no number: {error}"
            ) from error
        if sorted(by_index) != list(range(len(by_index))):
            raise CheckpointError(
                f"id2label in config.json numbers its labels {sorted(by_index)}; "
                f"they must be 0 to {len(by_index) - 1}"
            )
        return [by_index[index] for index in range(len(by_index))]


def read_config(folder: str | Path) -> EncoderConfig:
    """Reads `folder/config.json`, and what sentence-transformers' files say of the pooling.

    Raises:
        CheckpointError: the file is missing, is no JSON object, or describes an unsupported model.
    """
    path = Path(folder) / "config.json"
    try:
        source = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} does not exist; a checkpoint is a folder with config.json, model.safetensors "
            "and tokenizer.json or vocab.txt"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(source, dict):
        raise CheckpointError(f"{path} holds a {type(source).__name__}, not a JSON object")
    return dataclasses.replace(parse_config(source), pooling=pooling_of(Path(folder)))


def parse_config(source: Mapping[str, Any]) -> EncoderConfig:
    """Turns the content of a `config.json` into an `EncoderConfig`.

    Raises:
        CheckpointError: a key is missing or holds a value that no builder supports.
    """
    model_type = source.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f"config.json has model_type {model_type!r}; supported are {', '.join(MODEL_TYPES)} "
            "(TinyBERT and MiniLM are 'bert')"
        )
    read = _Reader(source, _DISTILBERT_KEYS if model_type == "distilbert" else {})
    default_act, default_dropout = ("relu", 0.0) if model_type == "mobilebert" else ("gelu", 0.1)
    hidden_size = read.size("hidden_size")
    num_attention_heads = read.size("num_attention_heads")
    config: dict[str, Any] = {
        "model_type": model_type,
        "vocab_size": read.size("vocab_size"),
        "hidden_size": hidden_size,
        "num_hidden_layers": read.size("num_hidden_layers", largest=LARGEST_DEPTH),
        "num_attention_heads": num_attention_heads,
        "intermediate_size": read.size("intermediate_size"),
        "max_position_embeddings": read.size("max_position_embeddings"),
        "embedding_size": hidden_size,
        "intra_bottleneck_size": hidden_size,
        "hidden_act": read.choice("hidden_act", ACTIVATIONS, default_act),
        "source": dict(source),
    }
    read.unsupported("position_embedding_type", ("absolute", None))
    read.unsupported("is_decoder", (False, None))
    if model_type == "distilbert":
        config["hidden_dropout_prob"] = read.number("dropout", 0.1)
        config["attention_probs_dropout_prob"] = read.number("attention_dropout", 0.1)
    else:
        config["type_vocab_size"] = read.size("type_vocab_size")
        config["layer_norm_eps"] = read.number("layer_norm_eps", 1e-12)
        config["hidden_dropout_prob"] = read.number("hidden_dropout_prob", default_dropout)
        config["attention_probs_dropout_prob"] = read.number("attention_probs_dropout_prob", 0.1)
    if model_type == "mobilebert":
        config.update(_mobilebert(read, hidden_size))
    _refuse_oversize(config)
    width = config["intra_bottleneck_size"]
    if width % num_attention_heads:
        raise CheckpointError(
            f"config.json: {width} channels cannot be split into {num_attention_heads} "
            "attention heads"
        )
    config["head_size"] = width // num_attention_heads
    if EXTENSION in source:
        config.update(_extension(source[EXTENSION], config))
    return EncoderConfig(**config)


def _extension(content: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `EXTENSION` says of layers that differ, checked against the rest of the config.

    Hugging Face's configs give all layers the same number of heads, of `hidden_size / heads`
    channels each, and the same number of neurons. A model whose layers differ has besides

        "tfedge": {"heads": [5, 7, ...], "head_size": 32, "neurons": [640, 808, ...]}

    with a number for each layer, none above `num_attention_heads` and `intermediate_size`. Any of
    the three may be left out.
    """
    if config["model_type"] == "mobilebert":
        raise CheckpointError(f"config.json: {EXTENSION} is for bert and distilbert alone")
    known = {"heads": "num_attention_heads", "neurons": "intermediate_size"}
    if not isinstance(content, Mapping) or not set(content) <= {*known, "head_size"}:
        raise CheckpointError(
            f"config.json: {EXTENSION} is {content!r}; it must be an object with no other keys "
            f"than {', '.join(known)}, head_size"
        )

    def refuse(key: str, value: Any, kind: str, largest: int) -> None:
        raise CheckpointError(
            f"config.json: {EXTENSION}.{key} is {value!r}; it must be {kind} from 1 to {largest}"
        )

    def within(number: Any, largest: int) -> bool:
        return type(number) is int and 0 < number <= largest

    result: dict[str, Any] = {}
    layers = config["num_hidden_layers"]
    for key, size in known.items():
        value = content.get(key, [config[size]] * layers)
        fits = isinstance(value, list) and len(value) == layers
        if not (fits and all(within(number, config[size]) for number in value)):
            refuse(key, value, f"a list of {layers} whole numbers", config[size])
        result[f"layer_{key}"] = tuple(value)
    largest = config["hidden_size"] // max(result["layer_heads"])
    head_size = content.get("head_size", config["hidden_size"] // config["num_attention_heads"])
    if not within(head_size, largest):
        refuse("head_size", head_size, "a whole number", largest)
    return {**result, "head_size": head_size}


def _mobilebert(read: _Reader, hidden_size: int) -> dict[str, Any]:
    use_bottleneck = read.flag("use_bottleneck", True)
    use_bottleneck_attention = read.flag("use_bottleneck_attention", False)
    key_query_shared_bottleneck = read.flag("key_query_shared_bottleneck", True)
    if use_bottleneck and not (use_bottleneck_attention or key_query_shared_bottleneck):
        raise CheckpointError(
            "config.json: use_bottleneck needs use_bottleneck_attention or "
            "key_query_shared_bottleneck; without either, transformers feeds queries and keys "
            "tensors of the wrong width, so there is no such model to agree with"
        )
    return {
        "embedding_size": read.size("embedding_size", 128),
        "use_bottleneck": use_bottleneck,
        "use_bottleneck_attention": use_bottleneck_attention,
        "key_query_shared_bottleneck": key_query_shared_bottleneck,
        "trigram_input": read.flag("trigram_input", True),
        "classifier_activation": read.flag("classifier_activation", True),
        "num_feedforward_networks": read.size("num_feedforward_networks", 4, largest=LARGEST_DEPTH),
        "normalization_type": read.choice("normalization_type", NORMALISATIONS, "no_norm"),
        "intra_bottleneck_size": (
            read.size("intra_bottleneck_size", 128) if use_bottleneck else hidden_size
        ),
    }


def _refuse_oversize(config: Mapping[str, Any]) -> None:
    """Refuses before anything is built what could only end in a lack of memory."""
    rows = (
        "vocab_size",
        "max_position_embeddings",
        "hidden_size",
        "intermediate_size",
        "intra_bottleneck_size",
    )
    widest = max(config["hidden_size"], config["embedding_size"])
    largest = widest * max(config[size] for size in rows)
    if largest > LARGEST_MATRIX:
        raise CheckpointError(
            f"config.json describes a matrix of {largest} weights; no .tflite file can hold "
            f"more than {LARGEST_MATRIX}"
        )


class _Reader:
    """Typed look-ups in a `config.json`, so that a wrong value is named where it stands."""

    def __init__(self, source: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._source = source
        self._names = names

    def _get(self, key: str, default: Any = None) -> tuple[str, Any]:
        name = self._names.get(key, key)
        return name, self._source.get(name, default)

    def size(self, key: str, default: int | None = None, largest: int = LARGEST_SIZE) -> int:
        name, value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= largest:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; it must be a whole number from 1 to {largest}"
            )
        return value

    def number(self, key: str, default: float) -> float:
        name, value = self._get(key, default)
        # Comparing also turns NaN away, which Python's JSON reader lets in.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; it must be a number from 0 to below 1"
            )
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        name, value = self._get(key, default)
        if not isinstance(value, bool):
            raise CheckpointError(f"config.json: {name} is {value!r}; it must be true or false")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str) -> str:
        name, value = self._get(key, default)
        if value not in allowed:
            raise CheckpointError(
                f"config.json: {name} is {value!r}; supported are {', '.join(allowed)}"
            )
        return str(value)

    def unsupported(self, key: str, allowed: tuple[Any, ...]) -> None:
        name, value = self._get(key)
        if value not in allowed:
            raise CheckpointError(f"config.json: {name} is {value!r}, which no builder supports")
