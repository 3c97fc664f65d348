"""What MediaPipe's TextClassifier and TextEmbedder ask of a model, told before it is converted.

After https://github.com/google-ai-edge/mediapipe, tasks/cc/components/processors
(text_preprocessing_graph.cc, classification_postprocessing_graph.cc,
embedding_postprocessing_graph.cc) and calculators/tensor/bert_preprocessor_calculator.cc. The
metadata are the same for all files, see `tfedge.tflite.tflite_metadata`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer

from tfedge import tasks
from tfedge.errors import InputError
from tfedge.quantize.prepare import Shape
from tfedge.show.numbers import some

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Modes whose outputs are integers: MediaPipe takes uint8, which TFLite makes no more.
_INTEGER_OUTPUTS = ("int8",)


def check_mediapipe(
    shape: Shape, quantization: str, inputs: Sequence[str], tokenizer: Tokenizer
) -> None:
    """Refuses what MediaPipe would refuse, or would answer otherwise than tfedge-infer; raises
    InputError with all the reasons, and what to give instead."""
    reasons = []
    if not tasks.find(shape.task).in_mediapipe:
        known = " and ".join(task.name for task in tasks.every() if task.in_mediapipe)
        reasons.append(f"it has no task for {shape.task}, only for {known}")
    if quantization in _INTEGER_OUTPUTS:
        reasons.append(
            f"it reads no outputs of {quantization}; leave out --quant, or give int8-float-io, which "
            "is the same with outputs in float"
        )
    if shape.buckets:
        reasons.append(
            f"it takes files of one graph, not of {len(shape.buckets) + 1}; give --buckets none"
        )
    if set(inputs) != set(INPUTS):
        reasons.append(
            f"its preprocessor fills {len(INPUTS)} inputs and this encoder has {len(inputs)} "
            f"({', '.join(inputs)}), as DistilBERT does; take a BERT or a MobileBERT"
        )
    if reason := _tokenizer(tokenizer):
        reasons.append(reason)
    if reasons:
        raise InputError(f"MediaPipe could not run this: {'; '.join(reasons)}")


def _tokenizer(tokenizer: Tokenizer) -> str | None:
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("type") != "WordPiece" or model.get("continuing_subword_prefix") != "##":
        return "it tokenises with WordPiece (##) alone, and this tokeniser is another"
    if tokenizer.encode("").tokens != ["[CLS]", "[SEP]"]:
        return "it puts [CLS] and [SEP] around a text, and this tokeniser does not"
    if tokenizer.truncation:
        return "it cuts a text at its end, and this tokeniser at its beginning"
    normalizer = tokenizer.normalizer
    if normalizer is None or normalizer.normalize_str("A") != "a":
        return "it lower-cases texts, and this tokeniser does not: take an uncased model"
    added = tokenizer.get_added_tokens_decoder().values()
    if names := [token.content for token in added if token.content not in model["vocab"]]:
        return (
            f"it knows no tokens beside WordPiece's, and this tokeniser has added {some(names, 5)}"
        )
    return None
