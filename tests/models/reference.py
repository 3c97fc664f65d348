"""What torch and transformers answer for encoders: the reference that tfedge is held against.

Run it where torch and transformers are installed; it needs nothing of tfedge.

    python tests/models/reference.py make FOLDER     write random checkpoints and their outputs
    python tests/models/reference.py run FOLDER...   outputs of existing checkpoints on batch.npz
    python tests/models/reference.py golden          remake tests/models/golden.json

Outputs go to `reference.npz` in the checkpoint's folder: hidden_0, hidden_1, ... and the head's
logits, start_logits and end_logits, or embedding. `loading.json` says which tensors transformers
missed or did not expect.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cases
import numpy as np
import torch
import transformers
from safetensors import safe_open

GOLDEN = Path(__file__).with_name("golden.json")
SEED = 20250101


def make(folder: Path) -> None:
    """Writes every case's checkpoint as transformers saves it, its batch and its outputs."""
    generator = torch.Generator().manual_seed(SEED)
    for name in cases.ALL_CASES:
        config, task, num_labels = cases.parse(name)
        model = _fresh_model(config, task, num_labels)
        _randomise(model, generator)
        with torch.no_grad():
            cases.settle(config, dict(model.named_parameters()))
        model.save_pretrained(folder / name, safe_serialization=True)
        cases.write_preprocessor(folder / name, config)
        batch = _batch(config, task)
        np.savez(folder / name / "batch.npz", **batch)
        np.savez(folder / name / "reference.npz", **outputs(model, batch))


def _auto_class(task: str) -> Any:
    return getattr(transformers, f"AutoModel{cases.CLASS_SUFFIXES[task].removesuffix('Model')}")


def _image_class(architecture: str) -> Any:
    """One of DeiT's two classes, of which AutoModel makes the first unless a checkpoint says more."""
    return getattr(transformers, architecture)


def _fresh_model(config: cases.Config, task: str, num_labels: int) -> Any:
    options = {key: value for key, value in config.items() if key not in ("model_type", "pictures")}
    hf_config = transformers.AutoConfig.for_model(
        config["model_type"], num_labels=num_labels, **options
    )
    if task == cases.IMAGES:
        architecture = cases.hf_config(config, task, num_labels)["architectures"][0]
        return _image_class(architecture)(hf_config).eval()
    return _auto_class(task).from_config(hf_config).eval()


def _randomise(model: Any, generator: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.15 * torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.dim() == 1 and name.endswith(".weight")
            parameter.copy_(noise + float(is_gain))


def _batch(config: cases.Config, task: str) -> dict[str, np.ndarray]:
    return cases.asking(cases.batch(config)) if task == cases.WORDS else cases.batch(config)


def run(folder: Path) -> None:
    """Loads a checkpoint as its config.json says and writes its outputs for its batch."""
    model, loading = load(folder)
    report = {key: sorted(map(str, value)) for key, value in loading.items()}
    (folder / "loading.json").write_text(json.dumps(report))
    batch = dict(np.load(folder / "batch.npz"))
    np.savez(folder / "reference.npz", **outputs(model, batch))


def load(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model of a folder and what transformers reports about its tensors."""
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    kind = architecture.removesuffix("WithTeacher")
    task = next(t for t, suffix in cases.CLASS_SUFFIXES.items() if kind.endswith(suffix))
    options: dict[str, Any] = {}
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = list(file.keys())
    has_pooler = any("pooler." in name for name in names)
    never_has = architecture.startswith(
        (
            "Distil",
            "Electra",
            "RoFormer",
            "ModernBert",
            "Deberta",
            "Dinov2",
            "CLIP",
            "Siglip",
            "Beit",
            "DINOv3",
            "Swin",
        )
    )
    if task == "sentence-embedding" and not has_pooler and not never_has:
        # A mean of tokens has no use for the pooler, which the bare class has unless told.
        options["add_pooling_layer"] = False
    chosen = _image_class(architecture) if task == cases.IMAGES else _auto_class(task)
    model, loading = chosen.from_pretrained(
        folder, output_loading_info=True, local_files_only=True, **options
    )
    return model.float().eval(), loading


@torch.no_grad()
def outputs(model: Any, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hidden states and head outputs of a padded batch, float32."""
    inputs = {name: torch.from_numpy(value) for name, value in batch.items() if name != "asked"}
    inputs = {name: v if v.is_floating_point() else v.long() for name, v in inputs.items()}
    tower = getattr(model, "vision_model", model)
    answer = tower(**inputs, output_hidden_states=True)
    result = {f"hidden_{index}": state for index, state in enumerate(answer.hidden_states)}
    if model.config.model_type == "yolos":  # its tokens stand last, and first in tfedge
        found = model.config.num_detection_tokens
        result = {name: state.roll(found, dims=1) for name, state in result.items()}
    outputs = ("logits", "start_logits", "end_logits", "pred_boxes")
    heads = [name for name in outputs if name in answer]
    result |= {name: answer[name] for name in heads}
    if "asked" in batch:  # of all words, those of one position a row
        result["logits"] = answer.logits[torch.arange(len(batch["asked"])), batch["asked"][:, 0]]
    if not heads and "pixel_values" in batch:
        first = answer.last_hidden_state[:, 0]
        if model.config.model_type in ("beit", "swin"):
            first = answer.pooler_output
        if tower is not model:
            project = getattr(model, "visual_projection", torch.nn.Identity())
            first = project(answer.pooler_output)
        result["embedding"] = torch.nn.functional.normalize(first, p=2, dim=1)
    elif not heads:
        # Pooling and normalisation as sentence-transformers does them.
        mask = inputs["attention_mask"][..., None].float()
        summed = (answer.last_hidden_state * mask).sum(1)
        mean = summed / mask.sum(1).clamp(min=1e-9)
        result["embedding"] = torch.nn.functional.normalize(mean, p=2, dim=1)
    return cases.without_padding({name: value.numpy() for name, value in result.items()}, batch)


def golden(path: Path) -> None:
    """Writes excerpts of the outputs of numpy-made checkpoints, which any machine can remake."""
    content: dict[str, Any] = {
        "command": "python tests/models/reference.py golden",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "seed": SEED,
        "cases": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        for name in cases.GOLDEN_CASES:
            config, task, num_labels = cases.parse(name)
            folder = Path(temporary) / name
            cases.random_checkpoint(folder, config, task, SEED, num_labels)
            model, loading = load(folder)
            assert not any(loading.values()), (name, loading)
            answers = outputs(model, _batch(config, task))
            excerpts = {key: cases.excerpt(value) for key, value in answers.items()}
            content["cases"][name] = excerpts
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content["cases"].items()]
    head = json.dumps({**content, "cases": None}, indent=1)
    body = "{\n  " + ",\n  ".join(lines) + "\n }"
    path.write_text(head.replace('"cases": null', f'"cases": {body}') + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "run", "golden"))
    parser.add_argument("folders", type=Path, nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if arguments.what == "golden":
        golden(GOLDEN)
        return
    for folder in arguments.folders:
        make(folder) if arguments.what == "make" else run(folder)


if __name__ == "__main__":
    main()
