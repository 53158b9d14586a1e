"""Reading one loom on one core: ours, h5py alone, and the floor: inflating its tiles and nothing else."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from work import Found, Work

_ROWS = 512


@contextlib.contextmanager
def ours(loom: str) -> Iterator[Work]:
    """Give opening a loom, and reading it into normalised runs as one unit."""
    from median_spark.matrices import ReadOptions, Unit, open_matrix, read_unit, select_rows

    options = ReadOptions()

    def work() -> Found:
        with open_matrix(loom, options.names) as matrix:
            runs, _ = read_unit(matrix, select_rows(matrix, options), Unit(0, 0, matrix.shape[1]), options)
            return {"values": len(runs.values)}

    yield work


@contextlib.contextmanager
def inflate(loom: str) -> Iterator[Work]:
    """Give inflating every tile with libdeflate, from memory, its place known."""
    import deflate
    import h5py

    with h5py.File(loom) as file:
        matrix = file["matrix"]
        size = matrix.dtype.itemsize * matrix.chunks[0] * matrix.chunks[1]
        places: list[tuple[int, int]] = []
        matrix.id.chunk_iter(lambda tile: places.append((tile.byte_offset, tile.size)))
    content = memoryview(Path(loom).read_bytes())

    def work() -> Found:
        for offset, length in places:
            deflate.zlib_decompress(content[offset : offset + length], size)
        return {"tiles": len(places)}

    yield work


@contextlib.contextmanager
def h5py_slices(loom: str) -> Iterator[Work]:
    """Give reading all rows with h5py, a band of tiles at a time, and finding the entries other than 0."""
    import h5py
    import numpy as np

    def work() -> Found:
        with h5py.File(loom) as file:
            matrix = file["matrix"]
            bands = (matrix[first : first + _ROWS] for first in range(0, matrix.shape[0], _ROWS))
            return {"nonzero": sum(len(np.nonzero(band)[0]) for band in bands)}

    yield work
