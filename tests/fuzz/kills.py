"""Kills every command that writes at random moments: `python tests/fuzz/kills.py --help`.

What has to hold, after SIGKILL and SIGTERM alike: no file under a final name is half of one, and
the same command ends well afterwards and leaves what it leaves where nobody kills it, so no
temporary file of the killed ones. Kills add up in one folder, as they would where somebody has no
patience; the command runs to its end after every few of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

for place in (".", "../models", "..", "../runtime", "../.."):
    sys.path.insert(0, str(Path(__file__).parent / place))

from fuzz_seeds import make_seeds  # noqa: E402
from oracle import ROOT  # noqa: E402
from safetensors import SafetensorError, safe_open  # noqa: E402

from tfedge.runtime.bundle import read_bundle  # noqa: E402
from tfedge.runtime.errors import InferenceError  # noqa: E402
from tfedge.runtime.index_file import read_arrays  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
LONGEST_S = 900  # of a command, on a machine with much else to do
TFEDGE, INFER = ("-m", "tfedge.cli"), ("-m", "tfedge.runtime.infer")
WITH_TOY = (str(Path(__file__).with_name("toy_student.py")),)
# What `run` does between its stages; these are killed by themselves, and the quickest do.
RECIPE = b"""name = "mine"
[defaults]
data = "a.tsv"
eval = "a.tsv"
[trim]
model = "c"
[convert]
quant = "float32"
seq_len = 16
[eval]
"""
_TRAINED = ("--data", "in/a.tsv", "--epochs", "1", "--max-length", "16", "--output", "out/t")
COMMANDS: dict[str, tuple[str, ...]] = {
    "init": (*TFEDGE, "init", "deit-tiny", "out/c"),
    "index": (*INFER, "index", "--model", "in/embedder.tflite", "--index", "out/i.npz", "in/notes"),
    "report": (*TFEDGE, "report", "in/results.json", "--output", "out/r.html"),
    "convert": (*TFEDGE, "convert", "in/c", "--seq-len", "16", "--output", "out"),
    "auto": (*TFEDGE, "convert", "in/c", "--quant", "auto", "--seq-len", "16", "--output", "out"),
    "eval": (
        *TFEDGE,
        "eval",
        "--model",
        "in/int8.tflite",
        "--data",
        "in/a.tsv",
        "--mistakes",
        "out/m.csv",
    ),
    "export": (
        *TFEDGE,
        "export",
        "in/c",
        "--format",
        "saved-model",
        "--output",
        "out/e",
        "--force",
    ),
    "finetune": (*TFEDGE, "finetune", "in/c", *_TRAINED),
    "distil": (*WITH_TOY, "distil", "toy", "--teacher", "in/c", *_TRAINED),
    "prune": (*TFEDGE, "prune", "in/c", "--sparsity", "0.5", *_TRAINED),
    "shrink": (*TFEDGE, "shrink", "in/c", "--target-flops", "0.9", *_TRAINED),
    "trim": (*TFEDGE, "trim", "in/c", "--keep-texts", "in/a.tsv", "--output", "out/t", "--force"),
    "qad": (*TFEDGE, "qad", "in/c", *_TRAINED),
    "bench": (
        *TFEDGE,
        "bench",
        "in/int8.tflite",
        "--data",
        "in/a.tsv",
        "--rounds",
        "1",
        "--output",
        "out/b.json",
    ),
    "run": (*TFEDGE, "run", "in/r.toml", "--output", "out/r"),
}


def _json(path: Path) -> None:
    json.loads(path.read_bytes())


def _weights(path: Path) -> None:
    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118  (no iterator without)
            file.get_tensor(name)


def _page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it has no end")


LOCK = ".lock"  # such a file is held, and has nothing in it
# What reads a file of a kind, and fails where it is half of one.
WHOLE: dict[str, Callable[[Path], object]] = {
    ".json": _json,
    ".safetensors": _weights,
    ".tflite": read_bundle,
    ".npz": lambda path: read_arrays(str(path)),
    ".html": _page,
}


def is_temporary(path: Path, root: Path) -> bool:
    """Whether a file has a name, or lies in a folder with one, that says that it is not final."""
    return any(part.startswith(".") or ".training" in part for part in path.relative_to(root).parts)


def halves(root: Path) -> list[str]:
    """The files under final names that are not whole."""
    found = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or is_temporary(path, root):
            continue
        try:
            if path.stat().st_size == 0 and path.suffix != LOCK:
                raise ValueError("it is empty")
            WHOLE.get(path.suffix, Path.read_bytes)(path)
        except (ValueError, OSError, SafetensorError, InferenceError) as error:
            found.append(f"{path.relative_to(root)}: {error}")
    return found


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@dataclasses.dataclass
class Victim:
    """A command in a folder with `in` and `out`."""

    command: Sequence[str]
    folder: Path

    def _start(self) -> subprocess.Popen[bytes]:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        extra = {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(self.folder / "tmp")}
        with open(self.folder / "said", "wb") as said:
            return subprocess.Popen(
                [sys.executable, *self.command],
                cwd=self.folder,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **extra},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(errors="replace")

    def finish(self) -> tuple[float, set[str]]:
        """Seconds that the command takes, and what it leaves; raises AssertionError where it fails."""
        begin = time.monotonic()
        code = self._start().wait(LONGEST_S)
        assert code == 0, f"ends with {code}: {self.said[-500:]}"
        left = names(self.folder / "out")
        assert not halves(self.folder / "out"), halves(self.folder / "out")
        shutil.rmtree(self.folder / "out")
        (self.folder / "out").mkdir()
        return time.monotonic() - begin, left

    def _take_away(self, whole: set[str]) -> None:
        """Takes away what it leaves at its end; what is temporary stays for the next to remove."""
        out = self.folder / "out"
        for name in whole:
            (out / name).unlink()
        for path in sorted(out.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()

    def kill(self, after_s: float, number: int, whole: set[str]) -> list[str]:
        """Kills it after that time; returns what is wrong; `whole` is what it leaves at its end."""
        process = self._start()
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        process.wait(LONGEST_S)
        wrong = halves(self.folder / "out")
        if whole <= names(self.folder / "out"):  # it was faster
            self._take_away(whole)
            if process.returncode == 0:
                return wrong
        if "Traceback" in self.said:
            wrong.append(f"a traceback: {self.said[-300:]}")
        if process.returncode not in (-number, 128 + number, 130):
            wrong.append(f"ends with {process.returncode}: {self.said[-300:]}")
        return wrong


def torment(victim: Victim, kills: int, every: int, seed: int) -> tuple[list[str], list[float]]:
    """Kills a command so often; returns what is wrong, and the moments, in shares of its time."""
    rng, wrong, moments = random.Random(seed), [], []
    takes_s, whole = victim.finish()
    for number in range(kills):
        share = rng.random()
        moments.append(share)
        with_signal = SIGNALS[number % len(SIGNALS)]
        wrong += [
            f"{with_signal.name} at {share:.2f} of {takes_s:.1f} s: {one}"
            for one in victim.kill(share * takes_s, with_signal, whole)
        ]
        if number % every == every - 1 or number == kills - 1:
            try:
                _, left = victim.finish()
            except AssertionError as error:
                wrong.append(f"after kill {number + 1} the command {error}")
                shutil.rmtree(victim.folder / "out")
                (victim.folder / "out").mkdir()
                continue
            if more := sorted(left - whole):
                wrong.append(f"after kill {number + 1} these stay: {', '.join(more)}")
            if fewer := sorted(whole - left):
                wrong.append(f"after kill {number + 1} these are missing: {', '.join(fewer)}")
    return wrong, moments


def furnish(folder: Path, toys: Path | None) -> None:
    """The inputs of all commands."""
    seeds = make_seeds(folder / "seeds", toys)
    inputs = folder / "in"
    (inputs / "c").mkdir(parents=True)
    (inputs / "notes").mkdir()
    for name, content in seeds.checkpoint.items():
        (inputs / "c" / name).write_bytes(content)
    for name, content in seeds.models.items():
        (inputs / f"{name}.tflite").write_bytes(content)
    for number in range(200):
        (inputs / "notes" / f"{number}.txt").write_bytes(seeds.texts)
    (inputs / "a.tsv").write_bytes(seeds.texts)
    (inputs / "results.json").write_bytes(seeds.results)
    (inputs / "r.toml").write_bytes(RECIPE)


def main(arguments: list[str]) -> int:
    """The program; returns 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each command")
    parser.add_argument(
        "--every", type=int, default=5, help="kills, after which it runs to its end"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="append", dest="commands", choices=list(COMMANDS))
    parser.add_argument("--toys", type=Path, help="toy models that have been made already")
    given, code = parser.parse_args(arguments), 0
    with tempfile.TemporaryDirectory(prefix="tfedge-kills-") as scratch:
        furnish(Path(scratch), given.toys)
        for name in given.commands or COMMANDS:
            folder = Path(scratch) / name
            for part in ("out", "tmp"):
                (folder / part).mkdir(parents=True)
            (folder / "in").symlink_to(Path(scratch) / "in")
            wrong, moments = torment(
                Victim(COMMANDS[name], folder), given.kills, given.every, given.seed
            )
            print(f"{name:9} {len(moments)} kills, {len(wrong)} faults", flush=True)
            for one in wrong:
                print(f"      {one}", flush=True)
            code = 1 if wrong else code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
