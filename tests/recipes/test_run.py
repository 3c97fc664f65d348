"""Running a recipe: what is skipped, what runs again, what a kill leaves."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import click.testing
import pytest
import toy_folders

import tfedge.presets
from tfedge import cli, files
from tfedge.cli.stages import stages_summary
from tfedge.errors import InputError, TfedgeError
from tfedge.presets import Preset
from tfedge.recipes import plan
from tfedge.recipes import run as running
from tfedge.recipes.recipe import read_recipe
from tfedge.records import as_json

ROOT = Path(__file__).parents[2]
RECIPE = """
[defaults]
data = "train.tsv"
eval = "test.tsv"
max_length = 16
[finetune]
model = "encoder"
epochs = 2
[prune]
sparsity = 0.5
[convert]
seq_len = 16
[eval]
"""


class Killed(Exception):
    """Stands for a kill of the process."""


class Stages:
    """A recipe whose commands only leave files behind, for following what is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.called: list[str] = []
        self.kill_in: str | None = None
        self.resumed: dict[str, bool] = {}

    def call(self, step: plan.Step, ends: running.Ends | None = None) -> dict[str, Any]:
        name = step.stage.name
        self.called.append(name)
        leftover = step.folder / "leftover"
        self.resumed[name] = leftover.is_file()
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_text("begun")
        if name == self.kill_in:
            raise Killed
        leftover.unlink()
        if step.product:
            step.product.parent.mkdir(parents=True, exist_ok=True)
            step.product.write_text(json.dumps(as_json(step.key)))
        return {"accuracy": 0.5, "command": name}

    def run(self, dry: bool = False, **overrides: Any) -> dict[str, tuple[str, str]]:
        """Stage -> action and reason."""
        self.called = []
        self.said: list[str] = []
        recipe = read_recipe(self.folder / "mine.toml", cli.main.commands, overrides)
        self.report = running.run(recipe, dry, self.said.append)
        return {row.stage: (row.action, row.reason) for row in self.report.stages}

    def change(self, old: str, new: str) -> None:
        path = self.folder / "mine.toml"
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new))


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    (tmp_path / "mine.toml").write_text(RECIPE)
    toy_folders.write_sentences(tmp_path / "train.tsv", 12)
    toy_folders.write_sentences(tmp_path / "test.tsv", 8)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"weights")
    made = Stages(tmp_path)
    monkeypatch.setattr(running, "_call", made.call)
    return made


ALL = ["finetune", "prune", "convert", "eval"]


def test_runs_all_once_and_then_nothing(stages: Stages) -> None:
    found = stages.run()
    assert stages.called == ALL
    assert found["finetune"] == ("run", "it has not run yet")
    output = stages.folder / "build" / "mine"
    assert (output / "convert" / "mine" / "mine_int8.tflite").is_file()
    first = stages.report
    found = stages.run()
    assert stages.called == []
    assert set(found.values()) == {("skip", "nothing it depends on has changed")}
    # What was found then is told again.
    assert [row.result for row in stages.report.stages] == [row.result for row in first.stages]


def test_each_stage_takes_what_the_one_before_made(stages: Stages) -> None:
    stages.run(dry=True)
    output = stages.folder / "build" / "mine"
    commands = {row.stage: row.command for row in stages.report.stages}
    assert commands["finetune"][:3] == ["tfedge", "finetune", str(stages.folder / "encoder")]
    assert commands["prune"][2] == str(output / "finetune" / "mine")
    assert commands["convert"][2] == str(output / "prune" / "mine")
    model = commands["eval"][commands["eval"].index("--model") + 1]
    assert model == str(output / "convert" / "mine" / "mine_int8.tflite")


def test_dry_run_writes_nothing(stages: Stages) -> None:
    before = sorted(stages.folder.rglob("*"))
    found = stages.run(dry=True)
    assert stages.called == []
    assert sorted(stages.folder.rglob("*")) == before
    assert found["finetune"] == ("run", "it has not run yet")
    assert stages.report.dry_run
    assert [row.result for row in stages.report.stages] == [None] * 4
    stages.run()
    stages.run(dry=True)
    assert stages.said == []


CHANGES = {
    "option": (("epochs = 2", "epochs = 3"), ALL, "epochs was 2, now 3"),
    "later option": (("sparsity = 0.5", "sparsity = 0.6"), ALL[1:], "sparsity was 0.5, now 0.6"),
    "last option": (("seq_len = 16", "seq_len = 8"), ALL[2:], "seq_len was 16, now 8"),
    "default": (("max_length = 16", "max_length = 12"), ALL, "max_length was 16, now 12"),
    "other file": (('"test.tsv"', '"train.tsv"'), ALL, "its eval has changed"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_has_changed_runs_again_and_all_behind_it(stages: Stages, kind: str) -> None:
    (old, new), expected, reason = CHANGES[kind]
    stages.run()
    stages.change(old, new)
    planned = stages.run(dry=True)
    found = stages.run()
    assert stages.called == expected
    assert found == planned
    assert found[expected[0]] == ("run", reason)
    for before, name in itertools.pairwise(expected):
        assert found[name] == ("run", f"{before} runs before it")
    stages.run()
    assert stages.called == []


def test_content_counts_and_not_the_date_or_the_place(stages: Stages) -> None:
    stages.run()
    os.utime(stages.folder / "train.tsv")
    moved = stages.folder.with_name("moved")
    stages.folder.rename(moved)
    stages.folder = moved
    stages.run()
    assert stages.called == []
    # Comments and other words for the same are no change.
    stages.change("epochs = 2", "epochs = 2  # passes\nbatch_size = 32")
    stages.run()
    assert stages.called == []
    (moved / "encoder" / "README.md").write_text("not read")
    stages.run()
    assert stages.called == []


@pytest.mark.parametrize(
    "name",
    [
        *("train.tsv", "encoder/model.safetensors", "encoder/added_tokens.json"),
        *("encoder/preprocessor_config.json", "encoder/sentence_bert_config.json"),
        *("encoder/config_sentence_transformers.json", "encoder/pooled/config.json"),
    ],
)
def test_changed_input(stages: Stages, name: str) -> None:
    path = stages.folder / name
    if not path.exists():
        modules = [{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "pooled"}]
        (stages.folder / "encoder" / "modules.json").write_text(json.dumps(modules))
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    stages.run()
    path.write_bytes(path.read_bytes().replace(b"good", b"fine") + b" ")
    found = stages.run()
    assert stages.called == ALL
    what = "data" if name == "train.tsv" else "model"
    assert found["finetune"] == ("run", f"its {what} has changed")


@pytest.mark.parametrize("kind", ["folder", "table", "names"])
def test_images_are_hashed_too(stages: Stages, kind: str) -> None:
    first, second = ((stages.folder / "images" / name) for name in ("cat/1.png", "dog/2.png"))
    for path in (first, second):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"pixels")
    data = {"folder": "images", "table": "images.csv", "names": "images.txt"}[kind]
    stages.change('"train.tsv"', f'"{data}"')
    (stages.folder / "images.csv").write_text(
        "image,label\nimages/cat/1.png,cat\nimages/dog/2.png,dog\n"
    )
    (stages.folder / "images.txt").write_text("images/cat/1.png\nimages/dog/2.png\n")
    stages.run()
    (stages.folder / "images" / "notes.txt").write_text("no image")
    os.utime(first)
    stages.run()
    assert stages.called == []
    second.write_bytes(b"others")
    assert stages.run()["finetune"] == ("run", "its data has changed")
    second.unlink()
    assert stages.run()["finetune"] == ("run", "its data has changed")
    if kind == "folder":
        first.rename(first.with_name("3.png"))
        assert stages.run()["finetune"] == ("run", "its data has changed")
        first.with_name("3.png").unlink()
        with pytest.raises(InputError, match="has no images"):
            stages.run()


def test_each_input_is_read_once(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    sha256 = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path) or sha256(path))
    stages.run(dry=True)
    assert sorted(path.name for path in read) == ["model.safetensors", "test.tsv", "train.tsv"]


def test_output_that_is_gone_or_changed(stages: Stages) -> None:
    stages.run()
    product = stages.folder / "build" / "mine" / "prune" / "mine"
    product.unlink()
    assert stages.run()["prune"] == ("run", f"{product} is gone")
    assert stages.called == ALL[1:]
    product.write_text("other")
    assert stages.run()["prune"] == ("run", f"{product} was changed")
    assert stages.called == ALL[1:]


def test_other_versions(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    stages.run()
    version = plan._version
    monkeypatch.setattr(
        plan, "_version", lambda name: "9" if name == "ai-edge-litert" else version(name)
    )
    found = stages.run()
    assert stages.called == ["convert", "eval"]
    assert found["convert"] == ("run", f"ai-edge-litert was {version('ai-edge-litert')}, now 9")


@pytest.mark.parametrize("name", ALL)
def test_killed_run_goes_on_where_it_was(stages: Stages, name: str) -> None:
    stages.kill_in = name
    with pytest.raises(Killed):
        stages.run()
    stages.kill_in = None
    assert stages.run(dry=True)[name] == ("resume", "it was interrupted")
    stages.run()
    assert stages.called == ALL[ALL.index(name) :]
    assert stages.resumed[name]
    stages.run()
    assert stages.called == []


def test_killed_run_with_other_settings_begins_anew(stages: Stages) -> None:
    stages.kill_in = "prune"
    with pytest.raises(Killed):
        stages.run()
    stages.kill_in = None
    stages.change("sparsity = 0.5", "sparsity = 0.6")
    assert stages.run()["prune"] == ("run", "sparsity was 0.5, now 0.6")
    assert not stages.resumed["prune"]
    assert stages.called == ALL[1:]


def test_kill_between_a_stage_and_what_it_makes_stale(stages: Stages) -> None:
    stages.run()
    stages.change("epochs = 2", "epochs = 3")
    stages.kill_in = "prune"
    with pytest.raises(Killed):
        stages.run()
    stages.kill_in = None
    stages.run()
    assert stages.called == ALL[1:]


def test_damaged_record_counts_as_none(stages: Stages) -> None:
    stages.run()
    record = stages.folder / "build" / "mine" / "convert" / "stage.json"
    for content in ("", "[]", '{"key": 1, "what": 2}'):
        record.write_text(content)
        with pytest.raises(InputError, match="was not made by `tfedge run`"):
            stages.run()
    record.write_text('{"key": {"options": 3}, "outputs": {}}')
    assert stages.run()["convert"] == ("run", "what it was made of is not known")


def test_missing_files_are_told_before_anything_runs(stages: Stages) -> None:
    (stages.folder / "train.tsv").unlink()
    with pytest.raises(InputError, match=r"train\.tsv does not exist"):
        stages.run()
    assert stages.called == []


def test_folder_of_somebody_else(stages: Stages) -> None:
    other = stages.folder / "build" / "mine" / "prune"
    other.mkdir(parents=True)
    (other / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="was not made by `tfedge run`"):
        stages.run()
    assert (other / "thesis.txt").read_text() == "x"


def test_links_in_the_folder_are_not_followed(stages: Stages, tmp_path: Path) -> None:
    output, precious = stages.folder / "build" / "mine", tmp_path / "precious"
    output.mkdir(parents=True)
    precious.write_text("mine")
    (output / "run.lock").symlink_to(precious)
    with pytest.raises(InputError, match=r"run\.lock cannot be locked"):
        stages.run()
    assert precious.read_text() == "mine"
    (output / "run.lock").unlink()
    (tmp_path / "victim").mkdir()
    (output / "finetune").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match="was not made by `tfedge run`"):
        stages.run()
    assert list((tmp_path / "victim").iterdir()) == []


def test_two_runs_at_once(stages: Stages) -> None:
    output = stages.folder / "build" / "mine"
    with running.locked(output), pytest.raises(InputError, match="another `tfedge run` works in"):
        stages.run()
    stages.run()
    assert stages.called == ALL


@pytest.mark.parametrize(
    ("target", "quant", "model", "name"),
    [
        (None, None, "encoder", "encoder_int8"),
        ("rpi5", None, "encoder", "encoder_int8"),
        (None, "dynamic", "tinybert", "tinybert_dynamic"),
    ],
)
def test_name_of_what_is_converted(
    stages: Stages, target: str | None, quant: str | None, model: str, name: str
) -> None:
    lines = [f'{key} = "{value}"' for key, value in (("target", target), ("quant", quant)) if value]
    content = "\n".join(["[convert]", f'model = "{model}"', *lines])
    (stages.folder / "mine.toml").write_text(content)
    stages.run(dry=True)
    assert Path(stages.report.stages[0].output).name == f"{name}.tflite"


def test_what_people_read(stages: Stages) -> None:
    stages.run(dry=True)
    lines = stages_summary(stages.report).split("\n")
    assert lines[0] == "finetune: run, it has not run yet"
    assert lines[1].startswith(f"    tfedge finetune {stages.folder / 'encoder'} --data ")
    stages.run()
    output = stages.folder / "build" / "mine"
    assert stages_summary(stages.report).split("\n") == [
        f"finetune made  {output / 'finetune' / 'mine'}  accuracy 50.00 %",
        f"prune    made  {output / 'prune' / 'mine'}  accuracy 50.00 %",
        f"convert  made  {output / 'convert' / 'mine' / 'mine_int8.tflite'}  accuracy 50.00 %",
        f"eval     made  {output / 'eval'}  accuracy 50.00 %",
    ]
    stages.run(dry=True)
    assert stages_summary(stages.report).count("skip, nothing") == 4


def test_command(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    def program(*arguments: str) -> click.testing.Result:
        command = ["run", str(stages.folder / "mine.toml"), *arguments]
        return click.testing.CliRunner().invoke(cli.main, command)

    monkeypatch.chdir(stages.folder)
    result = program("--dry-run", "--json", "--output", "here")
    report = json.loads(result.stdout)
    assert [row["action"] for row in report["stages"]] == ["run"] * 4
    assert report["stages"][0]["output"] == "here/finetune/mine"
    changed = program("--dry-run", "--json", "--set", "prune.sparsity=0.9").stdout
    assert "--sparsity 0.9" in " ".join(json.loads(changed)["stages"][1]["command"])
    result = program("--data", "test.tsv")
    assert result.stderr.startswith("[1/4] finetune: run, it has not run yet\n[2/4] prune: ")
    assert stages.called == ALL
    assert program().stderr.startswith("[1/4] finetune: run, its data has changed")
    assert "[4/4] eval: skipped, nothing it depends on has changed\n" in program().stderr
    stages.change("sparsity", "sparsitty")
    assert "perhaps 'sparsity' is meant" in str(program().exception)


# --- real commands


@pytest.fixture
def toy_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual stages, with a toy as the student."""
    config = toy_folders.config(small=True, hidden_size=16, intermediate_size=24)
    student = Preset("toy", "A toy.", "text-classification", 16, "int8", "no/toy", config)
    monkeypatch.setattr(tfedge.presets, "load_preset", lambda name: student)
    toy_folders.write_folder(tmp_path / "encoder", small=True)
    toy_folders.write_sentences(tmp_path / "train.tsv", 24)
    path = tmp_path / "all.toml"
    path.write_text("""
    [defaults]
    data = "train.tsv"
    eval = "train.tsv"
    max_length = 16
    [finetune]
    model = "encoder"
    epochs = 1
    [distil]
    preset = "toy"
    epochs = 1
    [convert]
    seq_len = 16
    buckets = "none"
    quant = "float32"
    [eval]
    """)
    return path


def test_usual_stages_for_real(
    toy_recipe: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has TensorFlow loaded already."""

    def call(step: plan.Step, ends: running.Ends | None) -> Any:
        capfd.readouterr()
        cli.main.main(step.arguments, standalone_mode=False)
        return json.loads(capfd.readouterr().out)

    monkeypatch.setattr(running, "_call", call)
    recipe = read_recipe(toy_recipe, cli.main.commands, {})
    report = as_json(running.run(recipe, False, lambda line: None))
    rows = {row["stage"]: row for row in report["stages"]}
    assert list(rows) == ["finetune", "distil", "convert", "eval"]
    assert rows["convert"]["result"]["quantization"]["mode"] == "float32"
    assert rows["eval"]["result"]["texts"] == 24
    converted = Path(rows["convert"]["output"])
    assert converted == toy_recipe.parent / "build/all/convert/all/all_float32.tflite"
    assert converted.is_file()
    assert rows["eval"]["result"]["model"] == str(converted)
    again = running.run(recipe, False, lambda line: None)
    assert {stage.action for stage in again.stages} == {"skip"}


def test_failing_stage_says_why_and_ends_with_its_code(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    toy_folders.write_folder(tmp_path / "encoder", small=True)
    toy_folders.write_sentences(tmp_path / "train.tsv", 8)
    (tmp_path / "x.toml").write_text(
        '[finetune]\nmodel = "encoder"\ndata = "train.tsv"\nmax_length = 64\n'
    )
    recipe = read_recipe(tmp_path / "x.toml", cli.main.commands, {})
    with pytest.raises(TfedgeError, match=r"\[finetune\] ended with exit code 3") as caught:
        running.run(recipe, False, lambda line: None)
    assert caught.value.exit_code == 3
    assert "this encoder takes at most 20 tokens" in capfd.readouterr().err


@pytest.mark.slow
def test_killed_in_the_middle_of_training(tmp_path: Path) -> None:
    """SIGKILL, which takes the stage's process along; what is resumed ends as what was not killed."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    toy_folders.write_folder(tmp_path / "encoder", small=True, **none)
    toy_folders.write_sentences(tmp_path / "train.tsv", 40)
    (tmp_path / "x.toml").write_text("""
    [finetune]
    model = "encoder"
    data = "train.tsv"
    epochs = 140
    batch_size = 8
    max_length = 16
    """)

    def start(output: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "tfedge.cli", "run", tmp_path / "x.toml", "--output", output],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    killed = start("killed")
    training = tmp_path / "killed" / "finetune" / "x.training"
    deadline = time.monotonic() + 120
    while not list(training.glob("ckpt-*.index")) and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)  # ends when no process has its end of the pipe
    assert not (training.parent / "x" / "config.json").exists()
    outputs = {}
    for output in ("killed", "whole"):
        out, err = start(output).communicate(timeout=240)
        assert out.startswith("finetune made"), err
        assert ("resume, it was interrupted" in err) == (output == "killed")
        outputs[output] = (tmp_path / output / "finetune/x/model.safetensors").read_bytes()
    assert outputs["killed"] == outputs["whole"]
