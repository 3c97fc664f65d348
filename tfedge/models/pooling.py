"""What a sentence-transformers folder says of its modules: how tokens become one embedding.

A folder has `modules.json`, a list of modules that run one after the other, each with a folder:

    [{"path": "", "type": "...Transformer"}, {"path": "1_Pooling", "type": "...Pooling"},
     {"path": "2_Normalize", "type": "...Normalize"}]

The Transformer is the Hugging Face folder itself, or one inside it (`0_Transformer`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfedge import files
from tfedge.errors import CheckpointError

MEAN = "mean"
CLS = "cls"
_SETTINGS = "sentence_bert_config.json"
_PROMPTS = "config_sentence_transformers.json"
# The flags of a Pooling's config.json; newer ones have a name, or several, in `pooling_mode`.
_FLAGS = {
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_cls_token": CLS,
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_SUFFIX_PROMPT = " of texts with the prompt "


def transformer_folder(folder: Path) -> Path:
    """Where the encoder of a sentence-transformers folder is; `folder` itself where it is no other.

    Raises:
        CheckpointError: `modules.json` cannot be understood.
    """
    if (folder / "config.json").is_file():
        return folder
    for kind, path in _modules(folder):
        if kind == "Transformer" and path:
            return folder / path
    return folder


def normalizes_embeddings(folder: Path) -> bool:
    """Whether sentence embeddings of a checkpoint are to have length 1.

    A folder without `modules.json` is a plain encoder: its embeddings are normalised, so that the
    dot product of two is their cosine.

    Raises:
        CheckpointError: `modules.json` cannot be understood.
    """
    kinds = [kind for kind, _ in _modules(_root(folder))]
    return not kinds or "Normalize" in kinds


def embedding_length(folder: Path) -> int | None:
    """The tokens at which sentence-transformers cuts a text, or None where nothing says it.

    Raises:
        CheckpointError: the number is none.
    """
    # Beside the encoder's weights, as it is the Transformer's setting.
    path = folder / _SETTINGS
    length = _object(path).get("max_seq_length") if path.is_file() else None
    if length is None:
        return None
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise CheckpointError(f"{path}: max_seq_length is {length!r}; it must be a whole number")
    return length


def pooling_of(folder: Path) -> str:
    """How a checkpoint makes an embedding of its tokens: `mean`, `cls`, or another way in words.

    Nothing is refused here, as a classifier may be made of any such folder; see `check_pooling`.

    Raises:
        CheckpointError: a file cannot be understood.
    """
    root = _root(folder)
    modules = _modules(root)
    if not modules:
        return MEAN
    kinds = [kind for kind, _ in modules]
    path = next((path for kind, path in modules if kind == "Pooling"), "1_Pooling")
    found = _mode(root / path / "config.json")
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        found = f"{found} in the modules {', '.join(kinds)}"
    settings = _object(root / _PROMPTS) if (root / _PROMPTS).is_file() else {}
    prompts, name = settings.get("prompts"), settings.get("default_prompt_name")
    if name is not None:
        prompt = prompts.get(name, name) if isinstance(prompts, dict) else name
        found = f"{found}{_SUFFIX_PROMPT}{prompt!r} before them"
    return found


def check_pooling(pooling: str) -> None:
    """Refuses what no graph here computes.

    Args:
        pooling: as `pooling_of` gives it.

    Raises:
        CheckpointError: it is neither `mean` nor `cls`.
    """
    if pooling in (MEAN, CLS):
        return
    hint = "take another checkpoint"
    if _SUFFIX_PROMPT in pooling:
        hint = (
            f"remove default_prompt_name from its {_PROMPTS} and put the prompt before each text "
            "yourself, in calibration too"
        )
    raise CheckpointError(
        f"the checkpoint's sentence embeddings are the {pooling}; only mean and cls pooling, with or "
        f"without Normalize behind it, can be converted: {hint}"
    )


def copy_pooling(source: Path, folder: Path) -> None:
    """Copies what a sentence-transformers folder says of its modules, where it says anything.

    In the copy the encoder is in the folder itself.
    """
    root = _root(source)
    modules = _modules(root)
    if not modules:
        return
    for name in (_SETTINGS, _PROMPTS):
        for place in (source, root):
            if (place / name).is_file():
                files.write_bytes(folder / name, (place / name).read_bytes())
                break
    for kind, path in modules:
        config = root / path / "config.json"
        if kind != "Transformer" and path and config.is_file():
            files.write_bytes(folder / path / "config.json", config.read_bytes())
    content = (root / "modules.json").read_bytes()
    if root != source:
        listed = json.loads(content)
        for module, (kind, _) in zip(listed, modules, strict=True):
            if kind == "Transformer":
                module["path"] = ""
        content = json.dumps(listed, indent=2).encode()
    files.write_bytes(folder / "modules.json", content)


def _root(folder: Path) -> Path:
    """The folder with the `modules.json` of an encoder: its own, or the one around it."""
    if not (folder / "modules.json").is_file():
        around = folder.resolve().parent
        if ("Transformer", folder.resolve().name) in _modules(around):
            return around
    return folder


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Kind and subfolder of each module; none where there is no `modules.json`."""
    path = folder / "modules.json"
    if not path.is_file():
        return []
    content = _read(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CheckpointError(f"{path} holds no list of modules")
    found = []
    for item in content:
        kind = str(item.get("type", "")).split(".")[-1]
        name = str(item.get("path") or ("1_Pooling" if kind == "Pooling" else ""))
        if name and Path(name).name != name:
            raise CheckpointError(f"{path}: the path {name!r} is not the name of a folder in it")
        found.append((kind, name))
    return found


def _mode(path: Path) -> str:
    """The pooling of a Pooling module; the mean where it has no file."""
    content = _object(path) if path.is_file() else {}
    named = content.get("pooling_mode")
    if named is not None:
        return "+".join(str(item) for item in (named if isinstance(named, list) else [named]))
    defaults = {"pooling_mode_mean_tokens": True}
    return "+".join(
        mode for flag, mode in _FLAGS.items() if content.get(flag, defaults.get(flag, False))
    )


def _object(path: Path) -> dict[str, Any]:
    content = _read(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a JSON object")
    return content


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
