"""Several interpreters of one model, for as many threads at once."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tfedge.runtime.bundle import Bundle
from tfedge.runtime.errors import OptionError
from tfedge.runtime.interpreter import LOADED, Device, GoneError, Model
from tfedge.runtime.runtimes import MAX_THREADS, default_threads

if TYPE_CHECKING:
    from typing import Unpack

T = TypeVar("T")
R = TypeVar("R")


def check_workers(workers: int, device: Device) -> None:
    """Raises OptionError where there cannot be as many workers."""
    if not 1 <= workers <= MAX_THREADS:
        raise OptionError(f"{workers} workers asked for; 1 to {MAX_THREADS} are allowed")
    if any(device.values()):
        raise OptionError(
            "workers share the processors, a delegate has a device; leave one of them out"
        )


class Pool:
    """Stands in for a `Model` in a pipeline; a run takes whichever interpreter is free.

    They are in one process, for the runtimes compute without Python's lock: a process for each would
    be as fast and take two to three times the memory. The weights in the file they share anyway.
    """

    def __init__(
        self,
        workers: int,
        bundle: Bundle,
        runtime: str | None = None,
        num_threads: int | None = None,
        **device: Unpack[Device],
    ) -> None:
        """Args: see `tfedge.runtime.load`; raises as `Model` does."""
        threads = num_threads or max(1, default_threads() // workers)
        self._models = [Model(bundle, runtime, threads, **device) for _ in range(workers)]
        self.runtime = self._models[0].runtime
        self.num_threads = threads
        self.disown()
        LOADED.add(self)

    @property
    def has_answered(self) -> bool:
        """As that of a `Model`."""
        return any(model.has_answered for model in self._models)

    def run(self, key: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `Model.run`; waits for an interpreter."""
        model = self._free.get()
        try:
            return model.run(key, inputs)
        finally:
            self._free.put(model)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """As the built-in, by a thread for each interpreter; all items are taken first."""
        with ThreadPoolExecutor(len(self._models)) as threads:
            yield from threads.map(function, items)

    def width(self, output: str) -> int:
        """See `Model.width`."""
        return self._models[0].width(output)

    def gone(self) -> GoneError:
        """See `Model.gone`."""
        return self._models[0].gone()

    def close(self) -> None:
        """See `Model.close`."""
        for model in self._models:
            model.close()

    def disown(self) -> None:
        """See `Model.disown`: what threads of the parent had taken does not come back."""
        # The last one used has its weights in the processor's cache.
        self._free: queue.LifoQueue[Model] = queue.LifoQueue()
        for model in self._models:
            self._free.put(model)
