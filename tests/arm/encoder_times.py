"""Fits what parts of an int8 encoder take on boards: `python tests/arm/encoder_times.py`.

Converts BERTs of several sizes with random weights, estimates the times of their graphs by
`tfedge/inspect/operators.toml`, and fits `tfedge/models/times.toml`, by which `tfedge shrink` chooses.
No board and no emulator is needed. `--folder` keeps what was converted for a second run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from tfedge.architectures.base import EncoderConfig
from tfedge.data.texts import package_texts
from tfedge.inspect.estimate import times_of
from tfedge.models.checkpoint import initialize
from tfedge.models.config import parse_config
from tfedge.models.cost import PARTS, work
from tfedge.presets import load_preset
from tfedge.runtime.bundle import read_bundle

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tfedge/models/times.toml"
TASK = "text-classification"
LENGTHS = (32, 64, 128)
_TEXTS = 16
_MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
# What differs from tinybert's configuration. Those of `CHECKED` are not fitted.
FITTED: Mapping[str, Mapping[str, Any]] = {
    "minilm": _MINILM,
    "half-the-layers": {**_MINILM, "num_hidden_layers": 3},
    "third-of-the-heads": {**_MINILM, "tfedge": {"heads": [4] * 6}},
    "quarter-of-the-neurons": {**_MINILM, "intermediate_size": 384},
    "tinybert": {},
}
CHECKED: Mapping[str, Mapping[str, Any]] = {
    "two-layers": {"num_hidden_layers": 2},
    "half-of-both": {**_MINILM, "intermediate_size": 768, "tfedge": {"heads": [6] * 6}},
}
_HEAD = """\
# Nanoseconds that an int8 model takes in LiteRT, one thread, for each thing that it computes: a
# multiply-accumulate, an output of a softmax, of the activation between a layer's dense layers, of a
# layer norm. Least squares, relative, on estimated times (tfedge/inspect/operators.toml) of BERTs with
# random weights at 32, 64 and 128 tokens. Made by `python tests/arm/encoder_times.py`, which also tells
# how well they are met, and models that were not fitted.
"""


@dataclasses.dataclass(frozen=True)
class Timed:
    """What one graph of a model takes on boards, in milliseconds."""

    name: str
    config: EncoderConfig
    tokens: int
    ms: Mapping[str, float]

    @property
    def amounts(self) -> np.ndarray:
        """How much of each part it computes, in millions."""
        found = work(self.config, self.tokens, TASK)
        return np.array([found[part] / 1e6 for part in PARTS])


def _converted(name: str, changes: Mapping[str, Any], folder: Path) -> Path:
    """A converted model, which is made unless it is there."""
    model = folder / "out" / name / f"{name}_int8.tflite"
    if model.is_file():
        return model
    preset = load_preset("tinybert")
    preset = dataclasses.replace(preset, config={**preset.config, **changes})
    if not (folder / name).exists():
        initialize(preset, folder / name, ROOT / "saved_models/tinybert")
    texts = folder / "texts.txt"
    texts.write_text("\n".join(package_texts().texts[:_TEXTS]) + "\n")
    command = [sys.executable, "-m", "tfedge.cli", "convert", folder / name, "--runtime", "litert"]
    command += ["--seq-len", max(LENGTHS), "--buckets", ",".join(map(str, sorted(LENGTHS)[:-1]))]
    command += [
        "--calibration",
        texts,
        "--eval",
        texts,
        "--max-drop",
        100,
        "--output",
        model.parents[1],
    ]
    subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
    return model


def timed(models: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Timed]:
    """Converts models, and tells the estimated times of their graphs."""
    for name, changes in models.items():
        model = _converted(name, changes, folder)
        times = times_of(model, read_bundle(model))
        config = parse_config(json.loads((folder / name / "config.json").read_text()))
        for tokens in LENGTHS:
            ms = {board.board: board.ms[str(tokens)] for board in times}
            yield Timed(name, config, tokens, ms)


def solve(rows: Sequence[Timed], board: str) -> np.ndarray:
    """Nanoseconds of each part, none below 0, with the least squared relative errors; (parts,)."""
    scaled = [row.amounts / row.ms[board] for row in rows]
    return nnls(np.array(scaled), np.ones(len(rows)))[0]


def toml(times: Mapping[str, np.ndarray]) -> str:
    """What `tfedge` reads of it."""
    lines = [_HEAD.rstrip()]
    for board, found in times.items():
        lines += ["", f"[{board}]"]
        lines += [f"{part} = {value:.4g}" for part, value in zip(PARTS, found, strict=True)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="where models are kept; default: a temporary one"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        fitted, checked = (list(timed(models, folder)) for models in (FITTED, CHECKED))
    times = {board: solve(fitted, board) for board in fitted[0].ms}
    print("board\tmodel\ttokens\testimated ms\tfitted ms\terror %\tfitted")
    for board, found in times.items():
        for row in (*fitted, *checked):
            ms = float(row.amounts @ found)
            error = f"{100 * (ms / row.ms[board] - 1):+.1f}"
            shown = (board, row.name, str(row.tokens), f"{row.ms[board]:.3g}", f"{ms:.3g}", error)
            print("\t".join((*shown, "yes" if row.name in FITTED else "no")))
    TABLE.write_text(toml(times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
