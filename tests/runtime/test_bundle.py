"""Reading sound bundles."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import forge
import toys as toy_builder

from tfedge.runtime.bundle import LABELS_FILE, VOCABULARY_FILE, Manifest, read_bundle


def test_reads_what_was_written(toys: Path) -> None:
    bundle = read_bundle(toys / "buckets.tflite")
    manifest = bundle.manifest
    assert (manifest.name, manifest.task) == ("buckets", "text-classification")
    assert manifest.labels == toy_builder.LABELS
    assert manifest.signatures == {"short": 8, "serving_default": 16}
    assert manifest.max_length == 16
    assert set(manifest.inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert manifest.outputs == ("logits",)
    assert manifest.runtimes == toy_builder.BOTH_RUNTIMES
    assert json.loads(bundle.tokenizer_json) == json.loads(toy_builder.tokenizer_json())


def test_zip_tools_find_the_files(toys: Path) -> None:
    with zipfile.ZipFile(toys / "classifier.tflite") as archive:
        assert archive.testzip() is None
        labels = archive.read(LABELS_FILE).decode().splitlines()
        vocabulary = archive.read(VOCABULARY_FILE).decode().splitlines()
    assert tuple(labels) == toy_builder.LABELS
    assert tuple(vocabulary) == toy_builder.VOCABULARY


def test_compressed_files_are_read_too(toys: Path, tmp_path: Path) -> None:
    model, files = forge.split((toys / "classifier.tflite").read_bytes())
    path = tmp_path / "model.tflite"
    path.write_bytes(forge.join(model, files, zipfile.ZIP_DEFLATED))
    assert read_bundle(path).manifest == read_bundle(toys / "classifier.tflite").manifest


def test_manifest_survives_json(toys: Path) -> None:
    manifest = read_bundle(toys / "tagger.tflite").manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_free_form_fields_are_kept_and_unknown_ones_ignored(toys: Path) -> None:
    fields = json.loads(read_bundle(toys / "classifier.tflite").manifest.to_json())
    fields["extra"] = {"source": {"hash": "abc"}}
    fields["unknown"] = 1
    manifest = Manifest.from_json(json.dumps(fields).encode())
    assert manifest.extra == {"source": {"hash": "abc"}}
