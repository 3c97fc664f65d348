"""Takes back, in the shifts of the norms, by how much rounding moves the mean of each channel.

Bias correction (Nagel et al. 2019, arXiv:1906.04721, section 4.2), measured on texts rather than
derived: the error of a norm's output has passed through products, tables of functions and clipping,
for which there are no formulas, and a norm's shift reaches all that comes after it. Norm after norm,
because what is corrected changes what comes after.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfedge.data.batches import batches_of_equals
from tfedge.models.build import Encoder, traced
from tfedge.progress import Progress, unheard
from tfedge.quantize.fake_quant import clipping
from tfedge.quantize.mixed import Precision, is_float
from tfedge.quantize.prepare import Prepared
from tfedge.quantize.reads import read_name
from tfedge.runtime.masks import ASKED

# The tokens of so many samples show a mean well enough: its error is far below a step of 8 bits.
_SAMPLES = 64

# What a stage reads: the mask of padding, and the hidden state that the stage before put out.
_MASK, _STATE = "attention_mask", "state"

Batch = dict[str, Any]


def correct_bias(
    prepared: Prepared,
    samples: Sequence[np.ndarray],
    progress: Progress = unheard,
    precisions: Mapping[str, Precision] | None = None,
) -> Prepared:
    """`prepared` with its `shifts` chosen.

    Args:
        prepared: made of a checkpoint that was not trained with rounding, which has no such error.
        samples: what calibrates, as `tfedge.quantize.calibrate.Observer` takes it; 64 are run.
        progress: called with 1 for each norm.
        precisions: of the sites that compute in another one than int8, as the graphs will.
    """
    exact = prepared.lowering.build_clipped(prepared.options())
    rounded = prepared.rounded(precisions)
    chosen = [samples[index] for index in _spread(len(samples))]
    names = tuple(exact.model.input_names)
    batches: list[Batch] = [batch for _, batch in batches_of_equals(chosen, names)]
    outputs = {name: exact.tapped[name] for name in prepared.norms}
    wanted = _means(_runner(_inputs(exact), outputs), batches)
    shifts: dict[str, np.ndarray] = {}
    for inputs, norms, states in _stages(rounded, prepared.norms):
        outputs = _unrounded(rounded, norms, precisions or {})
        # Keras cannot give one tensor out twice, which a norm that puts out a state would be.
        outputs |= {name: tf.identity(state) for name, state in states.items()}
        # Shifts are read whenever it runs, so that one function does for all of the stage.
        run = _runner(inputs, outputs)
        for name in norms:
            shifts[name] = wanted[name] - _means(run, batches)[name]
            rounded.model.get_layer(name).beta.assign_add(shifts[name])
            progress(1)
        if states:
            # The next stage starts where this one ends, so that no stage is computed for another.
            results = ((batch, run(batch)) for batch in batches)
            batches = [
                {**_masks(batch), **{name: result[name] for name in states}}
                for batch, result in results
            ]
    return dataclasses.replace(prepared, shifts=shifts)


def _stages(
    encoder: Encoder, norms: Sequence[str]
) -> Iterator[tuple[Mapping[str, Any], Sequence[str], Mapping[str, Any]]]:
    """What lies between two hidden states, and behind the last.

    Yields:
        The inputs by name, the encoder's own, or the mask of texts and the hidden state before; the
        norms in order; the hidden state after, by name, with what is read in its place (see
        `tfedge.quantize.reads`); nothing behind the last.
    """
    # Tensors were tapped in the order of the data's flow.
    order = {id(tensor): place for place, tensor in enumerate(encoder.tapped.values())}
    inputs = _inputs(encoder)
    left = list(norms)
    for state in encoder.hidden_states:
        own = [name for name in left if order[id(encoder.tapped[name])] <= order[id(state)]]
        states = _states(encoder, state)
        yield inputs, own, states
        inputs = {**_masks(inputs), **states}
        left = left[len(own) :]
    if left:
        yield inputs, left, {}


def _states(encoder: Encoder, state: Any) -> dict[str, Any]:
    """A hidden state, and what dense layers read in its place where that is another tensor."""
    norm = next(name for name, tensor in encoder.tapped.items() if tensor is state)
    read = encoder.tapped.get(read_name(norm))
    return {_STATE: state} if read is None else {_STATE: state, read_name(_STATE): read}


def _masks(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The mask of padding, where the model reads texts, and what its head is asked."""
    return {name: tensors[name] for name in (_MASK, ASKED) if name in tensors}


def _spread(count: int) -> list[int]:
    """Indices of up to `_SAMPLES` of `count` samples, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)).tolist()


def _inputs(encoder: Encoder) -> dict[str, Any]:
    return dict(zip(encoder.model.input_names, encoder.model.inputs, strict=True))


def _unrounded(
    encoder: Encoder, norms: Iterable[str], precisions: Mapping[str, Precision]
) -> dict[str, Any]:
    """What norms put out, clipped but not rounded: no shift takes away what rounding the output
    does to a mean, and of few texts that is more than noise."""
    outputs = {}
    for name in norms:
        if is_float(precisions, name):
            outputs[name] = encoder.tapped[name]
            continue
        rounding = encoder.model.get_layer(f"{name}.quant")
        clip = clipping(f"{name}.clipped", rounding.minimum, rounding.maximum)
        outputs[name] = clip(rounding.input)
    return outputs


def _runner(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Callable[[Batch], Batch]:
    # Keras wants all inputs used, and norms of a head need not depend on the mask.
    given = {name: tf.identity(tensor) for name, tensor in inputs.items()}
    model = keras.Model(dict(inputs), {"wanted": dict(outputs), "given": given})
    return traced(lambda batch: model(batch)["wanted"], inputs)


def _means(run: Callable[[Batch], Batch], batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """The mean of each channel over all tokens of all texts, (C,) by name."""
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, value in run(batch).items():
            rows = tf.reshape(value, (-1, value.shape[-1]))
            sums[name] = sums.get(name, 0.0) + tf.reduce_sum(rows, 0).numpy()
            counts[name] = counts.get(name, 0) + len(rows)
    return {name: total / counts[name] for name, total in sums.items()}
