"""Says which packages this Python has: `python -m benchmarks.peers.installed PACKAGE ...`.

It prints a JSON object, from the package to its version or null.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys


def installed(packages: list[str]) -> dict[str, str | None]:
    """Each package's version, None where there is none. Nothing is imported."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


if __name__ == "__main__":
    print(json.dumps(installed(sys.argv[1:])))
