"""Counts every architecture on an emulated board against BERT-base in float32: `mission.py`.

A table of parameters, operations and million instructions for one text: in float32, as Hugging Face
defines the graph, in both runtimes, and in integers; then the speed-up, BERT-base's fewest instructions
in float32 by the model's fewest in any mode. Weights matter to accuracy and not to instructions: a
checkpoint that is not there is made with random ones, and each file is converted with a few texts.
With --data tinybert's shorter graphs run a set's sentences, each in the shortest that holds it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from count import RUN, Count, count_model

from tfedge.data.hub import read_data
from tfedge.data.texts import package_texts
from tfedge.errors import MissingPackageError
from tfedge.measure.catalogue import catalogue
from tfedge.presets import load_preset
from tfedge.runtime.bundle import read_bundle
from tfedge.runtime.errors import TextError
from tfedge.runtime.tokenizer import TextEncoder

ROOT = Path(__file__).parents[2]
BASE = "bert-base"
SHORT = "tinybert"  # the one whose shorter graphs are counted too
NAMES = (SHORT, "mobilebert", "distilbert", BASE)
_TEXTS = 16
_TOKENS = 128


def _tfedge(*arguments: object) -> None:
    command = [sys.executable, "-m", "tfedge.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.returncode)


def _checkpoint(name: str, folder: Path) -> str:
    """A preset's own weights where they are here, else random ones in `folder`."""
    if load_preset(name).checkpoint:
        return name
    made = folder / "checkpoints" / name
    if not (made / "model.safetensors").is_file():
        _tfedge("init", name, made, "--tokenizer", ROOT / "saved_models/tinybert")
    return str(made)


def _converted(name: str, quant: str, folder: Path) -> Path:
    """The model's file in a mode, converted unless it is there."""
    path = folder / name / f"{name}_{quant}.tflite"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "texts.txt"
    texts.write_text("\n".join(package_texts().texts[:_TEXTS]) + "\n")
    options: list[object] = ["--quant", quant, "--seq-len", _TOKENS, "--output", folder]
    options += ["--calibration", texts, "--eval", texts, "--max-drop", 100]
    if quant != "float32":
        options += ["--runtime", "litert"]
    if name != SHORT:
        options += ["--buckets", "none"]
    _tfedge("convert", _checkpoint(name, folder), *options)
    return path


def _fewest(counts: Sequence[Count], tokens: int) -> float | None:
    found = [count.minsn for count in counts if count.tokens == tokens and count.minsn is not None]
    return min(found, default=None)


def _mean_of_texts(model: Path, counts: Sequence[Count], data: str) -> dict[str, Any] | None:
    """Million instructions for a text of `data`, each in the shortest graph that holds it."""
    bundle = read_bundle(model)
    encoder = TextEncoder(bundle.tokenizer_json, bundle.manifest.max_length)
    lengths = sorted(bundle.manifest.signatures.values())
    fewest = {length: _fewest(counts, length) for length in lengths}
    texts = read_data(data, "validation").texts
    total, answered = 0.0, 0
    for text in texts:
        try:
            tokens = len(encoder.encode(text))
        except TextError:
            continue
        minsn = fewest[next(length for length in lengths if length >= tokens)]
        if minsn is None:
            return None
        total, answered = total + minsn, answered + 1
    return {"data": data, "texts": answered, "minsn": total / answered}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """What the table and the JSON file say; see the module."""
    sizes = {row.name: row for row in catalogue(_TOKENS)}
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((*given.models, BASE)):
        counts: dict[str, list[Count]] = {}
        for mode in ("float32", *(() if name == BASE else given.modes)):
            file = _converted(name, mode, given.folder)
            print(f"counting {file} ...", file=sys.stderr)
            tokens = () if name == SHORT and mode != "float32" else (_TOKENS,)
            counts[mode] = list(count_model(file, [given.board], (), tokens, given.emulator))
        rows[name] = {
            "parameters": sizes[name].parameters,
            "flops": sizes[name].flops,
            "minsn": {mode: _fewest(found, _TOKENS) for mode, found in counts.items()},
            "counts": [dataclasses.asdict(count) for found in counts.values() for count in found],
        }
        if name == SHORT and given.data and given.modes:
            best = min(given.modes, key=lambda mode: _fewest(counts[mode], _TOKENS) or float("inf"))
            rows[name]["texts"] = _mean_of_texts(
                _converted(name, best, given.folder), counts[best], given.data
            )
    _add_speed_ups(rows)
    return {"board": given.board, "tokens": _TOKENS, "base": BASE, "models": rows}


def _add_speed_ups(rows: Mapping[str, dict[str, Any]]) -> None:
    base = rows[BASE]["minsn"]["float32"]
    for row in rows.values():
        fewest = min((minsn for minsn in row["minsn"].values() if minsn is not None), default=None)
        row["speed_up"] = base / fewest if base and fewest else None
        if base and row.get("texts"):
            row["texts"]["speed_up"] = base / row["texts"]["minsn"]


def _table(result: Mapping[str, Any]) -> str:
    modes = list(dict.fromkeys(mode for row in result["models"].values() for mode in row["minsn"]))
    heads = ["parameters", "GFLOPs", *(f"Minsn {mode}" for mode in modes), "speed-up"]
    lines = ["\t".join([f"{result['board']}, {result['tokens']} tokens", *heads])]
    for name, row in result["models"].items():
        minsn = [row["minsn"].get(mode) for mode in modes]
        cells = [
            name,
            f"{row['parameters'] / 1e6:.1f}M",
            f"{row['flops'] / 1e9:.2f}",
            *("" if number is None else f"{number:.1f}" for number in minsn),
            "" if row["speed_up"] is None else f"{row['speed_up']:.1f}",
        ]
        lines.append("\t".join(cells))
        if row.get("texts"):
            texts = row["texts"]
            lines.append(
                f"{name} on {texts['texts']} texts of {texts['data']}: {texts['minsn']:.1f} Minsn a "
                f"text, {texts['speed_up']:.1f} times fewer than {result['base']} on "
                f"{result['tokens']} tokens"
            )
    return "\n".join(lines)


def main() -> int:
    """The program; returns 1 where a count fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=NAMES, help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--board", choices=("rpi4", "rpi5", "jetson-nano"), default="rpi4")
    parser.add_argument("--mode", dest="modes", action="append", help="default: int8")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/mission")
    parser.add_argument("--data", help="texts whose lengths count, e.g. SST-2 dev")
    parser.add_argument("--emulator", type=Path, default=RUN)
    parser.add_argument("--json", type=Path, help="write the table to this file too")
    given = parser.parse_args()
    given.modes = given.modes or ["int8"]
    try:
        result = measure(given)
    except MissingPackageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(_table(result))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    failed = [
        count for row in result["models"].values() for count in row["counts"] if count["error"]
    ]
    for count in failed:
        print(f"{count['model']} in {count['runtime']}: {count['error']}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
