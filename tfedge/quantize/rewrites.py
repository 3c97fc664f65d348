"""The changes of the graph that weights ask for, in the order in which they are made."""

from __future__ import annotations

from tfedge.quantize.equalize import Centring, Equalisation
from tfedge.quantize.plan import NormPlans
from tfedge.quantize.rewrite import Rewrite
from tfedge.quantize.scale import Scales

REWRITES: tuple[Rewrite, ...] = (Centring(), Scales(), Equalisation(), NormPlans())
