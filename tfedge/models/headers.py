"""The headers of safetensors files: which tensors there are, and of which shapes."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from tfedge.errors import CheckpointError

_LARGEST = 8 << 20  # bytes; a tensor takes about 100, and the library ten times those of a header


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by name, without reading any; raises CheckpointError where it
    cannot be read, or has more of a header than any encoder."""
    try:
        with path.open("rb") as raw:
            size = int.from_bytes(raw.read(8), "little")
        if size > _LARGEST:
            raise CheckpointError(
                f"{path} is not a readable safetensors file: it claims a header of {size:,} bytes, and "
                f"encoders have less than {_LARGEST:,}"
            )
        # The header's offsets are checked against the file's size before anything is mapped.
        with safe_open(path, "numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
