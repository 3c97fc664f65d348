"""Structured pruning: parts of an encoder are removed, and what is left learns to answer as before.

Unlike zeros (`tfedge.train.prune`), fewer heads, neurons, layers and channels make the model
faster on every runtime. What goes is chosen by its importance on the user's texts
(`tfedge.train.importance`) under a limit on FLOPs or on a board's estimated time
(`tfedge.train.select`); of several shapes that keep the limit, the one whose answers, before any
training, are nearest to the model's. It is then distilled from the model as it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tf_keras as keras

from tfedge import files, tasks
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.fields import EXTENSION
from tfedge.errors import InputError
from tfedge.models import cost
from tfedge.models.build import Encoder, build
from tfedge.models.checkpoint import assign
from tfedge.train.cut import Cut, cut_config, cut_tensors, tensors_of
from tfedge.train.distil import DistillationLosses, Distiller, make_augment, targets, with_hidden
from tfedge.train.examples import Examples, run_over
from tfedge.train.importance import importance_of_weights, measure_importance
from tfedge.train.run import Request, TrainingRun, freeze_words, stored_dtype
from tfedge.train.select import Space, candidates

# Texts that importance is measured on, and those on which shapes are compared.
_TEXTS = 1024
_COMPARED = 256


@dataclasses.dataclass(frozen=True)
class Goal:
    """How small the encoder is to be."""

    ratio: float  # of its cost before, 0..1; not exceeded
    space: Space
    sequence_length: int  # tokens of a text that costs are given for
    board: cost.PartTimes  # whose time is reported
    cost: Literal["flops", "latency"] = "flops"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise InputError(f"the target is {self.ratio}; it is a share of the cost, 0 to 1")

    def price(self, config: EncoderConfig, task: str) -> float:
        """What of an encoder is to be kept low, for one text."""
        if self.cost == "flops":
            return cost.flops(config, self.sequence_length)
        return cost.milliseconds(config, self.sequence_length, self.board, task)


@dataclasses.dataclass(frozen=True)
class LeftLayer:
    """A layer that is left: its index before, what it keeps, and of how much."""

    was: int
    heads: int
    of_heads: int
    neurons: int
    of_neurons: int


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of an encoder; `ms` are estimated for one text in int8."""

    parameters: int
    flops: float
    ms: float


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """What was removed where, and what that saves."""

    output: str
    task: str
    target: Mapping[str, float]
    sequence_length: int
    board: str
    ordinary: bool  # whether the configuration is Hugging Face's own
    channels: Mapping[str, int]  # `kept`, and `of` how many
    removed_layers: Sequence[int]
    layers: Sequence[LeftLayer]
    before: Costs
    after: Costs
    steps: int
    texts: int
    candidates: Sequence[Mapping[str, object]]  # the shapes that were compared
    accuracy: Mapping[str, float] | None = None  # held out: `before`, `cut` and `after` training


def shrink(
    request: Request, goal: Goal, losses: DistillationLosses, augmentation: float = 0.5
) -> Shrinking:
    """Removes parts of a checkpoint, distils it from what it was; writes an HF folder.

    A killed run resumes with the parts that it chose, where the last checkpoint has them. Raises
    InputError where checkpoint, texts and options do not fit together, the goal cannot be reached,
    or the output exists.

    Args:
        request: its source is a BERT or DistilBERT; on its texts importance is measured and the
            distillation runs, their labels are needed only where `losses` uses them.
        losses: `logits` and `labels` are of text classification; sentence embeddings learn the
            hidden states alone.
        augmentation: share of the batches in which words are replaced, 0..1.
    """
    run = TrainingRun(request)
    _check(run, goal)
    losses = losses.of_task(run)
    run.read(labelled=bool(losses.labels))
    settings = {"target": dataclasses.asdict(goal), "augmentation": augmentation}
    with run.claimed(**settings, **dataclasses.asdict(losses)):
        teacher = run.build_source()
        chosen = _chosen(run, goal, teacher)
        cut = Cut(**chosen["cut"])
        student = _student(run, teacher, cut)
        accuracy = {}
        measure = run.measure_of(student.model)
        if measure and (measure_before := run.measure_of(teacher.model)):
            accuracy = {"before": measure_before(), "cut": measure()}
        trainer = Distiller(with_hidden(student), targets(teacher, cut), losses, run.task)
        augment = make_augment(teacher.model, run, augmentation)
        after = run.fit(trainer, "distilling what is left", measure, augment)
        run.write(student.model, cut_config(run.config, cut), stored_dtype(run.checkpoint))
        if after is not None:
            accuracy["after"] = after
    return _report(run, goal, cut, chosen["candidates"], accuracy or None)


def _check(run: TrainingRun, goal: Goal) -> None:
    """Raises InputError where the checkpoint cannot be cut as asked."""
    run.config.architecture.named_parts()  # refuses other families
    if not run.task.shrinks:
        known = " or ".join(other.name for other in tasks.every() if other.shrinks)
        raise InputError(
            f"{run.request.source} is for {run.task.name}; what is cut must be for {known}"
        )
    if run.config.architecture.head_tables and "heads" in goal.space.remove:
        raise InputError(
            f"the layers of a {run.config.model_type} share a table with a column for each head, so "
            "all keep all heads; remove neurons, layers or width"
        )
    if run.task.is_embedding and "width" in goal.space.remove:
        raise InputError(
            "removing width would change the length of the embeddings; remove heads, neurons or "
            "layers"
        )


def _student(run: TrainingRun, teacher: Encoder, cut: Cut) -> Encoder:
    """What `cut` leaves of the teacher."""
    encoder = build(cut_config(run.config, cut), run.task.name, len(run.labels))
    assign(encoder.model, cut_tensors(run.config, tensors_of(teacher.model), cut))
    freeze_words(encoder)
    return encoder


def _chosen(run: TrainingRun, goal: Goal, teacher: Encoder) -> dict[str, Any]:
    """The `cut` and the `candidates` it was chosen from, as JSON; kept in the run's folder."""
    path, key = run.folder.path / "cut.json", {"source": run.checkpoint.sha256}
    chosen = files.read_cache(path, key)
    if not chosen:
        chosen = _choose(run, goal, teacher)
        files.write_json(path, {"key": key, "values": chosen})
    return chosen


def _choose(run: TrainingRun, goal: Goal, teacher: Encoder) -> dict[str, Any]:
    seed, make_bar, config = run.options.seed, run.request.make_bar, run.config

    def price(config: EncoderConfig) -> float:
        return goal.price(config, run.task.name)

    limit = goal.ratio * price(config)
    # Whether the goal can be reached does not depend on what matters: found out at once.
    of_weights = importance_of_weights(config, tensors_of(teacher.model))
    candidates(config, of_weights, price, limit, goal.space)
    sample = run.examples.drawn(_TEXTS, seed)
    with make_bar("measuring importance", len(sample)) as bar:
        importance = measure_importance(teacher, config, sample, seed, bar.advance)
    cuts = candidates(config, importance, price, limit, goal.space)
    compared = run.examples.drawn(_COMPARED, seed)
    expected = _answers(teacher.model, compared)
    rows: list[dict[str, Any]] = []
    with make_bar("comparing shapes", len(cuts)) as bar:
        for cut in cuts:
            student = _student(run, teacher, cut)
            rows.append(
                {
                    "layers": len(cut.layers),
                    "channels": len(cut.channels),
                    "heads": list(map(len, cut.heads)),
                    "neurons": list(map(len, cut.neurons)),
                    "head_size": cut.head_size,
                    "divergence": run.task.divergence(expected, _answers(student.model, compared)),
                }
            )
            bar.advance(1)
            keras.backend.clear_session()
    best, _ = min(zip(cuts, rows, strict=True), key=lambda pair: pair[1]["divergence"])
    return {"cut": dataclasses.asdict(best), "candidates": rows}


def _answers(model: keras.Model, examples: Examples) -> np.ndarray:
    """The logits or embeddings of all texts, (n, L)."""
    return run_over(examples, model, lambda inputs: next(iter(model(inputs).values())))()


def _report(
    run: TrainingRun,
    goal: Goal,
    cut: Cut,
    candidates: Sequence[Mapping[str, object]],
    accuracy: Mapping[str, float] | None,
) -> Shrinking:
    before, after = run.config, cut_config(run.config, cut)
    length, task = goal.sequence_length, run.task.name

    def costs(config: EncoderConfig) -> Costs:
        ms = cost.milliseconds(config, length, goal.board, task)
        return Costs(cost.parameters(config), cost.flops(config, length), ms)

    return Shrinking(
        output=str(run.request.output),
        task=task,
        target={goal.cost: goal.ratio},
        sequence_length=length,
        board=goal.board.name,
        ordinary=EXTENSION not in after.source,
        channels={"kept": len(cut.channels), "of": before.hidden_size},
        removed_layers=sorted(set(range(before.num_hidden_layers)) - set(cut.layers)),
        layers=[
            LeftLayer(was, len(heads), before.heads(was), len(neurons), before.neurons(was))
            for was, heads, neurons in zip(cut.layers, cut.heads, cut.neurons, strict=True)
        ],
        before=costs(before),
        after=costs(after),
        steps=run.steps,
        texts=len(run.request.texts),
        candidates=candidates,
        accuracy=accuracy,
    )
