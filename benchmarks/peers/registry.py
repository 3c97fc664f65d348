"""The peers: what each is called, what it needs, which modules make its files and answer with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.peers.export_mnn import VARIANT as MNN_VARIANT
from benchmarks.peers.export_onnx import variants as onnx_variants

# Makers of files: modules of this package, run by the peers' Python; PLAIN is the host's, as it
# needs TensorFlow. Each is `python -m MODULE SOURCE OUTPUT PEER.json --kind KIND ...`.
PLAIN = "benchmarks.plain"
_PACKAGE = "benchmarks.peers"
# What runs a .tflite is tfedge's own runtime.
TFLITE = "tflite"
# The Python that `make .venv-bench/.done` gives their packages.
PYTHON = ".venv-bench/bin/python"
# In place of names: all peers whose packages are there, those that fail left out.
INSTALLED = "installed"


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another way to run the same weights.

    Attributes:
        name: what a user calls it.
        what: one line for people.
        maker: the module that writes its files, as OUTPUT/KIND/VARIANT + suffix.
        kind: what the maker calls it.
        variants: the forms that its tools offer; the fastest one races.
        suffix: of its files; none for a form that is a folder.
        engine: what answers, `TFLITE` or the name of a module `run_ENGINE` of this package.
        packages: what pip must have installed, besides tfedge's base.
        source: the kind that `PLAIN` writes and the maker starts from, in place of the checkpoint.
    """

    name: str
    what: str
    maker: str
    kind: str
    variants: tuple[str, ...]
    suffix: str
    engine: str
    packages: tuple[str, ...]
    source: str | None = None

    @property
    def on_host(self) -> bool:
        """Whether the host's Python makes its files."""
        return self.maker == PLAIN


def _onnx(kind: str, what: str) -> Peer:
    return Peer(
        name=f"onnxruntime-{kind}",
        what=what,
        maker=f"{_PACKAGE}.export_onnx",
        kind=kind,
        variants=tuple(onnx_variants(kind)),
        suffix=".onnx",
        engine="onnx",
        packages=("torch", "transformers", "onnx", "onnxruntime"),
    )


def _mnn(kind: str, what: str, first: bool = False) -> Peer:
    return Peer(
        name=f"mnn-{kind}" + ("-first" if first else ""),
        what=what,
        maker=f"{_PACKAGE}.export_mnn" + ("_first" if first else ""),
        kind=kind,
        variants=(MNN_VARIANT,),
        suffix=".mnn",
        engine="mnn",
        packages=("torch", "transformers", "onnx", "onnxruntime", "MNN"),
    )


def _ctranslate2(kind: str, what: str) -> Peer:
    return Peer(
        name=f"ctranslate2-{kind}",
        what=what,
        maker=f"{_PACKAGE}.export_ctranslate2",
        kind=kind,
        variants=("model",),
        suffix="",
        engine="ctranslate2",
        packages=("torch", "transformers", "ctranslate2"),
    )


def _torch(kind: str, what: str) -> Peer:
    return Peer(
        name=f"torch-{kind}",
        what=what,
        maker=f"{_PACKAGE}.export_torch",
        kind=kind,
        variants=("eager", "script"),
        suffix=".pt",
        engine="torch",
        packages=("torch", "transformers"),
    )


def _openvino(kind: str, what: str, packages: Sequence[str] = ()) -> Peer:
    return Peer(
        name=f"openvino-{kind}",
        what=what,
        maker=f"{_PACKAGE}.export_openvino",
        kind=kind,
        variants=("model",),
        suffix="",
        engine="openvino",
        packages=("torch", "transformers", "openvino", *packages),
    )


def _plain(kind: str, what: str) -> Peer:
    return Peer(
        name=f"tflite-{kind}",
        what=what,
        maker=PLAIN,
        kind=kind,
        variants=("fixed", "lengths"),
        suffix=".tflite",
        engine=TFLITE,
        packages=("tensorflow", "ai-edge-litert"),
    )


def _quantizer(kind: str, what: str) -> Peer:
    return Peer(
        name=f"ai-edge-quantizer-{kind}",
        what=what,
        maker=f"{_PACKAGE}.quantize_tflite",
        kind=kind,
        variants=("lengths",),
        suffix=".tflite",
        engine=TFLITE,
        packages=("ai-edge-quantizer",),
        source="masked",
    )


_ALL = (
    _onnx("dynamic", "ONNX Runtime, quantize_dynamic: int8 weights"),
    _onnx("float", "ONNX Runtime, float32"),
    _mnn("dynamic", "MNN, int8 weights, activations quantised as they come"),
    _mnn("dynamic", "MNN, likewise, its last layer for [CLS] alone: BERT classifiers", first=True),
    _mnn("float", "MNN, float32"),
    _ctranslate2("dynamic", "CTranslate2, int8 weights, activations quantised as they come"),
    _ctranslate2("float", "CTranslate2, float32"),
    _torch("dynamic", "torch, quantize_dynamic: int8 weights of dense layers"),
    _torch("float", "torch, float32"),
    _plain("int8", "plain graph, Optimize.DEFAULT and a representative dataset, LiteRT"),
    _plain("dynamic", "plain graph, Optimize.DEFAULT alone, LiteRT"),
    _plain("float", "plain graph, float32, LiteRT"),
    _quantizer("int8", "ai-edge-quantizer, static int8 weights and activations, LiteRT"),
    _quantizer("dynamic", "ai-edge-quantizer, int8 weights, LiteRT"),
    _openvino("int8", "OpenVINO, nncf's static int8 for transformers", ("nncf",)),
    _openvino("float", "OpenVINO, float32"),
)
PEERS: dict[str, Peer] = {peer.name: peer for peer in _ALL}
