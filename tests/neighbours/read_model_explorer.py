"""`python read_model_explorer.py FILE...`: reads each file as Model Explorer does.

A line of JSON for each and each of its two readers: graphs by name, with their count of nodes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from model_explorer.builtin_tflite_flatbuffer_adapter import BuiltinTfliteFlatbufferAdapter
from model_explorer.builtin_tflite_mlir_adapter import BuiltinTfliteMlirAdapter


def fields(value: Any) -> dict[str, Any]:
    """What its readers return is a dictionary or an object, by their version."""
    return value if isinstance(value, dict) else vars(value)


def graphs(content: dict[str, Any]) -> dict[str, int]:
    """Nodes by the name of the graph."""
    found = list(content.get("graphs") or [])
    for collection in content.get("graphCollections") or []:
        found += fields(collection)["graphs"]
    return {fields(graph)["id"]: len(fields(graph)["nodes"]) for graph in found}


for path in sys.argv[1:]:
    for reader in (BuiltinTfliteFlatbufferAdapter, BuiltinTfliteMlirAdapter):
        print(json.dumps(graphs(reader().convert(path, {}))), flush=True)
