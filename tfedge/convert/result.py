"""What `tfedge convert` reports, field by field as its JSON has it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence

from tfedge import __version__
from tfedge.edgetpu.result import Delivery
from tfedge.inspect.contents import Tensor
from tfedge.quantize.mixed import Precision
from tfedge.records import FLAT


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the weights come from."""

    origin: str
    weights_sha256: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Operations that change their precision together, in the order of choice.

    Attributes:
        harm: what they lose in integers.
        added_minsn: million instructions that another precision costs.
    """

    group: str
    precision: str
    harm: float
    added_minsn: float


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """How `--quant auto` chose.

    Attributes:
        simulated_drop: in points.
        added_minsn: of all groups that are taken out of the integers.
    """

    board: str
    simulated_drop: float
    added_minsn: float
    groups: Sequence[Group]


@dataclasses.dataclass(frozen=True)
class Choices:
    """What was chosen of a mode that has no ranges."""

    ranges: Mapping[str, Sequence[float]] | None


@dataclasses.dataclass(frozen=True)
class IntegerChoices(Choices):
    """What was chosen of a mode of integers, `precisions` of the sites that are not in int8."""

    precisions: Mapping[str, Precision]
    search: SearchReport | None


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How a model computes: what its graphs hold, by dtype and by operator."""

    mode: str
    graph: str
    activations_by_dtype: Mapping[str, int]
    constant_bytes_by_dtype: Mapping[str, int]
    operators: Mapping[str, int]
    float_operators: int
    operator_versions: Mapping[str, int]
    choices: Choices = dataclasses.field(metadata=FLAT)


@dataclasses.dataclass(frozen=True)
class Refused:
    """A runtime that does not run the model."""

    passed: bool
    error: str


@dataclasses.dataclass(frozen=True)
class Figures:
    """What a model answers in one runtime.

    Attributes:
        drop: lost against float, in points: of the accuracy, else of the answers that differ.
        scores: where labels are known, `accuracy` and `float_accuracy`, or what else counts.
    """

    texts: int
    disagreement: float
    drop: float
    passed: bool
    scores: Mapping[str, float] = dataclasses.field(metadata=FLAT)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures by runtime."""

    source: str
    runtimes: Mapping[str, Figures | Refused]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """All of it.

    Attributes:
        sequence_length, buckets: tokens of the longest and of the shorter graphs.
        flops: for `sequence_length` tokens.
        float32_tflite_error: the largest difference of the float32 .tflite from Keras.
        options: as given, with the defaults that were taken.
        rejected: why, or None.
    """

    model: str
    file: str
    size_bytes: int
    gzip_bytes: int
    sha256: str
    source: Origin
    task: str
    labels: Sequence[str]
    sequence_length: int
    buckets: Sequence[int]
    parameters: int
    flops: int
    quantization: Quantization
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    float32_tflite_error: float
    evaluation: Evaluation
    options: Mapping[str, object]
    versions: Mapping[str, str]
    rejected: str | None
    edgetpu: Delivery | None = None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of tfedge and of some packages."""
    found = {"tfedge": __version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
