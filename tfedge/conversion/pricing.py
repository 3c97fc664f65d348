"""Estimates how much longer a model takes where its operations leave the integers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import tf_keras as keras

from tfedge.conversion.job import Job
from tfedge.conversion.mixture import converted
from tfedge.errors import InputError
from tfedge.inspect.estimate import RUNTIME, added_ms, known_boards
from tfedge.inspect.graph import Subgraph, read_content
from tfedge.models.blocks import SiteKind
from tfedge.notes import note
from tfedge.quantize.costs import Costs, units_of
from tfedge.quantize.mixed import PRECISIONS, Precision
from tfedge.quantize.prepare import Prepared


def priced(job: Job, prepared: Prepared, counted: Costs) -> Costs:
    """What precisions add to the estimated time on the board that the job is for; where that cannot be
    told, a note says why, and `counted` is what there is to go by."""
    board = job.timed or counted.board
    if job.runtime != RUNTIME:
        reason = f"times are known for {RUNTIME} alone, not for {job.runtime}"
    elif board not in known_boards():
        reason = f"times are known for {', '.join(known_boards())} alone, not for {board}"
    else:
        try:
            return _estimated(job, prepared, board)
        except InputError as error:
            reason = str(error)
    note(
        f"auto chooses by instructions counted on {counted.board}, not by estimated milliseconds: "
        f"{reason}"
    )
    return counted


def _estimated(job: Job, prepared: Prepared, board: str) -> Costs:
    """Converts the longest graph once with all sites of each kind in each precision, and shares out by
    the sites' units what that takes longer than int8."""
    encoder = prepared.encoder()
    sites, amounts = encoder.sites, units_of(encoder)
    units: dict[SiteKind, int] = defaultdict(int)
    for site, kind in sites.items():
        units[kind] += amounts[site]
    ways: list[tuple[SiteKind, Precision]] = [
        (kind, precision)
        for kind in units
        for precision in PRECISIONS[1:]
        if kind == "dense" or precision != "dynamic"
    ]
    table: dict[str, dict[str, float]] = defaultdict(dict)
    with job.make_bar("estimating what float takes", len(ways)) as bar:
        graphs = _Graphs(job, prepared)
        for kind, precision in ways:
            before, after = (
                graphs.around(sites, kind, "int8"),
                graphs.around(sites, kind, precision),
            )
            table[kind][precision] = 1e6 * added_ms(before, after, board) / units[kind]
            bar.advance()
    return Costs(board, "ms", table)


class _Graphs:
    """The longest graph of a model, converted in several precisions."""

    def __init__(self, job: Job, prepared: Prepared) -> None:
        self._job, self._prepared = job, prepared
        self._made: dict[frozenset[tuple[str, Precision]], Subgraph] = {}

    def around(
        self, sites: Mapping[str, SiteKind], kind: SiteKind, precision: Precision
    ) -> Subgraph:
        """The graph whose sites of a kind are in a precision, all others in int8.

        Around dense layers norms are in float: between integers the converter makes a dense layer an
        integer one, whatever it is meant to be.
        """
        wanted: dict[SiteKind, Precision] = {"norm": "float"} if kind == "dense" else {}
        wanted[kind] = precision
        found = {site: wanted.get(its_kind, "int8") for site, its_kind in sites.items()}
        return self._graph({site: item for site, item in found.items() if item != "int8"})

    def _graph(self, precisions: Mapping[str, Precision]) -> Subgraph:
        key = frozenset(precisions.items())
        if key not in self._made:
            model = self._prepared.encoder(precisions).model
            graphs = {self._job.shape.sequence_length: model}
            content = converted(self._job, graphs, precisions)
            keras.backend.clear_session()
            self._made[key] = read_content(self._job.source.name, content).subgraphs[0]
        return self._made[key]
