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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer, vocabulary
from tfedge.errors import InputError
from tfedge.models.build import Encoder, build, input_names
from tfedge.models.checkpoint import (
    Checkpoint,
    load_weights,
    task_and_labels,
)
from tfedge.models.heads import head_modules
from tfedge.train.augment import chained, ordinary_tokens, random_tokens
from tfedge.train.distil import DistillationLosses, Distiller, make_augment, with_hidden
from tfedge.train.precision import precision
from tfedge.train.result import RESULT, publish_result, write_result
from tfedge.train.sparsity import PruningOptions, choose_layers, timing, wrap
from tfedge.train.training import (
    Report,
    TrainingOptions,
    accuracy_on,
    check_length,
    check_stopping,
    claim_training_folder,
    compile_adam,
    tokenize,
    total_steps,
    train,
)

_WORDS = "embeddings.word_embeddings"


def prune(
    source: str | Path,
    texts: Texts,
    output: str | Path,
    pruning: PruningOptions,
    options: TrainingOptions,
    losses: DistillationLosses,
    report: Report,
    teacher: str | Path | None = None,
    evaluation: Texts | None = None,
    task: str | None = None,
    force: bool = False,
    augmentation: float = 0.5,
    random_share: float = 0.0,
) -> dict[str, Any]:
    """Prunes a checkpoint while it learns to answer as its teacher; writes an HF folder.

    A killed run resumes with its masks where the last checkpoint has them.

    Args:
        source: HF folder of what is pruned.
        texts: what student and teacher read; labels are needed only where `losses` uses them.
        losses: `logits` and `labels` are of text classification; other tasks learn the hidden
            states alone, and their head stays as it is.
        teacher: HF folder; by default `source`, as it was.
        evaluation: held-out texts of a text classifier, on which it is measured after each epoch.
        task: what the checkpoint is for; by default what it has a head for.
        augmentation: share of the batches in which words are replaced by similar ones, 0..1.
        random_share: share of the batches in which half of the tokens are replaced by random ones,
            0..1.

    Returns:
        What `sparsity_report` says, with `steps`, `texts`, `pruned_at` (steps) and, measured on
        `evaluation`, `accuracy` (0..1).

    Raises:
        InputError: checkpoint, teacher, texts and options do not fit together, the schedule would
            not prune as asked, or the output exists.
    """
    output = Path(output)
    check_stopping(options, evaluation)
    keras.utils.set_random_seed(options.seed)
    job = _Job.open(source, teacher or source, task, losses)
    check_length(options, job.student.config)
    tokenizer = load_tokenizer(source, job.student.config.vocab_size)
    labels = job.labels if job.losses.labels else None
    examples = tokenize(texts, tokenizer, labels, options)
    held_out = tokenize(evaluation, tokenizer, job.labels, options) if evaluation else None
    steps = total_steps(examples, options)
    when = timing(pruning, steps)
    with precision(options):
        student = job.build_student()
    chosen = choose_layers(student.model, pruning)
    if _WORDS not in chosen:
        # As in fine-tuning: few of its rows are ever read, for much of the cost of a step.
        student.model.get_layer(_WORDS).trainable = False
    settings = {
        "source": job.student.sha256,
        "teacher": job.teacher.sha256,
        "task": job.task,
        "texts": examples.sha256,
        "held_out": held_out.sha256 if held_out else None,
        **dataclasses.asdict(pruning),
        "augmentation": augmentation,
        "random_share": random_share,
        **dataclasses.asdict(job.losses),
        **dataclasses.asdict(options),
    }
    folder = claim_training_folder(output, settings, force)
    with precision(options):
        wrapped = wrap(with_hidden(student), chosen, pruning, when)
        trainer = Distiller(wrapped, job.build_teacher(), job.losses)
    compile_adam(trainer, options, steps)
    masks = _Masks(wrapped)
    measure = masks.applied_before(accuracy_on(student.model, held_out)) if held_out else None
    names = input_names(job.student.config)
    pruned_at = list(when.fires(steps)) if ":" not in pruning.pattern else [1]
    # Before the last of them the weights are not yet as sparse as they shall be.
    begin = pruned_at[-1]
    augment = chained(
        make_augment(trainer.teacher, tokenizer, examples, augmentation),
        random_tokens(ordinary_tokens(tokenizer), random_share),
    )
    train(trainer, examples, names, options, folder / "steps", report, measure, augment, begin)
    masks.apply()
    write_result(student.model, job.student.config, job.task, job.labels, job.student, folder)
    result = sparsity_report(folder / RESULT, job.student.folder, chosen)
    result |= {"steps": steps, "texts": len(texts), "pruned_at": pruned_at}
    if measure:
        result["accuracy"] = measure()
    publish_result(folder, output)
    return {"output": str(output), **result}


@dataclasses.dataclass(frozen=True)
class _Job:
    """Student and teacher, found to fit each other."""

    student: Checkpoint
    teacher: Checkpoint
    task: str
    labels: list[str]
    losses: DistillationLosses

    @classmethod
    def open(
        cls, source: str | Path, teacher: str | Path, task: str | None, losses: DistillationLosses
    ) -> _Job:
        student, other = Checkpoint(source), Checkpoint(teacher)
        for checkpoint in (student, other):
            checkpoint.config.architecture.check_reads_texts("tfedge prune")
        task, labels = task_and_labels(student, task)
        if task != "text-classification":
            if losses.labels:
                raise InputError(f"labels train text classification; {source} is for {task}")
            losses = dataclasses.replace(losses, logits=0.0)
        job = cls(student, other, task, labels, losses)
        job._check_teacher(teacher)
        return job

    def _check_teacher(self, folder: str | Path) -> None:
        """Raises InputError where the teacher's outputs are not the student's."""
        labels = task_and_labels(self.teacher, self.task)[1]
        if labels != self.labels:
            raise InputError(
                f"{folder} has the labels {', '.join(labels)}, the model to prune "
                f"{', '.join(self.labels)}; they must be the same"
            )
        ours, theirs = (
            vocabulary(load_tokenizer(checkpoint.folder, checkpoint.config.vocab_size))
            for checkpoint in (self.student, self.teacher)
        )
        if ours != theirs or _inputs(self.student.config) != _inputs(self.teacher.config):
            raise InputError(f"{folder} reads other tokens than the model to prune; take another")
        sizes = [
            (config.hidden_size, config.num_hidden_layers)
            for config in (self.student.config, self.teacher.config)
        ]
        if self.losses.hidden and sizes[0] != sizes[1]:
            raise InputError(
                f"{folder} has {sizes[1][1]} layers of {sizes[1][0]} channels, the model to prune "
                f"{sizes[0][1]} of {sizes[0][0]}, so that their hidden states cannot be compared; "
                "give these no weight (--hidden-weight 0)"
            )

    def build_student(self) -> Encoder:
        encoder = build(self.student.config, self.task, len(self.labels))
        load_weights(encoder.model, self.student, self.task)
        if not (self.losses.logits or self.losses.labels):
            head = head_modules(self.task, self.student.config)
            for layer in encoder.model.layers:  # what no loss reaches
                layer.trainable = layer.name not in head
        return encoder

    def build_teacher(self) -> keras.Model:
        encoder = build(self.teacher.config, self.task, len(self.labels))
        load_weights(encoder.model, self.teacher, self.task)
        return with_hidden(encoder)


def _inputs(config: EncoderConfig) -> tuple[int, int, int]:
    return config.vocab_size, config.type_vocab_size, config.max_position_embeddings


class _Masks:
    """The masks of a wrapped model, which tfmot applies at the beginning of a step only."""

    def __init__(self, model: keras.Model) -> None:
        self._callback = tfmot.sparsity.keras.UpdatePruningStep()
        self._callback.set_model(model)
        self._callback.on_train_begin()  # the wrappers refuse to count steps before

    def apply(self) -> None:
        """Makes the weights zero that the last step moved away from it."""
        self._callback.on_epoch_end(0)

    def applied_before(self, measure: Callable[[], float]) -> Callable[[], float]:
        def measured() -> float:
            self.apply()
            return measure()

        return measured


def sparsity_report(folder: Path, dense: Path, chosen: Iterable[str]) -> dict[str, Any]:
    """What of a checkpoint is zero, and what that saves.

    Args:
        folder, dense: HF folders of the pruned and of the dense model.
        chosen: names of the pruned layers.

    Returns:
        A JSON object: `layers`, for each `name`, `weights`, `zeros`, `sparsity` (0..1); the last
        three of all parameters together; `files`, the sizes of the weights, `raw` and `gzip`
        bytes, `dense` and `pruned`.
    """
    checkpoint = Checkpoint(folder)
    counted = {}
    for name in sorted(checkpoint.names):
        value = checkpoint.read(name)
        counted[name] = (value.size, value.size - int(np.count_nonzero(value)))
    layers = [{"name": name, **_share(*counted[f"{name}.weight"])} for name in chosen]
    sizes = {"dense": _sizes(Checkpoint(dense)), "pruned": _sizes(checkpoint)}
    weights, zeros = (sum(column) for column in zip(*counted.values(), strict=True))
    return {"layers": layers, **_share(weights, zeros), "files": sizes}


def _share(weights: int, zeros: int) -> dict[str, Any]:
    return {"weights": weights, "zeros": zeros, "sparsity": zeros / weights}


def _sizes(checkpoint: Checkpoint) -> dict[str, int]:
    contents = [path.read_bytes() for path in checkpoint.files]
    return {
        "raw": sum(map(len, contents)),
        "gzip": sum(len(gzip.compress(content, mtime=0)) for content in contents),
    }
