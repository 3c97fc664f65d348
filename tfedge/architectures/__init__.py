"""What is particular to each architecture: one module each, found because it is in this folder.

Its class stands below `@register`. Nothing here imports TensorFlow, as listing models and
counting their cost must not load it.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
