"""Many graphs in LiteRT, which share what kernels lay out of their weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import forge
import numpy as np
import pytest

from tfedge.quantize.weights import round_nearest
from tfedge.runtime import interpreter
from tfedge.runtime.bundle import MANIFEST_FILE, Bundle, read_bundle
from tfedge.runtime.compiled import Compiled, compiled
from tfedge.runtime.ends import read_ends
from tfedge.runtime.interpreter import Model
from tfedge.tflite.edit import halve_weights
from tfedge.tflite.flatbuffer import pack, parse
from tfedge.tflite.metadata import write_bundle
from tfedge.tflite.tflite_metadata import BundleSpec
from tfedge.tflite.weights import quantize_weights

pytest.importorskip("ai_edge_litert")


def _rounded(content: bytes) -> bytes:
    return quantize_weights(content, lambda _, values: round_nearest(values, 8))


def _reversed(content: bytes) -> bytes:
    """The same graphs, whose signatures list what they take in another order than the graphs do."""
    model, _ = parse(content)
    for signature in model.signatureDefs:
        signature.inputs.reverse()
    return pack(model)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "float32": bytes,
    "reversed": _reversed,
    "float16": halve_weights,
    "dynamic": _rounded,
}


def _bundle(toys: Path, folder: Path, form: str = "float32") -> Bundle:
    """The toy of two graphs in another form."""
    manifest = read_bundle(toys / "buckets.tflite").manifest
    spec = BundleSpec(
        name="toy",
        task=manifest.task,
        labels=manifest.labels,
        signatures=manifest.signatures,
        runtimes=("litert",),
        quantization="float32" if form == "reversed" else form,
        tokenizer_json=read_bundle(toys / "buckets.tflite").tokenizer_json,
    )
    path = folder / "model.tflite"
    write_bundle(FORMS[form]((toys / "buckets.bare.tflite").read_bytes()), spec, path)
    return read_bundle(path)


def _answers(model: Model, bundle: Bundle) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    found = []
    for key, length in [*bundle.manifest.signatures.items()] * 2:
        inputs = {name: np.ones((1, length), np.int32) for name in bundle.manifest.inputs}
        inputs["input_ids"] = random.integers(0, 60, (1, length))
        inputs["attention_mask"][:, -2:] = 0
        found.append(model.run(key, inputs)["logits"])
    return found


@pytest.mark.parametrize("form", FORMS)
def test_answers_of_the_interpreter(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    bundle = _bundle(toys, tmp_path, form)
    fast = Model(bundle, "litert", num_threads=1)
    assert isinstance(fast._interpreter, Compiled)
    answers = _answers(fast, bundle)
    fast.close()
    monkeypatch.setattr(interpreter, "compiled", lambda *_: None)
    slow = Model(bundle, "litert", num_threads=1)
    assert not isinstance(slow._interpreter, Compiled)
    np.testing.assert_array_equal(answers, _answers(slow, bundle))
    assert len({answer.tobytes() for answer in answers}) > 2


def test_weights_are_laid_out_once(toys: Path, tmp_path: Path) -> None:
    found = compiled(_bundle(toys, tmp_path), 1)
    assert found is not None
    assert "memfd:XNNPack" in Path("/proc/self/maps").read_text()


def test_details_are_those_of_the_interpreter(toys: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for name in ("int8_output", "buckets"):
        bundle = read_bundle(toys / f"{name}.tflite")
        model = Interpreter(bundle.path)
        for key, ends in read_ends(bundle.path, bundle.manifest.model_bytes).items():
            runner = model.get_signature_runner(key)
            sides = (runner.get_input_details(), runner.get_output_details())
            for ours, theirs in zip(ends, sides, strict=True):
                assert ours.keys() == theirs.keys()
                for item, detail in ours.items():
                    assert list(detail["shape"]) == list(theirs[item]["shape"])
                    assert detail["dtype"] == theirs[item]["dtype"]
                    assert detail["quantization"] == pytest.approx(theirs[item]["quantization"])


def test_what_cannot_share_is_left_to_the_interpreter(toys: Path, tmp_path: Path) -> None:
    """One graph, a file of before, and one that LiteRT does not load."""
    assert compiled(read_bundle(toys / "classifier.tflite"), 1) is None
    bundle = _bundle(toys, tmp_path)
    model, files = forge.split(Path(bundle.path).read_bytes())
    manifest = json.loads(files[MANIFEST_FILE])
    assert manifest.pop("cacheable") is True
    files[MANIFEST_FILE] = json.dumps(manifest).encode()
    before = tmp_path / "before.tflite"
    before.write_bytes(forge.join(model, files))
    assert compiled(read_bundle(before), 1) is None
    assert compiled(dataclasses.replace(bundle, path=str(tmp_path / "none.tflite")), 1) is None


def test_a_litert_without_such_a_cache(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfedge.runtime import compiled as module

    bundle = _bundle(toys, tmp_path)
    assert compiled(bundle, 1) is not None
    monkeypatch.setattr(module, "_FIRST", (9, 9))
    assert compiled(bundle, 1) is None
