"""Builds models that may be passed on, each by its recipe, with a model card: `make zoo DATA=FOLDER`.

zoo.toml names the recipes, their data and the terms. FOLDER has a folder for each data set. What has
been built already is not built again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

HERE = Path(__file__).parent
MOST_BYTES = 16_000_000  # of a .tflite
BASE = "sentence-transformers/all-MiniLM-L6-v2"  # what the recipes begin with, under Apache 2.0


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model: the columns of zoo.toml."""

    folder: str  # of its data
    files: tuple[str, str, str]  # to learn from, to choose by, to test on
    what: str  # the model does
    data: str
    source: str
    license: str
    citation: str
    tag: str  # of Hugging Face's pipelines
    metric: str  # of the figures that are measured
    example: str


def read_entries() -> dict[str, Entry]:
    """The models by the names of their recipes."""
    content = tomllib.loads((HERE / "zoo.toml").read_text(encoding="utf-8"))
    return {name: Entry(**{**row, "files": tuple(row["files"])}) for name, row in content.items()}


def build(name: str, entry: Entry, data: Path, output: Path) -> Path:
    """Runs the recipe and writes the card beside the .tflite, whose path it returns.

    Raises SystemExit where files are missing, the recipe fails, or the model is too large.
    """
    train, dev, test = (data / entry.folder / file for file in entry.files)
    if missing := [str(path) for path in (train, dev, test) if not path.is_file()]:
        raise SystemExit(f"{name}: {missing[0]} is missing; get {entry.data} from {entry.source}")
    command = [sys.executable, "-m", "tfedge.cli", "run", HERE / f"{name}.toml", "--json"]
    command += ["--data", train, "--eval", dev, "--set", f"eval.data={test}", "--output", output]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.returncode)
    stages = {stage["stage"]: stage["result"] for stage in json.loads(done.stdout)["stages"]}
    path = output / "convert" / name / stages["convert"]["file"]
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(
            f"{path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are passed on"
        )
    (path.parent / "README.md").write_text(card(name, entry, stages), encoding="utf-8")
    return path


def card(name: str, entry: Entry, stages: Mapping[str, Any]) -> str:
    """The model card: the hub's metadata, then what people ask of a model."""
    converted, figures = stages["convert"], stages["eval"]
    found = float(figures[entry.metric])
    result = EvalResult(
        task_type=entry.tag,
        dataset_type=entry.folder,
        dataset_name=f"{entry.data}, {entry.files[-1]}",
        metric_type=entry.metric,
        metric_value=round(found, 4),
    )
    metadata = ModelCardData(
        language="en",
        license=entry.license,
        library_name="tflite",
        base_model=BASE,
        pipeline_tag=entry.tag,
        model_name=name,
        eval_results=[result],
    )
    times = [
        f"about {board['ms'][max(board['ms'], key=int)]:.0f} ms on {board['board']}"
        for board in converted["estimates"]
        if board["ms"]
    ]
    lines = [
        f"---\n{metadata.to_yaml()}\n---\n\n# {name}\n",
        f"A BERT of 4 layers in {converted['quantization']['mode']} that {entry.what}.",
        f"{converted['size_bytes'] / 1e6:.1f} MB, {converted['sequence_length']} tokens at most"
        f"{''.join(f', {one} (estimated, one thread)' for one in times)}.\n",
        f'    tfedge-infer --model {converted["file"]} "{entry.example}"\n',
        f"Learned from {entry.data} ({entry.source}; {entry.citation}; {entry.license}), begun with "
        f"{BASE} (Apache 2.0), by tfedge's `examples/{name}.toml`.",
        f"On {figures['texts']:,} texts of its test set: {entry.metric.replace('_', ' ')} "
        f"{100 * found:.1f} % in {figures['runtime']}. Texts unlike these it may read wrongly: measure "
        "it on your own by `tfedge eval`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """The program."""
    entries = read_entries()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(entries)}; default: all"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with a folder for each data set"
    )
    parser.add_argument("--output", type=Path, default=Path("build/zoo"))
    given = parser.parse_args()
    for name in given.names or entries:
        if name not in entries:
            parser.error(f"no model {name!r}; give one of {', '.join(entries)}")
        print(build(name, entries[name], given.data, given.output / name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
