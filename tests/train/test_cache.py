"""A teacher's outputs on disk: the same student as without, made once, never half."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
import toy_folders
from records import Killed, Record, request, same_weights, weights

from tfedge.data.batches import Batch, pad
from tfedge.data.texts import Texts
from tfedge.errors import InputError
from tfedge.models.build import build
from tfedge.models.config import parse_config
from tfedge.train import cache
from tfedge.train.cache import Outputs, open_cache
from tfedge.train.distil import DistillationLosses, distil
from tfedge.train.examples import Examples
from tfedge.train.training import Feed, TrainingOptions

STUDENT = toy_folders.config(hidden_size=16, intermediate_size=24, small=True)
OPTIONS = TrainingOptions(
    epochs=4, batch_size=8, learning_rate=2e-3, max_length=16, steps_per_checkpoint=10
)
NAMES = ("input_ids", "attention_mask", "token_type_ids")
LOSSES = DistillationLosses(relations=1.0)


@pytest.fixture(scope="module")
def outputs() -> Outputs:
    keras.utils.set_random_seed(3)
    encoder = build(parse_config(toy_folders.config()), "text-classification")
    model = encoder.model
    states = {**model.output, "hidden_states": encoder.hidden_states}
    return Outputs.of(keras.Model(model.input, states), ["hidden_states"])


@pytest.fixture
def examples() -> Examples:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 17, 70)
    return Examples(
        [rng.integers(5, 20, n).astype(np.int32) for n in lengths], np.zeros(70, np.int32)
    )


def nothing(share: float) -> None: ...


def test_gives_what_the_teacher_does(outputs: Outputs, examples: Examples, tmp_path: Path) -> None:
    found = open_cache(tmp_path, {"teacher": "a"}, outputs, examples, nothing)
    for indices in (np.array([3, 69, 0]), np.array([5])):
        batch = pad([examples.sequences[index] for index in indices], 16, NAMES)
        real = outputs.joined(outputs.teacher(batch))
        logits, rows = found.batch(indices, 16)
        assert np.allclose(logits, real[0], atol=1e-5)
        mask = batch["attention_mask"][:, :, None]
        assert np.allclose(rows, real[1] * mask, atol=2e-3)
        split = outputs.split(*(np.asarray(array) for array in (logits, rows)))
        assert [state.shape for state in split["hidden_states"]] == [(len(indices), 16, 32)] * 3
    assert [array.shape for array in found.nothing()] == [(0, 2), (0, 0, 96)]


def test_is_made_once_for_a_key(outputs: Outputs, examples: Examples, tmp_path: Path) -> None:
    shares: list[float] = []

    def made(key: dict[str, Any], texts: Examples = examples) -> bool:
        shares.clear()
        open_cache(tmp_path, key, outputs, texts, shares.append)
        return bool(shares)

    assert made({"teacher": "a"})
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert not made({"teacher": "a"})
    # Labels are nothing that a teacher sees.
    assert not made({"teacher": "a"}, Examples(examples.sequences, np.ones(70, np.int32)))
    assert made({"teacher": "b"})
    assert made({"teacher": "a"}, Examples(examples.sequences[::-1], examples.labels))
    assert len(list(tmp_path.iterdir())) == 3
    shutil.rmtree(tmp_path)
    assert made({"teacher": "a"})


def test_size_is_known_before(
    outputs: Outputs, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(tmp_path, {}, outputs, examples, nothing)
    files = list(tmp_path.rglob("*.npy"))
    size = sum(path.stat().st_size for path in files)
    tokens = sum(examples.lengths)
    assert size - 2 * 128 == 70 * 2 * 4 + tokens * 96 * 2  # two headers, logits, rows
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=tokens))
    with pytest.raises(InputError, match=r"take 0\.00 GB, and .* has room for 0\.00 GB"):
        open_cache(tmp_path / "other", {}, outputs, examples, nothing)
    assert list((tmp_path / "other").iterdir()) == []


def interrupted_by(error: BaseException) -> Callable[[float], None]:
    def progress(share: float) -> None:
        raise error

    return progress


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), InputError), (Killed(), Killed)],
)
def test_half_a_cache_is_none(
    outputs: Outputs,
    examples: Examples,
    tmp_path: Path,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    with pytest.raises(raised) as caught:
        open_cache(tmp_path, {}, outputs, examples, interrupted_by(error))
    assert list(tmp_path.iterdir()) == []
    if raised is InputError:
        assert "No space left on device; make room, or choose another" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"pickle"])
def test_damaged_files_are_refused(
    outputs: Outputs, examples: Examples, tmp_path: Path, damage: bytes
) -> None:
    open_cache(tmp_path, {}, outputs, examples, nothing)
    path = next(tmp_path.rglob("rows.npy"))
    whole = path.read_bytes()
    for content in (damage, whole[:-2], whole.replace(b"f2", b"f4", 1)):
        path.write_bytes(content)
        with pytest.raises(InputError, match="delete its folder"):
            open_cache(tmp_path, {}, outputs, examples, nothing)


def test_objects_are_never_unpickled(outputs: Outputs, examples: Examples, tmp_path: Path) -> None:
    open_cache(tmp_path, {}, outputs, examples, nothing)
    path = next(tmp_path.rglob("logits.npy"))
    np.save(path, np.array([{"a": 1}] * 70), allow_pickle=True)
    with pytest.raises(InputError, match="delete its folder"):
        open_cache(tmp_path, {}, outputs, examples, nothing)


def test_changed_batches_come_without(outputs: Outputs, examples: Examples, tmp_path: Path) -> None:
    stored = open_cache(tmp_path, {}, outputs, examples, nothing)

    def augment(batch: Batch, generator: np.random.Generator) -> Batch:
        return dict(batch) if generator.random() < 0.5 else batch

    found = list(Feed(examples, NAMES, OPTIONS, augment, stored).batches())
    sizes = {len(batch["input_ids"]) == len(logits) for batch, _, logits, _ in found}
    assert sizes == {True, False}
    for batch, _, logits, rows in found:
        assert len(logits) in (0, len(batch["input_ids"]))
        assert rows.shape[:2] == (batch["input_ids"].shape if len(logits) else (0, 0))


def run(teacher: Path, texts: Texts, output: Path, **changes: Any) -> Record:
    record = changes.pop("record", Record())
    changes = {"augmentation": 0.5, **changes}
    distil(request(teacher, texts, output, OPTIONS, record), STUDENT, LOSSES, **changes)
    return record


@pytest.mark.slow
def test_student_is_the_same_but_for_rounding(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    plain, first, again = (tmp_path / name for name in ("plain", "first", "again"))
    losses = run(small_encoder, toy_texts, plain).losses
    record = run(small_encoder, toy_texts, first, cache=tmp_path / "cache")
    assert record.cached[-1] == 1
    assert record.losses == pytest.approx(losses, rel=0.01)
    for name, value in weights(plain).items():
        assert np.allclose(weights(first)[name], value, atol=5e-3), name
    # The second time it is there; and a run that was killed ends as one that was not.
    killed = Record(kill_at=20)
    with pytest.raises(Killed):
        run(small_encoder, toy_texts, again, cache=tmp_path / "cache", record=killed)
    assert killed.cached == []
    run(small_encoder, toy_texts, again, cache=tmp_path / "cache")
    assert same_weights(first, again)


def test_cache_that_would_never_be_read(
    small_encoder: Path, toy_texts: Texts, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no cache would ever be read"):
        run(small_encoder, toy_texts, tmp_path / "x", augmentation=1, cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
