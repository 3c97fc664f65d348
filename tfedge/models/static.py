"""What folders of static embeddings say of themselves.

Model2Vec writes config.json, model.safetensors with `embeddings` and tokenizer.json (persistence.py in
github.com/MinishLab/model2vec, 0.8); sentence-transformers' StaticEmbedding writes the last two alone,
with `embedding.weight`. Neither says how large the table is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.architectures.fields import read_object
from tfedge.architectures.static import Model2Vec, StaticEmbedding
from tfedge.errors import CheckpointError, InputError
from tfedge.models.folder import CONFIG, TOKENIZER, WEIGHTS, modules_of, modules_root
from tfedge.models.headers import shapes_of
from tfedge.runtime.bundle import MAX_ARCHIVE_BYTES  # which a tokenizer.json goes into

_MAPPING, _WEIGHTS = "mapping", "weights"
_NORMALIZE = "normalize"
_WHY = "it says whether embeddings are normalised"


def static_source(folder: Path) -> dict[str, Any] | None:
    """What config.json would say of the static embeddings in a folder; None where there are others, or
    no weights that can be read.

    Raises CheckpointError where a file of static embeddings cannot be understood.
    """
    shapes = _shapes(folder)
    if set(shapes) == {StaticEmbedding.table}:
        rows, width = _sides(folder, shapes[StaticEmbedding.table])
        return {
            "model_type": StaticEmbedding.model_type,
            "vocab_size": rows,
            "hidden_dim": width,
            _NORMALIZE: "Normalize" in [kind for kind, _ in modules_of(modules_root(folder))],
        }
    if Model2Vec.table not in shapes or set(shapes) - {Model2Vec.table, _MAPPING, _WEIGHTS}:
        return None
    config = read_object(folder / CONFIG, _WHY)
    normalize = config.get(_NORMALIZE, False)
    if not isinstance(normalize, bool):
        raise CheckpointError(
            f"{folder / CONFIG}: {_NORMALIZE} is {normalize!r:.80}; it must be true or false"
        )
    rows, width = _sides(folder, shapes[Model2Vec.table])
    return {
        **config,
        "model_type": Model2Vec.model_type,
        "vocab_size": (*shapes.get(_MAPPING, ()), rows)[0],
        "hidden_dim": width,
        _NORMALIZE: normalize,
        "unk_token_id": _unknown_id(folder / TOKENIZER),
    }


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights by name, none where there is not one file that can be read."""
    path = folder / WEIGHTS
    if not path.is_file():  # of a pipe too, which would be waited for
        return {}
    try:
        return shapes_of(path)
    except CheckpointError:
        return {}


def _sides(folder: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 2:
        raise CheckpointError(
            f"{folder / WEIGHTS}: the table of tokens is of shape {list(shape)}; it must have a row "
            "for each token"
        )
    return shape[0], shape[1]


def _unknown_id(path: Path) -> int | None:
    """The number of the token that Model2Vec leaves out: what the tokeniser's model calls unknown.

    A Unigram has one, but not under the name by which `StaticModel` asks for it.
    """
    try:
        content = json.loads(files.read_bytes(path, MAX_ARCHIVE_BYTES)) if path.is_file() else {}
    except (InputError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    model = content.get("model") if isinstance(content, dict) else None
    token = model.get("unk_token") if isinstance(model, Mapping) else None
    if token is None:
        return None
    assert isinstance(model, Mapping)
    vocabulary, added = model.get("vocab"), content.get("added_tokens") or []
    numbers = dict(vocabulary) if isinstance(vocabulary, Mapping) else {}
    numbers |= {item.get("content"): item.get("id") for item in added if isinstance(item, Mapping)}
    if not isinstance(found := numbers.get(token), int):
        raise CheckpointError(f"{path}: the unknown token {token!r:.80} has no number in it")
    return found
