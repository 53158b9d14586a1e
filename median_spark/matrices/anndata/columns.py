"""Data frames as AnnData writes them, obs and var: groups of columns, or tables of the oldest files.

Knows the encodings of columns, which https://anndata.readthedocs.io/en/latest/fileformat-prose.html describes, and
nothing of what they mean.
"""

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.matrices.hdf5.files import as_strings, naming_damage, require_filters
from median_spark.matrices.hdf5.lists import read_list
from median_spark.matrices.hdf5.members import check_dataset, find_member, names_in, small_attribute, text_attribute
from median_spark.matrices.hdf5.sizes import require_strings

_OLD_CATEGORIES = "__categories"
STRINGS = "strings"
"""What `Frame.kind` calls a column of strings."""

_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")


class Frame:
    """One data frame; columns are read when they are asked for.

    Attributes
    ----------
    name : str
        For messages: ``"obs"``, ``"var"``, ``"raw.var"``.
    """

    def __init__(self, location: str, held: h5py.Group | h5py.Dataset, name: str, axis: str, length: int) -> None:
        """Take a frame of a file.

        Parameters
        ----------
        location : str
            The file, for messages.
        held : h5py.Group or h5py.Dataset
            The frame; a dataset of records in files that anndata wrote before version 0.7.
        name : str
            See above.
        axis : str
            What its rows are: ``"cells"`` or ``"genes"``.
        length : int
            How many of these the matrix has.
        """
        self.name = name
        self._location = location
        self._held = held
        self._axis = axis
        self._length = length
        with naming_damage(location, f"the list of columns of {name}"):
            self._index, self._columns = self._find_columns()

    @property
    def columns(self) -> list[str]:
        """The names of its columns, ascending, without the index."""
        return self._columns

    @property
    def has_index(self) -> bool:
        """Whether it has an index, as it must."""
        return self._index is not None

    def index(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Return the index of the rows ``first <= row < last``, by default of all.

        Raises
        ------
        InputError
            If there is none, or it is damaged.
        """
        if self._index is None:
            message = f"{self._location}: {self.name} has no index: its attribute '_index' must name one of its columns"
            raise InputError(message)
        return self.strings(self._index, first, last)

    def strings(self, column: str, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Return some rows of a column as strings, ``""`` where a value is missing.

        Raises
        ------
        InputError
            If it is damaged, or not of the frame's length.
        """
        found, missing = self._values(column, first, last)
        texts = as_strings(found)
        if missing is not None and missing.any():
            texts[missing] = ""
        return texts

    def numbers(self, column: str) -> npt.NDArray[Any] | None:
        """Return a column of numbers or truth values, NaN where a value is missing; None if it holds something else.

        Raises
        ------
        InputError
            If it is damaged, or not of the frame's length.
        """
        found, missing = self._values(column, 0, None)
        if found.dtype.kind not in "iufb":
            return None
        if missing is not None and missing.any():
            found = found.astype(np.float64)
            found[missing] = np.nan
        return found

    def labels(self, column: str) -> npt.NDArray[np.object_]:
        """Return a column of strings as objects, None where a value is missing.

        Raises
        ------
        InputError
            If it is damaged, or not of the frame's length.
        """
        found, missing = self._values(column, 0, None)
        texts = as_strings(found).astype(np.object_)
        if missing is not None:
            texts[missing] = None
        return texts

    def kind(self, column: str) -> str:
        """Return what a column holds, for messages."""
        found, _ = self._values(column, 0, 1)
        return STRINGS if found.dtype.kind in "OSU" else str(found.dtype)

    def _find_columns(self) -> tuple[str | None, list[str]]:
        held = self._held
        if isinstance(held, h5py.Dataset):
            names = held.dtype.names or ()
            return (names[0] if names else None), sorted(names[1:])
        index, there = text_attribute(self._location, held, "_index"), names_in(held)
        if index is None:
            index = next((name for name in ("_index", "index") if name in there), None)
        elif index not in there:
            index = None
        return index, sorted(there - {index, _OLD_CATEGORIES})

    def _values(
        self, column: str, first: int, last: int | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """Return some rows of a column, and which of them are missing."""
        with naming_damage(self._location, f"{self.name} column '{column}'"):
            if isinstance(self._held, h5py.Dataset):
                return self._field(column, first, last)
            held = find_member(self._location, self._held, column)
            if isinstance(held, h5py.Group):
                return self._encoded(column, held, first, last)
            self._check(column, held)
            found = self._read(column, held, first, last)
            categories = self._old_categories(column, held)
        return (found, None) if categories is None else self._chosen(column, categories, found, held)

    def _encoded(
        self, column: str, held: h5py.Group, first: int, last: int | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        encoding = text_attribute(self._location, held, "encoding-type")
        if encoding == "categorical":
            codes = self._part(column, held, "codes")
            self._check(column, codes)
            categories = self._read(column, self._part(column, held, "categories"))
            return self._chosen(column, categories, self._read(column, codes, first, last), codes)
        if encoding in _NULLABLE:
            values, mask = self._part(column, held, "values"), self._part(column, held, "mask")
            self._check(column, values)
            self._check(column, mask)
            return self._read(column, values, first, last), self._read(column, mask, first, last).astype(np.bool_)
        found = f"of encoding-type '{encoding}'" if encoding else "a group without attribute 'encoding-type'"
        message = (
            f"{self._location}: {self.name} column '{column}' is {found}; columns can be read that are arrays, "
            f"categorical, {', '.join(_NULLABLE)}"
        )
        raise InputError(message)

    def _part(self, column: str, held: h5py.Group, name: str) -> h5py.Dataset:
        """Return one of the datasets that make a column."""
        part = find_member(self._location, held, name)
        self._require_list(column, part)
        return part

    def _read(
        self,
        column: str,
        held: h5py.Dataset,
        first: int = 0,
        last: int | None = None,
        field: str | None = None,
    ) -> npt.NDArray[Any]:
        what = f"{self.name} column '{column}'"
        return read_list(self._location, held, what, first, last, field=field)

    def _old_categories(self, column: str, held: h5py.Dataset) -> npt.NDArray[Any] | None:
        """Return the categories of a column of codes as anndata 0.7 wrote it, None of any other column."""
        reference = small_attribute(self._location, held, "categories")
        if reference is None:
            return None
        categories = find_member(self._location, self._held, f"{_OLD_CATEGORIES}/{column}")
        if not isinstance(categories, h5py.Dataset):
            categories = self._held.file[reference]
            if isinstance(categories, h5py.Dataset):
                check_dataset(self._location, categories)
        self._require_list(column, categories)
        return self._read(column, categories)

    def _field(
        self, column: str, first: int, last: int | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
        """Return a field of the records that anndata wrote before 0.7; its categories lie in uns."""
        self._check(column, self._held)
        found = self._read(column, self._held, first, last, column)
        categories = find_member(self._location, self._held.file, f"uns/{column}_categories")
        if not isinstance(categories, h5py.Dataset) or found.dtype.kind not in "iu":
            return found, None
        self._require_list(column, categories)
        return self._chosen(column, self._read(column, categories), found, self._held)

    def _chosen(
        self, column: str, categories: npt.NDArray[Any], codes: npt.NDArray[Any], held: h5py.Dataset
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return the category of each code; a missing value has the code -1."""
        if codes.dtype.kind not in "iu" or categories.ndim != 1:
            message = (
                f"{self._location}: {self.name} column '{column}' must have whole numbers as codes and a list of "
                f"categories; its codes are {codes.dtype} and its categories have {categories.ndim} dimensions"
            )
            raise InputError(message)
        if len(codes) and (codes.min() < -1 or codes.max() >= len(categories)):
            message = (
                f"{self._location}: {self.name} column '{column}' has the codes {codes.min()} to {codes.max()}, where "
                f"it has {len(categories):,} categories; the file is damaged"
            )
            raise InputError(message)
        missing = np.asarray(codes < 0)
        if not len(categories):
            return np.full(len(codes), "", dtype=object), missing
        if categories.dtype.kind == "U":
            what = f"{self.name} column '{column}'"
            require_strings(self._location, what, held, len(codes), categories.dtype.itemsize // 4)
        return categories[np.where(missing, 0, codes)], missing

    def _check(self, column: str, held: Any) -> None:
        """Refuse a column that is not of the frame's length, or that cannot be decompressed."""
        self._require_list(column, held)
        if held.shape != (self._length,):
            message = (
                f"{self._location}: {self.name} column '{column}' has shape {held.shape}, where the matrix has "
                f"{self._length:,} {self._axis}"
            )
            raise InputError(message, kind=f"{column} of another length")

    def _require_list(self, column: str, held: Any) -> None:
        """Refuse what is no dataset, or cannot be decompressed."""
        if not isinstance(held, h5py.Dataset):
            message = (
                f"{self._location}: {self.name} column '{column}' must be a dataset, or made of datasets; it is a "
                f"{type(held).__name__.lower()}"
            )
            raise InputError(message)
        require_filters(self._location, held)
