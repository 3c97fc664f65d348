"""TFLite Metadata: what other readers (MediaPipe Tasks, Netron, Android's ML binding) know of a model.

No light, maintained package writes them: tflite-support 0.4 wants protobuf < 4, mediapipe brings OpenCV
and sounddevice. So they are written here, with `flatbuffers`, after
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from tfedge import __version__
from tfedge.runtime import bundle
from tfedge.runtime.image_settings import ImageSettings

METADATA_NAME = "TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"

_UNLABELLED = ("pred_boxes", "embedding")  # outputs whose channels no labels name
# Input of a tfedge model -> the name by which MediaPipe's BERT preprocessor looks for it, description.
_INPUTS = {
    "input_ids": ("ids", "Vocabulary numbers of the word pieces."),
    "attention_mask": ("mask", "1 for a word piece, 0 for padding."),
    "token_type_ids": ("segment_ids", "0 in the first text, 1 in the second one."),
    "asked": ("asked", "The position of the mask that is asked, at each place."),
    "pixel_values": ("image", "Red, green and blue of 0 to 255; the model normalises them itself."),
}
_TOKENISER = "Tokeniser, for Hugging Face tokenizers."
# Parser versions that brought BertTokenizerOptions and input_process_units, and all the rest.
_PARSER_WITH_TOKENIZER = "1.1.0"
_PARSER_WITHOUT = "1.0.0"

# Enumerations of metadata_schema.fbs.
_TYPE_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_TYPE_VOCABULARY = 5  # AssociatedFileType.VOCABULARY
_CONTENT_FEATURE = 1  # ContentProperties.FeatureProperties
_CONTENT_IMAGE = 2  # ContentProperties.ImageProperties
_COLOR_RGB = 1  # ColorSpaceType.RGB
_OPTIONS_NORMALIZATION = 1  # ProcessUnitOptions.NormalizationOptions
_OPTIONS_BERT_TOKENIZER = 4  # ProcessUnitOptions.BertTokenizerOptions

# Tables of metadata_schema.fbs: the name of each and its fields in order, as far as they are used. A
# union has two fields, its type and its value.
_TABLES = {
    name: fields
    for name, *fields in map(
        str.split,
        """\
ModelMetadata name description version subgraph_metadata author license associated_files \
    min_parser_version
SubGraphMetadata name description input_tensor_metadata output_tensor_metadata associated_files \
    input_process_units
TensorMetadata name description dimension_names content process_units stats associated_files
AssociatedFile name description type
Content content_properties_type content_properties
FeatureProperties
ImageProperties color_space default_size
ImageSize width height
Stats max min
NormalizationOptions mean std
ProcessUnit options_type options
BertTokenizerOptions vocab_file
""".splitlines(),
    )
}

# A table of the metadata: its name in `_TABLES` and its fields. Strings become strings, numbers
# bytes (enumerations) and those of numpy 32 bits, lists vectors of tables, arrays vectors of floats.
_Table = tuple[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class BundleSpec:
    """What a bundle says of its model; see `tfedge.runtime.bundle.Manifest` for the shared fields."""

    name: str
    task: str
    signatures: Mapping[str, int]  # key -> sequence length; every one must be in the model
    runtimes: Sequence[str]
    quantization: str
    tokenizer_json: bytes | None = None  # the checkpoint's `tokenizer.json`, of a model of texts
    image: ImageSettings | None = None  # how images are read, of a model of images
    labels: Sequence[str] | None = None
    vocab: Sequence[str] | None = None  # WordPiece's in order, None for other tokenisers
    normalize: bool = False
    logit_bias: float | None = None


def model_metadata(spec: BundleSpec, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The metadata of a model, to be put into its buffer `METADATA_NAME`, whose first subgraph has
    inputs and outputs of these names, in its order."""
    subgraph: dict[str, Any] = {
        "input_tensor_metadata": [
            _tensor(*_INPUTS.get(item, (item, "")), image=spec.image) for item in inputs
        ],
        "output_tensor_metadata": [
            _tensor(item, "", None if item in _UNLABELLED else spec.labels) for item in outputs
        ],
    }
    if spec.vocab is not None:
        vocabulary = _file(bundle.VOCABULARY_FILE, "WordPiece vocabulary.", _TYPE_VOCABULARY)
        options: _Table = ("BertTokenizerOptions", {"vocab_file": [vocabulary]})
        subgraph["input_process_units"] = [_unit(_OPTIONS_BERT_TOKENIZER, options)]
    fields = {
        "name": spec.name,
        "description": f"{spec.task}, made by tfedge.",
        "version": __version__,
        "subgraph_metadata": [("SubGraphMetadata", subgraph)],
        "associated_files": [
            _file(bundle.MANIFEST_FILE, "What tfedge's runtime needs to know."),
            *([] if spec.image else [_file(bundle.TOKENIZER_FILE, _TOKENISER)]),
        ],
        "min_parser_version": _PARSER_WITHOUT if spec.vocab is None else _PARSER_WITH_TOKENIZER,
    }
    builder = flatbuffers.Builder(1024)
    builder.Finish(_add_table(builder, ("ModelMetadata", fields)), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(
    name: str,
    description: str,
    labels: Sequence[str] | None = None,
    image: ImageSettings | None = None,
) -> _Table:
    fields: dict[str, Any] = {"name": name, "description": description}
    kind: int = _CONTENT_FEATURE
    properties: _Table = ("FeatureProperties", {})
    if image is not None:
        size = {"width": np.uint32(image.width), "height": np.uint32(image.height)}
        kind = _CONTENT_IMAGE
        properties = (
            "ImageProperties",
            {"color_space": _COLOR_RGB, "default_size": ("ImageSize", size)},
        )
        fields |= _PIXELS
    content = {"content_properties_type": kind, "content_properties": properties}
    fields["content"] = ("Content", content)
    if labels is not None:
        fields["associated_files"] = [
            _file(bundle.LABELS_FILE, "Labels, a line each.", _TYPE_LABELS)
        ]
    return "TensorMetadata", fields


def _unit(kind: int, options: _Table) -> _Table:
    return "ProcessUnit", {"options_type": kind, "options": options}


_ZERO, _ONE = np.zeros(1, np.float32), np.ones(1, np.float32)
# Of pixels as they are: what normalises them is in the model.
_PIXELS: Mapping[str, Any] = {
    "process_units": [
        _unit(_OPTIONS_NORMALIZATION, ("NormalizationOptions", {"mean": _ZERO, "std": _ONE}))
    ],
    "stats": ("Stats", {"max": 255 * _ONE, "min": _ZERO}),
}


def _file(name: str, description: str, kind: int = 0) -> _Table:
    return "AssociatedFile", {"name": name, "description": description, "type": kind}


def _add_table(builder: Any, table: _Table) -> int:
    """Writes a table and all below it; returns its offset."""
    kind, fields = table
    # Children come first: a flatbuffer is written from its leaves to its root.
    offsets = {
        name: _add_child(builder, value)
        for name, value in fields.items()
        if not isinstance(value, (int, np.uint32))
    }
    builder.StartObject(len(_TABLES[kind]))
    for slot, name in enumerate(_TABLES[kind]):
        if name in offsets:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[name], 0)
        elif isinstance(fields.get(name), np.uint32):
            builder.PrependUint32Slot(slot, int(fields[name]), 0)
        elif name in fields:
            builder.PrependByteSlot(slot, fields[name], 0)
    return int(builder.EndObject())


def _add_child(builder: Any, value: str | np.ndarray | _Table | list[_Table]) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    if isinstance(value, tuple):
        return _add_table(builder, value)
    offsets = [_add_table(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
