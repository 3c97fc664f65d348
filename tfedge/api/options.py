"""The options of each command as keywords: those of the command line, with _ for -.

Only type checkers and editors read the types; values are checked as the command line checks them.
None is the default that `tfedge COMMAND --help` names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict, Union

Name = Union[str, "os.PathLike[str]"]  # a path, a preset, or the id of something on the hub
Names = Union[str, Sequence[str]]


class Told(TypedDict, total=False):
    """What is told besides: nothing but errors, or what TensorFlow logs, too."""

    quiet: bool | None
    verbose: bool | None


class Columns(Told, total=False):
    """The columns of a file or a data set that are read."""

    text_column: str | None
    pair_column: str | None
    label_column: str | None


class ConvertOptions(Columns, total=False):
    """Of `tfedge convert`."""

    quant: str | None
    precision: Mapping[str, str] | None  # {"norm": "float", "*.output.dense": "dynamic"}
    target: str | None
    seq_len: int | None
    buckets: Sequence[int] | str | None  # lengths; none of them with "none" or []
    task: str | None
    labels: Sequence[str] | str | None
    template: str | None
    calibration: Name | None
    eval: Name | None
    eval_limit: int | str | None
    runtime: str | None
    board: str | None
    max_drop: float | None
    output: Name | None
    normalize: bool | None
    weight_bits: float | None
    keep_reference: bool | None


class EvaluateOptions(Columns, total=False):
    """Of `tfedge eval`."""

    against: Name | None
    runtime: str | None
    threads: int | None
    limit: int | None
    out_of_scope: str | None
    mistakes: Name | None
    gallery: Name | None
    python: str | None
    board: str | None


class TrainingOptions(Columns, total=False):
    """What all commands have that train."""

    eval: Name | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    max_length: int | None
    seed: int | None
    xla: bool | None
    logs: Name | None
    force: bool | None


class FloatTrainingOptions(TrainingOptions, total=False):
    """What those have besides that train in float."""

    patience: int | None
    mixed_precision: bool | None


class FinetuneOptions(FloatTrainingOptions, total=False):
    """Of `tfedge finetune`."""

    labels: Names | None
    task: str | None
    out_of_scope: str | None
    class_weights: str | None
    learning_curve: bool | None
    trunk: str | None
    augment: Names | None


class LossOptions(TypedDict, total=False):
    """What a student learns from a teacher."""

    temperature: float | None
    hidden_weight: float | None


class DistilOptions(FloatTrainingOptions, LossOptions, total=False):
    """Of `tfedge distil`."""

    student: str | None
    width: int | None
    logit_weight: float | None
    label_weight: float | None
    relation_weight: float | None
    relation_layer: int | None
    relation_heads: int | None
    augmentation: float | None
    cache: Name | None


class QadOptions(TrainingOptions, LossOptions, total=False):
    """Of `tfedge qad`."""

    steps: int | None
    target: str | None


class ImitationOptions(LossOptions, total=False):
    """Of a model that learns from what it was before."""

    steps: int | None
    label_weight: float | None
    augmentation: float | None


class PruneOptions(FloatTrainingOptions, ImitationOptions, total=False):
    """Of `tfedge prune`."""

    sparsity: float | None
    layers: Names | None
    pattern: str | None
    schedule: str | None
    initial_sparsity: float | None
    begin_step: int | None
    end_step: int | None
    frequency: int | None
    teacher: Name | None
    random_tokens: float | None


class TrimOptions(Columns, total=False):
    """Of `tfedge trim`."""

    keep_texts: Name | None
    languages: Names | None
    vocab_size: int | None
    eval: Name | None
    force: bool | None


class ShrinkOptions(TrainingOptions, ImitationOptions, total=False):
    """Of `tfedge shrink`."""

    target_flops: float | None
    target_latency: float | None
    target: str | None
    seq_len: int | None
    remove: Names | None
    per_layer: bool | None
