"""Toy models of a few kilobytes, converted and bundled as real ones are.

`python tests/toys.py FOLDER` makes them. It is a program, because TensorFlow must not share a
process with tflite-runtime, which the tests load.

The weights are set by hand: a word's embedding says how good it is, so that the answers are known.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

LENGTH = 16
SHORT_LENGTH = 8
LABELS = ("negative", "positive")
ENTITIES = ("O", "NAME")
GOOD = ("good", "fine", "great")
BAD = ("bad", "awful", "dull")
NAMES = ("ada", "bob")
OTHERS = ("a", "film", "the", "is", "was", "born", "in", "where", "who", "?", ".", ",")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz0123456789")
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(*GOOD, *BAD, *NAMES, *OTHERS[1:]),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
)
WIDTH = 4  # an embedding: goodness, whether a name, 1, noise

# What the toys are called -> task, labels.
TASKS = {
    "classifier": ("text-classification", LABELS),
    "int8": ("text-classification", LABELS),
    "int8_output": ("text-classification", LABELS),
    "buckets": ("text-classification", LABELS),
    "two_inputs": ("text-classification", LABELS),
    "int8_divide": ("text-classification", LABELS),
    "lacking": ("text-classification", LABELS),
    "future": ("text-classification", LABELS),
    "embedder": ("sentence-embedding", None),
    "tagger": ("token-classification", ENTITIES),
    "reader": ("question-answering", None),
    "filler": ("fill-mask", None),
    "detector": ("object-detection", ("red", "blue")),
}
SIDE = 8  # pixels of the detector's images
BOTH_RUNTIMES = ("tflite-runtime", "litert")


def tokenizer_json() -> bytes:
    """A WordPiece tokeniser of `VOCABULARY`, lower-casing, as BERT's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", numbers["[CLS]"]), ("[SEP]", numbers["[SEP]"])],
    )
    return tokenizer.to_str().encode()


def _embeddings() -> Any:
    import numpy as np

    table = np.zeros((len(VOCABULARY), WIDTH), np.float32)
    table[:, 2] = 1
    table[:, 3] = np.random.default_rng(0).normal(size=len(VOCABULARY))
    for words, column, value in ((GOOD, 0, 4), (BAD, 0, -4), (NAMES, 1, 4)):
        for word in words:
            table[VOCABULARY.index(word), column] = value
    return table


def _halves() -> Any:
    """1 where pixels count for each box of the detector, float32 (2, SIDE, SIDE, 1)."""
    import numpy as np

    counts = np.ones((2, SIDE, SIDE, 1), np.float32)
    counts[1, :, SIDE // 2 :] = 0
    return counts


def _functions() -> dict[str, Any]:
    """Name -> function of (input_ids, attention_mask, token_type_ids), int32 (1, length) each."""
    import tensorflow as tf

    table = tf.constant(_embeddings())
    to_labels = tf.constant([[-1.0, 1.0], [0, 0], [0, 0], [0, 0]])  # (WIDTH, labels)
    to_entities = tf.constant([[0.0, 0], [-1, 1], [2, -2], [0, 0]])  # (WIDTH, entities)

    halves = tf.constant(_halves())

    def hidden(input_ids: Any, attention_mask: Any) -> Any:
        mask = tf.cast(attention_mask, tf.float32)[:, :, None]
        return tf.gather(table, input_ids) * mask  # (1, length, WIDTH)

    def classify(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        noise = tf.cast(token_type_ids, tf.float32)[:, :, None]
        summed = tf.reduce_sum(hidden(input_ids, attention_mask) + noise, 1)
        return {"logits": tf.matmul(summed, to_labels)}

    def classify_two(input_ids: Any, attention_mask: Any) -> dict[str, Any]:
        return {"logits": tf.matmul(tf.reduce_sum(hidden(input_ids, attention_mask), 1), to_labels)}

    def divide(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        logits = classify(input_ids, attention_mask, token_type_ids)["logits"]
        return {"logits": logits / tf.reduce_sum(tf.cast(attention_mask, tf.float32), 1)}

    def lacking(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        logits = classify(input_ids, attention_mask, token_type_ids)["logits"]
        return {"logits": tf.raw_ops.Betainc(a=[[1.0, 1]], b=[[1.0, 1]], x=logits)}

    def embed(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        noise = tf.cast(token_type_ids, tf.float32)[:, :, None]
        return {"embedding": tf.reduce_mean(hidden(input_ids, attention_mask) + noise, 1)}

    def tag(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        noise = tf.cast(token_type_ids, tf.float32)[:, :, None]
        return {"logits": tf.matmul(hidden(input_ids, attention_mask) + noise, to_entities)}

    def read(input_ids: Any, attention_mask: Any, token_type_ids: Any) -> dict[str, Any]:
        states = hidden(input_ids, attention_mask)
        # Names answer; in the context only, which is what the second text's type says. Without one
        # [CLS] is likeliest, which means that nothing does.
        types = tf.cast(token_type_ids, tf.float32)
        names = states[:, :, 1] * types + 2 * (1 - types)
        return {"start_logits": names, "end_logits": names}

    def fill(
        input_ids: Any, attention_mask: Any, token_type_ids: Any, asked: Any
    ) -> dict[str, Any]:
        # A word as good or bad as the words before the mask.
        before = tf.cast(tf.range(tf.shape(input_ids)[1])[None] < asked, tf.float32)[:, :, None]
        noise = tf.cast(token_type_ids, tf.float32)[:, :, None]
        summed = tf.reduce_sum((hidden(input_ids, attention_mask) + noise) * before, 1)
        return {"logits": tf.matmul(summed[:, :2], table[:, :2], transpose_b=True)}

    def detect(pixel_values: Any) -> dict[str, Any]:
        # Of the whole image and of its left half, what it is on average.
        parts = tf.concat((pixel_values, pixel_values), 0) * halves
        means = tf.reduce_sum(parts, (1, 2)) / tf.constant([[SIDE**2], [SIDE**2 / 2]], tf.float32)
        colours = tf.stack((means[:, 0] - 128, means[:, 2] - 128, tf.zeros(2)), 1) / 8
        boxes = tf.constant([[[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 1]]], tf.float32)
        return {"logits": colours[None], "pred_boxes": boxes + 0 * means[None, :, :1]}

    return {
        "detect": detect,
        "fill": fill,
        "classify": classify,
        "classify_two": classify_two,
        "divide": divide,
        "lacking": lacking,
        "embed": embed,
        "tag": tag,
        "read": read,
    }


def _convert(
    folder: Path, function: Any, lengths: dict[str, int], *, int8: bool = False, **options: Any
) -> bytes:
    """Converts `function`, with one signature for each of `lengths`."""
    import inspect

    import numpy as np
    import tensorflow as tf

    names = list(inspect.signature(function).parameters)
    module = tf.Module()
    module.functions = {
        key: tf.function(
            function,
            input_signature=[
                tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32, name)
                if name == "pixel_values"
                else tf.TensorSpec((1, length), tf.int32, name)
                for name in names
            ],
        )
        for key, length in lengths.items()
    }
    signatures = {key: fn.get_concrete_function() for key, fn in module.functions.items()}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=list(signatures)
    )
    if int8:
        # Weights quantised per channel crash tflite-runtime 2.14 on 64-bit ARM.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        rng = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            {
                "input_ids": rng.integers(len(VOCABULARY), size=(1, LENGTH), dtype=np.int32),
                "attention_mask": np.ones((1, LENGTH), np.int32),
                "token_type_ids": np.zeros((1, LENGTH), np.int32),
            }
            for _ in range(100)
        )
    for name, value in options.items():
        setattr(converter, name, value)
    return bytes(converter.convert())


def _models(scratch: Path) -> dict[str, tuple[bytes, dict[str, int]]]:
    """Name of a toy -> .tflite without metadata, lengths of its signatures."""
    import tensorflow as tf

    functions = _functions()
    one = {"serving_default": LENGTH}
    two = {"short": SHORT_LENGTH, "serving_default": LENGTH}
    table = {
        "classifier": ("classify", one, {}),
        "int8": ("classify", one, {"int8": True}),
        "int8_output": ("classify", one, {"int8": True, "inference_output_type": tf.int8}),
        "buckets": ("classify", two, {}),
        "two_inputs": ("classify_two", one, {}),
        "int8_divide": ("divide", one, {"int8": True}),
        "lacking": ("lacking", one, {"allow_custom_ops": True}),
        "embedder": ("embed", one, {}),
        "tagger": ("tag", one, {}),
        "filler": ("fill", one, {}),
        "reader": ("read", one, {}),
        "detector": ("detect", one, {}),
    }
    models = {
        name: (_convert(scratch / name, functions[function], lengths, **options), lengths)
        for name, (function, lengths, options) in table.items()
    }
    models["future"] = (_of_the_future(models["classifier"][0]), one)
    return models


def _of_the_future(model: bytes) -> bytes:
    """The model with versions of its operations that no runtime knows yet."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    for operation in tree.operatorCodes:
        operation.version = 99
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main(folder: Path) -> None:
    """Writes NAME.tflite (bundles), NAME.bare.tflite (without metadata)."""
    from tfedge.runtime.image_settings import ImageSettings
    from tfedge.tflite.metadata import write_bundle
    from tfedge.tflite.tflite_metadata import BundleSpec

    for name, (model, lengths) in _models(folder / "scratch").items():
        task, labels = TASKS[name]
        (folder / f"{name}.bare.tflite").write_bytes(model)
        reads_images = task == "object-detection"
        square, plain = (SIDE, SIDE), ((0.0,) * 3, (1.0,) * 3)
        spec = BundleSpec(
            name=name,
            task=task,
            labels=labels,
            signatures=lengths,
            runtimes=BOTH_RUNTIMES,
            quantization="int8" if "int8" in name else "float32",
            tokenizer_json=None if reads_images else tokenizer_json(),
            vocab=None if reads_images else VOCABULARY,
            image=ImageSettings(*square, square, "bilinear", *plain) if reads_images else None,
        )
        write_bundle(model, spec, folder / f"{name}.tflite")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(Path(sys.argv[1]))
