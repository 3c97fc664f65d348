"""What a checkpoint's JSON says of its encoder: config.json, and sentence-transformers' files.

The latter tell how tokens become one embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge.architectures.base import ARCHITECTURES, EncoderConfig
from tfedge.architectures.fields import read_object
from tfedge.errors import CheckpointError
from tfedge.models.folder import (
    CONFIG,
    PROMPTS,
    STATIC,
    TOKENIZER_SETTINGS,
    TRANSFORMER_SETTINGS,
    modules_of,
    modules_root,
)
from tfedge.models.preprocessor import image_sides, made_sides
from tfedge.models.static import static_source
from tfedge.models.untyped import model_type_of
from tfedge.presets import Preset
from tfedge.tasks.sentence_embedding import CLS, MEAN, WITH_PROMPT

# The flags of a Pooling's config.json; newer ones have a name, or several, in `pooling_mode`.
_FLAGS = {
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_cls_token": CLS,
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# What makes an embedding of a text, with a Normalize behind it or without.
_POOLED = (["Transformer", "Pooling"], [STATIC])
_PAIRS = "tfedge_pairs"  # of config.json, beside what transformers reads
_UNTYPED = (
    ", and neither the class in its architectures nor the names of the weights tell which one it is: "
    "write it there"
)
_WHY = "it says how embeddings are made"
_MOSES = "its tokeniser follows Moses' rules in Python, which no board runs"
_CONVOLUTIONS = "its convolutions are not built here"
# Of models that are asked for, why they are not to be had.
_REFUSED = {
    "eurobert": "its norms take no mean out (RMSNorm), which the norms of the integer graph do",
    "new": "its code is not in transformers; where its weights are published again as gte, as "
    "alibaba-nlp-community/gte-multilingual-base, they are read",
    "convbert": "its convolutions over neighbouring tokens, which read padding too, are not built here",
    "flaubert": _MOSES,
    "siglip2": "images of any shape, cut into patches beforehand, are not built here; a siglip is "
    "read",
    "swinv2": "its scores are cosines, and a network makes what they get for places, which is not "
    "built here; a swin is read",
    **dict.fromkeys(("mobilevit", "mobilevitv2", "dinov3_convnext"), _CONVOLUTIONS),
    "segformer": "it labels pixels, and its convolutions are not built here",
    "xlm": _MOSES,
}
_LONGEST = 1 << 20  # tokens; more stand for no limit


def read_config(folder: str | Path) -> EncoderConfig:
    """Reads `folder/config.json`, and what sentence-transformers' files say of the pooling.

    Raises:
        CheckpointError: the file is missing, is no JSON object, or describes an unsupported model.
    """
    source = static_source(Path(folder))
    if source is None:
        source = read_object(
            Path(folder) / CONFIG,
            "a checkpoint is a folder with config.json, model.safetensors and tokenizer.json or "
            "vocab.txt (of images: preprocessor_config.json)",
        )
        source["model_type"] = model_type_of(Path(folder), source)
    config = dataclasses.replace(parse_config(source), pooling=pooling_of(Path(folder)))
    if config.architecture.reads == "images" and (sides := image_sides(folder)) is not None:
        return config.architecture.for_images(config, sides)
    return config


def preset_config(preset: Preset) -> EncoderConfig:
    """The encoder of a preset, as `read_config` reads one."""
    config = parse_config(preset.config)
    sides = made_sides(preset.preprocessor) if preset.preprocessor else None
    return config.architecture.for_images(config, sides) if sides else config


def of_pairs(config: EncoderConfig, pairs: bool) -> EncoderConfig:
    """A configuration that says whether the model has learned from pairs of texts."""
    source = {key: value for key, value in config.source.items() if key != _PAIRS}
    return dataclasses.replace(config, source=source | ({_PAIRS: True} if pairs else {}))


def is_of_pairs(config: EncoderConfig) -> bool:
    """Whether a model has learned from pairs of texts, as `of_pairs` has written."""
    return config.source.get(_PAIRS) is True


def parse_config(source: Mapping[str, Any]) -> EncoderConfig:
    """Turns the content of a `config.json` into an `EncoderConfig`; raises CheckpointError where a
    key is missing or holds a value that no builder supports."""
    kind = source.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        why = (
            f", which is refused: {_REFUSED[kind]}"
            if isinstance(kind, str) and kind in _REFUSED
            else ""
        )
        raise CheckpointError(
            f"config.json has model_type {kind!r}{why}; supported are {', '.join(ARCHITECTURES)} "
            "(TinyBERT and MiniLM are 'bert')" + (_UNTYPED if kind is None else "")
        )
    return ARCHITECTURES[kind].parse(source)


def normalizes_embeddings(folder: Path) -> bool:
    """Whether sentence embeddings of a checkpoint are to have length 1.

    Those of a plain encoder, without `modules.json`, are to: the dot product of two is their
    cosine. Model2Vec says it in config.json. Raises CheckpointError where that, or `modules.json`,
    cannot be understood.
    """
    if (static := static_source(folder)) is not None:
        return bool(static["normalize"])
    kinds = [kind for kind, _ in modules_of(modules_root(folder))]
    return not kinds or "Normalize" in kinds


def embedding_length(folder: Path) -> int | None:
    """The tokens at which sentence-transformers cuts a text, or None where nothing says it; raises
    CheckpointError where the number is none.

    Version 6 keeps `max_seq_length` as `model_max_length` of the tokeniser.
    """
    path, settings = _transformer_settings(folder)
    return _length(path, settings, "max_seq_length") or tokenizer_length(folder)


def text_length(folder: Path, is_embedding: bool) -> int | None:
    """The tokens at which sentence-transformers, or transformers, cuts a text, or None where nothing
    says it; raises CheckpointError where the number is none."""
    return embedding_length(folder) if is_embedding else tokenizer_length(folder)


def tokenizer_length(folder: Path) -> int | None:
    """The tokens at which transformers' tokeniser cuts a text, or None where nothing says it; raises
    CheckpointError where the number is none."""
    path = folder / TOKENIZER_SETTINGS
    settings = read_object(path, _WHY) if path.is_file() else {}
    return _length(path, settings, "model_max_length")


def _length(path: Path, settings: Mapping[str, Any], key: str) -> int | None:
    length = settings.get(key)
    # Where it has none, transformers writes a huge number.
    if length is None or (isinstance(length, int | float) and length > _LONGEST):
        return None
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise CheckpointError(f"{path}: {key} is {length!r}; it must be a whole number")
    return length


def cross_encoder_activation(folder: Path, config: EncoderConfig) -> str | None:
    """The class that sentence-transformers' CrossEncoder has behind the logits, or None where nothing
    says it; in a file of its own since version 6, in config.json before."""
    path = modules_root(folder) / PROMPTS
    settings = read_object(path, _WHY) if path.is_file() else {}
    older = config.source.get("sentence_transformers")
    named = (
        settings.get("activation_fn"),
        older.get("activation_fn") if isinstance(older, Mapping) else None,
        config.source.get("sbert_ce_default_activation_function"),
    )
    return next((str(name) for name in named if name), None)


def lowercases(folder: Path) -> bool:
    """Whether sentence-transformers makes small letters of a text first; raises CheckpointError where
    the setting is neither true nor false."""
    path, settings = _transformer_settings(folder)
    found = settings.get("do_lower_case", False)
    if not isinstance(found, bool):
        raise CheckpointError(f"{path}: do_lower_case is {found!r}; it must be true or false")
    return found


def _transformer_settings(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """The Transformer's own settings, of the first name that its file has; none of a plain encoder."""
    # Beside the encoder's weights.
    paths = [folder / name for name in TRANSFORMER_SETTINGS]
    path = next((path for path in paths if path.is_file()), paths[0])
    return path, read_object(path, _WHY) if path.is_file() else {}


def pooling_of(folder: Path) -> str:
    """How a checkpoint makes an embedding of its tokens: `mean`, `cls`, or another way in words.

    Nothing is refused here, as a classifier may be made of any such folder; see
    `tfedge.tasks.sentence_embedding.check_pooling`. Raises CheckpointError where a file cannot be
    understood.
    """
    root = modules_root(folder)
    modules = modules_of(root)
    if not modules:
        return MEAN
    kinds = [kind for kind, _ in modules]
    path = next((path for kind, path in modules if kind == "Pooling"), "1_Pooling")
    found = MEAN if STATIC in kinds else _mode(root / path / "config.json")
    if kinds[: len(kinds) - (kinds[-1] == "Normalize")] not in _POOLED:
        found = f"{found} in the modules {', '.join(kinds)}"
    settings = read_object(root / PROMPTS, _WHY) if (root / PROMPTS).is_file() else {}
    prompts, name = settings.get("prompts"), settings.get("default_prompt_name")
    if name is not None and not isinstance(name, str):
        raise CheckpointError(
            f"{root / PROMPTS}: default_prompt_name is {name!r:.80}; it must be the name of a prompt"
        )
    if name is not None:
        prompt = prompts.get(name, name) if isinstance(prompts, dict) else name
        found = f"{found}{WITH_PROMPT}{prompt!r} before them"
    return found


def _mode(path: Path) -> str:
    """The pooling of a Pooling module; the mean where it has no file."""
    content = read_object(path, _WHY) if path.is_file() else {}
    named = content.get("pooling_mode")
    if named is not None:
        return "+".join(str(item) for item in (named if isinstance(named, list) else [named]))
    return "+".join(mode for flag, mode in _FLAGS.items() if content.get(flag, mode == MEAN))
