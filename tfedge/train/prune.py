"""Magnitude pruning: the smallest weights become zero while the model learns to do without them.

The zeros make a compressed file smaller, not the model faster: runtimes keep them and multiply by
them. TFLite's sparse encoding of constants is not used. Single zeros of int8 do not pay in it, since
each weight that is left needs an index (at half sparsity 2,008 values, 2,008 indices and 260 bytes
of row ends for 4,096 weights). Blocks of 4 x 1 take 0.68 of the bytes, but a sparse weight of
CONV_2D is read as if it were dense by tflite-runtime 2.14 and LiteRT 2.3, to wrong answers without
a word; FULLY_CONNECTED in int8 is refused by the first and wrong in the second. Both run CONV_2D
rightly behind a DENSIFY, which holds the dense weights beside the sparse ones, and LiteRT refuses
FULLY_CONNECTED there.
"""

from __future__ import annotations

import dataclasses
import gzip
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_model_optimization as tfmot

from tfedge.data.tokenizer import load_tokenizer, vocabulary
from tfedge.errors import InputError
from tfedge.models.build import Encoder
from tfedge.models.checkpoint import Checkpoint
from tfedge.records import FLAT
from tfedge.train.augment import chained, ordinary_tokens, random_tokens
from tfedge.train.distil import DistillationLosses, Distiller, make_augment, with_hidden
from tfedge.train.result import numbers
from tfedge.train.run import Request, TrainingRun, build_loaded, freeze_words, stored_dtype
from tfedge.train.sparsity import PruningOptions, choose_layers, one_of_each, timing, wrap
from tfedge.train.training import Augment, check_length


@dataclasses.dataclass(frozen=True)
class Zeros:
    """Weights of a layer, or of all, how many are zero, and their share."""

    weights: int
    zeros: int
    sparsity: float = dataclasses.field(init=False)
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsity", self.zeros / self.weights)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of weights as they are and compressed."""

    raw: int
    gzip: int


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """What of a checkpoint is zero: of the pruned layers and of all parameters; `files` has the
    sizes of the `dense` and of the `pruned` weights."""

    layers: Sequence[Zeros]
    total: Zeros = dataclasses.field(metadata=FLAT)
    files: Mapping[str, Sizes]


@dataclasses.dataclass(frozen=True)
class Pruning:
    """A finished run; `pruned_at` has its steps, `accuracy` and all `figures` are of held-out texts."""

    output: str
    sparsity: Sparsity = dataclasses.field(metadata=FLAT)
    steps: int
    texts: int
    pruned_at: Sequence[int]
    accuracy: float | None = None
    figures: Mapping[str, float] | None = None


def prune(
    request: Request,
    pruning: PruningOptions,
    losses: DistillationLosses,
    teacher: str | Path | None = None,
    augmentation: float = 0.5,
    random_share: float = 0.0,
) -> Pruning:
    """Prunes a checkpoint while it learns to answer as its teacher; writes an HF folder.

    A killed run resumes with its masks where the last checkpoint has them. Raises InputError where
    checkpoint, teacher, texts and options do not fit together, the schedule would not prune as
    asked, or the output exists.

    Args:
        request: labels of its texts are needed only where `losses` uses them.
        losses: `logits` and `labels` are of text classification; other tasks learn the hidden
            states alone, and their head stays as it is.
        teacher: HF folder; by default the source, as it was.
        augmentation, random_share: shares of the batches, 0..1, in which words are replaced by
            similar ones, and half of the tokens by random ones.
    """
    run = TrainingRun(request)
    losses = losses.of_task(run)
    other = Checkpoint(teacher or request.source)
    _check_teacher(run, other, losses)
    run.read(labelled=bool(losses.labels))
    when = timing(pruning, run.steps)
    with run.scope():
        student = run.build_source()
    if not (losses.logits or losses.labels):  # no loss reaches the head
        head = run.task.modules(run.config)
        for layer in student.model.layers:
            layer.trainable = layer.name not in head
    chosen = one_of_each(choose_layers(student.model, pruning), run.config)
    if student.config.architecture.embeddings.words not in chosen:
        freeze_words(student)
    settings = {"teacher": other.sha256, "augmentation": augmentation, "random_share": random_share}
    settings |= {**dataclasses.asdict(pruning), **dataclasses.asdict(losses)}
    pruned_at = list(when.fires(run.steps)) if ":" not in pruning.pattern else [1]
    with run.claimed(**settings):
        with run.scope():
            wrapped = wrap(with_hidden(student), chosen, pruning, when)
            knowing = with_hidden(build_loaded(other, run.task.name, len(run.labels)))
            trainer = Distiller(wrapped, knowing, losses, run.task)
        augment = chained(
            make_augment(trainer.teacher, run, augmentation),
            random_tokens(ordinary_tokens(run.tokenizer), random_share),
        )
        _fit(run, trainer, student, augment, pruned_at[-1])
        run.write(student.model, dtype=stored_dtype(run.checkpoint))
        return Pruning(
            output=str(request.output),
            sparsity=sparsity_of(run.folder.result, run.checkpoint.folder, chosen),
            steps=run.steps,
            texts=len(request.texts),
            pruned_at=pruned_at,
            accuracy=(run.figures or {}).get("accuracy"),
            figures=numbers(run.figures),
        )


def _fit(
    run: TrainingRun, trainer: Distiller, student: Encoder, augment: Augment | None, last: int
) -> None:
    """Trains the wrapped student, only as sparse as asked after step `last`."""
    masks = tfmot.sparsity.keras.UpdatePruningStep()
    masks.set_model(trainer.student)
    masks.on_train_begin()  # the wrappers refuse to count steps before
    unmasked = run.measure_of(student.model)

    def measure() -> float:
        masks.on_epoch_end(0)  # the last step moved weights away from zero
        assert unmasked is not None
        return unmasked()

    doing = f"pruning {run.request.name}"
    run.fit(trainer, doing, measure if unmasked else None, augment, counts_from=last)
    masks.on_epoch_end(0)


def _check_teacher(run: TrainingRun, teacher: Checkpoint, losses: DistillationLosses) -> None:
    """Raises InputError where the teacher's outputs are not the student's."""
    check_length(run.options, teacher.config)
    folder, labels = teacher.folder, run.task.labels(teacher)
    if labels != run.labels:
        raise InputError(
            f"{folder} has the labels {', '.join(labels)}, the model to prune "
            f"{', '.join(run.labels)}; they must be the same"
        )
    tokens = vocabulary(load_tokenizer(folder, teacher.config.vocab_size))
    sizes = operator.attrgetter("vocab_size", "type_vocab_size", "max_position_embeddings")
    if vocabulary(run.tokenizer) != tokens or sizes(run.config) != sizes(teacher.config):
        raise InputError(f"{folder} reads other tokens than the model to prune; take another")
    states = operator.attrgetter("num_hidden_layers", "hidden_size")
    ours, theirs = states(run.config), states(teacher.config)
    if losses.hidden and ours != theirs:
        raise InputError(
            f"{folder} has {theirs[0]} layers of {theirs[1]} channels, the model to prune {ours[0]} "
            f"of {ours[1]}, so that their hidden states cannot be compared; give these no weight "
            "(--hidden-weight 0)"
        )


def sparsity_of(folder: Path, dense: Path, chosen: Iterable[str]) -> Sparsity:
    """What is zero in a checkpoint, whose layers `chosen` were pruned, and what that saves."""
    checkpoint = Checkpoint(folder)
    counted = {}
    for name in sorted(checkpoint.names):
        value = checkpoint.read(name)
        counted[name] = (value.size, value.size - int(np.count_nonzero(value)))
    config = checkpoint.config
    tensors = [config.architecture.tensor_name(config, name) for name in chosen]
    layers = [Zeros(*counted[f"{name}.weight"], name=name) for name in tensors]
    weights, zeros = (sum(column) for column in zip(*counted.values(), strict=True))
    sizes = {"dense": _sizes(Checkpoint(dense)), "pruned": _sizes(checkpoint)}
    return Sparsity(layers, Zeros(weights, zeros), sizes)


def _sizes(checkpoint: Checkpoint) -> Sizes:
    contents = [path.read_bytes() for path in checkpoint.files]
    packed = [gzip.compress(content, mtime=0) for content in contents]
    return Sizes(raw=sum(map(len, contents)), gzip=sum(map(len, packed)))
