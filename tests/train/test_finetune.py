"""Fine-tuning a toy encoder on toy texts, from the folder to the folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
import numpy as np
import pytest
import toy_folders
from records import Killed, Record, request, same_weights, weights

from tfedge.data.texts import Texts
from tfedge.errors import CheckpointError, InputError
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.tasks import task_and_labels
from tfedge.train.finetune import finetune
from tfedge.train.training import TrainingOptions

OPTIONS = TrainingOptions(
    epochs=8, batch_size=8, learning_rate=3e-3, max_length=16, steps_per_checkpoint=10
)
WORDS = "bert.embeddings.word_embeddings.weight"


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished fine-tuning."""

    output: Path
    record: Record
    accuracy: float | None


def run(source: Path, texts: Texts, output: Path, **changes: Any) -> Run:
    record = changes.pop("record", Record())
    labels = changes.pop("labels", toy_folders.LABELS)
    held_out = changes.pop("held_out", texts)
    force = changes.pop("force", False)
    options = dataclasses.replace(OPTIONS, **changes)
    asked = request(source, texts, output, options, record, evaluation=held_out, force=force)
    return Run(output, record, finetune(asked, labels).accuracy)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without dropout, whose masks a resumed run draws anew."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return toy_folders.write_folder(tmp_path_factory.mktemp("steady"), small=True, **none)


@pytest.fixture(scope="module")
def finished(steady: Path, toy_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(steady, toy_texts, tmp_path_factory.mktemp("finetuned") / "model")


def test_learns(finished: Run) -> None:
    losses = finished.record.losses
    assert list(losses) == [20, 40]
    assert losses[40] < 0.9 * losses[20]
    assert finished.accuracy is not None
    assert finished.accuracy >= 0.95
    assert finished.accuracy == finished.record.accuracies[40]


@pytest.mark.parametrize(("steps", "epochs"), [(4, 2), (5, 2)])
def test_the_last_evaluation_is_made_once(
    steps: int,
    epochs: int,
    small_encoder: Path,
    toy_texts: Texts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After each epoch and at the end: of 5 steps in two epochs after 2, 4 and 5."""
    calls: list[float] = []

    def counted(*_: Any) -> Callable[[], dict[str, float]]:
        def measure() -> dict[str, float]:
            calls.append(len(calls) / 10)
            return {"accuracy": calls[-1]}

        return measure

    monkeypatch.setattr("tfedge.train.run.judge", counted)
    made = run(small_encoder, toy_texts, tmp_path / "model", steps=steps, epochs=epochs)
    assert calls == [0.0, 0.1, 0.2][: 2 + steps % 2]
    assert made.accuracy == calls[-1]


def test_written_folder_loads_again(finished: Run) -> None:
    checkpoint = Checkpoint(finished.output)
    assert checkpoint.config.labels == list(toy_folders.LABELS)
    assert checkpoint.config.source["architectures"] == ["BertForSequenceClassification"]
    model = build(checkpoint.config, "text-classification").model
    assert load_weights(model, checkpoint, "text-classification") == []
    assert np.isfinite(model(cases.batch(checkpoint.config.source))["logits"]).all()
    assert (finished.output / "tokenizer.json").is_file()
    assert not finished.output.with_name("model.training").exists()


def test_all_but_the_words_is_trained(finished: Run, steady: Path) -> None:
    before, after = weights(steady), weights(finished.output)
    assert before.keys() == after.keys()
    unchanged = [name for name in before if np.array_equal(before[name], after[name])]
    assert unchanged == [WORDS]


@pytest.mark.slow  # the loop is that of distillation, which has such a test too
def test_equal_seeds_give_equal_models(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    """Dropout included."""
    first, again, other = (
        run(small_encoder, toy_texts, tmp_path / name, seed=seed, epochs=1).output
        for name, seed in (("first", 7), ("again", 7), ("other", 8))
    )
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_killed_run_resumes_to_the_same_model(
    finished: Run, steady: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(steady, toy_texts, tmp_path / "model", record=Record(kill_at=25))
    assert not (tmp_path / "model").exists()
    resumed = run(steady, toy_texts, tmp_path / "model")
    # It went on behind the last checkpoint, at step 20, not from the beginning.
    assert min(resumed.record.accuracies) == 25
    assert same_weights(resumed.output, finished.output)


def test_older_output_stays_until_the_new_one_is_whole(
    finished: Run, steady: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "older").write_text("")
    with pytest.raises(InputError, match="--force to replace it"):
        run(steady, toy_texts, tmp_path / "model")
    with pytest.raises(Killed):
        run(steady, toy_texts, tmp_path / "model", record=Record(kill_at=25), force=True)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["older"]
    # An error before the first step leaves what can be gone on with.
    with pytest.raises(InputError, match="other settings"):
        run(steady, toy_texts, tmp_path / "model", seed=1)
    resumed = run(steady, toy_texts, tmp_path / "model", force=True)
    assert same_weights(resumed.output, finished.output)
    # What is no checkpoint's stays: a converted model, say.
    assert (tmp_path / "model" / "older").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def head(folder: Path) -> np.ndarray:
    return weights(folder)["classifier.weight"]


def same_head(folder: Path, source: Path) -> bool:
    """Whether a few small steps began from the source's head."""
    ours, theirs = head(folder), head(source)
    return ours.shape == theirs.shape and bool(np.allclose(ours, theirs, atol=1e-3))


FEW = {"steps": 2, "held_out": None, "learning_rate": 1e-5}


def test_same_labels_keep_the_head_in_its_order(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = run(small_encoder, toy_texts, tmp_path / "a", labels=("Positive", "negative"), **FEW)
    assert Checkpoint(kept.output).config.labels == ["negative", "positive"]
    assert same_head(kept.output, small_encoder)
    assert "new head" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (("bad", "good"), ""),
        (("0", "1"), "; if they number those, give --labels negative,positive"),
        (("bad", "fair", "good"), ""),
    ],
)
def test_other_labels_get_a_new_head_and_a_note(
    named: tuple[str, ...],
    hint: str,
    small_encoder: Path,
    toy_texts: Texts,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [named[index % len(named)] for index in range(len(toy_texts))]
    texts = dataclasses.replace(toy_texts, labels=words)
    made = run(small_encoder, texts, tmp_path / "model", labels=named, **FEW)
    assert Checkpoint(made.output).config.labels == list(named)
    assert head(made.output).shape[0] == len(named)
    assert not same_head(made.output, small_encoder)
    told = f"the texts have {len(named)} labels ({', '.join(named)}): a new head is trained{hint}\n"
    line = f"{small_encoder} has a head for 2 labels (negative, positive), {told}"
    assert capsys.readouterr().err.count(line) == 1
    # Drawn by the seed, as one that was missing.
    again = run(small_encoder, texts, tmp_path / "again", labels=named, **FEW)
    assert same_weights(made.output, again.output)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification", "tokens"])
def test_head_of_another_task_is_replaced(problem: str, toy_texts: Texts, tmp_path: Path) -> None:
    """Though its labels have the same names."""
    if problem == "tokens":
        source = toy_folders.write_folder(
            tmp_path / "source", task="token-classification", small=True
        )
    else:
        source = toy_folders.write_folder(tmp_path / "source", small=True, problem_type=problem)
    made = run(source, toy_texts, tmp_path / "model", **FEW)
    assert not same_head(made.output, source)
    assert task_and_labels(Checkpoint(made.output)) == (
        "text-classification",
        list(toy_folders.LABELS),
    )


def test_force_replaces_an_interrupted_run(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(small_encoder, toy_texts, tmp_path / "model", record=Record(kill_at=25))
    with pytest.raises(InputError, match="as --force does"):
        run(small_encoder, toy_texts, tmp_path / "model", epochs=1)
    made = run(small_encoder, toy_texts, tmp_path / "model", epochs=1, force=True)
    assert min(made.record.accuracies) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_interruption_before_the_first_step_leaves_nothing(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tfedge.train.finetune.load_weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(small_encoder, toy_texts, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "architecture", ["distilbert", pytest.param("mobilebert", marks=pytest.mark.slow)]
)
def test_other_architectures_learn_too(architecture: str, toy_texts: Texts, tmp_path: Path) -> None:
    source = toy_folders.write_folder(
        tmp_path / "source", architecture, "sentence-embedding", small=True
    )
    tuned = run(source, toy_texts, tmp_path / "model", held_out=None, batch_size=4, epochs=4)
    assert tuned.accuracy is None
    assert tuned.record.losses[40] < tuned.record.losses[20]
    checkpoint = Checkpoint(tuned.output)
    model = build(checkpoint.config, "text-classification").model
    assert load_weights(model, checkpoint, "text-classification") == []


def test_labels_that_do_not_fit(small_encoder: Path, toy_texts: Texts, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has labels \['negative'\] that the model does not know"):
        run(small_encoder, toy_texts, tmp_path / "model", labels=("good", "positive"))
    with pytest.raises(InputError, match="has no labels"):
        run(small_encoder, Texts(["a"], None, "a.txt"), tmp_path / "model", labels=())
    held_out = Texts(["a"], ["mixed"], "dev.tsv")
    with pytest.raises(InputError, match=r"dev\.tsv has labels \['mixed'\]"):
        run(small_encoder, toy_texts, tmp_path / "model", held_out=held_out)
    with pytest.raises(InputError, match=r"has the label 'negative\\x1b'; each must be one line"):
        run(small_encoder, toy_texts, tmp_path / "model", labels=("negative\x1b", "positive"))
    assert list(tmp_path.iterdir()) == []


def test_tokeniser_of_another_model(toy_texts: Texts, tmp_path: Path) -> None:
    source = toy_folders.write_folder(tmp_path / "source", vocab_size=60)
    with pytest.raises(CheckpointError, match="the tokeniser is another model's"):
        run(source, toy_texts, tmp_path / "model")


def test_texts_longer_than_the_encoder_takes(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="this encoder takes at most 20 tokens"):
        run(small_encoder, toy_texts, tmp_path / "model", max_length=21)


def test_longest_texts_that_the_encoder_takes(small_encoder: Path, tmp_path: Path) -> None:
    """20 positions, not a multiple of 8: padding must stop at 20."""
    texts = Texts(["good " * 30, "bad " * 30], ["positive", "negative"], "long texts")
    made = run(small_encoder, texts, tmp_path / "model", max_length=20, epochs=1)
    assert made.accuracy is not None
