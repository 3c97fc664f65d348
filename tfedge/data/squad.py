"""Reads questions and answers as SQuAD 1.1 and 2.0 have them (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfedge.data.values import check_values
from tfedge.errors import InputError

SUFFIX = ".json"


def squad_rows(path: Path, content: str) -> Iterator[dict[str, Any]]:
    """A row a question: `question`, `context`, and `answers` with `text` and `answer_start`, lists;
    empty ones of a question that cannot be answered.

    Raises InputError where the file is another kind of JSON.
    """
    check_values(content, str(path))
    try:
        articles = json.loads(content)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield _row(paragraph["context"], asked)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not JSON as SQuAD's, with data, paragraphs, qas ({type(error).__name__}: "
            f"{error}); give other data as .jsonl, an object a line"
        ) from error


def _row(context: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    answers = [] if asked.get("is_impossible") else asked["answers"]
    found = {key: [answer[key] for answer in answers] for key in ("text", "answer_start")}
    return {"question": asked["question"], "context": context, "answers": found}
