"""Kills at random moments see half files, what stays behind, and commands that do not recover."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import COMMANDS, Victim, furnish, halves, torment

SLOWLY = """
import json, os, time
def write(path, text):
    with open(path, "w") as file:
        for sign in text:
            file.write(sign)
            file.flush()
            time.sleep(0.004)
text = json.dumps(list(range(20)))
"""
WELL = (
    SLOWLY
    + """
import glob
for old in glob.glob("out/.a.*"):
    os.remove(old)
write(f"out/.a.{os.getpid()}", text)
os.replace(f"out/.a.{os.getpid()}", "out/a.json")
"""
)
PROGRAMS = {
    "well": (WELL, None),
    "half": (SLOWLY + 'write("out/a.json", text)', "a.json: "),
    "litter": (WELL.replace("os.remove(old)", "pass"), "these stay: .a."),
    "stuck": (
        SLOWLY + 'open("out/.lock", "x")\nwrite("out/.a", text)\nos.remove("out/.lock")\n'
        'os.replace("out/.a", "out/a.json")',
        "the command ends with 1",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_planted_faults_are_seen(name: str, tmp_path: Path) -> None:
    for part in ("in", "out", "tmp"):
        (tmp_path / part).mkdir()
    program, expected = PROGRAMS[name]
    wrong, moments = torment(Victim(("-c", program), tmp_path), kills=6, every=3, seed=0)
    assert len(moments) == 6
    if expected is None:
        assert wrong == []
    else:
        assert any(expected in one for one in wrong), wrong


def test_what_is_half_a_file(tmp_path: Path) -> None:
    good = {
        "a.json": "{}",
        ".b.json": "{",
        "t.training/c.json": "",
        "d.txt": "x",
        "e.html": "</html>\n",
    }
    for name, content in good.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert halves(tmp_path) == []
    for name in ("f.html", "g.safetensors", "h.tflite", "i.npz", "j.json"):
        (tmp_path / name).write_text("<p>")
    (tmp_path / "k.txt").write_text("")
    assert [one.split(":")[0][0] for one in halves(tmp_path)] == list("fghijk")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command(command: str, toys: Path, tmp_path: Path) -> None:
    furnish(tmp_path, toys)
    for part in ("out", "tmp"):
        (tmp_path / part).mkdir()
    wrong, _ = torment(Victim(COMMANDS[command], tmp_path), kills=4, every=2, seed=1)
    assert wrong == []
