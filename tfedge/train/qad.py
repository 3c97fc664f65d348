"""Quantisation-aware distillation: trains the int8 graph, rounding included, on the float outputs.

For when calibration alone is not enough. The student is the integer graph with the ranges of
calibration in every tensor and the converter's rounding of every weight; the teacher is the float
checkpoint, so that texts need no labels. What training changes are the weights; ranges, factors and
plans stay as calibrated and are written beside the weights, and `tfedge convert` takes them from
there: the graph it converts is the one that was trained.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import pad, padded_length
from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import Encoder, build, input_names
from tfedge.models.checkpoint import (
    Checkpoint,
    load_weights,
    save_checkpoint,
    task_and_labels,
)
from tfedge.models.folder import copy_rest
from tfedge.models.pooling import normalizes_embeddings
from tfedge.progress import MakeBar
from tfedge.quantize.calibrate import Observer, calibrate
from tfedge.quantize.equalize import is_pruned
from tfedge.quantize.fake_quant import fake_quant_tap
from tfedge.quantize.graphs import GRAPHS, INTEGER
from tfedge.quantize.prepare import PASSES, Lowering, Shape
from tfedge.quantize.record import FILE, Decisions, read_decisions, write_decisions
from tfedge.train.distil import (
    DistillationLosses,
    Distiller,
    relative_distance,
    soft_cross_entropy,
    with_hidden,
)
from tfedge.train.training import (
    Examples,
    Report,
    TrainingOptions,
    check_length,
    claim_training_folder,
    compile_adam,
    tokenize,
    total_steps,
    train,
)

# Texts that choose the ranges, spread over all of them.
_CALIBRATION_TEXTS = 200
_BATCH_SIZE = 32  # of comparisons

Outputs = dict[str, Any]


class QuantizedDistiller(Distiller):
    """Trains `student`, an integer graph, to reproduce `teacher`, the plain one.

    Zeros of matrices that were pruned stay zeros.

    Args:
        student, teacher: as for `Distiller`, the student's hidden states (B, S, 1, C).
        factors: what each hidden state of the student comes divided by, (C,) or ().
        task: which output is compared, and how.
    """

    terms = ("output", "hidden")

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        losses: DistillationLosses,
        factors: list[np.ndarray],
        task: str,
    ) -> None:
        super().__init__(student, teacher, losses)
        self._factors = [tf.constant(factor, tf.float32) for factor in factors]
        self._task = task
        # Adam moves nothing whose gradient has always been 0.
        self._masks = [
            tf.constant(value != 0, tf.float32) if is_pruned(value) else None
            for value in (variable.numpy() for variable in student.trainable_variables)
        ]

    def chosen(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        return [
            gradient if mask is None else mask * tf.convert_to_tensor(gradient)
            for gradient, mask in zip(gradients, self._masks, strict=True)
        ]

    def compute_terms(
        self,
        inputs: dict[str, tf.Tensor],
        output: dict[str, tf.Tensor],
        target: dict[str, tf.Tensor],
        labels: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        del labels
        weights, mask = self.losses_used, inputs["attention_mask"]
        losses = {}
        if weights.logits:
            loss = output_loss(self._task, output, target, mask, weights.temperature)
            losses["output"] = weights.logits * loss
        if weights.hidden:
            real = tf.cast(mask, tf.float32)
            states = zip(
                output["hidden_states"], self._factors, target["hidden_states"], strict=True
            )
            distances = [
                relative_distance(factor * tf.squeeze(student, 2), teacher, real)
                for student, factor, teacher in states
            ]
            losses["hidden"] = weights.hidden * tf.add_n(distances) / len(distances)
        return losses


def output_loss(
    task: str, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
) -> tf.Tensor:
    """How far a student's outputs are from its teacher's, mean over the batch.

    1 minus the cosine of embeddings (B, C); soft cross-entropy of logits (B, L), of each real
    token's (B, S, L), or of the two ends of an answer (B, S) over the real tokens.

    Args:
        mask: int32 (B, S), 0 for padding.
    """
    if task == "sentence-embedding":
        return 1 - tf.reduce_mean(_cosine(output["embedding"], target["embedding"]))
    if task == "question-answering":
        padding = -1e4 * tf.cast(1 - mask, tf.float32)
        ends = [
            soft_cross_entropy(output[name] + padding, target[name] + padding, temperature)
            for name in ("start_logits", "end_logits")
        ]
        return tf.add_n(ends) / len(ends)
    logits, expected = output["logits"], target["logits"]
    if task == "token-classification":
        logits, expected = (tf.boolean_mask(x, mask) for x in (logits, expected))
    return soft_cross_entropy(logits, expected, temperature)


def _cosine(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    a, b = tf.math.l2_normalize(a, -1), tf.math.l2_normalize(b, -1)
    return tf.reduce_sum(a * b, axis=-1)


def differences(task: str, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
    """How much the answers to each text differ, float32 (B,), 0..1: 1 minus the cosine, or whether
    the label or an end of the answer differs, or the share of real tokens with another label."""
    if task == "sentence-embedding":
        return 1 - _cosine(output["embedding"], target["embedding"])
    if task == "question-answering":
        padding = -1e4 * (1 - tf.cast(mask, tf.float32))
        others = [
            tf.argmax(output[name] + padding, -1) != tf.argmax(target[name] + padding, -1)
            for name in ("start_logits", "end_logits")
        ]
        return tf.cast(tf.logical_or(*others), tf.float32)
    other = tf.argmax(output["logits"], -1) != tf.argmax(target["logits"], -1)
    other = tf.cast(other, tf.float32)
    if task == "token-classification":
        real = tf.cast(mask, tf.float32)
        return tf.reduce_sum(other * real, -1) / tf.reduce_sum(real, -1)
    return other


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How much a simulated int8 graph differs from its teacher, 0..1, see `differences`."""

    texts: int
    mean: float
    largest: float


def compare(
    trainer: QuantizedDistiller,
    task: str,
    examples: Examples,
    progress: Callable[[int], None] = lambda count: None,
) -> Agreement:
    """Runs student and teacher on all texts.

    Args:
        progress: called with a number of texts whenever as many have run.
    """
    names = tuple(trainer.teacher.input_names)
    limit = trainer.teacher.get_layer("embeddings.position_embeddings").max_positions
    order = np.argsort(examples.lengths, kind="stable")
    run = tf.function(
        lambda batch: differences(
            task, trainer.student(batch), trainer.teacher(batch), batch["attention_mask"]
        ),
        reduce_retracing=True,
        autograph=False,
    )
    found: list[np.ndarray] = []
    for start in range(0, len(order), _BATCH_SIZE):
        sequences = [examples.sequences[index] for index in order[start : start + _BATCH_SIZE]]
        length = padded_length([len(sequence) for sequence in sequences], limit=limit)
        found.append(run(pad(sequences, length, names)).numpy())
        progress(len(sequences))
    values = np.concatenate(found)
    return Agreement(len(values), float(values.mean()), float(values.max()))


def qad(
    source: str | Path,
    texts: Texts,
    evaluation: Texts,
    output: str | Path,
    options: TrainingOptions,
    losses: DistillationLosses,
    make_bar: MakeBar,
    make_report: Callable[[Any], Report],
    task: str | None = None,
    force: bool = False,
    graph: str = INTEGER,
) -> dict[str, Any]:
    """Trains a checkpoint to bear int8; writes an HF folder and, beside its weights, `FILE`.

    A killed run resumes, from the ranges that it had calibrated.

    Args:
        source: HF folder, the teacher and what the student starts from.
        texts: what both read; labels are ignored. 200 of them choose the ranges.
        evaluation: texts on which the two are compared before and after.
        losses: `logits` is the weight of `output_loss`; `labels` is not used.
        make_report: makes the training's report from a bar of `make_bar`.
        task: what the checkpoint is for; by default what it has a head for.
        graph: what is simulated, a key of `tfedge.quantize.graphs.GRAPHS`.

    Returns:
        A JSON object: `output`, `task`, `texts`, `steps`, and of the comparisons with the teacher
        `before` and `after`, each `mean` and `largest` difference, see `differences`.

    Raises:
        InputError: the checkpoint or an option cannot be used, or the output exists.
    """
    output = Path(output)
    keras.utils.set_random_seed(options.seed)
    checkpoint = Checkpoint(source)
    check_length(options, checkpoint.config)
    task, labels = task_and_labels(checkpoint, task)
    tokenizer = load_tokenizer(source, checkpoint.config.vocab_size)
    examples, held_out = (tokenize(item, tokenizer, None, options) for item in (texts, evaluation))
    settings = {
        "source": checkpoint.sha256,
        "task": task,
        "graph": graph,
        "texts": examples.sha256,
        **dataclasses.asdict(losses),
        **dataclasses.asdict(options),
    }
    folder = claim_training_folder(output, settings, force)
    normalize = normalizes_embeddings(checkpoint.folder)
    shape = Shape(task, len(labels), options.max_length, normalize, graph=graph)
    start = folder / "start"
    if not (start / FILE).is_file():
        _calibrate(checkpoint, shape, examples, labels, start, make_bar)
    lowering, decisions = _reopen(start, shape)
    student = _student(lowering, decisions, shape)
    trainer = _trainer(checkpoint, shape, student, lowering, losses)
    with make_bar("comparing with float", len(held_out.sequences)) as bar:
        before = compare(trainer, task, held_out, bar.advance)
    steps = total_steps(examples, options)
    compile_adam(trainer, options, steps)
    with make_bar("training", steps) as bar:
        names = input_names(checkpoint.config)
        train(trainer, examples, names, options, folder / "steps", make_report(bar))
    with make_bar("comparing with float", len(held_out.sequences)) as bar:
        after = compare(trainer, task, held_out, bar.advance)
    _save(lowering.unfold(student.model), checkpoint, task, labels, output, decisions)
    shutil.rmtree(folder)
    return {
        "output": str(output),
        "task": task,
        "texts": len(texts),
        "steps": steps,
        "held_out": evaluation.source,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
    }


def _calibrate(
    checkpoint: Checkpoint,
    shape: Shape,
    examples: Examples,
    labels: list[str],
    folder: Path,
    make_bar: MakeBar,
) -> None:
    """Writes what training starts from: the centred weights and the decisions that go with them."""
    count = min(_CALIBRATION_TEXTS, len(examples.sequences))
    chosen = np.linspace(0, len(examples.sequences) - 1, count).astype(int)
    sequences = [examples.sequences[index] for index in chosen]
    with make_bar("calibrating", PASSES * count) as bar:
        lowering = Lowering(checkpoint, shape, sequences, bar.advance)
        found = calibrate(Observer(lowering.dynamic, sequences, bar.advance))
    decisions = Decisions(shape.task, lowering.factors, lowering.plans, found, shape.graph)
    _save(lowering.weights, checkpoint, shape.task, labels, folder, decisions)


def _save(
    model: keras.Model,
    source: Checkpoint,
    task: str,
    labels: list[str],
    folder: Path,
    decisions: Decisions,
) -> None:
    save_checkpoint(model, source.config, task, folder, labels)
    copy_rest(source.folder, folder)
    write_decisions(folder, decisions)


def _reopen(folder: Path, shape: Shape) -> tuple[Lowering, Decisions]:
    """What `tfedge convert` would make of a folder that `_save` wrote."""
    checkpoint = Checkpoint(folder)
    decisions = read_decisions(checkpoint, shape.task, shape.graph)
    assert decisions is not None  # the caller has seen the file
    return Lowering(checkpoint, shape, (), decisions=decisions), decisions


def _student(lowering: Lowering, decisions: Decisions, shape: Shape) -> Encoder:
    """The int8 graph for any batch and length, in float with all its rounding."""
    calibration = decisions.calibration
    options = GraphOptions(
        mask_value=calibration.mask_value, tap=fake_quant_tap(calibration.ranges)
    )
    return lowering.build(options, GRAPHS[shape.graph].rounded)


def _trainer(
    checkpoint: Checkpoint,
    shape: Shape,
    student: Encoder,
    lowering: Lowering,
    losses: DistillationLosses,
) -> QuantizedDistiller:
    teacher = build(checkpoint.config, shape.task, shape.num_labels)
    load_weights(teacher.model, checkpoint, shape.task)
    # As in fine-tuning: few of its rows are ever read, for much of the cost of a step.
    student.model.get_layer("embeddings.word_embeddings").trainable = False
    streams = {
        stream.writers[0]: lowering.factors[stream.name]
        for stream in checkpoint.config.architecture.streams(checkpoint.config)
    }
    names = {id(tensor): name for name, tensor in student.tapped.items()}
    factors = [streams.get(names[id(state)], np.ones(())) for state in student.hidden_states]
    return QuantizedDistiller(
        with_hidden(student), with_hidden(teacher), losses, factors, shape.task
    )
