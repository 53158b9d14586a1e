"""Data frames as AnnData writes them, obs and var: groups of columns, or tables of the oldest files.

Knows the encodings of columns, which https://anndata.readthedocs.io/en/latest/fileformat-prose.html describes, and
nothing of what they mean.
"""

from typing import Any

import h5py
import numpy as np
import pandas as pd

from median_spark.errors import InputError
from median_spark.matrices.contract import Numbers, Texts, brief
from median_spark.matrices.hdf5.files import naming_damage
from median_spark.matrices.hdf5.lists import Hdf5Table
from median_spark.matrices.hdf5.members import check_dataset, find_member, small_attribute, text_attribute
from median_spark.matrices.hdf5.sizes import require_strings
from median_spark.matrices.tables import Values, as_strings

_OLD_CATEGORIES = "__categories"

_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")


class Frame(Hdf5Table):
    """One data frame; `name` is ``"obs"``, ``"var"`` or ``"raw.var"``, and its `columns` do not include the index."""

    def __init__(self, location: str, held: h5py.Group | h5py.Dataset, name: str, axis: str, length: int) -> None:
        """Take a frame of a file; before anndata 0.7 it is a dataset of records."""
        self.location, self.noun, self.axis, self.length = location, f"{name} column", axis, length
        self.name = name
        self._held = held
        with naming_damage(location, f"the list of columns of {name}"):
            self._index, self._columns = self._find_columns()

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return self._columns

    @property
    def has_index(self) -> bool:
        """Whether it has an index, as it must."""
        return self._index is not None

    def index(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the index of the rows ``first <= row < last``, by default of all."""
        if self._index is None:
            message = f"{self.location}: {self.name} has no index: its attribute '_index' must name one of its columns"
            raise InputError(message)
        return self.strings(self._index, first, last)

    def values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Return the entries ``first <= entry < last`` of a column, by default all."""
        with naming_damage(self.location, self.place(column)):
            if isinstance(self._held, h5py.Dataset):
                self._check(column, self._held)
                codes: h5py.Dataset = self._held
                values = self._read(column, codes, first, last, field=column)
                categories = find_member(self.location, codes.file, f"uns/{column}_categories")
                if not isinstance(categories, h5py.Dataset) or values.dtype.kind not in "iu":
                    return values, None
            else:
                codes = find_member(self.location, self._held, column)
                if isinstance(codes, h5py.Group):
                    return self._encoded(column, codes, first, last)
                self._check(column, codes)
                values = self._read(column, codes, first, last)
                categories = self._old_categories(column, codes)
                if categories is None:
                    return values, None
            return self._chosen(column, categories, values, codes)

    def series(self, column: str, first: int, last: int) -> pd.Series:
        """Return the entries ``first <= entry < last`` of a column, of the type that anndata gives it in pandas."""
        with naming_damage(self.location, self.place(column)):
            held = find_member(self.location, self._held, column) if isinstance(self._held, h5py.Group) else None
            encoding = text_attribute(self.location, held, "encoding-type") if isinstance(held, h5py.Group) else None
            if encoding == "categorical":
                codes, categories = (find_member(self.location, held, part) for part in ("codes", "categories"))
                self._check(column, codes)
                kept = self._read(column, codes, first, last)
                names = self._categories(column, categories, kept)
                ordered = bool(small_attribute(self.location, held, "ordered"))
                texts = as_strings(names) if names.dtype.kind in "OSU" else names
                if len(set(texts.tolist())) < len(texts):
                    self.refuse(column, "has a category twice; the file is damaged")
                return pd.Series(pd.Categorical.from_codes(kept, texts, ordered=ordered))
        if encoding not in _NULLABLE:
            return super().series(column, first, last)
        values, missing = self.values(column, first, last)
        missing = np.zeros(len(values), dtype=np.bool_) if missing is None else missing
        if values.dtype.kind in "iu":
            return pd.Series(pd.arrays.IntegerArray(values, missing))
        if values.dtype.kind == "b":
            return pd.Series(pd.arrays.BooleanArray(values, missing))
        texts = as_strings(values).astype(np.object_)
        texts[missing] = pd.NA
        return pd.Series(texts, dtype="string")

    def _find_columns(self) -> tuple[str | None, list[str]]:
        if isinstance(self._held, h5py.Dataset):
            names = self._held.dtype.names or ()
            return (names[0] if names else None), sorted(names[1:])
        # Unlike `name in group`, a set of the names follows no link.
        index, members = text_attribute(self.location, self._held, "_index"), set(self._held)
        if index is None:
            index = next((name for name in ("_index", "index") if name in members), None)
        elif index not in members:
            index = None
        return index, sorted(members - {index, _OLD_CATEGORIES})

    def _encoded(self, column: str, held: h5py.Group, first: int, last: int | None) -> Values:
        """Read a column that is a group of datasets."""
        encoding = text_attribute(self.location, held, "encoding-type")
        if encoding == "categorical":
            codes = find_member(self.location, held, "codes")
            self._check(column, codes)
            categories = find_member(self.location, held, "categories")
            return self._chosen(column, categories, self._read(column, codes, first, last), codes)
        if encoding in _NULLABLE:
            values, mask = (find_member(self.location, held, part) for part in ("values", "mask"))
            self._check(column, values)
            self._check(column, mask)
            return self._read(column, values, first, last), self._read(column, mask, first, last).astype(np.bool_)
        kind = f"of encoding-type '{brief(encoding)}'" if encoding else "a group without attribute 'encoding-type'"
        return self.refuse(
            column, f"is {kind}; columns can be read that are arrays, categorical, {', '.join(_NULLABLE)}"
        )

    def _old_categories(self, column: str, held: h5py.Dataset) -> Any:
        """Return the categories of a column of codes as anndata 0.7 wrote it, None of any other column."""
        reference = small_attribute(self.location, held, "categories")
        if reference is None:
            return None
        categories = find_member(self.location, self._held, f"{_OLD_CATEGORIES}/{column}")
        if not isinstance(categories, h5py.Dataset):
            categories = self._held.file[reference]
            if isinstance(categories, h5py.Dataset):
                check_dataset(self.location, categories)
        return categories

    def _categories(self, column: str, held: Any, codes: Numbers) -> Numbers:
        """Read the categories of some codes, and check that they fit."""
        self._require_list(column, held)
        categories = self._read(column, held)
        if codes.dtype.kind not in "iu" or categories.ndim != 1:
            self.refuse(
                column,
                "must have whole numbers as codes and a list of categories; its codes are "
                f"{codes.dtype} and its categories have {categories.ndim} dimensions",
            )
        if len(codes) and (codes.min() < -1 or codes.max() >= len(categories)):
            self.refuse(
                column,
                f"has the codes {codes.min()} to {codes.max()}, where it has {len(categories):,} categories; "
                "the file is damaged",
            )
        return categories

    def _chosen(self, column: str, held: Any, codes: Numbers, of_codes: h5py.Dataset) -> Values:
        """Read categories and return that of each code; a missing value has the code -1."""
        categories = self._categories(column, held, codes)
        missing = np.asarray(codes < 0)
        if not len(categories):
            return np.full(len(codes), "", dtype=object), missing
        if categories.dtype.kind == "U":
            longest = categories.dtype.itemsize // 4
            require_strings(self.location, self.place(column), of_codes, len(codes), longest)
        return categories[np.where(missing, 0, codes)], missing
