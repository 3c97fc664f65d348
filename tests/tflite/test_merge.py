"""Models converted one by one, in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from program import each_runtime

from tfedge.errors import InputError
from tfedge.measure.board import Board
from tfedge.tflite.flatbuffer import merge, parse, text


def _contents(toys: Path, *names: str) -> list[bytes]:
    return [(toys / f"{name}.bare.tflite").read_bytes() for name in names]


def _run(content: bytes, key: str, index: int, runtime: str, folder: Path) -> np.ndarray:
    """The first output of a signature for three texts."""
    tree, _ = parse(content)
    path = folder / "model.tflite"
    path.write_bytes(content)
    signature = tree.signatureDefs[index]
    ids = np.random.default_rng(0).integers(0, 60, (3, 16)).astype(np.int32)
    inputs = {name: np.ones_like(ids) for name in ("attention_mask", "token_type_ids")}
    indices = [signature.outputs[0].tensorIndex]
    entry = (key, signature.subgraphIndex)
    (output,) = Board(runtime=runtime).tensors(path, entry, {"input_ids": ids, **inputs}, indices)
    return output


@each_runtime
def test_each_signature_computes_what_its_model_did(
    toys: Path, runtime: str, tmp_path: Path
) -> None:
    """An integer model and two of float, whose operators and weights differ."""
    contents = _contents(toys, "int8", "classifier", "embedder")
    merged = merge(dict(zip(("first", "second", "third"), contents, strict=True)))
    for index, key in enumerate(("first", "second", "third")):
        alone = _run(contents[index], "serving_default", 0, runtime, tmp_path)
        together = _run(merged, key, index, runtime, tmp_path)
        np.testing.assert_array_equal(together, alone)


def test_equal_weights_are_there_once(toys: Path) -> None:
    (content,) = _contents(toys, "classifier")
    merged, _ = parse(merge({"a": content, "b": content}))
    assert [text(item.signatureKey) for item in merged.signatureDefs] == ["a", "b"]
    first, second = (
        [
            tensor.buffer
            for tensor in graph.tensors
            if merged.buffers[tensor.buffer].data is not None
        ]
        for graph in merged.subgraphs
    )
    assert first == second != []


def test_models_of_several_graphs_are_refused(toys: Path) -> None:
    (buckets,) = _contents(toys, "buckets")
    with pytest.raises(InputError, match="'a' has 2 graphs and 2 signatures"):
        merge({"a": buckets})
    with pytest.raises(InputError, match="no models"):
        merge({})
