"""tfedge: BERT-like Keras encoders on small boards, as full-integer TFLite models."""

from __future__ import annotations

TYPE_CHECKING = False  # not of typing, see `tfedge.start`
if TYPE_CHECKING:
    from typing import Any

    from tfedge.api import convert, distil, evaluate, finetune, prune, qad, shrink, trim
    from tfedge.runtime import load

__version__ = "0.1.0"
__all__ = ["convert", "distil", "evaluate", "finetune", "load", "prune", "qad", "shrink", "trim"]


def __getattr__(name: str) -> Any:
    """Imports a function when it is asked for: boards have nothing of the host, and programs that only
    load a model no time to lose."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    # By name, as all of tfedge imports this module.
    home = importlib.import_module("tfedge.runtime" if name == "load" else "tfedge.api")
    return getattr(home, name)


def __dir__() -> list[str]:
    """For completion: the functions, too, before anyone has asked for them."""
    return [*__all__, "__version__"]
