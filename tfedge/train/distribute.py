"""Training on several GPUs or machines at once: tf.distribute, the texts of each batch shared out.

Each replica sums its texts' share of the loss of the whole batch, and gradients are summed, so that
a run gives the losses of one process with the same batch size, but for rounding.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfedge.errors import InputError


def workers_of_cluster() -> int:
    """How many processes TF_CONFIG names as workers, 1 without it; raises InputError for a bad one."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 1
    try:
        config = json.loads(text)
        workers = len(config["cluster"]["worker"])
        if config["task"]["type"] != "worker" or not 0 <= config["task"]["index"] < workers:
            raise ValueError("the task is none of the workers")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"TF_CONFIG cannot be used ({error}); give "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    return workers


def training_strategy() -> tf.distribute.Strategy:
    """How the command at hand trains: over the workers of TF_CONFIG, over all GPUs, or on one device.

    Must come before anything is computed. Raises InputError where TF_CONFIG cannot be used.
    """
    if workers_of_cluster() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or resolver.task_id == 0


def wait_for_all(strategy: tf.distribute.Strategy, step: int = 0) -> None:
    """Blocks until every worker has reached this step; raises InputError where steps differ."""
    if strategy.num_replicas_in_sync == 1:
        return
    values = tf.constant([step, step * step], tf.float64)
    found = strategy.run(lambda: across_replicas(values))
    total, squares = np.asarray(strategy.experimental_local_results(found)[0])
    if total * total != squares * strategy.num_replicas_in_sync:
        raise InputError(
            "the workers have found different checkpoints; --output must be on a file system that "
            "all of them share"
        )


def replicas() -> int:
    """Among how many the batch of the step that is being traced is shared out."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def across_replicas(x: tf.Tensor) -> tf.Tensor:
    """The sum of what all replicas have; for what no gradient passes through."""
    if replicas() == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def batch_mean(values: tf.Tensor) -> tf.Tensor:
    """This replica's share of the mean over the whole batch, of one value a text, (B,) -> ()."""
    if replicas() == 1:
        return tf.reduce_mean(values)
    count = across_replicas(tf.cast(tf.size(values), values.dtype))
    return tf.reduce_sum(values) / count


def shares(batches: Iterator[Any], first: int, count: int, total: int) -> Iterator[Any]:
    """Of each batch the rows of the replicas `first` to `first + count - 1` of `total`, in turn."""
    for inputs, labels, *stored in batches:
        rows = len(labels)
        for replica in range(first, first + count):
            part = slice(rows * replica // total, rows * (replica + 1) // total)
            yield (
                {name: array[part] for name, array in inputs.items()},
                labels[part],
                *(array[part] for array in stored),
            )


def distributed(
    strategy: tf.distribute.Strategy,
    batches: Callable[[], Iterator[Any]],
    signature: tuple[Any, ...],
) -> Any:
    """A data set of which every worker makes its own rows and no others."""

    def feed(context: tf.distribute.InputContext) -> tf.data.Dataset:
        total = context.num_replicas_in_sync
        count = total // context.num_input_pipelines
        first = count * context.input_pipeline_id
        return tf.data.Dataset.from_generator(
            lambda: shares(batches(), first, count, total), output_signature=signature
        ).prefetch(4)

    return strategy.distribute_datasets_from_function(feed)


@contextlib.contextmanager
def checkpoints_of(strategy: tf.distribute.Strategy, folder: Path) -> Iterator[Path]:
    """Where this worker writes its checkpoints: only the chief's are kept.

    All must write, because what is summed over the workers is read by all at once.
    """
    if is_chief(strategy):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="tfedge-") as temporary:
        yield Path(temporary)
