"""What tasks share that give the whole input a number."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfedge.errors import InputError
from tfedge.runtime.tasks import classification as board
from tfedge.runtime.tasks.base import Answer, Labels
from tfedge.tasks import columns, problems, ranking
from tfedge.tasks.base import Answers, Figures, Outputs, Rows, Truth
from tfedge.tasks.classification import Classifier

if TYPE_CHECKING:
    import tensorflow as tf

    from tfedge.data.hub import Data
    from tfedge.data.texts import Texts


class Numbers(Classifier, board.Regression):
    """`logits` (B, num_labels), which are the numbers, or what a sigmoid makes them of."""

    problem = problems.REGRESSION
    wanted = "the columns text and score (or label), a number"
    score: ClassVar[str] = "spearman"

    def goal(self, rows: Rows) -> str:
        """Of lists of candidates how well they are ordered."""
        try:
            truth = self.truth(rows, ()) or ()
        except InputError:  # of texts that are not measured on, whose labels may be anything
            return self.score
        is_of_lists = any(isinstance(one, ranking.Candidate) for one in truth)
        return ranking.NDCG if is_of_lists else self.score

    def output_losses(
        self, output: Outputs, target: Outputs, mask: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Squared errors of the logits, the mean over the labels."""
        import tensorflow as tf

        return tf.reduce_mean(tf.square(output["logits"] - target["logits"]), -1)

    def differences(self, output: Outputs, target: Outputs, mask: tf.Tensor) -> tf.Tensor:
        """As `difference`, of the logits."""
        import tensorflow as tf

        ours, theirs = output["logits"], target["logits"]
        size = tf.maximum(tf.maximum(tf.abs(ours), tf.abs(theirs)), 1.0)
        return tf.reduce_max(tf.minimum(tf.abs(ours - theirs) / size, 1.0), -1)

    def new_labels(self, rows: Rows) -> list[str]:
        self.with_truth(rows)
        return ["score"]

    def aims(self, truth: Truth, labels: Labels) -> np.ndarray:
        """float32 (n,)."""
        return np.asarray(truth, np.float32)

    def label_losses(self, output: Outputs, aims: tf.Tensor) -> tf.Tensor:
        """Squared errors."""
        import tensorflow as tf

        return tf.square(output["logits"][:, 0] - aims)

    def texts(self, data: Data) -> Texts:
        """With numbers, where there are any, as the file writes them."""
        return data.texts(columns.SCORE)

    def truth(self, rows: Rows, labels: Labels) -> Sequence[float] | None:
        """One number an item, of lists of candidates as these."""
        if rows.truth is None:
            return None
        if len(labels) > 1:
            raise InputError(
                f"the model gives {len(labels)} numbers, and {rows.source} has one a row; leave its "
                "column label out"
            )
        numbers = [number(cell, rows.source) for cell in rows.truth]
        return ranking.candidates(rows, numbers)

    def together(self, rows: Rows) -> Sequence[Hashable] | None:
        """The query of each row, where rows are lists of candidates."""
        return ranking.queries(rows)

    def metric(self, answers: Answers, truth: Truth, labels: Labels) -> Figures:
        """Correlations of numbers and truth, Pearson's and Spearman's, and the mean absolute `error`.

        An item without an answer counts as the mean of the others. Where all numbers are equal there
        is no correlation, and 0 is given. Of lists of candidates also what `ranking.figures` gives.
        """
        from scipy.stats import pearsonr, spearmanr

        known = [answer["score"] for answer in answers if "error" not in answer]
        mean = float(np.mean(known)) if known else 0.0
        ours = np.array([answer.get("score", mean) for answer in answers])
        theirs = np.asarray(truth, np.float64)
        varied = len(ours) > 1 and np.ptp(ours) > 0 and np.ptp(theirs) > 0
        return {
            "texts": len(truth),
            "pearson": float(pearsonr(ours, theirs).statistic) if varied else 0.0,
            "spearman": float(spearmanr(ours, theirs).statistic) if varied else 0.0,
            "error": float(np.abs(ours - theirs).mean()),
            "unanswered": len(answers) - len(known),
            **ranking.figures(truth, ours),
        }

    def summary(self, figures: Mapping[str, Any]) -> list[str]:
        found = [
            f"Pearson {100 * figures['pearson']:.2f}   Spearman {100 * figures['spearman']:.2f}   mean "
            f"error {figures['error']:.4g}"
        ]
        if ranking.NDCG in figures:
            mrr, ndcg = (100 * figures[name] for name in (ranking.MRR, ranking.NDCG))
            count = figures[ranking.QUERIES]
            found.append(
                f"MRR@10 {mrr:.2f}   nDCG@10 {ndcg:.2f}   of {count:,} lists of candidates"
            )
        return found

    def difference(self, answer: Answer, other: Answer) -> float:
        """The largest difference of two numbers, as a share of the larger one where that is above 1."""
        numbers = zip(answer["scores"].values(), other["scores"].values(), strict=True)
        return max(min(abs(a - b) / max(abs(a), abs(b), 1.0), 1.0) for a, b in numbers)


def number(cell: str, source: str) -> float:
    """The number in a cell; raises InputError where there is none."""
    try:
        found = float(cell)
    except ValueError:
        found = float("nan")
    if not np.isfinite(found):
        raise InputError(
            f"{source}: the label {cell!r:.40} is no number; give numbers in that column"
        )
    return found
