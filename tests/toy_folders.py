"""Toy checkpoints: Hugging Face folders with random weights and the tokeniser of `toys`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import toys

from tfedge.data.texts import Texts

LABELS = toys.LABELS
ENTITIES = toys.ENTITIES
# What most tests convert: shorter than the toys' 20 positions, longer than any toy text.
LENGTH = 16


def config(architecture: str = "bert", small: bool = False, **changes: Any) -> dict[str, Any]:
    """A configuration of `cases.CONFIGS` with the toys' vocabulary.

    Args:
        small: whether it has one layer, for tests that need no second one.
    """
    content = {**cases.CONFIGS[architecture], "vocab_size": len(toys.VOCABULARY)}
    if small:
        content["n_layers" if "n_layers" in content else "num_hidden_layers"] = 1
        if "num_feedforward_networks" in content:
            content["num_feedforward_networks"] = 2
    return {**content, **changes}


def write_folder(
    folder: Path,
    architecture: str = "bert",
    task: str = "text-classification",
    labels: Sequence[str] = LABELS,
    seed: int = 1,
    **changes: Any,
) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json of `config`."""
    content = config(architecture, **changes)
    cases.random_checkpoint(folder, content, task, seed, len(labels))
    content = cases.hf_config(content, task, len(labels))
    content["id2label"] = {str(index): label for index, label in enumerate(labels)}
    content["label2id"] = {label: index for index, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").write_bytes(toys.tokenizer_json())
    # No architecture's own class, which would make the tokeniser of that architecture.
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


def sentences(count: int = 40) -> Texts:
    """Short texts, half of them with a good word and half with a bad one, labelled accordingly."""
    texts, labels = [], []
    for index in range(count):
        good = index % 2 == 0
        word = (toys.GOOD if good else toys.BAD)[index // 2 % 3]
        name = toys.NAMES[index % 3 % 2]
        texts.append(
            (
                f"the film is {word}",
                f"{name} was {word} .",
                f"{word} , the film was {word} ?",
                f"where is the {word} film",
            )[index // 6 % 4]
        )
        labels.append(LABELS[good])
    return Texts(texts, labels, "toy sentences")


def write_sentences(path: Path, count: int = 40) -> Path:
    """`sentences` as a TSV file."""
    texts = sentences(count)
    rows = zip(texts.texts, texts.labels or [], strict=True)
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return path


def give_types(folder: Path) -> Path:
    """Has the tokeniser of a toy give its model token types, which that of the toys' class does not."""
    settings = {
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
