"""Structured pruning: parts of an encoder are removed, and what is left learns to answer as before.

Unlike zeros (`tfedge.train.prune`), fewer heads, neurons, layers and channels make the model
faster on every runtime. What goes is chosen by its importance on the user's texts
(`tfedge.train.importance`) under a limit on FLOPs or on a board's instructions
(`tfedge.train.select`); of several shapes that keep the limit, the one whose answers, before any
training, are nearest to the model's. It is then distilled from the model as it was.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tokenizers import Tokenizer

from tfedge import files
from tfedge.architectures.base import EXTENSION, EncoderConfig
from tfedge.data.batches import pad, padded_length
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import InputError
from tfedge.models import cost
from tfedge.models.build import Encoder, build, input_names
from tfedge.models.checkpoint import Checkpoint, assign, load_weights, task_and_labels
from tfedge.progress import MakeBar
from tfedge.train.cut import Cut, cut_config, cut_tensors, tensors_of
from tfedge.train.distil import (
    DistillationLosses,
    Distiller,
    make_augment,
    targets,
    with_hidden,
)
from tfedge.train.importance import importance_of_weights, measure_importance
from tfedge.train.result import publish_result, write_result
from tfedge.train.select import Cost, Space, candidates
from tfedge.train.training import (
    Examples,
    Report,
    TrainingOptions,
    accuracy_on,
    check_length,
    claim_training_folder,
    compile_adam,
    tokenize,
    total_steps,
    train,
)

TASKS = ("text-classification", "sentence-embedding")
_WORDS = "embeddings.word_embeddings"
# Texts that importance is measured on, and those on which shapes are compared.
_TEXTS = 1024
_COMPARED = 256
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Target:
    """How small the encoder is to be.

    Attributes:
        ratio: of the cost before, 0..1; not exceeded.
        space: what may be removed.
        sequence_length: tokens of a text that costs are given for.
        board: whose instructions are reported.
        cost: `flops` or `instructions`.
    """

    ratio: float
    space: Space
    sequence_length: int
    board: cost.InstructionCosts
    cost: Literal["flops", "instructions"] = "flops"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise InputError(f"the target is {self.ratio}; it is a share of the cost, 0 to 1")

    def flops(self, config: EncoderConfig) -> float:
        """Floating-point operations for one text."""
        return cost.flops(config, self.sequence_length)

    def instructions(self, config: EncoderConfig, task: str) -> float:
        """Instructions of the board for one text, in int8."""
        return cost.instructions(config, self.sequence_length, self.board, task)

    def price(self, task: str) -> Cost:
        """What is to be kept low."""
        if self.cost == "flops":
            return self.flops
        return lambda config: self.instructions(config, task)


def shrink(
    source: str | Path,
    texts: Texts,
    output: str | Path,
    target: Target,
    options: TrainingOptions,
    losses: DistillationLosses,
    make_bar: MakeBar,
    make_report: Callable[[Any], Report],
    evaluation: Texts | None = None,
    task: str | None = None,
    augmentation: float = 0.5,
    force: bool = False,
) -> dict[str, Any]:
    """Removes parts of a checkpoint, distils it from what it was; writes an HF folder.

    A killed run resumes with the parts that it chose, where the last checkpoint has them.

    Args:
        source: HF folder of a BERT or DistilBERT.
        texts: on which importance is measured and the distillation runs; labels are needed only
            where `losses` uses them.
        losses: `logits` and `labels` are of text classification; sentence embeddings learn the
            hidden states alone.
        make_report: turns a bar of `make_bar` into a report of training.
        evaluation: held-out texts of a text classifier, on which it is measured after each epoch.
        task: what the checkpoint is for; by default what it has a head for.
        augmentation: share of the batches in which words are replaced, 0..1.

    Returns:
        What `_report` says, with `steps`, `texts`, `candidates` (the shapes that were compared)
        and, measured on `evaluation`, `accuracy` (0..1) of the model `before`, `cut` and `after`.

    Raises:
        InputError: checkpoint, texts and options do not fit together, the target cannot be reached,
            or the output exists.
    """
    output = Path(output)
    keras.utils.set_random_seed(options.seed)
    job = _Job.open(source, task, target, losses, augmentation, options)
    examples = job.tokenize(texts, bool(job.losses.labels))
    held_out = job.tokenize(evaluation, True) if evaluation else None
    settings = {"texts": len(texts), **job.settings()}
    folder = claim_training_folder(output, settings, force)
    teacher = job.build_teacher()
    chosen = _chosen(job, teacher, examples, folder, make_bar)
    cut = Cut.from_json(chosen["cut"])
    student = job.build_student(teacher, cut)
    accuracy = {}
    if held_out:
        accuracy["before"] = accuracy_on(teacher.model, held_out)()
        accuracy["cut"] = accuracy_on(student.model, held_out)()
    measure = accuracy_on(student.model, held_out) if held_out else None
    steps = total_steps(examples, options)
    with make_bar("distilling what is left", steps) as bar:
        _distil(job, teacher, student, cut, examples, folder, make_report(bar), measure)
    config = cut_config(job.config, cut)
    write_result(student.model, config, job.task, job.labels, job.checkpoint, folder)
    if measure:
        accuracy["after"] = measure()
    publish_result(folder, output)
    result = {"output": str(output), **_report(job, cut), "steps": steps, "texts": len(texts)}
    result["candidates"] = chosen["candidates"]
    return {**result, "accuracy": accuracy} if accuracy else result


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is to be done to which checkpoint, found to be possible."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    task: str
    labels: list[str]
    target: Target
    losses: DistillationLosses
    augmentation: float
    options: TrainingOptions

    @classmethod
    def open(
        cls,
        source: str | Path,
        task: str | None,
        target: Target,
        losses: DistillationLosses,
        augmentation: float,
        options: TrainingOptions,
    ) -> _Job:
        checkpoint = Checkpoint(source)
        check_length(options, checkpoint.config)
        checkpoint.config.architecture.named_parts()  # refuses other families
        task, labels = task_and_labels(checkpoint, task)
        if task not in TASKS:
            raise InputError(
                f"{source} is for {task}; what is cut must be for {' or '.join(TASKS)}"
            )
        if task == "sentence-embedding":
            if losses.labels:
                raise InputError(f"labels train text classification; {source} is for {task}")
            if "width" in target.space.remove:
                raise InputError(
                    "removing width would change the length of the embeddings; remove heads, "
                    "neurons or layers"
                )
            losses = dataclasses.replace(losses, logits=0.0)
        tokenizer = load_tokenizer(source, checkpoint.config.vocab_size)
        return cls(checkpoint, tokenizer, task, labels, target, losses, augmentation, options)

    @property
    def config(self) -> EncoderConfig:
        return self.checkpoint.config

    def settings(self) -> dict[str, Any]:
        """What an interrupted run must have been started with."""
        target = dataclasses.asdict(self.target)
        space = self.target.space
        target["space"] = {"remove": sorted(space.remove), "uniform": space.uniform}
        return {
            "source": self.checkpoint.sha256,
            "task": self.task,
            "target": target,
            "augmentation": self.augmentation,
            **dataclasses.asdict(self.losses),
            **dataclasses.asdict(self.options),
        }

    def tokenize(self, texts: Texts, labelled: bool) -> Examples:
        return tokenize(texts, self.tokenizer, self.labels if labelled else None, self.options)

    def build_teacher(self) -> Encoder:
        encoder = build(self.config, self.task, len(self.labels))
        load_weights(encoder.model, self.checkpoint, self.task)
        return encoder

    def build_student(self, teacher: Encoder, cut: Cut) -> Encoder:
        """What `cut` leaves of the teacher."""
        encoder = build(cut_config(self.config, cut), self.task, len(self.labels))
        assign(encoder.model, cut_tensors(self.config, tensors_of(teacher.model), cut))
        # As in fine-tuning: few of its rows are ever read, for much of the cost of a step.
        encoder.model.get_layer(_WORDS).trainable = False
        return encoder


def _chosen(
    job: _Job, teacher: Encoder, examples: Examples, folder: Path, make_bar: MakeBar
) -> dict[str, Any]:
    """The `cut` and the `candidates` it was chosen from, as JSON; kept in the run's folder."""
    path, key = folder / "cut.json", {"source": job.checkpoint.sha256}
    chosen = files.read_cache(path, key)
    if not chosen:
        try:
            chosen = _choose(job, teacher, examples, make_bar)
        except InputError:  # with these settings there is nothing to resume
            shutil.rmtree(folder)
            raise
        files.write_json(path, {"key": key, "values": chosen})
    return chosen


def _choose(job: _Job, teacher: Encoder, examples: Examples, make_bar: MakeBar) -> dict[str, Any]:
    seed, space = job.options.seed, job.target.space
    price = job.target.price(job.task)
    limit = job.target.ratio * price(job.config)
    # Whether the target can be reached does not depend on what matters: found out at once.
    candidates(
        job.config,
        importance_of_weights(job.config, tensors_of(teacher.model)),
        price,
        limit,
        space,
    )
    sample = _sample(examples, _TEXTS, seed)
    with make_bar("measuring importance", len(sample.sequences)) as bar:
        importance = measure_importance(teacher, job.config, sample, seed, bar.advance)
    cuts = candidates(job.config, importance, price, limit, space)
    compared = _sample(examples, _COMPARED, seed)
    expected = _answers(teacher.model, compared)
    rows = []
    with make_bar("comparing shapes", len(cuts)) as bar:
        for cut in cuts:
            student = job.build_student(teacher, cut)
            distance = _divergence(expected, _answers(student.model, compared), job.task)
            rows.append({**_shape(cut), "divergence": distance})
            bar.advance(1)
            keras.backend.clear_session()
    best = min(range(len(cuts)), key=lambda index: rows[index]["divergence"])
    return {"cut": cuts[best].to_json(), "candidates": rows}


def _sample(examples: Examples, count: int, seed: int) -> Examples:
    """`count` of the texts, drawn by `seed`."""
    if len(examples.sequences) <= count:
        return examples
    drawn = np.random.default_rng(seed).permutation(len(examples.sequences))[:count]
    return Examples([examples.sequences[index] for index in drawn], examples.labels[drawn])


def _answers(model: keras.Model, examples: Examples) -> np.ndarray:
    """The logits or embeddings of all texts, (n, L), in the order of their lengths."""
    names = tuple(model.input_names)
    predict = tf.function(
        lambda inputs: next(iter(model(inputs).values())), reduce_retracing=True, autograph=False
    )
    order = np.argsort(examples.lengths, kind="stable")
    found = []
    for start in range(0, len(order), _BATCH):
        sequences = [examples.sequences[index] for index in order[start : start + _BATCH]]
        length = padded_length([len(sequence) for sequence in sequences])
        found.append(predict(pad(sequences, length, names)).numpy())
    return np.concatenate(found)


def _divergence(expected: np.ndarray, answers: np.ndarray, task: str) -> float:
    """KL divergence of the labels' probabilities, or 1 - cosine of embeddings; the mean."""
    if task == "sentence-embedding":
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(answers, axis=1)
        return float(np.mean(1 - (expected * answers).sum(1) / norms))
    before, after = (tf.nn.log_softmax(logits).numpy() for logits in (expected, answers))
    return float(np.mean((np.exp(before) * (before - after)).sum(1)))


def _distil(
    job: _Job,
    teacher: Encoder,
    student: Encoder,
    cut: Cut,
    examples: Examples,
    folder: Path,
    report: Report,
    measure: Callable[[], float] | None,
) -> None:
    trainer = Distiller(with_hidden(student), targets(teacher, cut), job.losses)
    compile_adam(trainer, job.options, total_steps(examples, job.options))
    augment = make_augment(teacher.model, job.tokenizer, examples, job.augmentation)
    names = input_names(job.config)
    train(trainer, examples, names, job.options, folder / "steps", report, measure, augment)


def _shape(cut: Cut) -> dict[str, Any]:
    return {
        "layers": len(cut.layers),
        "channels": len(cut.channels),
        "heads": [len(kept) for kept in cut.heads],
        "neurons": [len(kept) for kept in cut.neurons],
        "head_size": cut.head_size,
    }


def _report(job: _Job, cut: Cut) -> dict[str, Any]:
    """What was removed where, and what that saves.

    Returns:
        A JSON object: `task`; `target`; `ordinary`, whether the configuration is Hugging Face's
        own; `channels`, kept and of how many, `removed_layers`; `layers`, for each that is left
        `was` (its index before), `heads` and `neurons` (kept), `of_heads` and `of_neurons`;
        `before` and `after`, `parameters` of the encoder, `flops` and, as predicted for `board`,
        `instructions` for one text of `sequence_length` tokens in int8.
    """
    before, after = job.config, cut_config(job.config, cut)
    target = job.target

    def figures(config: EncoderConfig) -> dict[str, float]:
        return {
            "parameters": cost.parameters(config),
            "flops": target.flops(config),
            "instructions": round(target.instructions(config, job.task)),
        }

    layers = [
        {
            "was": source,
            "heads": len(cut.heads[index]),
            "of_heads": before.heads(source),
            "neurons": len(cut.neurons[index]),
            "of_neurons": before.neurons(source),
        }
        for index, source in enumerate(cut.layers)
    ]
    return {
        "task": job.task,
        "target": {target.cost: target.ratio},
        "sequence_length": target.sequence_length,
        "board": target.board.name,
        "ordinary": EXTENSION not in after.source,
        "channels": {"kept": len(cut.channels), "of": before.hidden_size},
        "removed_layers": sorted(set(range(before.num_hidden_layers)) - set(cut.layers)),
        "layers": layers,
        "before": figures(before),
        "after": figures(after),
    }
