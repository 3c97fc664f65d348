"""Writes copies of a model that tell what a runtime keeps to itself of the model.

No runtime's Python tells what an operator takes. A graph that ends after a part, less one that ends
before it, does, with the kernels, the threads and the delegate that the whole one has.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfedge.errors import InputError, RejectedModelError
from tfedge.inspect.graph import EDGETPU_OPERATOR, ModelFile, Signature
from tfedge.measure.board import Board, Inputs
from tfedge.progress import Progress
from tfedge.tflite.edit import Editor

_CALLS = frozenset(("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE"))
Model = tuple[ModelFile, Signature]


@contextlib.contextmanager
def named_as(model: ModelFile, path: Path) -> Iterator[None]:
    """Has errors about the copy at `path`, which the user has never seen, name the model."""
    try:
        yield
    except RejectedModelError as error:
        raise RejectedModelError(str(error).replace(str(path), model.path)) from error


@contextlib.contextmanager
def opened(
    model: Model, indices: Sequence[int], board: Board, progress: Progress
) -> Iterator[Callable[[Inputs], list[np.ndarray]]]:
    """What runs a model on rows and returns tensors of its graph, whichever these are.

    Args:
        indices: of the tensors.
        progress: called with a number of rows whenever as many have run.

    Returns:
        Takes arrays (n, ...) by the inputs' names, gives (n, ...) for each of `indices`, in the
        tensors' own dtypes; raises RejectedModelError where the model crashes or is refused.
    """
    file, signature = model
    with tempfile.TemporaryDirectory(prefix="tfedge-") as folder:
        path = Path(folder) / "opened.tflite"
        write_opened(file, signature, indices, path)

        def read(inputs: Inputs) -> list[np.ndarray]:
            with named_as(file, path):
                entry = (signature.key, signature.subgraph)
                return board.tensors(path, entry, inputs, indices, progress)

        yield read


def write_opened(
    model: ModelFile, signature: Signature, indices: Sequence[int], path: Path
) -> None:
    """Writes a model whose tensors inside are outputs too, so that its runtime keeps them.

    A runtime reuses the memory of a tensor that nothing reads any more. With
    `experimental_preserve_all_tensors` tflite-runtime 2.14 still lets SOFTMAX, ADD and others write
    over their operands; no runtime does so to an output.
    """
    editor = Editor(Path(model.path).read_bytes())
    graph = editor.tree.subgraphs[signature.subgraph]
    graph.outputs = np.array(list(dict.fromkeys([*graph.outputs, *indices])), np.int32)
    _write(editor, path)


def write_prefixes(
    model: ModelFile, signature: Signature, ends: Sequence[int], path: Path
) -> list[str]:
    """Writes one .tflite with a graph for each of `ends`, sharing their weights.

    Raises InputError where a graph calls others, is compiled for a device, or cannot be read.

    Args:
        ends: how many operators of the signature's graph each has, from the first.

    Returns:
        The keys of their signatures, which take the inputs of `signature` and put out all that the
        rest of the graph reads.
    """
    operators = model.subgraphs[signature.subgraph].operators
    whole = {operator.name for operator in operators} & {*_CALLS, EDGETPU_OPERATOR}
    if whole:
        raise InputError(
            f"{model.path}: {', '.join(sorted(whole))} is one operator of many, which cannot be "
            "timed part by part"
        )
    editor = Editor(Path(model.path).read_bytes())
    tree, index = editor.tree, signature.subgraph
    definition = next(item for item in tree.signatureDefs if item.subgraphIndex == index)
    graph, tree.subgraphs, tree.signatureDefs = tree.subgraphs[index], [], []
    for number, end in enumerate(ends):
        made = copy.copy(definition)
        made.signatureKey, made.subgraphIndex = f"part_{number}", number
        tree.subgraphs.append(_prefix(graph, end))
        made.outputs = _named(editor.schema, tree.subgraphs[-1].outputs)
        tree.signatureDefs.append(made)
    _write(editor, path)
    return [made.signatureKey for made in tree.signatureDefs]


def _prefix(graph: Any, end: int) -> Any:
    """The first `end` operators, which put out what the others read of them, and the outputs."""
    made = copy.copy(graph)
    # Packing writes into tensors and operators; the constants themselves are shared.
    made.tensors = [copy.copy(tensor) for tensor in graph.tensors]
    made.operators = [copy.copy(operator) for operator in graph.operators[:end]]
    written = {int(index) for item in made.operators for index in item.outputs}
    rest = {int(index) for item in graph.operators[end:] for index in item.inputs}
    made.outputs = np.array(sorted(written & (rest | set(map(int, graph.outputs)))), np.int32)
    return made


def _named(schema: Any, tensors: Sequence[int]) -> list[Any]:
    """Outputs of a signature."""
    outputs = []
    for number, tensor in enumerate(tensors):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = f"output_{number}", int(tensor)
        outputs.append(entry)
    return outputs


def _write(editor: Editor, path: Path) -> None:
    editor.tree.metadata = editor.tree.metadataBuffer = None
    path.write_bytes(editor.content())
