"""The tokeniser of static embeddings, as model2vec and sentence-transformers read it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from tfedge.errors import CheckpointError
from tfedge.models.folder import TOKENIZER
from tfedge.models.static import static_source


def unframed_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer.json of a folder without special tokens around a text, without padding and
    truncation; None of a folder that holds no static embeddings.

    Raises CheckpointError where it is missing. What is in it has been tried by `check_tokenizer`.
    """
    if static_source(folder) is None:
        return None
    path = folder / TOKENIZER
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; static embeddings have their tokens in it")
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.post_processor = None
    return tokenizer
