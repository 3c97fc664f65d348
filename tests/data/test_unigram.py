"""Unigram tokenisers as SentencePiece's, and forms of tokenisers that no board runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
import unigram
from tokenizers import Tokenizer

from tfedge.data.tokenizer import encode, load_tokenizer
from tfedge.errors import CheckpointError
from tfedge.runtime.tokenizer import TextEncoder

# Bert's own settings, as they stand beside the Unigram of published multilingual MiniLMs.
BERTS: dict[str, Any] = {
    **{"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None},
    **{"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
    **{"mask_token": "<mask>", "tokenize_chinese_chars": True, "model_max_length": 512},
}
KINDS: Mapping[str, tuple[str, Sequence[str], str | None]] = {
    "xlm-roberta": ("xlm-roberta", unigram.SPECIAL, "XLMRoberta"),
    "xlm-roberta, no class": ("xlm-roberta", unigram.SPECIAL, None),
    "camembert": ("camembert", unigram.CAMEMBERT, "Camembert"),
    "camembert, no class": ("camembert", unigram.CAMEMBERT, None),
    "multilingual-e5": ("bert", unigram.SPECIAL, "XLMRoberta"),
}


def _folder(path: Path, model_type: str, **settings: Any) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    if settings:
        (path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_unigrams_are_carried_to_the_board(tmp_path: Path, kind: str) -> None:
    model_type, special, named = KINDS[kind]
    made = unigram.tokenizer(special)
    carried = load_tokenizer(unigram.write(_folder(tmp_path, model_type), special, named), 120)
    # The table of characters and the blanks of Metaspace, seen by a board.
    board = TextEncoder(carried.to_str().encode(), 32)
    plain, odd = "the film is a...", "the\u00a0ﬁlm\u200bis  a…"
    tokens = board.encode(odd).tokens
    assert tokens == board.encode(plain).tokens == made.encode(odd).tokens
    assert "".join(tokens) == "<s>▁the▁film▁is▁a...</s>" and "<unk>" not in tokens
    assert board.encode("e\u0301").tokens[2] == "é" == board.encode("é").tokens[2]
    assert board.pad_id == 1


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_have_two_separators_and_one_type(tmp_path: Path, kind: str) -> None:
    model_type, special, named = KINDS[kind]
    carried = load_tokenizer(unigram.write(_folder(tmp_path, model_type), special, named), 120)
    encoded = TextEncoder(carried.to_str().encode(), 32, pairs=True).encode("who", "ada was")
    tokens = [token if token.startswith(("<", "</")) else "." for token in encoded.tokens]
    frame = [
        token for index, token in enumerate(tokens) if token != tokens[index - 1] or "<" in token
    ]
    assert frame == ["<s>", ".", "</s>", "</s>", ".", "</s>"]
    ends = [encoded.ids[0], encoded.ids[-1]]
    assert ends == [special.index("<s>"), special.index("</s>")]
    assert set(encoded.type_ids) == {0}


@pytest.mark.parametrize("settings", [BERTS, {}], ids=["BertTokenizer", "no class"])
def test_a_unigram_under_bert_is_read_as_it_is(
    tmp_path: Path, settings: Mapping[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """As paraphrase-multilingual-MiniLM-L12-v2 is published: transformers 5 makes a WordPiece of it
    that knows no word, version 4 takes the file."""
    folder = _folder(tmp_path, "bert", **settings)
    made = unigram.tokenizer()
    made.save(str(folder / "tokenizer.json"))
    carried = load_tokenizer(folder, 120)
    texts = ["the ﬁlm is good", "ada was bad ."]
    ours = [ids.tolist() for ids in encode(carried, texts, 16)]
    assert ours == [encoding.ids for encoding in made.encode_batch(texts)]
    assert unigram.SPECIAL.index("<unk>") not in ours[0]
    told = capsys.readouterr().err
    assert "tokenizer.json is a Unigram" in told and "PreTrainedTokenizerFast" in told


def test_other_kinds_of_tokenizer_json_are_read_as_they_are(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "roberta")  # of which transformers 5 makes a BPE
    (folder / "tokenizer.json").write_bytes(toys.tokenizer_json())
    (ids,) = encode(load_tokenizer(folder), ["good film"], 16)
    made = Tokenizer.from_str(toys.tokenizer_json().decode())
    assert ids.tolist() == made.encode("good film").ids


def _refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(folder, 120)
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    return message


@pytest.mark.parametrize("name", ["sentencepiece.bpe.model", "spiece.model"])
def test_a_model_of_sentencepiece_alone(tmp_path: Path, name: str) -> None:
    folder = _folder(tmp_path, "xlm-roberta", tokenizer_class="XLMRobertaTokenizer")
    (folder / name).write_bytes(b"\n\x0e\n\x05<unk>")
    message = _refusal(folder)
    assert f"in {name} alone, a model of SentencePiece" in message
    assert "save_pretrained" in message and "sentencepiece and protobuf are installed" in message
    unigram.write(folder)
    assert load_tokenizer(folder, 120).get_vocab_size() > 20


@pytest.mark.parametrize("named", ["PhobertTokenizer", None])
def test_phoberts_has_no_fast_form(tmp_path: Path, named: str | None) -> None:
    folder = _folder(tmp_path, "roberta", **({"tokenizer_class": named} if named else {}))
    (folder / "vocab.txt").write_text("the 10\nfi@@ 5\nlm 4\n")
    (folder / "bpe.codes").write_text("f i 10\nt h 9\n")
    message = _refusal(folder)
    assert "bpe.codes" in message and "no fast form" in message
    assert "FacebookAI/xlm-roberta-base" in message and "tfedge finetune" in message


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta", "camembert"])
def test_files_of_another_class_make_no_tokeniser(tmp_path: Path, model_type: str) -> None:
    """transformers then makes one of the special tokens alone, and says nothing."""
    folder = _folder(tmp_path, model_type)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in toys.VOCABULARY))
    assert "knows no word" in _refusal(folder)


def test_more_tokens_than_embeddings(tmp_path: Path) -> None:
    folder = unigram.write(_folder(tmp_path, "xlm-roberta"))
    with pytest.raises(CheckpointError, match="but word embeddings for 20"):
        load_tokenizer(folder, 20)
    assert isinstance(encode(load_tokenizer(folder, 120), ["a"], 8)[0], np.ndarray)
