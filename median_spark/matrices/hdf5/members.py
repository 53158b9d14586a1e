"""The objects of an HDF5 file, found without ever leaving it: a matrix is one file.

HDF5 has several ways to lead out of a file: external links, virtual datasets (also of the file itself) and external
storage. What they lead to is not in a source's size and time of change, may be missing, in which case HDF5 reads zeros,
and may be any file of the machine. So each object is found by walking its path link by link, and is checked before
anything of it is read.
"""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices.contract import brief
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.lists import first_damaged, odd_kind
from median_spark.matrices.hdf5.sizes import require_backed
from median_spark.matrices.tables import as_strings

_MISSING = "there is no such file"

_MOST_LINKS = 32
"""Soft links on the way to one object; more are taken for a circle."""

_MOST_ATTRIBUTE_VALUES, _MOST_ATTRIBUTE_BYTES = 16, 1 << 16
"""What an attribute of HDF5 that is read here may have: it is a word, or two numbers."""

_FEWEST_NAMES = 1_000
"""Names that an attribute may list of any group; of a group with more members, so many."""


def find_member(location: str, group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    """Return an object by its path from a group of this function or the file itself, None if there is none.

    InputError if the way there leads into another file, the object's data lie in another file, or it declares a size
    that the file cannot hold.
    """
    with naming_damage(location, lambda: f"'{_joined(group, path)}'"):
        member = _walk(location, group, path)
        if isinstance(member, h5py.Dataset):
            check_dataset(location, member)
        return member


def check_dataset(location: str, dataset: h5py.Dataset) -> None:
    """Reject a dataset whose data are in other places than its file, or that declares more than the file can hold."""
    name = (dataset.name or "a dataset without a name").lstrip("/")
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL:
        sources = dataset.virtual_sources()
        if any(source.file_name == "." and _parts(source.dset_name) == _parts(name) for source in sources):
            # HDF5 crashes where it reads such a dataset: nobody is to try.
            message = (
                f"{location}: '{brief(name)}' is a virtual dataset that is made of itself, so it holds nothing; a "
                "matrix must be one file: copy it again from where it came, or write its values again"
            )
            raise InputError(message)
        others = [file for file in dict.fromkeys(source.file_name for source in sources) if file != "."]
        parts = ", ".join(_with_state(location, file) for file in others[:3]) or "other datasets of this file"
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        problem = f"'{brief(name)}' is a virtual dataset, made of {parts}{more}"
    elif properties.get_external_count():
        parts = ", ".join(_with_state(location, file) for file, _, _ in dataset.external[:3])
        problem = f"the data of '{brief(name)}' lie outside this file, in {parts}"
    else:
        require_backed(location, dataset, name)
        return
    first = "put the missing file back, for HDF5 reads zeros in its place; then " if _MISSING in parts else ""
    place = brief(name)
    message = (
        f"{location}: {problem}; a matrix must be one file: {first}open it with h5py as file, and put its values in "
        f"its place: values = file['{place}'][()]; del file['{place}']; file['{place}'] = values"
    )
    raise InputError(message)


def text_attribute(location: str, held: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Return an attribute of HDF5 that is a word, None if there is none; InputError if it is anything else.

    It is a string of fixed or variable length, or a list of one, as writers in other languages make them.
    """
    value = small_attribute(location, held, name)
    if value is None:
        return None
    with naming_damage(location, lambda: _attribute(held, name)):
        values = np.asarray(value)
        kind = f"{brief(values.dtype)} of shape {np.shape(value)}"
        if values.size == 1 and isinstance(values.ravel().tolist()[0], (str, bytes)):
            if first_damaged(values) < 0:
                return str(as_strings(values)[0])
            kind = f"{brief(value)}, which has bytes after the NUL that ends a text"
    message = f"{location}: {_attribute(held, name)} must be a word; it is {kind}"
    raise InputError(message)


def names_attribute(location: str, held: h5py.Group, name: str) -> list[str] | None:
    """Return an attribute of HDF5 that lists some members of a group, None if there is none; InputError if it cannot.

    One name may stand for a list of it. An empty text and an attribute without values list nothing.
    """
    with naming_damage(location, lambda: _attribute(held, name)):
        if name not in held.attrs:
            return None
        identifier = held.attrs.get_id(name)
        if identifier.shape is None or 0 in identifier.shape:
            return []
        number, most = math.prod(int(extent) for extent in identifier.shape), max(_FEWEST_NAMES, len(held))
        kind = f"{brief(identifier.dtype)} of shape {identifier.shape}"
        if identifier.dtype.kind in "OS" and odd_kind(identifier.dtype) is None and number <= most:
            names = [str(text) for text in as_strings(np.asarray(held.attrs[name]))]
            return names if names != [""] else []
    message = f"{location}: {_attribute(held, name)} must list some of the group's members; it is {kind}"
    raise InputError(message)


def small_attribute(location: str, held: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute of HDF5 that should be small, None if there is none; InputError if it is damaged or large."""
    with naming_damage(location, lambda: _attribute(held, name)):
        if name not in held.attrs:
            return None
        identifier = held.attrs.get_id(name)
        # The file bounds each string of variable length, and many may share one: hence a bound on their number, too.
        number = math.prod(int(extent) for extent in identifier.shape or ())
        size = number * identifier.get_type().get_size()
        if number <= _MOST_ATTRIBUTE_VALUES and size <= _MOST_ATTRIBUTE_BYTES:
            return held.attrs[name]
    message = (
        f"{location}: {_attribute(held, name)} must be a word or a few numbers; it is declared to have {number:,} "
        f"values of {size:,} bytes"
    )
    raise InputError(message)


def _walk(location: str, group: h5py.Group, path: str) -> Any:
    """Follow a path; soft links are followed here, for HDF5 follows them into other files."""
    here: Any = group
    waiting = _parts(path)
    links = 0
    while waiting:
        name = waiting.pop(0)
        if not isinstance(here, h5py.Group):
            return None
        link = here.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            place = _joined(here, name)
            message = (
                f"{location}: '{place}' is a link to '{brief(link.path)}' in another file, "
                f"{_with_state(location, link.filename)}; a matrix must be one file: open it with h5py as file, and "
                f"put what it leads to in the link's place: "
                f"held = file['{place}']; del file['{place}']; file.copy(held, '{place}')"
            )
            raise InputError(message)
        if isinstance(link, h5py.SoftLink):
            links += 1
            if links > _MOST_LINKS:
                message = f"{location}: '{_joined(group, path)}' is a link that leads back to itself"
                raise InputError(message)
            here = here.file if link.path.startswith("/") else here
            waiting = _parts(link.path) + waiting
        elif link is None:
            return None
        else:
            here = here[name]
    return here


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _with_state(location: str, name: str) -> str:
    """Return another file's name, and whether it is missing, where that is known."""
    if storage.is_local(location):
        try:
            missing = not (Path(location).parent / name).exists()
        except (OSError, ValueError):  # a name that no file can have
            missing = True
        if missing:
            return f"'{brief(name)}' ({_MISSING})"
    return f"'{brief(name)}'"


def _attribute(held: h5py.Group | h5py.Dataset, name: str) -> str:
    return f"attribute '{name}' of '{_joined(held)}'"


def _joined(held: Any, path: str = "") -> str:
    return brief("/".join(_parts(f"{held.name or ''}/{path}")) or "/")
