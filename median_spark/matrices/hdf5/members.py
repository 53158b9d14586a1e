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

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.sizes import require_backed

_MISSING = "there is no such file"

_MOST_LINKS = 32
"""Soft links on the way to one object; more are taken for a circle."""

_MOST_ATTRIBUTE_VALUES, _MOST_ATTRIBUTE_BYTES = 16, 1 << 16
"""What an attribute of HDF5 that is read here may have: it is a word, or two numbers."""


def find_member(location: str, group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | h5py.Datatype | None:
    """Return an object by its path from a group, None if there is none.

    Parameters
    ----------
    location : str
        The file, for messages.
    group : h5py.Group
        Where the path begins; from this function, or the file itself.
    path : str
        Names of groups and of the object, with ``/`` between them.

    Raises
    ------
    InputError
        If the way there leads into another file, the object's data lie in another file, or it declares a size that
        the file cannot hold.
    """
    with naming_damage(location, f"'{_joined(group, path)}'"):
        found = _walk(location, group, path)
        if isinstance(found, h5py.Dataset):
            check_dataset(location, found)
        return found


def check_dataset(location: str, dataset: h5py.Dataset) -> None:
    """Refuse a dataset whose data are in other places than its file, or that declares more than the file can hold.

    Raises
    ------
    InputError
        If it is one.
    """
    name = (dataset.name or "a dataset without a name").lstrip("/")
    if dataset.is_virtual:
        sources = dataset.virtual_sources()
        if any(source.file_name == "." and _parts(source.dset_name) == _parts(name) for source in sources):
            # HDF5 crashes where it reads such a dataset: nobody is to try.
            message = (
                f"{location}: '{name}' is a virtual dataset that is made of itself, so it holds nothing; a matrix must "
                "be one file: copy it again from where it came, or write its values again"
            )
            raise InputError(message)
        others = [file for file in dict.fromkeys(source.file_name for source in sources) if file != "."]
        parts = ", ".join(_described(location, file) for file in others[:3]) or "other datasets of this file"
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        message = (
            f"{location}: '{name}' is a virtual dataset, made of {parts}{more}; a matrix must be one file: "
            f"{_advice(name, complete=_MISSING not in parts)}"
        )
        raise InputError(message)
    if dataset.external:
        parts = ", ".join(_described(location, file) for file, _, _ in dataset.external[:3])
        message = (
            f"{location}: the data of '{name}' lie outside this file, in {parts}; a matrix must be one file: "
            f"{_advice(name, complete=_MISSING not in parts)}"
        )
        raise InputError(message)
    require_backed(location, dataset, name)


def text_attribute(location: str, held: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """Return an attribute of HDF5 that is a word, None if there is none.

    Parameters
    ----------
    location : str
        The file, for messages.
    held : h5py.Group or h5py.Dataset
        What has the attribute.
    name : str
        The attribute: a string of fixed or variable length, or a list of one, as writers in other languages make them.

    Raises
    ------
    InputError
        If it is no word.
    """
    found = small_attribute(location, held, name)
    if found is None:
        return None
    words = np.asarray(found).ravel().tolist()
    if len(words) != 1 or not isinstance(words[0], (str, bytes)):
        message = (
            f"{location}: attribute '{name}' of '{_joined(held)}' must be a word; it is {np.asarray(found).dtype} of "
            f"shape {np.shape(found)}"
        )
        raise InputError(message)
    word = words[0]
    return word.decode("utf-8", errors="replace").rstrip("\0") if isinstance(word, bytes) else word


def small_attribute(location: str, held: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Return an attribute of HDF5 that should be small, None if there is none.

    Raises
    ------
    InputError
        If it is damaged, or large.
    """
    with naming_damage(location, f"attribute '{name}' of '{_joined(held)}'"):
        if name not in held.attrs:
            return None
        identifier = held.attrs.get_id(name)
        # The file bounds each string of variable length, and many may share one: hence a bound on their number, too.
        number = math.prod(int(extent) for extent in identifier.shape or ())
        size = number * identifier.get_type().get_size()
        if number <= _MOST_ATTRIBUTE_VALUES and size <= _MOST_ATTRIBUTE_BYTES:
            return held.attrs[name]
    message = (
        f"{location}: attribute '{name}' of '{_joined(held)}' must be a word or a few numbers; it is declared to have "
        f"{number:,} values of {size:,} bytes"
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
            _refuse_link(location, _joined(here, name), link)
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


def _refuse_link(location: str, name: str, link: h5py.ExternalLink) -> None:
    message = (
        f"{location}: '{name}' is a link to '{link.path}' in another file, {_described(location, link.filename)}; "
        f"a matrix must be one file: open it with h5py as file, and put what it leads to in the link's place: "
        f"held = file['{name}']; del file['{name}']; file.copy(held, '{name}')"
    )
    raise InputError(message)


def _advice(name: str, *, complete: bool) -> str:
    first = "" if complete else "put the missing file back, for HDF5 reads zeros in its place; then "
    return first + (
        "open it with h5py as file, and put its values in its place: "
        f"values = file['{name}'][()]; del file['{name}']; file['{name}'] = values"
    )


def _described(location: str, name: str) -> str:
    """Return another file's name, and whether it is missing, where that can be told."""
    if storage.is_local(location):
        try:
            missing = not (Path(location).parent / name).exists()
        except (OSError, ValueError):  # a name that no file can have
            missing = True
        if missing:
            return f"'{name}' ({_MISSING})"
    return f"'{name}'"


def _joined(held: Any, path: str = "") -> str:
    return "/".join(_parts(f"{held.name or ''}/{path}")) or "/"


def names_in(group: h5py.Group) -> set[str]:
    """Return what a group holds by name; unlike ``name in group``, this follows no link."""
    return set(group)
