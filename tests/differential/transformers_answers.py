"""What transformers and sentence-transformers make of drawn checkpoints, to be held against tfedge.

    python tests/differential/transformers_answers.py NAME FOLDER...

Writes NAME into every folder, where `drawn.Drawn.write` left a checkpoint: token ids, and the answers
of the tasks that this version has. Needs nothing of tfedge. Version 5 has no pipeline for question
answering; version 4 does that alone.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from tokenizers import normalizers
from transformers import AutoTokenizer, pipeline

IS_FOUR = transformers.__version__.startswith("4.")
LONGEST = 128  # what tfedge takes where nobody says a number
STRATEGIES = ("none", "simple", "first", "average", "max")
ZERO_SHOT: dict[str, dict[str, Any]] = {
    "one": {},
    "several": {"multi_label": True},
    "template": {"hypothesis_template": "It says {}, doesn't it?"},
}


def main(name: str, folders: list[Path]) -> None:
    """Answers all; what goes wrong is an answer too."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for folder in folders:
        try:
            found = _answers(folder, json.loads((folder / "job.json").read_text("utf-8")))
        except BaseException as error:  # tokenizers' panics are no Exceptions
            if isinstance(error, KeyboardInterrupt):
                raise
            found = {"error": f"{type(error).__name__}: {error}"}
        (folder / name).write_text(json.dumps(found), encoding="utf-8")


@torch.no_grad()
def _answers(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    items, task = job["items"], job["task"]
    encoder = folder / "0_Transformer"
    encoder = encoder if encoder.is_dir() else folder
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    result: dict[str, Any] = {"version": transformers.__version__}
    if task == "sentence-embedding":
        tokenizer = _cut_as_sentence_transformers(encoder, tokenizer)
    length = job["length"] or min(tokenizer.model_max_length, LONGEST)
    # Of a question and its context all, as the pipeline cuts windows by itself.
    is_cut = task != "question-answering"
    read = [_read(tokenizer, item, is_cut, length) for item in items]
    result["ids"], result["types"] = [ids for ids, _ in read], [types for _, types in read]
    if IS_FOUR and task == "question-answering":
        result["answers"] = _spans(folder, tokenizer, items, length)
    elif not IS_FOUR and task in _TASKS:
        result["answers"] = _TASKS[task](folder, tokenizer, items, length)
    return result


def _read(
    tokenizer: Any, item: Any, is_cut: bool, length: int | None
) -> tuple[list[int], list[int]]:
    """The ids of a text, and their types, zeros where there are none."""
    texts = [item] if isinstance(item, str) else item
    found = tokenizer(*texts, truncation=is_cut, max_length=length)
    ids: list[int] = found["input_ids"]
    return ids, found.get("token_type_ids") or [0] * len(ids)


def _cut_as_sentence_transformers(encoder: Path, tokenizer: Any) -> Any:
    """The tokeniser with the length, and the small letters, that sentence-transformers 6 gives it."""
    settings: dict[str, Any] = {}
    for path in encoder.glob("sentence_*_config.json"):
        settings = json.loads(path.read_text("utf-8"))
    length = settings.get("max_seq_length") or tokenizer.model_max_length
    tokenizer.model_max_length = min(length, LONGEST)
    backend = tokenizer.backend_tokenizer
    if settings.get("do_lower_case"):
        steps = [normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer else [])]
        backend.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _pipeline(task: str, folder: Path, tokenizer: Any) -> Any:
    options = {"torch_dtype" if IS_FOUR else "dtype": torch.float32}
    return pipeline(task, model=str(folder), tokenizer=tokenizer, device="cpu", **options)


def _scores(folder: Path, tokenizer: Any, items: list[Any], length: int) -> list[Any]:
    run = _pipeline("text-classification", folder, tokenizer)
    answers = []
    for item in items:
        asked = item if isinstance(item, str) else {"text": item[0], "text_pair": item[1]}
        found = run(asked, top_k=None, truncation=True, max_length=length)
        answers.append([[one["label"], one["score"]] for one in found])
    return answers


def _entities(folder: Path, tokenizer: Any, items: list[str], length: int) -> list[Any]:
    tokenizer.model_max_length = length
    run = _pipeline("token-classification", folder, tokenizer)
    answers = []
    for item in items:
        found: dict[str, Any] = {}
        for strategy in STRATEGIES:
            entities = run(item, aggregation_strategy=strategy)
            key = "entity" if strategy == "none" else "entity_group"
            found[strategy] = [[e["start"], e["end"], e[key], float(e["score"])] for e in entities]
        answers.append(found)
    return answers


def _spans(folder: Path, tokenizer: Any, items: list[list[str]], length: int) -> list[Any]:
    tokenizer.model_max_length = length
    run = _pipeline("question-answering", folder, tokenizer)
    answers = []
    for question, context in items:
        found: dict[str, Any] = {}
        for name, may_be_none in (("some", False), ("any", True)):
            best = run(
                question=question,
                context=context,
                handle_impossible_answer=may_be_none,
                max_seq_len=length,
                doc_stride=min(length // 2, 128),
            )
            found[name] = [best["answer"], best["start"], best["end"], float(best["score"])]
        answers.append(found)
    return answers


def _zero_shot(folder: Path, tokenizer: Any, items: list[list[str]], length: int) -> list[Any]:
    """Of texts, each with candidate labels, commas between them."""
    tokenizer.model_max_length = length
    run = _pipeline("zero-shot-classification", folder, tokenizer)
    answers = []
    for text, candidates in items:
        found: dict[str, Any] = {}
        for way, options in ZERO_SHOT.items():
            best = run(text, candidates, **options)
            found[way] = [*zip(best["labels"], map(float, best["scores"]), strict=True)]
        answers.append(found)
    return answers


def _embeddings(folder: Path, tokenizer: Any, items: list[str], length: int) -> list[Any]:
    del tokenizer
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
    )
    # One by one: padding is what MobileBERT reads beside the last token.
    most = max(length, LONGEST)
    model.max_seq_length = min(model.max_seq_length or most, most)
    vectors = np.asarray(model.encode(items, batch_size=1, show_progress_bar=False), np.float64)
    if not (folder / "modules.json").is_file():
        # Those of a plain encoder tfedge makes of length 1, by default.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [[float(f"{number:.8g}") for number in vector] for vector in vectors]


_TASKS: dict[str, Callable[..., list[Any]]] = {
    "text-classification": _scores,
    "token-classification": _entities,
    "sentence-embedding": _embeddings,
    "zero-shot-classification": _zero_shot,
}

if __name__ == "__main__":
    main(sys.argv[1], [Path(argument) for argument in sys.argv[2:]])
