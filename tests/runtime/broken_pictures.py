"""Asks a model of images about broken pictures: each gets one line, and none takes much memory.

    python tests/runtime/broken_pictures.py MODEL.tflite [COUNT] [SEED]

Mutants of small pictures of every format and kind: bytes turned, cut, repeated, numbers in headers
replaced. Prints how many were answered and refused, and how far the memory rose above that of a process
that has answered one good picture; ends with 1 where a line is missing or too long, a traceback
appears, or more than 200 MB were taken.
"""

from __future__ import annotations

import dataclasses
import io
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ALLOWED = 200 << 20  # bytes above those of an idle process
_SIDES = (24, 90)
_LONGEST = 1000  # characters of a line of errors


@dataclasses.dataclass
class Outcome:
    """What became of the pictures."""

    answered: int = 0
    refused: int = 0
    idle: int = 0  # bytes, the most that the process had before the first of them
    most: int = 0  # and to the end
    faults: list[str] = dataclasses.field(default_factory=list)


def seeds() -> list[bytes]:
    """Good pictures of every format and kind."""
    random_state = np.random.RandomState(0)
    found = []
    for side in _SIDES:
        noisy = Image.fromarray(random_state.randint(0, 256, (side, side, 3)).astype(np.uint8))
        even = Image.linear_gradient("L").resize((side, side)).convert("RGB")
        deep = Image.fromarray(random_state.randint(0, 65536, (side, side)).astype(np.uint16))
        exif = Image.Exif()
        exif[0x0112] = 6
        kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
            ("JPEG", noisy, {"exif": exif}),
            ("JPEG", even, {"progressive": True}),
            ("JPEG", noisy.convert("CMYK"), {}),
            ("PNG", even, {"exif": exif}),
            ("PNG", noisy.convert("P"), {}),
            ("PNG", deep, {}),
            ("WEBP", even, {}),
            ("WEBP", noisy, {"lossless": True}),
            ("BMP", even, {}),
            ("BMP", noisy.convert("P"), {}),
            ("GIF", even.convert("P"), {}),
            ("PPM", noisy, {}),
            ("PPM", deep, {}),
        ]
        for form, picture, options in kinds:
            target = io.BytesIO()
            picture.save(target, form, **options)
            found.append(target.getvalue())
    return found


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Broken pictures, the same ones for one seed."""
    choose, good = random.Random(seed), seeds()
    for index in range(count):
        content = bytearray(good[index % len(good)])
        for _ in range(choose.choice((1, 1, 2, 4, 16))):
            # Most of what can go wrong is in the first bytes.
            end = len(content) if choose.random() < 0.4 else min(len(content), 64)
            place = choose.randrange(max(1, end))
            kind = choose.randrange(6)
            if kind == 0:
                content[place : place + 1] = bytes([choose.randrange(256)])
            elif kind == 1:
                content[place : place + 1] = bytes([choose.choice((0, 1, 127, 128, 254, 255))])
            elif kind == 2:
                del content[max(8, place) :]
            elif kind == 3:
                content[place:place] = content[place : place + choose.randrange(1, 64)]
            elif kind == 4:
                size = choose.choice((2, 4))
                number = choose.choice((0, 1, 255, 9000, 30_000, 2**31 - 1)) % 256**size
                content[place : place + size] = number.to_bytes(
                    size, choose.choice(("big", "little"))
                )
            else:
                del content[place : place + choose.randrange(1, 16)]
        yield bytes(content)


def most_memory(process: int) -> int:
    """The most bytes that a process has had in memory."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmHWM in /proc")


def trial(model: Path, count: int, seed: int = 0) -> Outcome:
    """Has one process answer all of them."""
    outcome = Outcome()
    command = [sys.executable, "-m", "tfedge.runtime.infer", "--model", str(model), "--json"]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        path = Path(folder) / "picture"
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for index, content in enumerate((seeds()[0], *mutants(count, seed))):
                path.write_bytes(content)
                process.stdin.write(f"{path}\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline() or "null")
                if not isinstance(answer, dict):
                    outcome.faults.append(f"picture {index} has no answer")
                    break
                if index == 0:
                    outcome.idle = most_memory(process.pid)
                    continue
                outcome.refused += "error" in answer
                outcome.answered += "label" in answer or "embedding" in answer
            else:
                outcome.most = most_memory(process.pid)
            process.stdin.close()
        errors.seek(0)
        lines = errors.read().splitlines()
    outcome.faults += [line for line in lines if not line.startswith("tfedge-infer: line ")]
    outcome.faults += [line for line in lines if len(line) > _LONGEST]
    if len(lines) != outcome.refused or outcome.answered + outcome.refused != count:
        outcome.faults.append(f"{len(lines)} lines of errors for {outcome.refused} refused")
    if outcome.most - outcome.idle > ALLOWED:
        outcome.faults.append(f"{(outcome.most - outcome.idle) >> 20} MB taken")
    return outcome


def main() -> int:
    model, *numbers = sys.argv[1:]
    outcome = trial(Path(model), *map(int, numbers or ("2000",)))
    print(
        f"{outcome.answered} answered, {outcome.refused} refused in a line each; "
        f"{(outcome.most - outcome.idle) >> 20} MB above the {outcome.idle >> 20} MB of one picture"
    )
    print(*outcome.faults[:20], sep="\n")
    return int(bool(outcome.faults))


if __name__ == "__main__":
    sys.exit(main())
