"""What `tfedge convert` reports, field by field as its JSON has it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tfedge import __version__
from tfedge.edgetpu.result import Delivery
from tfedge.inspect.contents import Tensor
from tfedge.inspect.estimate import BoardTimes
from tfedge.measure.stated import goal_of
from tfedge.quantize.costs import CostUnit
from tfedge.quantize.mixed import Precision
from tfedge.records import FLAT


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the weights come from."""

    origin: str
    weights_sha256: str


@dataclasses.dataclass(frozen=True)
class Group:
    """Operations that change their precision together, in the order of choice."""

    group: str
    precision: str
    harm: float  # what they lose in integers
    added: float  # what another precision costs, in the unit of the search


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """How `--quant auto` chose."""

    board: str
    simulated_drop: float  # in points
    unit: CostUnit  # of what is added
    added: float  # of all groups that are taken out of the integers
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
    """What a model answers in one runtime."""

    texts: int
    disagreement: float
    drop: float  # against float, in points of the accuracy, else of the answers that differ
    passed: bool
    # Where labels are known, `accuracy` and `float_accuracy`, or what else counts.
    scores: Mapping[str, float] = dataclasses.field(metadata=FLAT)
    comparison: Mapping[str, float]  # what the task tells besides of the two models' answers
    interval: Sequence[float] | None = None  # of `drop`, 95 %; None where no test tells it
    warning: str | None = None  # where more is lost than may be, which chance could make

    @property
    def goal(self) -> str | None:
        """The name of the figure in `scores` that counts, None where there is none."""
        return goal_of(self.scores)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures by runtime."""

    source: str
    runtimes: Mapping[str, Figures | Refused]
    drawn_from: int | None = None  # how many texts the source has, where only some were asked
    unknown_share: float | None = None  # of the tokens of texts, 0..1; None of images


@dataclasses.dataclass(frozen=True)
class Effort:
    """What converting took of this machine."""

    seconds: float
    peak_rss_bytes: int | None  # the most memory that this process had resident; None if unknown


@dataclasses.dataclass(frozen=True)
class Conversion:
    """All of it."""

    model: str
    file: str
    size_bytes: int
    gzip_bytes: int
    board_memory_bytes: int  # about what a program that runs it takes
    sha256: str
    source: Origin
    task: str
    labels: Sequence[str]
    sequence_length: int  # tokens of the longest graph
    buckets: Sequence[int]  # tokens of the shorter ones
    parameters: int
    flops: int  # for `sequence_length` tokens
    quantization: Quantization
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    float32_tflite_error: float  # the largest difference of the float32 .tflite from Keras
    evaluation: Evaluation
    estimates: Sequence[BoardTimes]  # on boards; none of a file for another runtime
    options: Mapping[str, object]  # as given, with the defaults that were taken
    versions: Mapping[str, str]
    rejected: str | None  # why
    edgetpu: Delivery | None = None
    effort: Effort | None = None  # printed, and left out of the file, which is the same every time

    @property
    def path(self) -> Path:
        """Where the .tflite is."""
        return Path(str(self.options["output"])) / self.model / self.file


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of tfedge and of some packages."""
    found = {"tfedge": __version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
