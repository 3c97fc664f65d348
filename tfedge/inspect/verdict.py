"""The verdict of `tfedge inspect`: what of accuracy, size, error and speed is known of the file."""

from __future__ import annotations

from pathlib import Path, PurePath

from tfedge.inspect.result import Noise, Report
from tfedge.measure.stated import accuracy_figure, read_stated, size_figure
from tfedge.show.verdict import Figure, Verdict, missing, timed, verdict


def verdict_of(report: Report, path: Path, against: Path | None) -> Verdict:
    """The figures that the report has, and those of the .json that `tfedge convert` wrote beside."""
    stated = read_stated(path)
    length = against.stat().st_size if against is not None else None
    figures = [
        accuracy_figure(path, stated),
        size_figure(report.size_bytes, length, stated),
        _speed(report),
        *([_error(report.noise)] if report.noise else []),
        missing("peers", "ms", "python -m benchmarks, in a clone, races them"),
    ]
    return verdict(path.name, figures)


def _speed(report: Report) -> Figure:
    times = report.timing
    if times is None:
        how = f"--time, or against float tfedge bench {PurePath(report.file).name} FLOAT.tflite"
        return missing("speed", "ms", how)
    shown = f"graph {report.signature} in {times.runtime}, threads: {times.threads}"
    return timed(1e3 * times.total_s, None, f"{shown}; tfedge bench races it against float")


def _error(noise: Noise) -> Figure:
    """The noise of the last layer that differs from float; None of it where all are exact."""
    measured = [layer for layer in noise.layers if layer.snr_db is not None]
    name, how = "signal to noise", f"of the last layer, {noise.rows} rows of {noise.data}"
    if not measured:
        return missing(name, "dB", "no layer differs from float")
    found = measured[-1].snr_db
    return Figure(name, "dB", found, None, f"signal to noise at its end {found:.1f} dB", how)
