"""Data frames as AnnData writes them, obs and var: groups of columns, or tables of the oldest files.

Knows the encodings of columns, which https://anndata.readthedocs.io/en/latest/fileformat-prose.html describes, and
nothing of what they mean.
"""

from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import pyarrow as pa

from median_spark.errors import InputError
from median_spark.matrices.anndata.nodes import Array, Group, Node, Unstored
from median_spark.matrices.contract import Numbers, Texts, brief
from median_spark.matrices.tables import OTHER_TYPE, StoredTable, Table, Values, arrow_array, as_strings

if TYPE_CHECKING:
    import pandas as pd

_OLD_CATEGORIES = "__categories"

_COLUMN_ORDER = "column-order"
"""Attribute that lists the columns. As for anndata, what it does not list is no column, wherever there is the list."""

_NULLABLE = ("nullable-integer", "nullable-boolean", "nullable-string-array")


class IndexedTable(Table, Protocol):
    """A table with an index beside its columns; messages call it by its `name`.

    `unlisted` are the names of what would be columns if the frame's list of columns named them.
    """

    name: str
    unlisted: list[str]

    def index(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the index of the rows ``first <= row < last``, by default of all."""


class Frame(StoredTable, IndexedTable):
    """One data frame; `name` is ``"obs"``, ``"var"`` or ``"raw.var"``, and its `columns` do not include the index."""

    def __init__(self, location: str, root: Group, held: Group | Array, name: str, axis: str, length: int) -> None:
        """Take a frame of a file whose root is given; before anndata 0.7 it is an array of records."""
        self.location, self.noun, self.axis, self.length = location, f"{name} column", axis, length
        self.name = name
        self.unlisted: list[str] = []
        self._root, self._held = root, held
        self._index, self._columns = self._find_columns(f"the list of columns of {name}")

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, ascending."""
        return self._columns

    @property
    def has_index(self) -> bool:
        """Whether it has an index, as it must."""
        return self._index is not None

    def absence(self, column: str) -> str:
        """Return what is wrong where there is no such column."""
        if column not in self.unlisted:
            return super().absence(column)
        return (
            f"is not listed by attribute '{_COLUMN_ORDER}' of '{brief(self._held.path)}', so for AnnData it is no "
            "column, though the file has data of this name (add the name to the attribute if it should be one)"
        )

    def index(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the index of the rows ``first <= row < last``, by default of all."""
        if self._index is None:
            message = f"{self.location}: {self.name} has no index: its attribute '_index' must name one of its columns"
            raise InputError(message)
        return self.strings(self._index, first, last)

    def read_values(self, column: str, first: int = 0, last: int | None = None) -> Values:
        """Read the entries ``first <= entry < last`` of a column, by default all."""
        if isinstance(self._held, Array):
            self._check(column, self._held)
            values = self._held.values(self.place(column), first, last, field=column)
            categories = self._root.find(f"uns/{column}_categories")
            if not isinstance(categories, Array) or values.dtype.kind not in "iu":
                return values, None
            return self._chosen(column, self._categories(column, categories), values, self._held)
        held = self._held.find(column)
        if isinstance(held, Group):
            return self._encoded(column, held, first, last)
        codes = self._check(column, held)
        if codes.attribute("categories") is None:
            return codes.values(self.place(column), first, last, unstored=Unstored.LIKELY), None
        # A column of codes as anndata 0.7 wrote it.
        categories = self._held.find(f"{_OLD_CATEGORIES}/{column}")
        if not isinstance(categories, Array):
            categories = codes.referred("categories")
        return self._categorical(column, categories, codes, first, last)

    def series(self, column: str, first: int, last: int) -> "pd.Series":
        """Return the entries ``first <= entry < last`` of a column, of the type that anndata gives it in pandas."""
        import pandas as pd  # half a second: only who chooses cells waits

        held = self._held.find(column) if isinstance(self._held, Group) else None
        encoding = held.word("encoding-type") if isinstance(held, Group) else None
        if isinstance(held, Group) and encoding == "categorical":
            codes = self._check(column, held.find("codes"))
            categories = self._categories(column, held.find("categories"))
            numbers = self._codes(column, categories, codes, first, last)
            texts = as_strings(categories) if categories.dtype.kind in "OSU" else categories
            if len(set(texts.tolist())) < len(texts):
                self.refuse(column, "has a category twice; the file is damaged")
            return pd.Series(pd.Categorical.from_codes(numbers, texts, ordered=bool(held.attribute("ordered"))))
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

    def arrow(self, column: str, first: int, last: int) -> pa.Array:
        """Return some entries of a column for Arrow; categories that are texts as a dictionary."""
        held = self._held.find(column) if isinstance(self._held, Group) else None
        if not isinstance(held, Group) or held.word("encoding-type") != "categorical":
            return super().arrow(column, first, last)
        codes = self._check(column, held.find("codes"))
        categories = self._categories(column, held.find("categories"))
        numbers = self._codes(column, categories, codes, first, last)
        indices = pa.array(numbers.astype(np.int32), mask=numbers < 0)
        chosen = pa.DictionaryArray.from_arrays(indices, arrow_array(categories, None))
        return chosen if categories.dtype.kind in "OSU" else chosen.dictionary_decode()

    def arrow_type(self, column: str) -> pa.DataType:
        """Return the type of a column; InputError also if strings of any of its rows are not stored."""
        held = self._held.find(column) if isinstance(self._held, Group) else None
        strings = held.find("values") if isinstance(held, Group) else held
        if isinstance(strings, Array):
            strings.require_stored_strings(self.place(column))
        return super().arrow_type(column)

    def _find_columns(self, what: str) -> tuple[str | None, list[str]]:
        if isinstance(self._held, Array):
            names = self._held.form(what).dtype.names or ()
            return (names[0] if names else None), sorted(names[1:])
        index, members = self._held.word("_index"), set(self._held.names(what))
        if index is None:
            index = next((name for name in ("_index", "index") if name in members), None)
        elif index not in members:
            index = None
        unlisted, columns = members - {index, _OLD_CATEGORIES}, self._held.listed(_COLUMN_ORDER)
        if columns is None:
            return index, sorted(unlisted)
        self.unlisted = sorted(unlisted.difference(columns))
        return index, sorted(members.intersection(columns))

    def _encoded(self, column: str, held: Group, first: int, last: int | None) -> Values:
        """Read a column that is a group of arrays."""
        encoding = held.word("encoding-type")
        if encoding == "categorical":
            codes = self._check(column, held.find("codes"))
            return self._categorical(column, held.find("categories"), codes, first, last)
        if encoding in _NULLABLE:
            values, mask = (self._check(column, held.find(part)) for part in ("values", "mask"))
            place = self.place(column)
            numbers = values.values(place, first, last, unstored=Unstored.LIKELY)
            missing = mask.values(f"the mask of {place}", first, last, unstored=Unstored.LIKELY)
            return numbers, missing.astype(np.bool_)
        kind = f"of encoding-type '{brief(encoding)}'" if encoding else "a group without attribute 'encoding-type'"
        return self.refuse(
            column, f"is {kind}; columns can be read that are arrays, categorical, {', '.join(_NULLABLE)}", OTHER_TYPE
        )

    def _check(self, column: str, held: Node | None) -> Array:
        """Return an array of the frame's length; reject what is none."""
        array = self._require_array(column, held)
        shape = array.form(self.place(column)).shape
        if shape != (self.length,):
            kind = OTHER_TYPE if shape is None or len(shape) != 1 else ""
            self.refuse(column, f"has shape {shape}, where the matrix has {self.length:,} {self.axis}", kind)
        return array

    def _require_array(self, column: str, held: Node | None) -> Array:
        if isinstance(held, Array):
            return held
        return self._refuse_kind(column, "missing" if held is None else f"a {held.noun}")

    def _refuse_kind(self, column: str, kind: str) -> NoReturn:
        self.refuse(column, f"must be a dataset, or made of datasets; it is {kind}", OTHER_TYPE)

    def _categorical(self, column: str, held: Node | None, codes: Array, first: int, last: int | None) -> Values:
        categories = self._categories(column, held)
        return self._chosen(column, categories, self._codes(column, categories, codes, first, last), codes)

    def _codes(self, column: str, categories: Numbers, codes: Array, first: int, last: int | None) -> Numbers:
        """Read some codes, and check that they are of categories."""
        # Of one category the code is 0, and -1 where a value is missing: that is never left out.
        unstored = Unstored.CERTAIN if len(categories) == 1 else Unstored.LIKELY
        numbers = codes.values(self.place(column), first, last, unstored=unstored)
        self._check_codes(column, categories, numbers)
        return numbers

    def _categories(self, column: str, held: Node | None) -> Numbers:
        return self._require_array(column, held).values(self.place(column))

    def _chosen(self, column: str, categories: Numbers, codes: Numbers, of_codes: Array) -> Values:
        """Return the category of each code; a missing value has the code -1."""
        self._check_codes(column, categories, codes)
        missing = np.asarray(codes < 0)
        if not len(categories):
            return np.full(len(codes), "", dtype=object), missing
        if categories.dtype.kind == "U":
            longest = categories.dtype.itemsize // 4
            of_codes.require_strings(self.place(column), len(codes), longest)
        return categories[np.where(missing, 0, codes)], missing

    def _check_codes(self, column: str, categories: Numbers, codes: Numbers) -> None:
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
