"""Quantisation-aware distillation: trains the int8 graph, rounding included, on the float outputs.

For when calibration alone is not enough. The student is the integer graph with the ranges of
calibration in every tensor and the converter's rounding of every weight; the teacher is the float
checkpoint, so that texts need no labels. What training changes are the weights; ranges, factors and
plans stay as calibrated and are written beside the weights, and `tfedge convert` takes them from
there: the graph it converts is the one that was trained.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.errors import InputError
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import Encoder
from tfedge.models.checkpoint import Checkpoint
from tfedge.models.config import normalizes_embeddings
from tfedge.quantize.equalize import Equalisation, is_pruned
from tfedge.quantize.fake_quant import fake_quant_tap
from tfedge.quantize.prepare import PASSES, Prepared, Shape, prepare
from tfedge.quantize.record import FILE, read_decisions, write_decisions
from tfedge.quantize.rounding import with_rounding
from tfedge.targets import INTEGER
from tfedge.tasks.base import Task
from tfedge.train.distil import DistillationLosses, Distiller, with_hidden
from tfedge.train.examples import run_over
from tfedge.train.run import Request, TrainingRun, freeze_words

# Texts that choose the ranges.
_CALIBRATION_TEXTS = 200


class QuantizedDistiller(Distiller):
    """Trains `student`, an integer graph, to reproduce `teacher`, the plain one.

    Zeros of matrices that were pruned stay zeros.

    Args:
        student, teacher: as for `Distiller`, the student's hidden states (B, S, 1, C).
        factors: what each hidden state of the student comes divided by, (C,) or ().
    """

    output_term = "output"
    terms = ("output", "hidden")

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model,
        losses: DistillationLosses,
        task: Task,
        factors: list[np.ndarray],
    ) -> None:
        super().__init__(student, teacher, losses, task)
        self._factors = [tf.constant(factor, tf.float32) for factor in factors]
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

    def states(self, output: dict[str, Any]) -> list[tf.Tensor]:
        pairs = zip(self._factors, output["hidden_states"], strict=True)
        return [factor * tf.squeeze(state, 2) for factor, state in pairs]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How much a simulated int8 graph differs from its teacher, 0..1, see `Task.differences`."""

    texts: int
    mean: float
    largest: float


def compare(trainer: QuantizedDistiller, run: TrainingRun) -> Agreement:
    """Runs student and teacher on the held-out texts."""

    def differ(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        student, teacher = trainer.student(batch), trainer.teacher(batch)
        return trainer.task.differences(student, teacher, batch["attention_mask"])

    assert run.held_out is not None
    with run.request.make_bar("comparing with float", len(run.held_out)) as bar:
        values = run_over(run.held_out, trainer.teacher, differ, bar.advance)()
    return Agreement(len(values), float(values.mean()), float(values.max()))


@dataclasses.dataclass(frozen=True)
class Training:
    """A finished run; `before` and `after` compare it with its teacher on held-out texts."""

    output: str
    task: str
    texts: int
    steps: int
    held_out: str | None
    before: Agreement
    after: Agreement


def qad(request: Request, losses: DistillationLosses, graph: str = INTEGER) -> Training:
    """Trains a checkpoint to bear int8; writes an HF folder and, beside its weights, `FILE`.

    A killed run resumes, from the ranges that it had calibrated. Raises InputError where the
    checkpoint or an option cannot be used, or the output exists.

    Args:
        request: its source is the teacher and what the student starts from; labels of its texts
            are ignored, 200 of the texts choose the ranges, and on the held-out ones, which must be
            given, student and teacher are compared before and after.
        losses: `labels` and `relations` are not used.
        graph: what is simulated, a key of `tfedge.quantize.edgetpu.GRAPHS`.
    """
    losses = dataclasses.replace(losses, labels=0.0, relations=0.0)
    run = TrainingRun(request)
    _check(run.config)
    run.read(labelled=False, judged=False)
    # What is compared decides nothing of the training: an interrupted run may have had others.
    settings = {"graph": graph, "held_out": None, **dataclasses.asdict(losses)}
    normalize = normalizes_embeddings(run.checkpoint.folder)
    shape = Shape(run.task.name, len(run.labels), run.options.max_length, normalize, graph=graph)
    with run.claimed(**settings):
        start = run.folder.path / "start"
        if not (start / FILE).is_file():
            _calibrate(run, shape, start)
        # As `tfedge convert` reads such a folder.
        checkpoint = Checkpoint(start)
        decisions = read_decisions(checkpoint, shape.task, shape.graph)
        assert decisions is not None  # the file is there
        prepared = prepare(checkpoint, shape, (), decisions=decisions)
        trainer, student = _trainer(run, prepared, losses)
        before = compare(trainer, run)
        run.fit(trainer, "training")
        after = compare(trainer, run)
        run.write(prepared.lowering.unfold(student.model))
        write_decisions(run.folder.result, decisions)
    return Training(
        output=str(request.output),
        task=run.task.name,
        texts=len(request.texts),
        steps=run.steps,
        held_out=request.evaluation.source if request.evaluation else None,
        before=before,
        after=after,
    )


def _check(config: EncoderConfig) -> None:
    """Raises InputError where the graph in integers cannot be trained."""
    if config.architecture.shares_weights(config):
        raise InputError(
            f"the layers of this {config.model_type} share their weights, which in integers have "
            "biases of their own, so that training would part them; leave out qad: tfedge convert "
            "calibrates it as it is"
        )


def _calibrate(run: TrainingRun, shape: Shape, folder: Path) -> None:
    """Writes what training starts from: the centred weights and the decisions that go with them."""
    chosen = run.rows.drawn(_CALIBRATION_TEXTS)  # as `tfedge convert` draws them
    sequences = [run.examples.sequences[index] for index in chosen]
    with run.request.make_bar("calibrating", PASSES * len(chosen)) as bar:
        prepared = prepare(run.checkpoint, shape, sequences, bar.advance)
    run.write(prepared.lowering.weights, folder=folder)
    write_decisions(folder, prepared.lowering.decisions(prepared.calibration))


def _trainer(
    run: TrainingRun, prepared: Prepared, losses: DistillationLosses
) -> tuple[QuantizedDistiller, Encoder]:
    """What trains the int8 graph, in float with all its rounding, and that graph."""
    lowering, calibration = prepared.lowering, prepared.calibration
    tap = fake_quant_tap(calibration.ranges)
    options = GraphOptions(mask_value=calibration.mask_value, tap=tap)
    student = lowering.build(options, with_rounding(lowering.blocks))
    teacher = run.build_source()
    freeze_words(student)
    streams = {
        stream.writers[0]: lowering.decided[Equalisation.key][stream.name]
        for stream in lowering.streams
    }
    names = {id(tensor): name for name, tensor in student.tapped.items()}
    factors = [streams.get(names[id(state)], np.ones(())) for state in student.hidden_states]
    models = with_hidden(student), with_hidden(teacher)
    return QuantizedDistiller(*models, losses, run.task, factors), student
