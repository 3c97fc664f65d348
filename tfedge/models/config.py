"""The configuration of an encoder, read from a Hugging Face `config.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.errors import CheckpointError, InputError
from tfedge.models.fields import Reader, read_object
from tfedge.models.pooling import CLS, MEAN, pooling_of

TEXT_TYPES = ("bert", "distilbert", "mobilebert")
IMAGE_TYPES = ("vit", "deit")
MODEL_TYPES = (*TEXT_TYPES, *IMAGE_TYPES)
ACTIVATIONS = ("gelu", "relu", "gelu_new")
NORMALISATIONS = ("layer_norm", "no_norm")

# The key of config.json under which layers that differ are described; see `_extension`.
EXTENSION = "tfedge"

# No published encoder comes near this; larger numbers are damage or an attack on memory.
LARGEST_DEPTH = 1_000
# A .tflite file ends at 2 GB, so not even at one byte a weight could a larger matrix be converted.
LARGEST_MATRIX = 2**31

# DeiT's heads on the class token and on the distillation token.
TWO_CLASSIFIERS = ("cls_classifier", "distillation_classifier")
_WITH_TEACHER = "ForImageClassificationWithTeacher"

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
    """Sizes and choices of a BERT-like encoder of texts, or of a ViT-like one of images.

    Attributes:
        model_type: one of `MODEL_TYPES`.
        head_size: width of one attention head. Usually `hidden_size / num_attention_heads`.
        layer_heads: attention heads of each layer where they differ from `num_attention_heads`.
        layer_neurons: feed-forward neurons of each layer where they differ from
            `intermediate_size`.
        embedding_size: width of the word embedding; differs from `hidden_size` in MobileBERT.
        intra_bottleneck_size: width inside MobileBERT's bottlenecks; `hidden_size` elsewhere.
        pooling: how tokens become a sentence embedding, see `tfedge.models.pooling`.
        image_size, patch_size: (height, width) in pixels; the tokens of an image are its patches.
        leading_tokens: the learned tokens before the patches, by Hugging Face's names.
        classifiers: the dense layers of a classifier, each of which reads a token of its own, from
            the first one on; the logits are their mean.
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
    # ViT and DeiT only.
    image_size: tuple[int, int] = (0, 0)
    patch_size: tuple[int, int] = (1, 1)
    leading_tokens: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ("classifier",)
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def heads(self, layer: int) -> int:
        """The attention heads of one layer."""
        return self.layer_heads[layer] if self.layer_heads else self.num_attention_heads

    def neurons(self, layer: int) -> int:
        """The neurons between the two dense layers of one layer's feed-forward network."""
        return self.layer_neurons[layer] if self.layer_neurons else self.intermediate_size

    @property
    def reads_images(self) -> bool:
        """Whether the input is an image, not a text."""
        return self.model_type in IMAGE_TYPES

    @property
    def patches(self) -> int:
        """The tokens that are patches of an image."""
        (height, width), (rows, columns) = self.image_size, self.patch_size
        return (height // rows) * (width // columns)

    def reads_first_token_only(self, task: str) -> bool:
        """Whether a task's head reads no tokens but the first, [CLS]; of a DeiT with two
        classifiers the first two."""
        embeds_first = task == "sentence-embedding" and self.pooling == CLS
        return task in ("text-classification", "image-classification") or embeds_first

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
    source = read_object(
        Path(folder) / "config.json",
        "a checkpoint is a folder with config.json, model.safetensors and tokenizer.json or vocab.txt "
        "(of images: preprocessor_config.json)",
    )
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
    if model_type in IMAGE_TYPES:
        return _image_encoder(source)
    read = Reader(source, _DISTILBERT_KEYS if model_type == "distilbert" else {})
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
    config["head_size"] = _head_size(config["intra_bottleneck_size"], num_attention_heads)
    if EXTENSION in source:
        config.update(_extension(source[EXTENSION], config))
    return EncoderConfig(**config)


def _head_size(width: int, heads: int) -> int:
    if width % heads:
        raise CheckpointError(
            f"config.json: {width} channels cannot be split into {heads} attention heads"
        )
    return width // heads


def _image_encoder(source: Mapping[str, Any]) -> EncoderConfig:
    """ViT (Dosovitskiy et al. 2021, arXiv:2010.11929) or DeiT (Touvron et al. 2021,
    arXiv:2012.12877), by the names and defaults of transformers."""
    read = Reader(source, {})
    read.unsupported("num_channels", (3, None))
    read.unsupported("qkv_bias", (True, None))
    image, patch = read.pair("image_size", 224), read.pair("patch_size", 16)
    if any(size % part for size, part in zip(image, patch, strict=True)):
        raise CheckpointError(
            f"config.json: an image of {image[0]} x {image[1]} pixels cannot be cut into patches of "
            f"{patch[0]} x {patch[1]}"
        )
    is_deit = source["model_type"] == "deit"
    leading = ("cls_token", "distillation_token") if is_deit else ("cls_token",)
    architectures = source.get("architectures")
    named = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    hidden_size = read.size("hidden_size", 768)
    heads = read.size("num_attention_heads", 12)
    tokens = (image[0] // patch[0]) * (image[1] // patch[1]) + len(leading)
    config: dict[str, Any] = {
        "vocab_size": 0,
        "hidden_size": hidden_size,
        "num_hidden_layers": read.size("num_hidden_layers", 12, largest=LARGEST_DEPTH),
        "intermediate_size": read.size("intermediate_size", 3072),
        "max_position_embeddings": tokens,
        "embedding_size": hidden_size,
        "intra_bottleneck_size": hidden_size,
    }
    _refuse_oversize(config)
    return EncoderConfig(
        **config,
        model_type=source["model_type"],
        num_attention_heads=heads,
        head_size=_head_size(hidden_size, heads),
        hidden_act=read.choice("hidden_act", ACTIVATIONS, "gelu"),
        layer_norm_eps=read.number("layer_norm_eps", 1e-12),
        hidden_dropout_prob=read.number("hidden_dropout_prob", 0.0),
        attention_probs_dropout_prob=read.number("attention_probs_dropout_prob", 0.0),
        image_size=image,
        patch_size=patch,
        leading_tokens=leading,
        classifiers=TWO_CLASSIFIERS if named.endswith(_WITH_TEACHER) else ("classifier",),
        source=dict(source),
    )


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


def _mobilebert(read: Reader, hidden_size: int) -> dict[str, Any]:
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


def check_reads_texts(config: EncoderConfig, stage: str) -> None:
    """Refuses what only models of texts can do.

    Args:
        stage: what is asked for, as the user calls it.

    Raises:
        InputError: the model reads images.
    """
    if config.reads_images:
        raise InputError(
            f"{stage} is for models of texts, and a {config.model_type} reads images; tfedge convert, "
            "eval, inspect, bench and export take it"
        )


def check_length(config: EncoderConfig, asked: object) -> None:
    """Refuses numbers of tokens of a model whose images always have the same.

    Args:
        asked: a number or several, false where nobody asks for any.

    Raises:
        InputError: the model reads images, and a number is asked for.
    """
    if config.reads_images and asked:
        raise InputError(
            f"an image of a {config.model_type} always has {config.max_position_embeddings} tokens; "
            "leave out --seq-len and --buckets"
        )


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
