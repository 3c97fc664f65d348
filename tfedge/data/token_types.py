"""Which token types two texts have, and tokenisers without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, processors

from tfedge.architectures.fields import read_json
from tfedge.errors import CheckpointError
from tfedge.models.folder import TOKENIZER_SETTINGS
from tfedge.notes import note

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TYPED_BEFORE = "AlbertTokenizer"  # the class that has lost them


def has_types(folder: Path, found: PreTrainedTokenizerBase) -> bool:
    """Whether two texts have types: those that transformers 5 alone leaves out, and not the folder,
    models were trained with, as version 4 gives them."""
    if "token_type_ids" in found.model_input_names:
        return True
    path = folder / TOKENIZER_SETTINGS
    settings = read_json(path) if path.is_file() else {}
    is_told = isinstance(settings, dict) and "model_input_names" in settings
    if is_told or not type(found).__name__.startswith(_TYPED_BEFORE):
        return False
    note(
        f"{folder}: two texts have token types, as transformers 4 gives them and 5 does not; "
        f'"model_input_names": ["input_ids", "attention_mask"] in {TOKENIZER_SETTINGS} leaves them out'
    )
    return True


def without_types(tokenizer: Tokenizer, folder: str | Path) -> Tokenizer:
    """The same with the type 0 for all tokens: transformers then gives the model none.

    Raises CheckpointError where they are no part of a template.
    """
    _frame_by_template(tokenizer)
    content = json.loads(tokenizer.to_str())
    frame = json.dumps(content["post_processor"])
    content["post_processor"] = json.loads(
        frame, object_hook=lambda item: {**item, **({"type_id": 0} if "type_id" in item else {})}
    )
    found = Tokenizer.from_str(json.dumps(content))
    if any(found.encode("a", "a").type_ids):
        raise CheckpointError(
            f"{folder} has a tokeniser that gives token types ({content['post_processor']['type']}), "
            "which model_input_names in tokenizer_config.json leaves out: name token_type_ids there, "
            "or take a TemplateProcessing without them"
        )
    return found


def _frame_by_template(tokenizer: Tokenizer) -> None:
    """Puts a template in place of a `BertProcessing`, which has no types to change."""
    frame = json.loads(tokenizer.to_str())["post_processor"]
    if frame and frame["type"] == "BertProcessing":
        first, end = frame["cls"], frame["sep"]
        single = [first[0], "$A", end[0]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single, [*single, "$B", end[0]], [tuple(first), tuple(end)]
        )
