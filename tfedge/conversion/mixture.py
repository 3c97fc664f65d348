"""Converts graphs whose operations compute in integers, all or some of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tf_keras as keras

from tfedge.conversion.job import Job
from tfedge.errors import RejectedModelError
from tfedge.inspect.contents import contents
from tfedge.inspect.graph import Subgraph, read_content
from tfedge.notes import note
from tfedge.quantize.edgetpu import GRAPHS
from tfedge.quantize.mixed import Precision
from tfedge.quantize.weights import RoundedRows, round_nearest
from tfedge.targets import INTEGER
from tfedge.tflite.edit import inputs_first
from tfedge.tflite.tflite import to_tflite
from tfedge.tflite.weights import layer_of, quantize_weights

# Matrices with fewer numbers stay in float: they weigh nothing.
LEAST_NUMBERS = 1024


def converted(
    job: Job, graphs: Mapping[int, keras.Model], precisions: Mapping[str, Precision]
) -> bytes:
    """Converts graphs in which `precisions` are put in."""
    content = to_tflite(graphs, job.quantization, job.runtime)
    dynamic = {site for site, precision in precisions.items() if precision == "dynamic"}
    if dynamic:

        def round_dynamic(name: str, values: np.ndarray) -> RoundedRows | None:
            return nearest(name, values) if layer_of(name, dynamic) else None

        content = quantize_weights(content, round_dynamic)
    if job.shape.graph != INTEGER:
        content = inputs_first(content)
    found = set(contents(content).float_operators) - GRAPHS[job.shape.graph].float_operators
    if job.quantization == "int8" and found:
        raise RejectedModelError(
            f"int8 left operators in float: {', '.join(sorted(found))}; this is a fault of "
            "tfedge or of the converter, please report"
        )
    _tell_integers(read_content(job.source.name, content).subgraphs[0], precisions)
    return content


def _tell_integers(graph: Subgraph, precisions: Mapping[str, Precision]) -> None:
    """Notes dense layers that were to leave the integers and have not: those between integers, which
    the converter quantises with what is around them."""
    dense = [item for item in graph.operators if item.name in ("CONV_2D", "FULLY_CONNECTED")]
    weights = [graph.operands(item)[1].name for item in dense if graph.result(item).dtype == "INT8"]
    if found := [site for name in weights if (site := layer_of(name, precisions))]:
        note(
            f"{len(found)} dense layers that were to be {precisions[found[0]]}, as {found[0]}, lie "
            "between integers and are in int8: the converter quantises them with what is around them; "
            "float norms (--precision norm=float) keep them out"
        )


def nearest(name: str, values: np.ndarray) -> RoundedRows | None:
    """Rounds to 8 bits."""
    del name
    return round_nearest(values, 8) if values.size >= LEAST_NUMBERS else None
