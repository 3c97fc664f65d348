"""From the path of a .tflite to a function that answers texts or images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np

from tfedge.runtime import tasks
from tfedge.runtime.bundle import Bundle, Manifest, read_bundle
from tfedge.runtime.errors import BackendError, OptionError, TextError
from tfedge.runtime.interpreter import Device, GoneError, Model, give_back
from tfedge.runtime.probe import try_model
from tfedge.runtime.quiet import muted, quiet_start
from tfedge.runtime.special_tokens import MUCH_UNKNOWN
from tfedge.runtime.tasks.base import Task
from tfedge.runtime.verify import check_graph
from tfedge.runtime.wanted import WHOLE, Asked, Wanted
from tfedge.runtime.zero_shot import ZeroShot

if TYPE_CHECKING:
    from typing import Unpack

    from tfedge.runtime.image import EncodedImage
    from tfedge.runtime.inputs import Encoder
    from tfedge.runtime.pool import Pool
    from tfedge.runtime.tokenizer import Encoded, TextEncoder

# A text, or two: a question and its context; as a dict {"text", "text_pair"} or {"question",
# "context"}; a file with an image, or pixels, uint8 (height, width, 3).
Input = Union[str, tuple[str, str], Mapping[str, str], "os.PathLike[str]", np.ndarray]
AnyEncoded = Union["Encoded", "EncodedImage"]


class Loading(Device, total=False):
    """Keyword arguments of `load`; see there."""

    trust: bool


def load(
    path: str | os.PathLike[str],
    runtime: str | None = None,
    num_threads: int | None = None,
    workers: int | None = None,
    length: int | None = None,
    **others: Unpack[Loading],
) -> Pipeline:
    """Loads a model that `tfedge convert` made.

    One that is seen here for the first time is loaded and run in a process of its own before, whose
    crash is an error here; see `tfedge.runtime.probe`.

    Args:
        path: the .tflite file.
        runtime: "tflite-runtime" or "litert"; None takes the first one installed here that the
            model was verified on, where TensorFlow is in this process LiteRT.
        num_threads: 1 to 64; None takes the number of processors, at most 4, by `workers`.
        workers: texts that are answered at once, 1 to 64, by as many interpreters: of a list, or
            asked by several threads. None has one interpreter, which answers one after another.
        length: tokens of the one graph that answers all texts; None takes the shortest that holds
            the text.
        delegate: "edgetpu" for the host's libedgetpu, or path or name of a delegate library.
        device: which Edge TPU: "usb", "pci", "usb:N" or "pci:N"; None takes any.
        trust: whether it is loaded without being tried so, where you know who made it.

    Raises:
        OptionError: an argument is out of range, no graph has `length`, or there are `workers` and a
            delegate.
        ModelFileError: the file is missing, damaged, was not made by `tfedge convert`, or crashes
            the runtime.
        BackendError: there is no suitable runtime or delegate here, or it refuses the model.
        TypeError: there is no such argument.
    """
    trust = others.pop("trust", False)
    device = cast("Device", others)
    if workers is not None:
        # Of one interpreter it would only take memory.
        from tfedge.runtime.pool import Pool, check_workers

        check_workers(workers, device)
    bundle = read_bundle(path)
    check_graph(bundle)
    if not trust:
        try_model(bundle, runtime, num_threads, **device)
    with quiet_start():
        if workers is None:
            return Pipeline(bundle, Model(bundle, runtime, num_threads, **device), length)
        return Pipeline(bundle, Pool(workers, bundle, runtime, num_threads, **device), length)


class Pipeline:
    """A loaded model, made by `load`. Threads may share it, and are answered one after another, or
    as many at once as it has workers. Processes may not: after a fork it is refused in the child.

    As a context manager it is closed at the end.

    Attributes:
        manifest: what the file says of itself: name, task, labels, ...
        task: what is asked and how outputs become answers.
        labels: names of the labels, in their order; empty for a task without any.
        fingerprint: hexadecimal, the same for files with the same graph and tokeniser.
        runtime: "tflite-runtime" or "litert".
        num_threads: threads that the runtime uses, of each worker.
        max_length: tokens of a text, special ones included, beyond which it is cut; of a window of a
            context.
        kept: what answers a text that is too long, its "beginning" or its "end".
    """

    def __init__(self, bundle: Bundle, model: Model | Pool, length: int | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        self.fingerprint = bundle.fingerprint
        self.runtime = model.runtime
        self.num_threads = model.num_threads
        self._model = model
        self.task: Task = tasks.find(self.manifest.task)
        self.labels = self.manifest.labels or ()
        every = sorted(self.manifest.signatures.items(), key=lambda item: item[1])
        self._signatures = [item for item in every if length in (None, item[1])]  # shortest first
        if not self._signatures:
            lengths = ", ".join(str(item[1]) for item in every)
            raise OptionError(f"the model has no graph for {length} tokens; it has {lengths}")
        self.max_length = min(self.manifest.max_length, self._signatures[-1][1])
        self._encoder: Encoder | None = self.task.input.encoder(
            bundle.tokenizer_json, self.manifest.image, self.max_length
        )
        self._has_patterns = b'"Regex"' in bundle.tokenizer_json  # which fail on some texts alone
        self.kept: str = getattr(self._encoder, "kept", "beginning")  # images are never too long

    def __repr__(self) -> str:
        manifest = self.manifest
        where = "closed" if self._encoder is None else f"on {self.runtime}"
        return f"<{manifest.task} {manifest.name!r}, {manifest.quantization}, {where}>"

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the model's memory back; whatever is asked then is refused. May be called again."""
        self._model.close()
        self._encoder = None
        give_back()

    def hide_panics(self) -> None:
        """Keeps off standard error what tokenizers itself says of a text that breaks it, which is an
        error with a message of its own; for a program that writes there from no other thread."""
        if self._has_patterns and self._encoder is not None:
            cast("TextEncoder", self._encoder).around = muted

    def __call__(
        self,
        text: Input | Iterable[Input],
        context: str | None = None,
        **asked: Unpack[Asked],
    ) -> Any:
        """Answers one text or image with a dict, or several with a list of dicts.

        Args:
            text: a text; for question answering a question (with `context`); a pair of texts, as a
                tuple or, as transformers has it, a dict {"text", "text_pair"} or {"question",
                "context"}; for images the path of a file, or pixels, uint8 (height, width, 3) with
                red first; or an iterable of these, an array or a column of a table among them.
            context: of the one question; where two texts are classified together, the second one.
            top_k: how many labels "scores" has, likeliest first; None for all.
            threshold: of objects, what has a larger score is found; None is 0.5.
            aggregation: how tokens become "entities", as in transformers: "none" (there are no
                "entities" then), "simple", "first", "average" or "max"; None is "simple". See
                `tfedge.runtime.entities.find`, also for when it warns.
            no_answer: for models trained on questions without answers, as SQuAD 2 has: "answer" is
                empty, and "start" and "end" are 0, where that is likeliest.
            candidate_labels: labels to choose among instead of those of a model of natural language
                inference (one of whose labels begins with "entail"), a list or with commas between
                them; see `tfedge.runtime.zero_shot`.
            hypothesis_template: the sentence that is true of a text with a candidate in place of {};
                None is "This example is {}.".
            multi_label: whether several candidates may be true, each with a probability by itself.

        Returns:
            For one text, by task, of a pair with "text_pair" after "text" (`tfedge.runtime.answers` has
            types):
              text-classification   {"text", "label", "score", "scores": {label: probability}}
              text-multi-label      the same, and "labels": those of a probability of at least 0.5
              text-regression       the same, "scores" being numbers; of text-scoring 0 to 1
              sentence-embedding    {"text", "embedding": [float, ...]}
              token-classification  {"text", "tokens": [{"token", "label", "score", "start", "end"}],
                                    "entities": [{"type", "text", "score", "start", "end"}]}
              fill-mask             {"text", "filled", "masks": [{"start", "end", "words": [{"word",
                                    "token", "score"}, ...]}]}, by default 5 words of each mask
              question-answering    {"question", "answer", "score", "start", "end"}
              image-classification  {"image", "label", "score", "scores": {label: probability}};
                                    of pixels without "image"
                                    zero-shot-image-classification likewise
              image-feature-extraction  {"image", "embedding": [float, ...]}
              object-detection      {"image", "objects": [{"label", "score", "box": {"xmin", "ymin",
                                    "xmax", "ymax"}}]}, in pixels of the image
            and "truncated": True where only a part of the text fitted into the model, see `kept`; a
            context is read to its end. "unknown_share" is that of tokens which stand for words that
            the model does not know, where it is above 0.05: the answer is then a guess. "start" and
            "end" are character offsets. "score" of a span of words is the sum over the windows of
            the context that have it, so it can exceed 1. For several, see `stream`.

        Raises:
            TextError: the one text cannot be answered; of an image its kind ImageError, of what is
                no text, such as None, its kind TextTypeError, which is a TypeError.
            OptionError: `top_k` is less than 1, `aggregation` is unknown, the model cannot choose
                among `candidate_labels`, or the task has no such option.
            TypeError: there is no such argument.
            BackendError: the runtime cannot run the model, or there is no Pillow to read a file.
        """
        wanted = self._wanted(asked)
        if context is not None:
            if not isinstance(text, str):
                raise TextError("a second text goes with one text; give several as pairs")
            return self._answer((text, context), wanted)
        several = self.task.input.several(text)
        if several is None:
            return self._answer(cast("Input", text), wanted)
        return list(self._model.map(lambda item: self._answer_or_error(item, wanted), several))

    def stream(self, texts: Iterable[Input], **asked: Unpack[Asked]) -> Iterator[dict[str, Any]]:
        """Answers texts one by one, as they come, by one worker. One that cannot be answered does not
        stop it.

        Args:
            asked: as of `__call__`.

        Yields:
            For each item what `__call__` gives, or the item itself, as there, and "error": why.

        Raises:
            OptionError: as `__call__`.
            BackendError: the runtime cannot run the model.
        """
        wanted = self._wanted(asked)
        # A tuple has several here, as what comes in a stream is no pair.
        several = texts if isinstance(texts, tuple) else self.task.input.several(texts)
        for item in [cast("Input", texts)] if several is None else several:
            yield self._answer_or_error(item, wanted)

    def _answer_or_error(self, item: Input, wanted: Wanted) -> dict[str, Any]:
        try:
            return self._answer(item, wanted)
        except TextError as error:
            return {**self.task.input.named(item), "error": str(error)}

    @property
    def example(self) -> Input:
        """Something to answer: a sentence, a question and it, or an image of all colours."""
        return self.task.input.example(self.manifest.image)

    def count_tokens(self, text: Input) -> int:
        """How many tokens the model sees to answer, special ones included; raises as `prepare`."""
        return sum(map(len, self.prepare(text).windows))

    def encode(self, texts: Input | Iterable[Input]) -> np.ndarray:
        """Embeds texts, as `encode` of sentence-transformers does, or images.

        Returns:
            float32 (width,) of one text, (n, width) of several.

        Raises:
            TextError: a text cannot be embedded, for the reason that it names, with its number.
            OptionError: the model does not make embeddings.
            BackendError: the runtime cannot run the model.
        """
        if "embedding" not in self.task.outputs:
            raise OptionError(f"a model for {self.manifest.task} makes no embeddings; call it")
        several = texts if isinstance(texts, tuple) else self.task.input.several(texts)
        if several is None:
            return self._embedding(cast("Input", texts))
        rows = list(self._model.map(self._numbered_embedding, enumerate(several, 1)))
        return np.stack(rows) if rows else np.zeros((0, self.width), np.float32)

    @property
    def width(self) -> int:
        """The numbers of an embedding, of a model that makes some; raises BackendError once closed."""
        return self._model.width("embedding")

    @staticmethod
    def similarity(a: Any, b: Any) -> np.ndarray:
        """The cosines of all embeddings `a`, (n, width) or (width,), and all of `b`, float32 (n, m)."""
        sides = [np.atleast_2d(np.asarray(side, np.float32)) for side in (a, b)]
        a, b = (
            side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12) for side in sides
        )
        return np.asarray(a @ b.T)

    def _embedding(self, text: Input) -> np.ndarray:
        return self._run(self.prepare(text))["embedding"][0]

    def _numbered_embedding(self, numbered: tuple[int, Input]) -> np.ndarray:
        number, text = numbered
        try:
            return self._embedding(text)
        except TextError as error:
            raise TextError(f"{self.task.input.unit} {number}: {error}") from error

    def prepare(self, text: Input) -> AnyEncoded:
        """The first half of an answer, for whoever times both: tokens, or an image's pixels; raises
        TextError where the text cannot be answered, BackendError once the model is closed."""
        item = self.task.input.item(text)
        if (encoder := self._encoder) is None:
            raise self._model.gone()
        return encoder.encode(*(item if isinstance(item, tuple) else (item,)))

    def answer(self, text: Input, encoded: AnyEncoded, wanted: Wanted = WHOLE) -> dict[str, Any]:
        """Answers a text of which `prepare` made `encoded`; returns and raises as `__call__`."""
        item = self.task.input.item(text)
        answer = self.task.answer(self._run(encoded), encoded, item, self.labels, wanted)
        if encoded.truncated:
            answer["truncated"] = True
        if encoded.unknown_share > MUCH_UNKNOWN:
            answer["unknown_share"] = round(encoded.unknown_share, 3)
        return {**self.task.input.named(item), **answer}

    def _wanted(self, asked: Asked) -> Wanted:
        if unknown := [name for name in asked if name not in Wanted.__dataclass_fields__]:
            known = ", ".join(Wanted.__dataclass_fields__)
            raise TypeError(f"there is no argument {unknown[0]!r}; known are {known}")
        wanted = Wanted(**asked)
        wanted.check(self.manifest.task, self.task.options)
        return wanted

    def _answer(self, text: Input, wanted: Wanted) -> dict[str, Any]:
        if wanted.candidate_labels is None:
            return self.answer(text, self.prepare(text), wanted)
        choose = ZeroShot(self.labels, wanted)
        item = self.task.input.item(text)
        if isinstance(item, tuple):
            raise TextError("candidate labels are chosen among for one text, not for a pair")
        if (encoder := self._encoder) is None:
            raise self._model.gone()
        answer = choose.answer(
            item, cast("TextEncoder", encoder), lambda pair: self._run(pair)["logits"][0]
        )
        return {**self.task.input.named(item), **answer}

    def _run(self, encoded: AnyEncoded) -> dict[str, np.ndarray]:
        # There is one: the encoder truncates to max_length, which is no longer than the longest.
        key, length = next(item for item in self._signatures if item[1] >= len(encoded))
        inputs = encoded.arrays(length)
        rows = [
            self._run_row(key, {name: array[row : row + 1] for name, array in inputs.items()})
            for row in range(len(encoded.windows))
        ]
        if len(rows) == 1:
            return rows[0]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    def _run_row(self, key: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            outputs = self._model.run(key, inputs)
        except GoneError:
            raise
        except BackendError as error:
            if self._model.has_answered:
                raise TextError(str(error)) from error
            raise
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise TextError("the model answered with numbers that are not finite")
        if self.manifest.normalize:
            outputs["embedding"] /= max(float(np.linalg.norm(outputs["embedding"])), 1e-12)
        if self.manifest.logit_bias is not None:
            outputs["logit_bias"] = np.array([[self.manifest.logit_bias]], np.float32)
        return outputs
