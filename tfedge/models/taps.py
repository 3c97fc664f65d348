"""What is seen of the tensors of a graph while it is built: their names, kinds and sites."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

from tfedge.architectures import kinds
from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import FREE, Kind
from tfedge.models.options import GraphOptions, Symbolic, Tensors

SiteKind = Literal["dense", "attention", "norm", "pooling"]


class Taps:
    """Shows each tensor of one encoder to the tap, by name."""

    def __init__(self, config: EncoderConfig, options: GraphOptions) -> None:
        self.config, self.options = config, options
        self.tapped: Tensors = {}  # every activation by name, as it came out of the tap
        # What each activation is, by name; also of those that have the values of another one (`Like`)
        # and are not in `tapped`.
        self.kinds: dict[str, Kind] = {}
        # The operations, in the order of the data's flow: what a precision can be chosen for.
        self.sites: dict[str, SiteKind] = {}
        self._site = ""  # to which belongs what is being built

    @contextlib.contextmanager
    def site(self, name: str, kind: SiteKind) -> Iterator[None]:
        """What is built within belongs to a new site."""
        self.sites[name] = kind
        with self._within(name):
            yield

    @contextlib.contextmanager
    def _within(self, site: str) -> Iterator[None]:
        outer, self._site = self._site, site
        yield
        self._site = outer

    def tap(self, name: str, tensor: Symbolic, kind: Kind = FREE) -> Symbolic:
        """Shows an activation to the tap and remembers what the graph goes on with."""
        self.kinds[name] = kind
        self.tapped[name] = self.options.tap(name, tensor, kind)
        return self.tapped[name]

    def tap_like(self, name: str, source: Symbolic, tensor: Symbolic) -> Symbolic:
        """Shows the tap a tensor whose values are those of the tapped tensor `source`."""
        self.kinds[name] = kinds.Like(self.name_of(source))
        return self.options.tap(name, tensor, self.kinds[name])

    def name_of(self, tensor: Symbolic) -> str:
        return next(name for name, tapped in self.tapped.items() if tapped is tensor)

    def operand(self, x: Symbolic) -> Symbolic:
        """What the site that is being built reads of the tensor x."""
        return x
