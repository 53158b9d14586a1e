"""What lies in an HDF5 file itself; whatever leads out of it is rejected, as a matrix is one file.

An independent implementation, as in all verification: it shares nothing with the reading that it checks.
"""

import math
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5l

_DEEPEST = 32
"""Soft links on the way to one object."""


class OutsideError(Exception):
    """An object that is not in the file itself; the message does not name the file."""


def take_from_file(group: h5py.Group, path: str, links: int = 0) -> Any:
    """Return an object by its path from a group.

    Raises OutsideError if the way there, or its data, are in another file; KeyError if there is none.
    """
    head, _, rest = path.strip("/").partition("/")
    name = head.encode()
    if not isinstance(group, h5py.Group) or not group.id.links.exists(name):
        message = f"there is no '{path}' in {group.name}"
        raise KeyError(message)
    kind = group.id.links.get_info(name).type
    if kind == h5l.TYPE_HARD:
        member = group[head]
    elif kind == h5l.TYPE_SOFT and links < _DEEPEST:
        target = group.id.links.get_val(name).decode()
        member = take_from_file(group.file if target.startswith("/") else group, target, links + 1)
    else:
        message = f"'{path}' is a link out of the file, or leads back to itself; a matrix must be one file"
        raise OutsideError(message)
    if rest:
        return take_from_file(member, rest, links)
    if isinstance(member, h5py.Dataset):
        _require_own_data(member)
    return member


def holds_in_file(group: h5py.Group, path: str) -> bool:
    """Say whether there is an object of a path."""
    try:
        return take_from_file(group, path) is not None
    except KeyError:
        return False


def by_reference(group: h5py.Group, reference: h5py.Reference) -> h5py.Dataset:
    """Return the dataset that a reference stands for; see `take_from_file`."""
    dataset = group.file[reference]
    _require_own_data(dataset)
    return dataset


def _require_own_data(dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count() > 0:
        message = f"the data of '{dataset.name}' are not in the file itself; a matrix must be one file"
        raise OutsideError(message)
    if properties.get_layout() == h5d.CHUNKED:
        _require_whole_chunks(dataset, properties.get_nfilters())


def _require_whole_chunks(dataset: h5py.Dataset, filters: int) -> None:
    """Reject chunks that skipped all filters and are of another size than a chunk; HDF5 would read any memory."""
    size = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
    skipped = (1 << filters) - 1
    short: list[int] = []

    def note(chunk: h5d.StoreInfo) -> None:
        if chunk.filter_mask & skipped == skipped and chunk.size < size:
            short.append(chunk.size)

    dataset.id.chunk_iter(note)
    if short:
        message = f"'{dataset.name}' has a chunk of {short[0]:,} bytes, where it must have {size:,}"
        raise DamagedError(message)


class DamagedError(Exception):
    """Bytes that cannot be what a writer wrote; the message does not name the file."""


def texts(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return strings decoded, bytes that are not UTF-8 spelled out, and anything else as it is."""
    if values.dtype.kind == "T":  # NumPy's strings of variable length, which zarr returns
        return values.astype(object)
    if values.dtype.kind not in "OS":
        return values
    strings = values.tolist()
    for entry, text in enumerate(strings):
        if isinstance(text, bytes) and b"\0" in text:
            message = f"the text {text[:100]!r} at entry {entry:,} of a list has bytes after the NUL that ends it"
            raise DamagedError(message)
    return np.array(
        [text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text) for text in strings],
        dtype=object,
    )
