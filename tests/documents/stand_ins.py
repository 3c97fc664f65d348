"""What stands in for programs that a test cannot run as a reader does: the whole table.

Nothing else of a block is changed. It runs in a folder that looks like a clone, see `reader.py`.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from blocks import ROOT

import tfedge

# Options that are put behind those of a command of `tfedge`, where the last one counts: toys have no
# accuracy to lose, two steps of training show that a command runs, not that it learns, and --force lets
# examples of one page write to folders of one name.
CHEAPER = {
    "convert": "--max-drop 100 --buckets none --eval-limit 12",
    "finetune": "--epochs 1 --batch-size 8 --max-length 16 --force",
    "distil": "--epochs 1 --batch-size 8 --max-length 16 --force",
    "prune": "--steps 2 --end-step 1 --batch-size 8 --max-length 16 --force",
    "shrink": "--steps 2 --batch-size 8 --max-length 16 --force",
    "trim": "--force",
    "qad": "--steps 2 --batch-size 8 --max-length 16 --force",
    "bench": "--rounds 1 --limit 10",
}
# The same for recipes, as values of `--set`. The student of trec.toml, tinybert, is cut out of a real
# MiniLM, as no toy is large enough.
CHEAPER_RECIPES = {
    "trec.toml": "finetune.epochs=1 distil.epochs=1 convert.quant=dynamic convert.buckets=none "
    "convert.max_drop=100",
    "prune.toml": "prune.epochs=1 qad.steps=2 convert.buckets=none convert.max_drop=100",
}
# Commands whose MODEL may be a preset's name: a toy's folder of that name is taken, as ./NAME.
TAKE_FOLDERS = ("convert", "export", "finetune", "prune")
WHEEL = f"tfedge-{tfedge.__version__}-py3-none-any.whl"
# Programs, and what sh runs in their place.
PROGRAMS = {
    # What the goals run is what CI runs; here they and their variables only have to exist.
    "make": f'exec /usr/bin/make --dry-run --silent --directory={ROOT} "$@" >/dev/null',
    # Nothing is installed: `make test-pythons` and `make test-arm` install the wheel with pip. A wheel
    # is empty, and one that is to be installed has to be there.
    "pip": f"""case "$1" in
wheel) mkdir -p dist && : > dist/{WHEEL} ;;
download) mkdir -p build/wheels && : > build/wheels/numpy.whl ;;
install) for word; do case "$word" in *.whl) ls "$word" || exit 1 ;; esac; done ;;
*) exit 2 ;;
esac""",
    # To no other machine; what is sent has to be there.
    "scp": 'while [ $# -gt 1 ]; do ls "$1" || exit 1; shift; done',
    # An environment has the programs of the clone's.
    "python3": 'case "$1 $2" in "-m venv") exec ln -sfn .venv "$3" ;; esac; exec python "$@"',
    "python3.12": 'case "$1 $2" in "-m venv") exec ln -sfn .venv "$3" ;; esac; exit 1',
    "python": f"""case "$1 $2" in
"-m pip") shift 2; exec pip "$@" ;;
esac
exec {sys.executable} "$@\"""",
    "tfedge-infer": 'exec python -m tfedge.runtime.infer "$@"',
}
# Programs of a machine that are run as they are; of these a machine may lack jq.
REAL = {"for", "done", "awk", "cat", "du", "echo", "eval", "head", "jq", "ls", "mkdir", "zcat"}


_BEFORE = {"do", "then", "exec"}  # a command follows


def _tfedge() -> str:
    """The program `tfedge` with the options above."""
    lines = ['case "$1" in']
    lines += [
        f'{name}) case "$2" in [a-z]*) if [ -d "./$2" ]; then model="./$2"; shift 2; '
        f'set -- {name} "$model" "$@"; fi ;; esac ;;'
        for name in TAKE_FOLDERS
    ]
    lines += ["esac", 'case "$1" in']
    lines += [f'{name}) set -- "$@" {options} ;;' for name, options in CHEAPER.items()]
    lines += ["esac", 'case "$1 $2" in']
    for name, settings in CHEAPER_RECIPES.items():
        options = " ".join(f"--set {setting}" for setting in settings.split())
        lines.append(f'"run "*{name}) set -- "$@" {options} ;;')
    return "\n".join([*lines, "esac", 'exec python -m tfedge.cli "$@"'])


def write_programs(folder: Path) -> None:
    """Writes all of them into an empty folder."""
    for name, script in {**PROGRAMS, "tfedge": _tfedge()}.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def programs(text: str) -> set[str]:
    """The names of the programs that a block of sh starts, by the first word of each command.

    What is no sh at all, such as what a program prints, gives names that no program has.
    """
    text = re.sub(
        r"<<'(\w+)'\n.*?^\1$", "", text.replace("\\\n", " "), flags=re.DOTALL | re.MULTILINE
    )
    lexer = shlex.shlex(re.sub(r"(^|\s)#.*", "", text), posix=True, punctuation_chars="|;&()\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    found = set()
    try:
        first = True
        for word in lexer:
            separates = not word.strip("|;&()\n")
            if first and not separates and word not in _BEFORE:
                found.add(word.rpartition("/")[2])
            first = separates or (first and word in _BEFORE)
    except ValueError:  # a quote without its other one
        return {text}
    return found
