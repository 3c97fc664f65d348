"""How much better a model gets with more data: trained on parts of them, and carried on."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping

import numpy as np

from tfedge import files
from tfedge.errors import InputError
from tfedge.notes import note
from tfedge.tasks.base import Rows
from tfedge.train.result import Curve, Trained
from tfedge.train.run import Request

_SHARES = (0.25, 0.5)  # of the texts; the last point are all of them
_LEAST = 16  # texts that a part must have


def with_curve(request: Request, train: Callable[[Request], Trained]) -> Trained:
    """What `train` makes of the request, with what it makes of parts of its rows before.

    A killed run goes on where it was: figures of parts are kept beside the output until it is there.
    Raises InputError where rows are too few, or there are none to measure on, and as `train`.
    """
    rows, output = request.texts, request.output
    assert isinstance(rows, Rows)
    counts = [int(share * len(rows)) for share in _SHARES]
    if request.evaluation is None or counts[0] < _LEAST:
        raise InputError(
            f"a learning curve needs texts to measure on, and {int(_LEAST / _SHARES[0])} or more to "
            f"train on; {rows.source} has {len(rows)}"
        )
    folder = output.with_name(f"{output.name}.curve")
    points = {}
    for count in counts:
        part = dataclasses.replace(
            request, texts=rows.part(rows.drawn(count)), output=folder / str(count), force=True
        )
        points[count] = _figure(part, train)
        note(f"trained on {count} of {len(rows)} rows: {points[count]:.4f}")
    trained = train(request)
    points[len(rows)] = float((trained.figures or {})[trained.goal])
    shutil.rmtree(folder, ignore_errors=True)
    return dataclasses.replace(trained, curve=Curve(points, carried_on(points)))


def _figure(part: Request, train: Callable[[Request], Trained]) -> float:
    """What a model of a part reaches; the model itself is not kept."""
    path = part.output.with_suffix(".json")
    key = {
        "options": dataclasses.asdict(part.options),
        "source": str(part.source),
        "task": part.task,
    }
    found = files.read_cache(path, key)
    if not found:
        trained = train(part)
        found = {"figure": float((trained.figures or {})[trained.goal])}
        files.write_json(path, {"key": key, "values": found})
        shutil.rmtree(part.output)
    return float(found["figure"])


def carried_on(points: Mapping[int, float]) -> float:
    """The figure, 0..1, for twice as many texts as the most: what is wrong falls as a power of their
    number (Hestness et al. 2017, arXiv:1712.00409), fitted to all points; never worse than the last.
    """
    counts = np.array(sorted(points), float)
    wrong = np.array([max(1.0 - points[int(count)], 1e-6) for count in counts])
    power, _ = np.polyfit(np.log(counts), np.log(wrong), 1)
    return float(1.0 - wrong[-1] * 2.0 ** min(power, 0.0))
