"""Fine-tunes an encoder on labelled texts."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from tfedge.data.texts import Texts
from tfedge.data.tokenizer import load_tokenizer
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build, input_names
from tfedge.models.checkpoint import Checkpoint, load_weights, save_checkpoint
from tfedge.models.folder import copy_inputs
from tfedge.train.distribute import batch_mean, is_chief, replicas, training_strategy
from tfedge.train.precision import precision
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

TASK = "text-classification"


class Classifier(keras.Model):
    """Trains a functional model with `logits` (B, L) on integer labels (B,) by cross-entropy."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.loss_mean = keras.metrics.Mean("loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy("accuracy")

    def train_step(self, batch: tuple[dict[str, tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, labels = batch
        with tf.GradientTape() as tape:
            logits = tf.cast(self.model(inputs, training=True)["logits"], tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = batch_mean(losses)
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.loss_mean.update_state(replicas() * loss)
        self.accuracy.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self.metrics}


def finetune(
    source: str | Path,
    texts: Texts,
    labels: Sequence[str],
    output: str | Path,
    options: TrainingOptions,
    report: Report,
    evaluation: Texts | None = None,
    force: bool = False,
) -> float | None:
    """Trains a text classifier from the encoder in `source` and writes it as an HF folder.

    Args:
        labels: names of the logits, in their order.
        evaluation: held-out texts, on which the accuracy after each epoch is reported.

    Returns:
        The accuracy on `evaluation` of what was written, 0..1.

    Raises:
        InputError: labels that do not fit, an existing output, a checkpoint that does not load.
    """
    output = Path(output)
    check_stopping(options, evaluation)
    strategy = training_strategy()
    keras.utils.set_random_seed(options.seed)
    checkpoint = Checkpoint(source)
    check_length(options, checkpoint.config)
    tokenizer = load_tokenizer(source, checkpoint.config.vocab_size)
    examples = tokenize(texts, tokenizer, labels, options)
    held_out = tokenize(evaluation, tokenizer, labels, options) if evaluation else None
    settings = {
        "source": checkpoint.sha256,
        "labels": list(labels),
        "texts": examples.sha256,
        "held_out": held_out.sha256 if held_out else None,
        **dataclasses.asdict(options),
    }
    folder = claim_training_folder(output, settings, force, strategy)
    with strategy.scope(), precision(options):
        encoder = build(checkpoint.config, TASK, len(labels), GraphOptions(dropout=True))
        load_weights(encoder.model, checkpoint, TASK, new_head=True)
        # Most of a small model's weights are word embeddings; a fine-tuning set changes few of
        # them, for nearly the cost of the rest of the step.
        encoder.model.get_layer("embeddings.word_embeddings").trainable = False
        trainer = Classifier(encoder.model)
        compile_adam(trainer, options, total_steps(examples, options))
    measure = accuracy_on(encoder.model, held_out) if held_out else None
    names = input_names(checkpoint.config)
    train(
        *(trainer, examples, names, options, folder, report, measure),
        strategy=strategy,
    )
    if is_chief(strategy):
        save_checkpoint(encoder.model, checkpoint.config, TASK, output, list(labels))
        copy_inputs(checkpoint.folder, output)
        shutil.rmtree(folder)
    return measure() if measure else None
