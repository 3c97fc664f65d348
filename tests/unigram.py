r"""Small Unigram tokenisers as SentencePiece makes them, with XLM-RoBERTa's or CamemBERT's tokens.

The table of characters is one of SentencePiece's own, of six rules in place of nmt_nfkc's 240,000
bytes:

    printf 'FF21\t41\n65 301\tE9\nFB01\t66 69\nA0\t20\n2026\t2E 2E 2E\n200B\t20\n' > rules.tsv
    SentencePieceTrainer.train(normalization_rule_tsv="rules.tsv", ...)

of sentencepiece 0.2.3, and `normalizer_spec.precompiled_charsmap` of the model that it writes.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import toy_folders
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

# Full-width A to A, e with a combining accent to é, the ligature fi to fi, the blank that does not
# break to a blank, an ellipsis to three full stops, and the blank without width to one with.
CHARSMAP = zlib.decompress(
    base64.b64decode(
        "eNot0wWsV2UcBuCPC2NuCAMJgZE6aS7dJaJId3dLSKcIeFFguEsq3T26u7ukQ7obBQSUVOD5M8/27D3b7+ycb+d7vx"
        "AvhDAqTmhdPG44FKLCwLQhJAghZkbCELliYhJHhdgiwSTELP5//oH7mebxZSIPJSExSfmI5CTjY1KQipRsPhsVUkuv"
        "CGlITzoykoFP+YTPmLcihMwyE1nJQnaykZMc5CKaPOQmH3kpQH4KURDLD4UpRlFKUJxSlKQ0n1OGL/iKL/maspSnHB"
        "WpQGUqUZUqVKcaNalBbWpRlzrUpx4NaUBjGtGUJjSnGS1pQWta8Q1taEdbOtCejnxLZzrRlS50pxs96UFvevEdffie"
        "vvSnHz8wgIGRjeYnfmQwg7iuG0PkzwwllkerQxguhzGSEYyOVIhf+YWxjGE845jIBCYzialMYTrTmMkMZjOLucxh54"
        "d6IBcwn0UsZAmLWcZSVCUsZxUrWYNlhnWsZQPr2cRGtkS6yDa2soPt7Ip8kz3sZh97OcB+fuMghznEUY5wnGOc5ASn"
        "OcUZfuccZ7nAeS5xkStc5hpXuRH559ziJne4zT3u8gf3ecCfkb3gIY/5i6c84R/+5jnPeMkLXvOK//iXt7x5f/aio6"
        "Odgjbtwq4F4R0szY/H"
    )
)
# By their ids; of CamemBERT the first ones are fairseq's, and those that count stand behind them.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
CAMEMBERT = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")
# ALBERT's, who cuts pieces as XLM-RoBERTa does, but of small letters without accents.
ALBERT = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
SIZE = 120  # at most; the toys' texts have fewer pieces


def tokenizer(
    special: Sequence[str] = SPECIAL, texts: Sequence[str] = (), size: int = SIZE
) -> Tokenizer:
    """Trained anew each time, always the same; by default of the toys' texts; `<mask>` is last."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(CHARSMAP), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=size - 1, show_progress=False, special_tokens=list(special), unk_token="<unk>"
    )
    made.train_from_iterator(texts or toy_folders.sentences(40).texts, trainer)
    content = json.loads(made.to_str())
    content["model"]["vocab"].append(["<mask>", 0.0])
    content["model"]["unk_id"] = special.index("<unk>")
    made = Tokenizer.from_str(json.dumps(content))
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, made.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    return made


def albert(texts: Sequence[str] = ()) -> Tokenizer:
    """As `tokenizer`, with ALBERT's tokens, normaliser and template."""
    made = Tokenizer(models.Unigram())
    small = (normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase())
    quotes = (normalizers.Replace("``", '"'), normalizers.Replace("''", '"'))
    made.normalizer = normalizers.Sequence([*quotes, *small, normalizers.Precompiled(CHARSMAP)])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE, show_progress=False, special_tokens=list(ALBERT), unk_token="<unk>"
    )
    made.train_from_iterator(texts or toy_folders.sentences(40).texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def write_albert(folder: Path, texts: Sequence[str] = (), **settings: Any) -> Path:
    """Writes ALBERT's tokenizer.json, and tokenizer_config.json with `settings`."""
    albert(texts).save(str(folder / "tokenizer.json"))
    roles = {"bos": "[CLS]", "eos": "[SEP]", "cls": "[CLS]", "sep": "[SEP]", "unk": "<unk>"}
    named = {f"{role}_token": token for role, token in {**roles, "pad": "<pad>"}.items()}
    content = {"tokenizer_class": "AlbertTokenizer", "mask_token": "[MASK]", **named, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write(folder: Path, special: Sequence[str] = SPECIAL, kind: str | None = "XLMRoberta") -> Path:
    """Writes tokenizer.json, and tokenizer_config.json as transformers does.

    Args:
        kind: class of the tokeniser, without `Tokenizer`; None leaves it to the configuration.
    """
    tokenizer(special).save(str(folder / "tokenizer.json"))
    roles = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "unk": "<unk>"}
    settings = {f"{role}_token": token for role, token in {**roles, "pad": "<pad>"}.items()}
    settings |= {"mask_token": "<mask>", "model_max_length": 512}
    if kind:
        settings["tokenizer_class"] = f"{kind}Tokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
