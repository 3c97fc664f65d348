"""The integer graph with some of its operations left in floating point.

Each site (a dense layer, an attention's products, a norm with the sum before it) has a precision of
its own. Where an integer site reads what a floating-point site computed, that tensor is rounded for
it alone: a residual connection in floating point goes on unrounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import tf_keras as keras

from tfedge.architectures.base import EncoderConfig
from tfedge.architectures.kinds import FREE, Kind
from tfedge.architectures.parts import Grid, Windows
from tfedge.errors import InputError
from tfedge.models.blocks import GraphOptions, SiteKind, Symbolic
from tfedge.models.layers import PatchDense
from tfedge.quantize import layers
from tfedge.quantize.integer import IntegerBlocks

# What a site computes in. `dynamic` is a dense layer of 8-bit weights whose input is rounded row by
# row while the model runs; sites of other kinds have no such kernel.
Precision = Literal["int8", "dynamic", "float"]
PRECISIONS: tuple[Precision, ...] = ("int8", "dynamic", "float")
# What `--quant mixed` does unless told otherwise: layer norms, where 8 bits hurt most, in float.
MIXED_RULES: Mapping[str, Precision] = {"norm": "float"}
# Puts rounding into the graph: site, name of the tensor, the tensor -> the tensor to go on with.
Rounder = Callable[[str, str, Symbolic], Symbolic]


def is_float(precisions: Mapping[str, Precision], site: str) -> bool:
    """Whether the tensors of a site are floating point."""
    return precisions.get(site, "int8") != "int8"


def match_sites(
    rules: Mapping[str, Precision], sites: Mapping[str, SiteKind]
) -> dict[str, Precision]:
    """The precision of each site that a rule names; of several rules the last one counts.

    Rules are by a kind of site, or a pattern (as of file names) of sites' names. Raises InputError
    where one names no site, or asks for what its sites have no kernel for.
    """
    found: dict[str, Precision] = {}
    for pattern, precision in rules.items():
        named = [
            name for name, kind in sites.items() if kind == pattern or fnmatchcase(name, pattern)
        ]
        if not named:
            kinds = ", ".join(sorted(set(sites.values())))
            raise InputError(
                f"{pattern!r} names no operation of this model; give one of {kinds}, or a pattern "
                f"of names such as {next(iter(sites))!r}"
            )
        others = [name for name in named if sites[name] != "dense"]
        if precision == "dynamic" and others:
            raise InputError(
                f"{others[0]} cannot be dynamic: only dense layers can; give int8 or float"
            )
        found |= dict.fromkeys(named, precision)
    return found


class MixedBlocks(IntegerBlocks):
    """Builds the blocks of one encoder, with a precision for each site.

    Args:
        precisions: by site; "int8" where nothing is said.
        rounder: called for what a site computes and for what it reads from another one.
    """

    def __init__(
        self,
        config: EncoderConfig,
        options: GraphOptions,
        decisions: Mapping[str, Mapping[str, Any]],
        precisions: Mapping[str, Precision],
        rounder: Rounder,
    ) -> None:
        super().__init__(config, options, decisions)
        self._precisions = precisions
        self._rounder = rounder
        # A sum belongs to the norm that reads it. What belongs to no site (tables, pixels, the mask,
        # the activation of a pooler) is always in integers: tables because of their size, pixels
        # because they are, the others because they are small.
        self._norm_of = {
            total: norm
            for stream in config.architecture.streams(config)
            for total, norm in zip(stream.totals, stream.norms, strict=True)
        }
        # Names of tensors by identity, with the tensor, so that no identity is used again.
        self._names: dict[int, tuple[str, Symbolic]] = {}

    def tap(self, name: str, tensor: Symbolic, kind: Kind = FREE) -> Symbolic:
        tensor = self._rounder(self._site, name, super().tap(name, tensor, kind))
        self.tapped[name] = tensor
        self._names[id(tensor)] = (name, tensor)
        return tensor

    def add(self, name: str, *terms: Symbolic, kind: Kind = FREE) -> Symbolic:
        with self._within(self._norm_of.get(name, self._site)):
            return super().add(name, *terms, kind=kind)

    def operand(self, x: Symbolic) -> Symbolic:
        if id(x) not in self._names:
            return x
        return self._rounder(self._site, self._names[id(x)][0], x)

    def _renamed(self, tensor: Symbolic, source: Symbolic) -> Symbolic:
        """A tensor that has the values of another one, and with them its range."""
        if id(source) in self._names:
            self._names[id(tensor)] = (self._names[id(source)][0], tensor)
        return tensor

    def _is_float(self, site: str) -> bool:
        return is_float(self._precisions, site)

    def _dense_layer(self, name: str, units: int) -> keras.layers.Layer:
        if self._is_float(name):
            return keras.layers.Dense(units, use_bias=self._has_bias(name), name=name)
        return super()._dense_layer(name, units)

    def _patch_layer(self, name: str, units: int, **options: Any) -> keras.layers.Layer:
        if self._is_float(name):
            return PatchDense(units, name=name, **options)
        return super()._patch_layer(name, units, **options)

    def norm(self, name: str, x: Symbolic, epsilon: float | None = None) -> Symbolic:
        if not self._is_float(name) or self.config.normalization_type == "no_norm":
            return super().norm(name, x, epsilon)
        epsilon = epsilon or self.config.layer_norm_eps
        layer = layers.EqualizedLayerNorm(epsilon, norm=name, name=name)
        with self.site(name, "norm"):
            return self.tap(name, layer(self.operand(x)))

    def computed_rows(self, index: int, x: Symbolic, part: str = "input") -> Symbolic:
        return self._renamed(super().computed_rows(index, x, part), x)

    def read_rows(self, hidden: Symbolic) -> Symbolic:
        return self._renamed(super().read_rows(hidden), hidden)

    def token(self, hidden: Symbolic, index: int = 0) -> Symbolic:
        return self._renamed(super().token(hidden, index), hidden)

    def one_token(self, x: Symbolic) -> Symbolic:
        return self._renamed(super().one_token(x), x)

    def _led(self, name: str, count: int, patches: Symbolic) -> Symbolic:
        return self._renamed(super()._led(name, count, patches), patches)

    def windows(self, name: str, cut: Windows, x: Symbolic) -> Symbolic:
        return self._renamed(super().windows(name, cut, x), x)

    def whole(self, name: str, cut: Windows, x: Symbolic) -> Symbolic:
        return self._renamed(super().whole(name, cut, x), x)

    def merged(self, name: str, grid: Grid, x: Symbolic) -> Symbolic:
        return self._renamed(super().merged(name, grid, x), x)

    def merge_heads(self, name: str, context: Symbolic) -> Symbolic:
        return self._renamed(super().merge_heads(name, context), context)
