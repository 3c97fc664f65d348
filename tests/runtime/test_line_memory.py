"""No line, whatever is in its 8 MiB, takes much memory, and the one behind it is answered."""

from __future__ import annotations

import io
import json
import re
import threading
from pathlib import Path

import pytest
from program import each_runtime, start

from tfedge.runtime.lines import MAX_LINE_BYTES
from tfedge.runtime.windows import MAX_CHARACTERS

MOST_MB = 150
_START = b"a" * 9000  # beyond where a text without a blank is cut


def _filled(piece: str | bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """As much of a piece as a line may have."""
    unit = piece.encode() if isinstance(piece, str) else piece
    room = MAX_LINE_BYTES - 1 - len(before) - len(behind)
    return before + unit * (room // len(unit)) + behind


TEXTS = (
    _filled(" b", _START),
    _filled("a"),
    _filled("\u0301"),
    _filled(" "),
    _filled("漢", _START),
    _filled("漢"),
    _filled("a\u0301\u0302\u0303"),
    _filled("good "),
    _filled("👩\u200d👧 "),
    _filled("\ufdfa"),  # one character for 18, where a normalizer takes it apart
    _filled("İ"),
    _filled("각"),
    _filled("!"),
    _filled("7"),
    _filled("\0"),
    _filled(b"\xff"),
    _filled("\u2028"),
    _filled("[MASK]"),
    _filled("[CLS] [SEP] "),
    _filled("good\t"),
)
OBJECTS = (
    _filled("\\u00e9", b'{"text": "', b'"}'),
    _filled("\\ud800", b'{"text": "', b'"}'),
    _filled('"a",', b'{"text": [', b'"a"]}'),
    _filled("x", b'{"text": "good", "id": "', b'"}'),
    _filled('"k":0,', b'{"text": "good",', b'"k":0}'),
    b'{"text": "good",' + b",".join(b'"%d":0' % number for number in range(700_000)) + b"}",
    _filled("{},", b'{"text": "good", "id": [', b"{}]}"),
    _filled("1.5,", b'{"text": "good", "id": [', b"1]}"),
    _filled("9", b'{"text": "good", "id": ', b"}"),
    _filled("["),
    _filled('{"a":'),
)
PAIRS = (
    _filled(" b", b"who?\t" + _START),
    _filled("a", b"who?\t"),
    _filled("a", b"", b"\tada"),
    _filled("漢", b"", b"\tada"),
    _filled("ada ", b"who was born?\t"),
    b"who?\t" + b"!" * MAX_CHARACTERS,
    b"who?\t" + "각".encode() * (MAX_CHARACTERS // 9),
    _filled("\t"),
)
STREAMS = {
    "texts": ("classifier", (), TEXTS, b"good"),
    "entities": ("tagger", (), TEXTS, b"good"),
    "objects": ("classifier", ("--jsonl", "--json"), OBJECTS, b'{"text": "good"}'),
    "pairs": ("reader", ("--pair",), PAIRS, b"who was born?\tada was born"),
}


@each_runtime
@pytest.mark.parametrize("kind", STREAMS)
def test_no_line_takes_much(toys: Path, kind: str, runtime: str) -> None:
    model, options, lines, good = STREAMS[kind]
    with start(
        "--model", toys / f"{model}.tflite", "--trust", "--runtime", runtime, *options
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stderr is not None
        # What is said of each is not read in between, and must not fill the pipe.
        said = threading.Thread(target=process.stderr.read, daemon=True)
        said.start()
        output, answers = io.BufferedReader(process.stdout), []  # type: ignore[type-var]
        for line in (*lines, good):
            process.stdin.write(line + b"\n")
            answers.append(output.readline())
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        process.stdin.close()
        assert output.readline() == b""
        said.join()
    assert all(answers)
    last = answers[-1].decode()
    answer = json.loads(last)["label"] if "--json" in options else last.split("\t")[0]
    assert not answer.startswith("error")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) < MOST_MB << 10, f"{int(peak[1]) >> 10} MB"
