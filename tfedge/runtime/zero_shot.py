"""Labels that a model was never trained for: it is asked whether a text entails that each is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfedge.runtime.errors import OptionError
from tfedge.runtime.special_tokens import MUCH_UNKNOWN
from tfedge.runtime.tasks.base import Answer, softmax
from tfedge.runtime.truncation import ONLY_FIRST
from tfedge.runtime.wanted import Wanted

if TYPE_CHECKING:
    import numpy as np

    from tfedge.runtime.tokenizer import Encoded, TextEncoder

TEMPLATE = "This example is {}."  # of transformers


class ZeroShot:
    """Candidate labels for texts, by a model of natural language inference.

    As `ZeroShotClassificationPipeline` of transformers has it (src/transformers/pipelines/
    zero_shot_classification.py): the text is the premise, of which what does not fit is cut, and the
    template with a candidate in it the hypothesis. The scores are the probabilities of "entailment"
    over all candidates, or, with one candidate or `multi_label`, those of each against
    "contradiction". Where no label begins with "entail", transformers takes the last.
    """

    def __init__(self, labels: Sequence[str], wanted: Wanted) -> None:
        """Args:
            labels: the model's own.
            wanted: of which this is `candidate_labels`, `hypothesis_template` and `multi_label`.

        Raises OptionError where these cannot be used, or the model has no label for it.
        """
        given = wanted.candidate_labels or ()
        if isinstance(given, str):
            given = [label.strip() for label in given.split(",") if label.strip()]
        self._candidates = tuple(given)
        if not self._candidates:
            raise OptionError(
                "candidate_labels has no label; give one or more, commas between them"
            )
        twice = [name for name, times in Counter(self._candidates).items() if times > 1]
        if twice:
            raise OptionError(f"candidate_labels has {min(twice)!r} twice; leave one out")
        template = TEMPLATE if wanted.hypothesis_template is None else wanted.hypothesis_template
        self._hypotheses = [_filled(template, name) for name in self._candidates]
        found = [index for index, name in enumerate(labels) if name.lower().startswith("entail")]
        if len(found) != 1:
            raise OptionError(
                'candidate_labels needs a model with one label that begins with "entail", as those of'
                f" natural language inference have; this one's are {', '.join(labels)}"
            )
        self._entailment = found[0]
        self._is_each = bool(wanted.multi_label) or len(self._candidates) == 1
        self._top_k = wanted.top_k

    def answer(
        self, text: str, encoder: TextEncoder, run: Callable[[Encoded], np.ndarray]
    ) -> Answer:
        """{"label", "score", "scores": {candidate: probability}}, the likeliest first, "truncated"
        where a part of the text did not fit, and "unknown_share" as `Pipeline.__call__`.

        Raises TextError where the text cannot be answered, or a hypothesis leaves no room for it.

        Args:
            run: makes logits (labels,) of a pair.
        """
        import numpy as np

        pairs = [encoder.encode(text, hypothesis, ONLY_FIRST) for hypothesis in self._hypotheses]
        logits = np.stack([run(pair) for pair in pairs])  # (candidates, labels)
        if self._is_each:
            contradiction = -1 if self._entailment == 0 else 0
            scores = softmax(logits[:, [contradiction, self._entailment]])[:, 1]
        else:
            scores = softmax(logits[:, self._entailment])
        order = scores.argsort()[::-1]
        answer: Answer = {"label": self._candidates[order[0]], "score": float(scores[order[0]])}
        kept = order[: self._top_k]
        answer["scores"] = {self._candidates[index]: float(scores[index]) for index in kept}
        if any(pair.truncated for pair in pairs):
            answer["truncated"] = True
        if (unknown := max(pair.unknown_share for pair in pairs)) > MUCH_UNKNOWN:
            answer["unknown_share"] = round(unknown, 3)
        return answer


def _filled(template: str, label: str) -> str:
    try:
        hypothesis = template.format(label)
    except (LookupError, AttributeError, ValueError) as error:
        raise OptionError(
            f"hypothesis_template {template!r} cannot be filled ({error!r}); give one with {{}} for the"
            " label"
        ) from error
    if hypothesis == template:
        raise OptionError(
            f"hypothesis_template {template!r} has no place for the label; give one with {{}} for it"
        )
    return hypothesis
