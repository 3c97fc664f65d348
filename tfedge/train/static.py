"""Makes static embeddings of any sentence embedder: what it gives for each token alone becomes a table.

After Model2Vec (Tulkens and van Dongen 2024; model2vec/distill in github.com/MinishLab/model2vec 0.8):
each token of the vocabulary goes through the encoder with special tokens around it, principal
components leave fewer numbers of a row, and a row is weighted by how frequent its token is, which is
taken for rare the later it stands in the vocabulary (Zipf's law; SIF, Arora et al. 2017). No text is
read, and nothing is drawn at random.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras
from safetensors.numpy import save
from tokenizers import Tokenizer

from tfedge import files, tasks
from tfedge.architectures.static import Model2Vec
from tfedge.data.batches import pad
from tfedge.data.pieces import Pieces
from tfedge.data.tokenizer import load_tokenizer
from tfedge.errors import CheckpointError, InputError
from tfedge.models.blocks import GraphOptions
from tfedge.models.build import build
from tfedge.models.checkpoint import Checkpoint, load_weights
from tfedge.models.folder import CONFIG, MODULES, STATIC, TOKENIZER, WEIGHTS, keep_others
from tfedge.progress import MakeBar
from tfedge.tasks.sentence_embedding import CLS
from tfedge.train.place import refuse_existing

USUAL_WIDTH = 256  # Model2Vec's
_TASK = "sentence-embedding"
_SIF = 1e-4  # the coefficient of smooth inverse frequency, Model2Vec's default
_BATCH = 256  # tokens that are run at once
_UNUSED = re.compile(r"\[unused\d+\]")  # rows that BERT keeps free
_MODULES = ("sentence_transformers.models.{}", (STATIC, "Normalize"))


@dataclasses.dataclass(frozen=True)
class Static:
    """Static embeddings that were made of an encoder."""

    output: str  # the folder
    teacher: str
    rows: int
    width: int
    variance: float  # the share of the teacher's that is left, 0..1
    bytes: int  # of the weights


def make_static(
    source: Path, output: Path, width: int, make_bar: MakeBar, force: bool = False
) -> Static:
    """Writes a folder of Model2Vec's, which sentence-transformers reads too, of an encoder's folder.

    Raises InputError where the output exists or the model is no sentence embedder of texts;
    CheckpointError where its tokeniser cannot be cut.

    Args:
        width: numbers of an embedding; no more than the teacher's are made.
        force: whether an existing output is replaced.
    """
    refuse_existing(output, force)
    checkpoint = Checkpoint(source)
    _check(checkpoint)
    tokenizer = load_tokenizer(source, checkpoint.config.vocab_size, is_embedding=True)
    kept = [
        number
        for token, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        if not _UNUSED.fullmatch(token)
    ]
    cut = Pieces(tokenizer).cut(kept)
    cut.post_processor = None
    table, share = principal(_embedded(checkpoint, tokenizer, kept, make_bar), width)
    table = (table * frequency_weights(len(table))[:, np.newaxis]).astype(np.float32)
    with files.scratch_folder(output) as scratch:
        _write(scratch, table, cut, checkpoint)
        Checkpoint(scratch)  # which is read before it counts
        keep_others(output, scratch)
        files.replace_folder(scratch, output)
    size = (output / WEIGHTS).stat().st_size
    rows, numbers = table.shape
    return Static(str(output), str(source), rows, numbers, share, size)


def _check(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    config.architecture.check_reads_texts("tfedge distil --student static")
    tasks.find(_TASK).check(config)
    if not config.num_hidden_layers:
        raise InputError(f"{checkpoint.folder} is a table already; give an encoder as --teacher")


def frame_of(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens before a text and behind it."""
    encoding = tokenizer.encode("a")
    own = [place for place, text in enumerate(encoding.sequence_ids) if text is not None]
    if not own:
        raise CheckpointError("the tokeniser makes nothing of the letter a")
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]


def _embedded(
    checkpoint: Checkpoint, tokenizer: Tokenizer, kept: list[int], make_bar: MakeBar
) -> np.ndarray:
    """The embedding of each token alone, not normalised, float32 (tokens, C)."""
    before, after = frame_of(tokenizer)
    options = GraphOptions(sequence_length=None, normalize=False)
    model = build(checkpoint.config, _TASK, options=options).model
    load_weights(model, checkpoint, _TASK)
    run = tf.function(model, autograph=False, reduce_retracing=True)
    found = []
    with make_bar("embedding the vocabulary", len(kept)) as bar:
        for start in range(0, len(kept), _BATCH):
            tokens = kept[start : start + _BATCH]
            samples = [np.array([*before, token, *after], np.int32) for token in tokens]
            inputs = pad(samples, len(samples[0]), model.input_names)
            found.append(run(inputs)["embedding"].numpy())
            bar.advance(len(tokens))
    keras.backend.clear_session()
    table = np.concatenate(found)
    if not np.isfinite(table).all():
        raise CheckpointError(
            f"{checkpoint.folder}: the model answers with numbers that are not finite"
        )
    return table


def principal(rows: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """The first `width` principal components of rows, float64 (n, width), and the share of the variance
    that is left. What counts most comes first; signs are such that the largest weight of each is
    positive."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :width]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    share = variances[::-1][:width].sum() / max(variances.sum(), np.finfo(np.float64).tiny)
    return centred @ axes, float(share)


def frequency_weights(count: int) -> np.ndarray:
    """What each row counts, a / (a + p), if token r of a vocabulary has the frequency p ~ 1 / (r + 2),
    float64 (count,)."""
    inverse = 1 / np.arange(2, count + 2)
    return np.asarray(_SIF / (_SIF + inverse / inverse.sum()))


def _write(folder: Path, table: np.ndarray, tokenizer: Tokenizer, teacher: Checkpoint) -> None:
    files.write_bytes(folder / WEIGHTS, save({Model2Vec.table: table}, {"format": "pt"}))
    files.write_bytes(folder / TOKENIZER, tokenizer.to_str().encode())
    config = {
        "model_type": Model2Vec.model_type,
        "architectures": ["StaticModel"],
        "apply_pca": table.shape[1],
        "sif_coefficient": _SIF,
        "hidden_dim": table.shape[1],
        "seq_length": 1_000_000,  # as Model2Vec has it: any
        "normalize": True,
        "pooling": "first" if teacher.config.pooling == CLS else "mean",
    }
    files.write_json(folder / CONFIG, config)
    form, kinds = _MODULES
    paths = (".", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": form.format(kind)}
        for index, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    files.write_json(folder / MODULES, modules)
