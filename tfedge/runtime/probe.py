"""Has a model loaded and run once in a process of its own (rehearsal.py), before this one is given it.

What is verified of a graph (verify.py) is how it hangs together. What a runtime's kernels make of its
shapes and values is known once they have run; where they crash, hang or ask for gigabytes, only that
process ends. What has passed is remembered by its hash, in an empty file of the user's cache.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.errors import BackendError, ModelFileError, OptionError
from tfedge.runtime.kept import is_kept, keep
from tfedge.runtime.runtimes import choose_runtime, default_threads, import_runtime, runtime_name

if TYPE_CHECKING:
    from typing import Unpack

    from tfedge.runtime.interpreter import Device

_RULES = 1  # counts up with what is tried, for what has passed before to be tried again
_TRIED = "tried"
_PROGRAM = "tfedge.runtime.rehearsal"
_MB = 1 << 20
# Of an encoder at 512 tokens on a Raspberry Pi 3, a second a megabyte; to read a tokeniser, four.
_SECONDS, _A_MB_OF_MODEL, _A_MB_OF_TOKENIZER, _MOST_SECONDS = 5, 1, 4, 120
# Runtimes hold the weights up to three times for each graph: as floats, and packed for their kernels.
_MEMORY_BYTES, _TIMES_MODEL, _TIMES_TOKENIZER = 96 * _MB, 4, 32
_ERRORS = {error.exit_code: error for error in (OptionError, ModelFileError, BackendError)}


def try_model(
    bundle: Bundle, runtime: str | None, num_threads: int | None, **device: Unpack[Device]
) -> None:
    """Runs a model in a process of its own, unless it has passed there before.

    Args: see `tfedge.runtime.load`.

    Raises:
        ModelFileError: it crashes there, takes more time or memory than one of its size may, or has a
            tokeniser that breaks on texts that others take.
        BackendError: no process can be started; or, as OptionError, what `load` itself would raise, or
            the runtime at the first text.
    """
    chosen = choose_runtime(runtime, bundle.manifest.runtimes, here=True)
    delegate = device.get("delegate") or ""
    try:
        key = _key(bundle, chosen, delegate)
    except (ImportError, OSError):
        import_runtime(chosen)  # says why it cannot be imported
        raise
    if is_kept(_TRIED, key):
        return
    import_runtime(chosen)
    from tfedge.runtime import apart  # which most runs do without

    threads = num_threads or default_threads()
    arguments = [bundle.path, chosen, str(threads), delegate, device.get("device") or ""]
    try:
        limits = apart.Limits(*_limits(bundle, threads))
        code, said = apart.run(_PROGRAM, arguments, limits)
    except ModelFileError as error:
        raise refused(bundle.path, str(error)) from error
    if code in _ERRORS and said:
        raise _ERRORS[code](said)
    if code:
        raise BackendError(
            f"{bundle.path}: the process that was to try it ended with {code}: {said or 'no word'};"
            " `tfedge-infer --doctor` looks for the reason, --trust loads it without"
        )
    keep(_TRIED, key)


def refused(path: str, reason: str) -> ModelFileError:
    """What to raise where that process shows that a model must not be loaded."""
    return ModelFileError(
        f"{path}: tried in a process of its own before it is loaded, {reason}; get it from elsewhere"
        " or, if you trust it, load it with --trust"
    )


def trust(bundle: Bundle) -> None:
    """Remembers a model as one that has passed, for whoever made it and ran it in its runtimes."""
    for runtime in bundle.manifest.runtimes:
        keep(_TRIED, _key(bundle, runtime, ""))


def _key(bundle: Bundle, runtime: str, delegate: str) -> str:
    """A hash of all that runs: graph, tokeniser, which graphs there are said to be, and by what."""
    about = (bundle.fingerprint, sorted(bundle.manifest.signatures.items()))
    return hashlib.sha256(
        json.dumps([_RULES, *about, runtime_name(runtime), delegate]).encode()
    ).hexdigest()


def _limits(bundle: Bundle, threads: int) -> tuple[int, int]:
    """Seconds of the processor, and bytes of memory, that a model of its size may take."""
    model, tokenizer = bundle.manifest.model_bytes, len(bundle.tokenizer_json)
    seconds = _SECONDS + (_A_MB_OF_MODEL * model + _A_MB_OF_TOKENIZER * tokenizer) // _MB
    packed = _TIMES_MODEL * model * (1 + len(bundle.manifest.signatures))
    memory = _MEMORY_BYTES + packed + _TIMES_TOKENIZER * tokenizer + threads * 16 * _MB
    return min(seconds, _MOST_SECONDS), memory
