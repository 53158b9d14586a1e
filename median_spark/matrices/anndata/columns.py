"""Data frames as AnnData writes them, obs and var: groups of columns, or tables of the oldest files.

Knows the encodings of columns, which https://anndata.readthedocs.io/en/latest/fileformat-prose.html describes, and
nothing of what they mean.
"""

from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from median_spark.errors import InputError
from median_spark.matrices.contract import brief
from median_spark.matrices.hdf5.files import naming_damage, require_filters
from median_spark.matrices.hdf5.lists import as_strings, read_list
from median_spark.matrices.hdf5.members import check_dataset, find_member, small_attribute, text_attribute
from median_spark.matrices.hdf5.sizes import require_strings

_OLD_CATEGORIES = "__categories"
STRINGS = "strings"
"""What `Frame.kind` calls a column of strings."""

_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")

_Values = tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]
"""Some rows of a column, and which of them are missing."""


class Frame:
    """One data frame, whose columns are read when they are asked for.

    `name` is for messages: ``"obs"``, ``"var"``, ``"raw.var"``. `columns` has the names of the columns, ascending,
    without the index. Whatever cannot be read, or has another number of rows than the matrix, is an InputError.
    """

    def __init__(self, location: str, held: h5py.Group | h5py.Dataset, name: str, axis: str, length: int) -> None:
        """Take a frame of a file, a dataset of records before anndata 0.7, with a row for each of `length` `axis`."""
        self.name = name
        self._location = location
        self._held = held
        self._axis = axis
        self._length = length
        with naming_damage(location, f"the list of columns of {name}"):
            self._index, self.columns = self._find_columns()

    @property
    def has_index(self) -> bool:
        """Whether it has an index, as it must."""
        return self._index is not None

    def index(self, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Return the index of the rows ``first <= row < last``, by default of all."""
        if self._index is None:
            message = f"{self._location}: {self.name} has no index: its attribute '_index' must name one of its columns"
            raise InputError(message)
        return self.strings(self._index, first, last)

    def strings(self, column: str, first: int = 0, last: int | None = None) -> npt.NDArray[np.str_]:
        """Return some rows of a column as strings, ``""`` where a value is missing."""
        values, missing = self._values(column, first, last)
        texts = as_strings(values)
        if missing is not None and missing.any():
            texts[missing] = ""
        return texts

    def numbers(self, column: str) -> npt.NDArray[Any] | None:
        """Return a column of numbers or truth values, NaN where one is missing; None if it holds something else."""
        values, missing = self._values(column)
        if values.dtype.kind not in "iufb":
            return None
        if missing is not None and missing.any():
            values = values.astype(np.float64)
            values[missing] = np.nan
        return values

    def labels(self, column: str) -> npt.NDArray[np.object_]:
        """Return a column of strings as objects, None where a value is missing."""
        values, missing = self._values(column)
        texts = as_strings(values).astype(np.object_)
        if missing is not None:
            texts[missing] = None
        return texts

    def kind(self, column: str) -> str:
        """Return what a column holds, for messages."""
        values, _ = self._values(column, 0, 1)
        return STRINGS if values.dtype.kind in "OSU" else str(values.dtype)

    def _find_columns(self) -> tuple[str | None, list[str]]:
        if isinstance(self._held, h5py.Dataset):
            names = self._held.dtype.names or ()
            return (names[0] if names else None), sorted(names[1:])
        # Unlike `name in group`, a set of the names follows no link.
        index, members = text_attribute(self._location, self._held, "_index"), set(self._held)
        if index is None:
            index = next((name for name in ("_index", "index") if name in members), None)
        elif index not in members:
            index = None
        return index, sorted(members - {index, _OLD_CATEGORIES})

    def _values(self, column: str, first: int = 0, last: int | None = None) -> _Values:
        with naming_damage(self._location, self._place(column)):
            if isinstance(self._held, h5py.Dataset):
                self._check(column, self._held)
                codes: h5py.Dataset = self._held
                values = self._read(column, codes, first, last, column)
                categories = find_member(self._location, codes.file, f"uns/{column}_categories")
                if not isinstance(categories, h5py.Dataset) or values.dtype.kind not in "iu":
                    return values, None
            else:
                codes = find_member(self._location, self._held, column)
                if isinstance(codes, h5py.Group):
                    return self._encoded(column, codes, first, last)
                self._check(column, codes)
                values = self._read(column, codes, first, last)
                categories = self._old_categories(column, codes)
                if categories is None:
                    return values, None
            return self._chosen(column, categories, values, codes)

    def _encoded(self, column: str, held: h5py.Group, first: int, last: int | None) -> _Values:
        """Read a column that is a group of datasets."""
        encoding = text_attribute(self._location, held, "encoding-type")
        if encoding == "categorical":
            codes = find_member(self._location, held, "codes")
            self._check(column, codes)
            categories = find_member(self._location, held, "categories")
            return self._chosen(column, categories, self._read(column, codes, first, last), codes)
        if encoding in _NULLABLE:
            values, mask = (find_member(self._location, held, part) for part in ("values", "mask"))
            self._check(column, values)
            self._check(column, mask)
            return self._read(column, values, first, last), self._read(column, mask, first, last).astype(np.bool_)
        kind = f"of encoding-type '{brief(encoding)}'" if encoding else "a group without attribute 'encoding-type'"
        return self._refuse(
            column, f"is {kind}; columns can be read that are arrays, categorical, {', '.join(_NULLABLE)}"
        )

    def _read(
        self, column: str, held: h5py.Dataset, first: int = 0, last: int | None = None, field: str | None = None
    ) -> npt.NDArray[Any]:
        return read_list(self._location, held, self._place(column), first, last, field=field)

    def _old_categories(self, column: str, held: h5py.Dataset) -> Any:
        """Return the categories of a column of codes as anndata 0.7 wrote it, None of any other column."""
        reference = small_attribute(self._location, held, "categories")
        if reference is None:
            return None
        categories = find_member(self._location, self._held, f"{_OLD_CATEGORIES}/{column}")
        if not isinstance(categories, h5py.Dataset):
            categories = self._held.file[reference]
            if isinstance(categories, h5py.Dataset):
                check_dataset(self._location, categories)
        return categories

    def _chosen(self, column: str, held: Any, codes: npt.NDArray[Any], of_codes: h5py.Dataset) -> _Values:
        """Read categories and return that of each code; a missing value has the code -1."""
        self._require_list(column, held)
        categories = self._read(column, held)
        if codes.dtype.kind not in "iu" or categories.ndim != 1:
            self._refuse(
                column,
                "must have whole numbers as codes and a list of categories; its codes are "
                f"{codes.dtype} and its categories have {categories.ndim} dimensions",
            )
        if len(codes) and (codes.min() < -1 or codes.max() >= len(categories)):
            self._refuse(
                column,
                f"has the codes {codes.min()} to {codes.max()}, where it has {len(categories):,} categories; "
                "the file is damaged",
            )
        missing = np.asarray(codes < 0)
        if not len(categories):
            return np.full(len(codes), "", dtype=object), missing
        if categories.dtype.kind == "U":
            longest = categories.dtype.itemsize // 4
            require_strings(self._location, self._place(column), of_codes, len(codes), longest)
        return categories[np.where(missing, 0, codes)], missing

    def _check(self, column: str, held: Any) -> None:
        """Reject a column that is not of the frame's length, or that cannot be decompressed."""
        self._require_list(column, held)
        if held.shape != (self._length,):
            self._refuse(column, f"has shape {held.shape}, where the matrix has {self._length:,} {self._axis}")

    def _require_list(self, column: str, held: Any) -> None:
        """Reject what is no dataset, or cannot be decompressed."""
        if not isinstance(held, h5py.Dataset):
            kind = type(held).__name__.lower()
            self._refuse(column, f"must be a dataset, or made of datasets; it is a {kind}")
        require_filters(self._location, held)

    def _place(self, column: str) -> str:
        return f"{self.name} column '{brief(column)}'"

    def _refuse(self, column: str, problem: str) -> NoReturn:
        message = f"{self._location}: {self._place(column)} {problem}"
        raise InputError(message)
