"""What may come of an input, and what is a finding."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from fork_server import ACCEPTED

ROOT = Path(__file__).parents[2]
REFUSED = (2, 3, 4, 5)
LONGEST_LINE = (
    1200  # characters; messages are cut at 1,000, a path and the program's name come before
)
MAX_RSS_MB = 200
CPU_S = 10  # processor time of a run
_FRAME = re.compile(r'File "[^"]*?(tfedge/[^"]*)", line \d+, in (\S+)')


@dataclasses.dataclass(frozen=True, repr=False)
class Case:
    """One run.

    Attributes:
        files: contents by name, below the folder `in`.
        argv: arguments, in whose folder `in` and `out` are.
        answers: the number of lines that standard output has to have; None where any will do.
        partial: whether exit code 1 is known: some texts could not be answered.
    """

    files: Mapping[str, bytes]
    argv: Sequence[str]
    stdin: bytes = b""
    answers: int | None = None
    partial: bool = False

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)} with {self.size} bytes"

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values())) + len(self.stdin)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended; `finding` says what is wrong with that, the same words for the same fault."""

    code: int | None
    finding: str | None
    detail: str = ""


class Server:
    """A program that is started once, see fork_server.py."""

    def __init__(self, program: str, home: Path, cpu_s: int = CPU_S) -> None:
        self._home = home / program.replace(":", "-")
        self._cpu_s = cpu_s
        paths = [
            str(ROOT),
            str(Path(__file__).parent),
            *filter(None, [os.environ.get("PYTHONPATH")]),
        ]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py")), program],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        # A program whose imports alone take much, as TensorFlow's do, is not to take much more.
        self._most_mb = max(MAX_RSS_MB, float(str(self._answer()["base_mb"])) + MAX_RSS_MB / 2)

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the fork server has ended; see what it said above")
        found: dict[str, object] = json.loads(line)
        return found

    def run(self, case: Case) -> Outcome:
        """Runs a case in a new folder, judges it, and removes the folder."""
        folder = self._home / "case"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("in", "out", "tmp"):
            (folder / name).mkdir(parents=True)
        for name, content in case.files.items():
            path = folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (folder / "stdin").write_bytes(case.stdin)
        assert self._process.stdin is not None
        asked = {"argv": list(case.argv), "folder": str(folder), "cpu_s": self._cpu_s}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return judge(case, self._answer(), folder, self._most_mb)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._home, ignore_errors=True)


def judge(case: Case, answer: Mapping[str, object], folder: Path, most_mb: float) -> Outcome:
    """The outcome of a run that ended as `answer` says and left `folder`; `most_mb` may be resident."""
    code = answer["code"]
    errors = (folder / "stderr").read_bytes().decode(errors="backslashreplace")
    output = (folder / "stdout").read_bytes()
    outside = (folder / "outside").read_text()

    def found(finding: str) -> Outcome:
        return Outcome(code if isinstance(code, int) else None, finding, errors[-3000:])

    if answer["hung"]:
        return found("takes too long")
    if answer["signal"] is not None:
        return found(f"ends by signal {answer['signal']}")
    if outside:
        return found(f"changes {outside.splitlines()[0].split()[0]} outside of its folder")
    if changed := _changed(case, folder):
        return found(f"changes its input {changed}")
    if code == ACCEPTED:
        return Outcome(ACCEPTED, None)
    if code == 70 or "Traceback" in errors:
        return found(f"unexpected: {_fault(errors, folder)}")
    may = (0, *REFUSED, *((1,) if case.partial else ()))
    if code not in may:
        return found(f"exit code {code}")
    assert isinstance(code, int)
    if wrong := _wrong_words(errors, code in REFUSED):
        return found(wrong)
    if case.answers is not None and code in (0, 1) and output.count(b"\n") != case.answers:
        return found("answers another number of lines")
    if code in REFUSED and float(str(answer["rss_mb"])) > most_mb:
        return found("takes too much memory to refuse")
    if code in REFUSED and (left := sorted(path.name for path in (folder / "out").iterdir())):
        return Outcome(code, "leaves files where it refuses", ", ".join(left))
    if list((folder / "tmp").iterdir()):
        return found("leaves temporary files")
    return Outcome(code, None)


def _changed(case: Case, folder: Path) -> str | None:
    """What of the input is no longer as it was."""
    there = {
        path.relative_to(folder / "in").as_posix()
        for path in (folder / "in").rglob("*")
        if path.is_file()
    }
    if there != set(case.files):
        return "folder"
    for name, content in case.files.items():
        if (folder / "in" / name).read_bytes() != content:
            return name
    return None


def _wrong_words(errors: str, refused: bool) -> str | None:
    """What is wrong with standard error."""
    # What is being done, as "running c ...", is told to who waits, and is no part of a refusal.
    lines = [line for line in errors.split("\n") if not line.endswith(" ...")]
    if refused and (len(lines) != 2 or lines[1]):
        return f"says {len(lines) - 1} lines where it refuses"
    for line in lines:
        if len(line) > LONGEST_LINE:
            return "says a line longer than messages are"
        if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") and sign != "\t" for sign in line):
            return "prints control characters"
    return None


def _fault(errors: str, folder: Path) -> str:
    """The kind of an unexpected error, and the last place of tfedge in its traceback."""
    traces = [path.read_text(errors="replace") for path in (folder / "tmp").glob("*-error-*")]
    text = "\n".join([*traces, errors])
    kind = re.search(r"unexpected (\w+)", errors)
    last = re.findall(r"^(\w+(?:\.\w+)*(?:Error|Exception)?)(?::|$)", errors, re.MULTILINE)
    frames = _FRAME.findall(text)
    place = " in ".join(reversed(frames[-1])) if frames else "an unknown place"
    return f"{kind[1] if kind else (last or ['error'])[-1]} at {place}"
