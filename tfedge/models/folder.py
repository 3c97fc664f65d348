"""Which files make up a checkpoint: what is downloaded, copied along, and hashed.

A folder of sentence-transformers has `modules.json`, a list of modules that run one after the other,
each with a folder:

    [{"path": "", "type": "...Transformer"}, {"path": "1_Pooling", "type": "...Pooling"},
     {"path": "2_Normalize", "type": "...Normalize"}]

The Transformer is the Hugging Face folder itself, or one inside it (`0_Transformer`); a StaticEmbedding
in its place has no config.json. Every path below is the one that a file has, or would have, in a copy
whose encoder is in the folder itself.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tfedge import files
from tfedge.architectures.fields import read_json
from tfedge.errors import CheckpointError
from tfedge.show.numbers import some

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
PREPROCESSOR = "preprocessor_config.json"
TOKENIZER_SETTINGS = "tokenizer_config.json"
# Of sentence-transformers: the Transformer's own settings, and those of all modules together.
TRANSFORMER_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
# The modules that make of a text what the others go on with.
STATIC = "StaticEmbedding"
_ENCODERS = ("Transformer", STATIC)
_WEIGHTS_INDEX = "model.safetensors.index.json"
# What turns texts or images into inputs.
_INPUTS = (
    PREPROCESSOR,
    TOKENIZER,
    TOKENIZER_SETTINGS,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",  # of SentencePiece
)
# Of a module's folder: a Pooling has the first alone, a Dense both.
# What a Pooling's config.json calls the channels that it reads.
_POOLED = ("word_embedding_dimension", "embedding_dimension")
_MODULE = ("*.json", "*.safetensors")
# What says that a SetFit classifier has its head in a file of its own, and what holds it.
_SETFIT = ("config_setfit.json", "model_head.pkl")
# An adapter of peft, which is nothing without the model that it is for.
_ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER = (_ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
# What tfedge keeps for the weights beside it, and for no others.
_DECISIONS = "tfedge_*.json"


def download_patterns() -> list[str]:
    """What to download of a repository; of weights only safetensors, so no pickle ever arrives.

    Some is not read, and only says that there is what cannot be."""
    transformer = (CONFIG, "*.safetensors", _WEIGHTS_INDEX, *_INPUTS, *TRANSFORMER_SETTINGS)
    modules = [f"[0-9]_*/{name}" for name in (*transformer, *_MODULE)]
    return [*transformer, MODULES, PROMPTS, _SETFIT[0], _ADAPTER_CONFIG, *modules]


def refuse_adapter(folder: Path) -> None:
    """Raises CheckpointError where a folder holds an adapter, which changes the weights of a model."""
    if found := _matching(folder, *_ADAPTER):
        raise CheckpointError(
            f"{folder} holds an adapter ({', '.join(found)}), which is not read: merge it into its "
            "model where peft is installed, PeftModel.from_pretrained(model, folder).merge_and_unload()"
            ".save_pretrained(another), and give that folder"
        )


def head_files(encoder: Path) -> list[str]:
    """The files beside a checkpoint that tell of a head of SetFit's, which is not read."""
    return list(_matching(encoder, *_SETFIT) | _matching(modules_root(encoder), *_SETFIT))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors with an encoder's weights: one, or all the shards that the index names;
    raises CheckpointError where there are none (only a pickle, say), or a shard is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / _WEIGHTS_INDEX
    if index.is_file():
        content = read_json(index)
        names = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(names, dict) or not all(map(files.is_name, names.values())):
            raise CheckpointError(
                f"{index} is not an index of shards: its weight_map must give the name of a file "
                "beside it for each tensor"
            )
        paths = [folder / name for name in sorted(set(names.values()))]
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            raise CheckpointError(f"{index} names shards that are missing: {some(absent, 5)}")
        return paths
    if (folder / "pytorch_model.bin").exists():
        raise CheckpointError(
            f"{folder} has its weights in pytorch_model.bin, a pickle, which can run any code when "
            "opened. Convert it once where torch is installed and the file is trusted: "
            "AutoModel.from_pretrained(folder).save_pretrained(folder, safe_serialization=True); "
            "on the hub, look for a revision refs/pr/N that adds model.safetensors"
        )
    raise CheckpointError(
        f"{folder} has no {WEIGHTS}; a checkpoint needs its weights as safetensors"
    )


def modules_of(folder: Path) -> list[tuple[str, str]]:
    """Kind and subfolder of each module; none where there is no `modules.json`.

    Raises:
        CheckpointError: `modules.json` cannot be understood, or names a folder outside of its own.
    """
    path = folder / MODULES
    if not path.is_file():
        return []
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CheckpointError(f"{path} holds no list of modules")
    found = []
    for item in content:
        kind = str(item.get("type", "")).split(".")[-1]
        name = item.get("path") or ("1_Pooling" if kind == "Pooling" else "")
        if name == "." and kind in _ENCODERS:  # as Model2Vec writes it
            name = ""
        if name and not _is_within(folder, name):
            raise CheckpointError(f"{path}: the path {name!r} is not the name of a folder in it")
        found.append((kind, name))
    return found


def _is_within(folder: Path, name: object) -> bool:
    """Whether a folder of that name, if there is one, lies in `folder`: a link may lead elsewhere."""
    return files.is_name(name) and (folder / str(name)).resolve().parent == folder.resolve()


def transformer_folder(folder: Path) -> Path:
    """Where the encoder of a folder is: in the folder itself, or where `modules_of` says."""
    if not (folder / CONFIG).is_file():
        for kind, path in modules_of(folder):
            if kind in _ENCODERS:
                return folder / path
    return folder


def modules_root(encoder: Path) -> Path:
    """The folder with the `modules.json` of an encoder: its own, or the one around it."""
    if not (encoder / MODULES).is_file():
        around = encoder.resolve().parent
        name = encoder.resolve().name
        if any((kind, name) in modules_of(around) for kind in _ENCODERS):
            return around
    return encoder


def files_of(encoder: Path) -> dict[str, Path]:
    """Everything that a checkpoint consists of, its weights included, by the place in a copy.

    `encoder` is as `transformer_folder` gives it. Raises CheckpointError where there are no weights,
    or `modules.json` cannot be understood.
    """
    weights = {path.name: path for path in weight_files(encoder)}
    own = _matching(encoder, CONFIG, _WEIGHTS_INDEX, _DECISIONS, *_INPUTS)
    return weights | own | _modules(encoder)


def copy_inputs(source: Path, folder: Path) -> None:
    """Copies what turns texts or images into inputs from an encoder's folder to another one."""
    _copy(_matching(source, *_INPUTS), folder)


def copy_rest(source: Path, folder: Path, width: int | None = None) -> None:
    """Copies what is neither weights nor config.json; the copy has its encoder in the folder itself.

    Args:
        width: channels of its hidden states, where these may be others than the source's.
    """
    modules = _modules(source)
    _copy(_matching(source, *_INPUTS) | modules, folder)
    if MODULES in modules and modules_root(source) != source:
        listed = json.loads(modules[MODULES].read_bytes())
        for module, (kind, _) in zip(listed, modules_of(modules_root(source)), strict=True):
            if kind in _ENCODERS:
                module["path"] = ""
        files.write_json(folder / MODULES, listed)
    for kind, name in modules_of(folder) if width is not None else ():
        path = folder / name / CONFIG
        content = read_json(path) if kind == "Pooling" and path.is_file() else None
        if isinstance(content, dict):
            changed = {**content, **{key: width for key in _POOLED if key in content}}
            if changed != content:
                files.write_json(path, changed)


def keep_others(old: Path, new: Path) -> None:
    """Copies what lies in a folder and is no part of a checkpoint to the one that is to replace it."""
    try:
        own = set(files_of(old).values())
    except CheckpointError:  # none is there
        own = set()
    for path in old.rglob("*"):
        place = new / path.relative_to(old)
        if path.is_file() and path not in own and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)


def _modules(encoder: Path) -> dict[str, Path]:
    """The files of sentence-transformers, by their place in a copy; none of a plain encoder."""
    root = modules_root(encoder)
    # The Transformer's own settings may be in either place; those in its folder come first.
    found = _matching(root, MODULES, PROMPTS, *TRANSFORMER_SETTINGS)
    found |= _matching(encoder, *TRANSFORMER_SETTINGS)
    for kind, name in modules_of(root):
        if kind not in _ENCODERS and name:
            found |= {
                f"{name}/{file}": path for file, path in _matching(root / name, *_MODULE).items()
            }
    return found


def _matching(folder: Path, *patterns: str) -> dict[str, Path]:
    found = {path.name: path for pattern in patterns for path in folder.glob(pattern)}
    return {name: path for name, path in found.items() if path.is_file()}


def _copy(found: dict[str, Path], folder: Path) -> None:
    for place, path in found.items():
        if path.resolve() != (folder / place).resolve():
            with files.atomic_path(folder / place) as temporary:
                shutil.copyfile(path, temporary)
