"""Fine-tuning toy encoders of images, from a folder of images to the folder of a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_folders
import toy_images
from click.testing import CliRunner, Result
from records import Killed, Record, request, same_weights, weights

from tfedge import cli
from tfedge.cli.pictures import read_pictures
from tfedge.data.images import read_images
from tfedge.errors import InputError
from tfedge.measure.checkpoint import checkpoint_answers
from tfedge.models.checkpoint import Checkpoint
from tfedge.tasks import image_classification
from tfedge.train.finetune import LabelOptions
from tfedge.train.finetune_images import augmenter, finetune_images
from tfedge.train.image_options import CHANGES, ImageOptions
from tfedge.train.training import TrainingOptions

OPTIONS = TrainingOptions(epochs=30, batch_size=8, learning_rate=1e-2, steps_per_checkpoint=10)
NEW = ("a", "b", "c")  # labels that no toy has


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the toys in folders by other names."""
    folder = toy_images.write_images(tmp_path_factory.mktemp("images"), 36)
    for old, new in zip(toy_images.LABELS, NEW, strict=True):
        (folder / old).rename(folder / new)
    return folder


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = toy_images.write_images(tmp_path_factory.mktemp("held_out"), 18, seed=5)
    for old, new in zip(toy_images.LABELS, NEW, strict=True):
        (folder / old).rename(folder / new)
    return folder


def run(source: Path, data: Path, eval_: Path | None, output: Path, **changes: Any) -> Any:
    record = changes.pop("record", Record())
    options = changes.pop("images", ImageOptions())
    of_labels = changes.pop("of_labels", LabelOptions())
    task = image_classification.TASK
    rows = task.rows(read_images(data))
    others = task.rows(read_images(eval_)) if eval_ else None
    labels = task.new_labels(rows)
    rows, others = read_pictures(source, rows, others)
    asked = request(
        source,
        rows,  # type: ignore[arg-type]
        output,
        dataclasses.replace(OPTIONS, **changes),
        record,
        evaluation=others,
    )
    return finetune_images(asked, labels, of_labels, options), record


def tfedge_(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, list(map(str, words)))


def _right(folder: Path, data: Path) -> float:
    """The share of images that the checkpoint in `folder` labels rightly, as `tfedge eval` asks it."""
    paths = sorted(data.rglob("*.png"))
    answers = checkpoint_answers(folder, [str(path) for path in paths])
    return float(
        np.mean([a["label"] == p.parent.name for a, p in zip(answers, paths, strict=True)])
    )


@pytest.mark.parametrize(
    "name", ["vit", "dinov2", "deit", pytest.param("swin", marks=pytest.mark.slow)]
)
def test_a_head_on_an_encoder_without_one(
    name: str, images: Path, held_out: Path, tmp_path: Path
) -> None:
    source = toy_images.write_features(tmp_path / "encoder", name)
    trained, _ = run(source, images, held_out, tmp_path / "out")
    assert trained.accuracy >= 0.9
    assert trained.goal == "accuracy"
    # What was trained on standardised features is what the checkpoint answers.
    assert _right(tmp_path / "out", held_out) == pytest.approx(trained.accuracy)


def test_what_is_written(images: Path, tmp_path: Path) -> None:
    """The tensors are those that transformers' class has, as `cases` spells them."""
    source = toy_images.write_features(tmp_path / "encoder", "dinov2")
    run(source, images, None, tmp_path / "out", epochs=1)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["Dinov2ForImageClassification"]
    assert config["id2label"] == {str(index): name for index, name in enumerate(NEW)}
    assert config["label2id"] == {name: index for index, name in enumerate(NEW)}
    preprocessor = json.loads((tmp_path / "out" / "preprocessor_config.json").read_text())
    assert preprocessor == toy_images.PREPROCESSOR
    kind = {**cases.IMAGE_CONFIGS["dinov2"], "num_hidden_layers": 1}
    like = cases.random_checkpoint(tmp_path / "like", kind, cases.IMAGES, 1, len(NEW))
    assert weights(tmp_path / "out").keys() == like.keys()
    head = weights(tmp_path / "out")["classifier.weight"]
    assert head.shape == (3, 2 * config["hidden_size"])  # the first token, and the mean
    assert not (tmp_path / "out.training").exists()


def test_both_heads_of_a_deit_are_trained(images: Path, held_out: Path, tmp_path: Path) -> None:
    source = toy_images.write_folder(tmp_path / "deit", "deit", teacher=True)
    trained, _ = run(source, images, held_out, tmp_path / "out")
    assert trained.accuracy >= 0.9
    before, after = weights(source), weights(tmp_path / "out")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    heads = ("cls_classifier", "distillation_classifier")
    assert changed == {f"{head}.{part}" for head in heads for part in ("weight", "bias")}
    assert _right(tmp_path / "out", held_out) == pytest.approx(trained.accuracy)


def test_a_head_for_the_same_labels_is_gone_on_with(tmp_path: Path) -> None:
    """A step too small to change an answer leaves a fitted head as good as it was."""
    source = toy_images.write_folder(tmp_path / "vit", "vit")
    data = toy_images.write_images(tmp_path / "images", 18)
    other = toy_images.write_images(tmp_path / "other", 18, seed=5)
    trained, _ = run(source, data, other, tmp_path / "out", epochs=1, learning_rate=1e-9)
    assert trained.accuracy == pytest.approx(_right(source, other))
    before, after = weights(source), weights(tmp_path / "out")
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-4)
    assert Checkpoint(tmp_path / "out").config.labels == list(toy_images.LABELS)


def test_all_weights_learn(images: Path, held_out: Path, tmp_path: Path) -> None:
    source = toy_images.write_folder(tmp_path / "vit", "vit")
    options = ImageOptions(trains_trunk=True, augment=("zoom", "colour"))
    changes = {"images": options, "learning_rate": 3e-3, "epochs": 20}
    trained, record = run(source, images, held_out, tmp_path / "out", **changes)
    losses = list(record.losses.values())
    assert losses[-1] < 0.7 * losses[0]
    before, after = weights(source), weights(tmp_path / "out")
    assert [name for name in before if np.array_equal(before[name], after[name])] == []
    assert trained.accuracy >= 0.8
    assert _right(tmp_path / "out", held_out) == pytest.approx(trained.accuracy)


@pytest.mark.parametrize(
    "options",
    [ImageOptions(), pytest.param(ImageOptions(True, augment=()), marks=pytest.mark.slow)],
)
def test_a_killed_run_resumes_to_the_same_model(
    options: ImageOptions, images: Path, held_out: Path, tmp_path: Path
) -> None:
    source = toy_images.write_folder(tmp_path / "vit", "vit")
    changes = {"images": options, "epochs": 6}
    run(source, images, held_out, tmp_path / "whole", **changes)
    with pytest.raises(Killed):
        run(source, images, held_out, tmp_path / "out", record=Record(kill_at=20), **changes)
    assert not (tmp_path / "out").exists()
    _, record = run(source, images, held_out, tmp_path / "out", **changes)
    assert min(record.accuracies) > 10
    assert same_weights(tmp_path / "whole", tmp_path / "out")


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_makes_other_images(change: str) -> None:
    pixels = np.stack(toy_images.drawn(6)[0]).astype(np.float32)
    made = augmenter((change,), pixels.shape[1:], 0)(pixels, training=True).numpy()
    assert made.shape == pixels.shape
    assert made.min() >= -1 and made.max() <= 256
    assert np.abs(made - pixels).mean() > 1
    # The means of whole images stay about where they were: nothing is torn out of its range.
    assert np.abs(made.mean((1, 2)) - pixels.mean((1, 2))).max() < 80


def test_no_change_leaves_images_as_they_are() -> None:
    pixels = np.stack(toy_images.drawn(2)[0]).astype(np.float32)
    np.testing.assert_array_equal(augmenter((), pixels.shape[1:], 0)(pixels, training=True), pixels)


def test_labels_count_alike(images: Path, held_out: Path, tmp_path: Path) -> None:
    """Of an image that says nothing, the rare label is as likely as others."""
    for path in sorted((images / "a").iterdir())[2:]:
        path.rename(path.with_suffix(".kept"))
    try:
        source = toy_images.write_features(tmp_path / "encoder", "vit")
        biases = {}
        for balanced in (False, True):
            out = tmp_path / str(balanced)
            run(
                source,
                images,
                held_out,
                out,
                of_labels=LabelOptions(class_weights=balanced),
            )
            biases[balanced] = weights(out)["classifier.bias"]
        assert not np.array_equal(biases[False], biases[True])
    finally:
        for path in (images / "a").glob("*.kept"):
            path.rename(path.with_suffix(".png"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_images.write_features(tmp_path_factory.mktemp("encoder") / "dinov2", "dinov2")


def test_the_command(encoder: Path, images: Path, tmp_path: Path) -> None:
    """Broken images are named and left out, of those to train on and of those held out."""
    data = tmp_path / "data"
    shutil.copytree(images, data)
    (data / "b" / "broken.png").write_bytes(b"no image")
    dev = tmp_path / "dev"
    shutil.copytree(images, dev)
    (dev / "c" / "cut.png").write_bytes(next((images / "c").glob("*.png")).read_bytes()[:200])
    out = tmp_path / "out"
    result = tfedge_("finetune", encoder, "--data", data, "--eval", dev, "--output", out, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["task"] == "image-classification"
    assert report["accuracy"] >= 0.9
    assert report["figures"]["texts"] == 36
    assert "1 of the 37 images of" in result.stderr and "broken.png: not an image" in result.stderr
    assert "cut.png" in result.stderr
    assert f"36 of the 37 images of {dev} are in {data} too, the first is" in result.stderr


def test_some_are_held_out_of_many(encoder: Path, tmp_path: Path) -> None:
    """A tenth of each label; the best weights there are kept, and training ends when it is over."""
    data = toy_images.write_images(tmp_path / "data", 120)
    result = tfedge_("finetune", encoder, "--data", data, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert "12 of the 120 rows of" in result.stderr
    figures = json.loads(result.stdout)["figures"]
    assert figures["texts"] == 12
    assert figures["accuracy"] >= 0.9


REFUSED = {
    "--max-length": (
        ["--max-length", "32"],
        "--max-length is for models of texts, and a dinov2 reads",
    ),
    "--text-column": (["--text-column", "x"], "--text-column is for models of texts"),
    "--out-of-scope": (["--out-of-scope", "x"], "--out-of-scope is for models of texts"),
    "--augment": (["--augment", "flip"], "needs --trunk trained"),
    "a change": (
        ["--trunk", "trained", "--augment", "flip,blur"],
        "--augment has 'blur'; give some of flip, zoom, rotation, colour, or none",
    ),
    "a task": (
        ["--task", "text-classification"],
        "a dinov2 cannot be used for text-classification",
    ),
    "a label": (["--labels", "a,b"], "'c'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_possible_is_refused(
    case: str, encoder: Path, images: Path, tmp_path: Path
) -> None:
    words, message = REFUSED[case]
    result = tfedge_("finetune", encoder, "--data", images, "--output", tmp_path / "out", *words)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_teach_nothing_are_refused(encoder: Path, tmp_path: Path) -> None:
    def refusal(data: Path) -> str:
        result = tfedge_("finetune", encoder, "--data", data, "--output", tmp_path / "out")
        assert isinstance(result.exception, InputError)
        return str(result.exception)

    alone = toy_images.write_images(tmp_path / "labelled", 6) / "blob"
    assert "has no labels; it needs a folder with one sub-folder per label" in refusal(alone)
    shutil.copytree(alone, tmp_path / "one" / "blob")
    assert "have the label 'blob'; a model learns to tell images apart" in refusal(tmp_path / "one")
    (tmp_path / "labelled" / "down").rename(tmp_path / "down")
    (tmp_path / "labelled" / "down").mkdir()
    (tmp_path / "labelled" / "down" / "broken.png").write_bytes(b"no image")
    assert "has no image of the label 'down' that can be read" in refusal(tmp_path / "labelled")
    assert "does not exist; give a folder of images" in refusal(tmp_path / "none")


@pytest.mark.parametrize("words", [["--trunk", "frozen"], ["--augment", "none"]])
def test_models_of_texts_refuse_what_is_for_images(words: list[str], tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "bert", small=True)
    (tmp_path / "a.tsv").write_text("text\tlabel\nhello\ta\nworld\tb\n")
    result = tfedge_(
        "finetune", source, "--data", tmp_path / "a.tsv", "--output", tmp_path / "out", *words
    )
    assert isinstance(result.exception, InputError)
    assert f"{words[0]} is for models of images, and a bert reads texts" in str(result.exception)


def test_an_image_text_model_is_refused(images: Path, tmp_path: Path) -> None:
    source = tmp_path / "clip"
    cases.random_checkpoint(source, dict(cases.parse("clip.features")[0]), cases.FEATURES, 1)
    result = tfedge_("finetune", source, "--data", images, "--output", tmp_path / "out")
    assert isinstance(result.exception, InputError)
    assert "a clip is for image-feature-extraction alone" in str(result.exception)


def test_a_table_of_images(encoder: Path, images: Path, tmp_path: Path) -> None:
    """And labels with few of them are told."""
    paths = sorted(images.rglob("*.png"))
    lines = [f"{path},{path.parent.name}" for path in paths if path.parent.name != "a"]
    lines += [f"{path},a" for path in paths if path.parent.name == "a"][:2]
    (tmp_path / "images.csv").write_text("\n".join(["image,label", *lines]))
    words = ("--data", tmp_path / "images.csv", "--output", tmp_path / "out", "--epochs", "1")
    result = tfedge_("finetune", encoder, *words, "--json")
    assert result.exit_code == 0, result.output
    assert "fewer than 10 images to train on of the labels a (2): more" in result.stderr
    assert Checkpoint(tmp_path / "out").config.labels == list(NEW)


def test_in_a_recipe(encoder: Path, images: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'[finetune]\nmodel = "{encoder}"\ndata = "{images}"\nepochs = 1\n')
    result = tfedge_("run", recipe, "--output", tmp_path / "made")
    assert result.exit_code == 0, result.output
    assert Checkpoint(tmp_path / "made/finetune/mine").config.labels == list(NEW)
    again = tfedge_("run", recipe, "--output", tmp_path / "made")
    assert "kept" in again.stdout
