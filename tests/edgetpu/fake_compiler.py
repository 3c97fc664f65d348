"""Stands in for edgetpu_compiler: prints a log and leaves a file, as FAKE_COMPILER tells it.

FAKE_COMPILER is a JSON file: `print`, `log`, `code`, `compiled` (a path), `sleep`, `signal`.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

told = json.loads(Path(os.environ["FAKE_COMPILER"]).read_text(encoding="utf-8"))
folder = Path(sys.argv[sys.argv.index("-o") + 1])
model = folder / sys.argv[-1]
assert model.read_bytes()[4:8] == b"TFL3"
assert b"PK\x05\x06" not in model.read_bytes()
print(told.get("print", ""), flush=True)
time.sleep(told.get("sleep", 0))
if "signal" in told:
    os.kill(os.getpid(), told["signal"])
if "compiled" in told:
    shutil.copyfile(told["compiled"], folder / f"{model.stem}_edgetpu.tflite")
if "log" in told:
    (folder / f"{model.stem}_edgetpu.log").write_text(told["log"], encoding="utf-8")
sys.exit(told.get("code", 0))
