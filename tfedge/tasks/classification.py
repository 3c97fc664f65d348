"""What tasks share that have a classifier of the whole input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfedge.runtime.tasks import classification as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, confusion, losses, paired, problems
from tfedge.tasks.base import PROBLEM, Answers, Figures, Outputs, Rows, Task, Truth

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.architectures.base import EncoderConfig
    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts
    from tfedge.models.blocks import Blocks, Symbolic, Tensors
    from tfedge.models.checkpoint import Checkpoint
    from tfedge.runtime.tokenizer import TextEncoder


_ENTAILMENT = "entailment"


class Classifier(Task, board.Classification):
    """`logits` (B, num_labels) of a whole text or image, the mean over the classifiers."""

    problem: ClassVar[str]  # of its checkpoints

    def logits_modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return config.classifiers

    def modules(self, config: EncoderConfig) -> tuple[str, ...]:
        return (*config.architecture.summary_modules, *config.classifiers)

    def fit(self, checkpoint: Checkpoint) -> int:
        """None of a checkpoint whose classifier is for another problem."""
        found = super().fit(checkpoint)
        return found if found and self._is_its_problem(checkpoint) else 0

    def _is_its_problem(self, checkpoint: Checkpoint) -> bool:
        return problems.problem_of(checkpoint, len(self.labels(checkpoint))) == self.problem

    def exported(self, source: Mapping[str, Any]) -> dict[str, Any]:
        named = {PROBLEM: self.problem} if self.problem in problems.NAMED else {}
        return {**super().exported(source), **named}

    def reads_first_token_only(self, config: EncoderConfig) -> bool:
        return config.architecture.classifies_first(config)

    def head(self, blocks: Blocks, hidden: Symbolic, inputs: Tensors, num_labels: int) -> Tensors:
        architecture = blocks.config.architecture
        if architecture.classifies_mean(blocks.config):
            hidden = blocks.one_token(blocks.mean_pooling(hidden, inputs["attention_mask"]))
        summary = architecture.summary(blocks, hidden)
        logits = [
            blocks.dense(name, num_labels, read)
            for name, read in zip(blocks.config.classifiers, summary, strict=True)
        ]
        return {"logits": blocks.per_text(blocks.mean("logits", *logits))}

    def rows(self, texts: Texts) -> Rows:
        texts = self.as_read(texts)
        return Rows(texts.texts, texts.labels, texts.source)

    def read(self, data: Data) -> Rows:
        """Texts or images, pairs of texts too, and what `texts` has besides."""
        return self.rows(self.texts(data))

    def new_labels(self, rows: Rows) -> list[str]:
        return columns.label_names(self.with_truth(rows).truth or (), rows.source)

    def lessons(
        self, rows: Rows, encoder: TextEncoder, labels: Labels
    ) -> tuple[list[np.ndarray], np.ndarray]:
        truth = self.truth(self.with_truth(rows), labels)
        return encoder.encode_batch(rows.items), self.aims(truth or (), labels)

    def aims(self, truth: Truth, labels: Labels) -> np.ndarray:
        """`truth` as `label_losses` takes it."""
        return np.asarray(truth, np.int32)


class Classification(Classifier):
    """Chooses one label."""

    wanted = "the columns text and label"
    problem = problems.SINGLE_LABEL

    def rows(self, texts: Texts) -> Rows:
        columns.check_count(texts.labels or (), texts.source)
        return super().rows(texts)

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Soft cross-entropy of logits (B, L)."""
        return losses.soft_cross_entropies(output["logits"], target["logits"], temperature)

    def alike(self, aims: np.ndarray, labels: Labels) -> str:
        return f"the label {labels[aims[0]]!r}" if super().alike(aims, labels) else ""

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Cross-entropy."""
        import tensorflow as tf

        return tf.nn.sparse_softmax_cross_entropy_with_logits(aims, output["logits"])

    def rights(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor | None:
        import tensorflow as tf

        found = tf.argmax(output["logits"], -1, aims.dtype)
        return tf.cast(found == aims, tf.float32)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """Whether the label differs."""
        return losses.others(output["logits"], target["logits"])

    def divergence(self, expected: np.ndarray, answers: np.ndarray) -> float:
        """KL divergence of the labels' probabilities, the mean."""
        import tensorflow as tf

        before, after = (tf.nn.log_softmax(logits).numpy() for logits in (expected, answers))
        return float(np.mean((np.exp(before) * (before - after)).sum(1)))

    def usual(self, texts: Texts, labels: Labels) -> Texts:
        """Pairs for models of natural language inference, which their labels tell."""
        return texts.paired() if _ENTAILMENT in map(columns.key, labels) else texts

    def truth(self, rows: Rows, labels: Labels) -> Sequence[int] | None:
        """The labels as indices."""
        return None if rows.truth is None else columns.label_ids(rows.truth, labels, rows.source)

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """How well predicted labels fit.

        Returns:
            `accuracy`, the share of items labelled rightly, one without an answer counting as wrong;
            `macro_f1`, the mean over the labels of the harmonic mean of precision and recall, where
            labels that neither occur nor are predicted are left out, as scikit-learn does;
            `confusion`, whose rows are true labels and columns predicted ones, in the order of
            `labels`; `labels`, `texts`, and how many are `unanswered`.
        """
        index = {label: position for position, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), np.int64)
        unanswered = 0
        for answer, true in zip(answers, truth, strict=True):
            if "error" in answer:
                unanswered += 1
            else:
                counts[true, index[answer["label"]]] += 1
        right = np.diag(counts)
        missed = np.bincount(np.asarray(truth), minlength=len(labels)) - right
        denominator = 2 * right + missed + (counts.sum(0) - right)
        f1 = 2 * right[denominator > 0] / denominator[denominator > 0]
        return {
            "labels": list(labels),
            "texts": len(truth),
            "accuracy": float(right.sum() / len(truth)),
            "macro_f1": float(f1.mean()),
            "confusion": counts.tolist(),
            "unanswered": unanswered,
        }

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        """Accuracy, macro F1 and the confusion; of many labels the worst of it."""
        return [
            f"accuracy {100 * figures['accuracy']:.2f} %   "
            f"macro F1 {100 * figures['macro_f1']:.2f} %",
            *confusion.lines(figures["labels"], np.asarray(figures["confusion"])),
        ]

    def difference(self, answer: Answer, other: Answer) -> float:
        """1 where the labels differ."""
        return float(answer["label"] != other["label"])

    def comparison(
        self, answers: Answers, others: Answers, truth: Truth | None, labels: Labels
    ) -> Figures:
        """The labels of whole inputs, see `paired`."""
        ours, theirs = ([[answer.get("label")] for answer in side] for side in (answers, others))
        true = None if truth is None else [[labels[index]] for index in truth]
        return paired.paired(ours, theirs, true)

    def comparison_lines(self, figures: Mapping[str, Any], other: str) -> list[str]:
        return paired.lines(figures, self.units, other)
