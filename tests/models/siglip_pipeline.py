"""What transformers' zero-shot-image-classification pipeline answers for a toy SigLIP.

Run it where torch, transformers and sentencepiece are installed; it needs nothing of tfedge.

    python tests/models/siglip_pipeline.py FOLDER IMAGES NAMES

FOLDER gets the toy, whose tokeniser is trained here and gives the model the inputs NAMES, and
`answers.json`: for each of the files in IMAGES, the score of each of LABELS.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import cases
import sentencepiece
import tokenizers
import transformers
from tokenizers import normalizers, pre_tokenizers, processors
from transformers import SiglipTokenizer

LABELS = ("a cat", "Two DOGS, perhaps!", "stripes", "long " * 30)
TEMPLATE = "A photo of {}."
SETTINGS = {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": 24, "width": 24},
    "resample": 3,
}
_SENTENCES = [
    *("this is a photo of two dogs", "a cat across the blob", "a photo of stripes that go down"),
    *("perhaps a long walk", "the quick brown fox jumps over the lazy dog", "a blob of red"),
]


def write(folder: Path, names: list[str]) -> None:
    """The checkpoint and its tokeniser, in the form of sentencepiece and of tokenizers."""
    config = cases.parse("siglip.features")[0]
    tensors = cases.random_checkpoint(folder, config, cases.FEATURES, 3)
    tensors["logit_scale"][:] = 3.0  # so that labels differ by more than a rounding
    cases.write_checkpoint(folder, cases.hf_config(config, cases.FEATURES), tensors)
    (folder / "preprocessor_config.json").write_text(json.dumps(SETTINGS))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES * 20),
        model_writer=written,
        vocab_size=46,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path = folder / "spiece.model"
    path.write_bytes(written.getvalue())
    slow = SiglipTokenizer(str(path), model_input_names=names)
    slow.save_pretrained(folder)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    fast = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=pieces.unk_id()))
    fast.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", pieces.eos_id())]
    )
    fast.save(str(folder / "tokenizer.json"))


def main(folder: Path, images: Path, names: list[str]) -> None:
    write(folder, names)
    transformers.logging.set_verbosity_error()
    ask = transformers.pipeline(
        "zero-shot-image-classification",
        model=transformers.AutoModel.from_pretrained(folder),
        tokenizer=SiglipTokenizer.from_pretrained(folder),
        image_processor=transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"),
    )
    answers = {}
    for path in sorted(images.rglob("*.png")):
        found = ask(str(path), candidate_labels=[*LABELS], hypothesis_template=TEMPLATE)
        answers[str(path)] = {item["label"]: item["score"] for item in found}
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
