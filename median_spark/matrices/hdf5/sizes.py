"""Checking the sizes that an HDF5 file declares against its bytes, before anything of these sizes is allocated.

A few bytes of a damaged or hostile file may declare any number of cells, genes or bytes. Compressed constants are small
and sound. So nothing is refused up to a floor, and beyond it only what no writer can have stored in so few bytes.
"""

import math
from typing import NoReturn

import h5py
from h5py import h5d, h5t, h5z

from median_spark.errors import InputError
from median_spark.matrices.contract import brief

FLOOR = 64 << 20
"""Bytes that any dataset may declare."""

_LEAST_LINES = 2_000_000
"""Cells, and genes, that any matrix may declare; more than the file has bytes it cannot have beyond that."""

_LEAST_TILES = 4_000_000
"""Tiles that any matrix may declare; tiles without counts need not be stored, but few files have many of them."""

_DENSEST = 1032
"""Bytes that deflate can make of one; HDF5's other filters, but for the plugins, can make no more."""

_BOUNDED = {h5z.FILTER_DEFLATE, h5z.FILTER_LZF, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, 32004}
"""Filters that make at most `_DENSEST` bytes of one."""

_KEEPING = {h5z.FILTER_SHUFFLE: 0, h5z.FILTER_FLETCHER32: 4}
"""Filters that keep the size of a chunk, but for the bytes that they add."""


def most_bytes(dataset: h5py.Dataset) -> int:
    """Return the most bytes that a dataset's values, or some that are read together, may take in memory."""
    return max(FLOOR, _DENSEST * file_bytes(dataset))


def file_bytes(dataset: h5py.Dataset) -> int:
    """Return the size of a dataset's file."""
    return int(dataset.file.id.get_filesize())


def require_backed(location: str, dataset: h5py.Dataset, name: str) -> None:
    """Reject a dataset, neither virtual nor external, that declares more values than the file's bytes can hold.

    A dataset of two dimensions may lack tiles that are all 0.
    """
    if dataset.shape is None:
        return
    item = dataset.id.get_type().get_size()
    declared = math.prod(int(extent) for extent in dataset.shape) * item
    tile = math.prod(dataset.chunks) * item if dataset.chunks else 0
    if declared <= FLOOR and tile <= FLOOR:
        return
    if tile > most_bytes(dataset):
        _refuse(location, name, f"have tiles of {tile:,} bytes", f"the file has {file_bytes(dataset):,} bytes")
    if dataset.ndim == 2 and dataset.chunks:
        return
    stored = min(dataset.id.get_storage_size(), file_bytes(dataset))
    expansion = _expansion(dataset)
    if expansion is not None and declared > stored * expansion:
        _refuse(location, name, f"have {declared:,} bytes", f"{stored:,} are stored")
    if dataset.chunks:
        needed = number_of_tiles(dataset)
        written = dataset.id.get_num_chunks()
        if written < needed:
            _refuse(location, name, f"have {needed:,} chunks", f"{written:,} are stored")


def require_lines(location: str, name: str, held: h5py.Dataset | h5py.Group, lines: tuple[int, ...]) -> None:
    """Reject more cells or genes (`lines`) than the file of `held` has bytes."""
    most = max(_LEAST_LINES, file_bytes(held))
    if max(lines, default=0) > most:
        extents = " × ".join(f"{extent:,}" for extent in lines)
        _refuse(location, name, f"be {extents}", f"the file has {file_bytes(held):,} bytes")


def require_tiles(location: str, name: str, dataset: h5py.Dataset) -> None:
    """Reject a matrix of more tiles than the file can have; their places are held in memory."""
    tiles = number_of_tiles(dataset) if dataset.chunks else 0
    if tiles > max(_LEAST_TILES, file_bytes(dataset)):
        _refuse(location, name, f"have {tiles:,} tiles", f"the file has {file_bytes(dataset):,} bytes")


def require_strings(location: str, name: str, dataset: h5py.Dataset, number: int, longest: int) -> None:
    """Reject strings that would take more memory than the file can ask for: each takes as much as the longest."""
    wanted = number * longest * 4
    if wanted > most_bytes(dataset):
        message = (
            f"{location}: {name} has {number:,} strings of up to {longest:,} characters, {wanted:,} bytes, where the "
            f"file has {file_bytes(dataset):,}; it is damaged, or these are no names"
        )
        raise InputError(message)


def require_whole_chunks(location: str, name: str, dataset: h5py.Dataset) -> None:
    """Reject chunks that are stored as they are and are shorter than a chunk: HDF5 fills the rest with any memory.

    For datasets that h5py reads; those whose tiles are inflated here are checked tile by tile.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5d.CHUNKED:
        return
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    kind = dataset.id.get_type()
    size = math.prod(dataset.chunks) * (kind.get_size() + _more_in_file(kind, dataset))

    def check(chunk: h5d.StoreInfo) -> None:
        applied = [filter_id for place, filter_id in enumerate(filters) if not chunk.filter_mask >> place & 1]
        if not all(filter_id in _KEEPING for filter_id in applied):
            return
        wanted = size + sum(_KEEPING[filter_id] for filter_id in applied)
        if chunk.size < wanted:
            message = (
                f"{location}: {name} has a chunk of {chunk.size:,} bytes at entry {chunk.chunk_offset[0]:,}, where it "
                f"must have {wanted:,}; the file is damaged"
            )
            raise InputError(message)

    dataset.id.chunk_iter(check)


def _more_in_file(kind: h5t.TypeID, dataset: h5py.Dataset) -> int:
    """Return how many bytes more a value takes in the file than HDF5 says, which counts a pointer for a text."""
    if isinstance(kind, h5t.TypeVlenID) or (isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()):
        address = dataset.file.id.get_create_plist().get_sizes()[0]
        return int(4 + address + 4 - kind.get_size())  # length, and address and number in the heap
    if isinstance(kind, h5t.TypeCompoundID):
        members = map(kind.get_member_type, range(kind.get_nmembers()))
        return sum(_more_in_file(member, dataset) for member in members)
    return 0


def number_of_tiles(dataset: h5py.Dataset) -> int:
    """Return how many tiles a chunked dataset has, written or not."""
    return math.prod(-(-extent // chunk) for extent, chunk in zip(dataset.shape, dataset.chunks, strict=True))


def _expansion(dataset: h5py.Dataset) -> int | None:
    """Return how many bytes can become of a stored one, None if there is no bound."""
    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5d.CHUNKED:
        return 1
    filters = {properties.get_filter(place)[0] for place in range(properties.get_nfilters())}
    if filters <= {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}:
        return 1
    # Filters may follow one another, and those of plugins have no bound that is known here.
    return _DENSEST if filters <= _BOUNDED else None


def _refuse(location: str, name: str, declared: str, held: str) -> NoReturn:
    place = f"{location}: '{brief(name)}'"
    message = f"{place} is declared to {declared}, where {held}; the file is damaged, or was never finished"
    raise InputError(message)
