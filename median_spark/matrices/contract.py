"""What a count matrix is, whatever its format."""

from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark import genes
from median_spark.errors import InputError, shortened
from median_spark.matrices.options import AttributeNames

if TYPE_CHECKING:
    import pandas as pd

BYTES_PER_ENTRY = 1.3
"""Fewest stored bytes per entry seen in real files (1.3 in dense plate-based ones, 3 in droplet ones)."""

_LONGEST_TEXT = 100

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
Texts = npt.NDArray[np.str_]

_ENTRIES_AT_ONCE = 4_000_000
"""Entries that detected genes are counted from at once, about: 24 bytes each."""


@dataclass(frozen=True)
class Entries:
    """The non-zero entries of some rows and cells of a matrix, by row and then by cell.

    `lengths` (int64, one per row asked for) counts each row's entries; `cells` (int32) numbers cells from the first
    one asked for, ascending within a row; `counts` are as stored, NaN and negative ones included.
    """

    lengths: Ints
    cells: Int32s
    counts: Numbers

    def only(self, rows: Flags) -> "Entries":
        """Return those of some of the rows; `rows` says of each whether it is taken, shape (rows,)."""
        if rows.all():
            return self
        taken = np.repeat(rows, self.lengths)
        return Entries(self.lengths[rows], self.cells[taken], self.counts[taken])

    def totals(self, cells: int) -> Floats:
        """Sum the counts of each of `cells` cells, row after row, shape (cells,)."""
        totals = np.bincount(self.cells, weights=self.counts.astype(np.float64), minlength=cells)
        return totals.astype(np.float64, copy=False)


class CountMatrix(Protocol):
    """A matrix of counts, genes (rows) by cells, open for reading; formats subclass it."""

    _names: AttributeNames
    location: str
    format_name: str = ""
    """Name of its `Format`, which `open_matrix` sets."""
    shape: tuple[int, int]
    place: str
    """Where in the file the counts are, for messages: ``"the matrix"``, ``"raw.X"``."""
    cell_attribute: str
    """What the format calls a property of cells, for messages: ``"column attribute"``, ``"obs column"``."""

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row, shape (rows,)."""

    def gene_types(self) -> Texts | None:
        """Return the gene type of each row, shape (rows,), or None if the file has none."""

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the barcodes of the cells ``first <= cell < last``, by default of all."""

    def filter_pass(self, first: int = 0, last: int | None = None) -> Numbers:
        """Return the quality filter of the cells ``first <= cell < last``, by default of all.

        It is numbers, NaN where missing; or texts, None where missing.
        """

    def n_counts(self, first: int = 0, last: int | None = None) -> Floats:
        """Return the total counts of the cells ``first <= cell < last`` over all rows, by default of all."""

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each cell in ``first <= cell < last`` over all rows, shape (last - first,)."""

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for the `taken` of the cells ``first <= cell < last``."""

    def cells_per_tile(self) -> int:
        """Return how many cells are decompressed together; 1 where it does not matter."""

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of the cells ``first <= cell < last`` in the file, with the tiles that they reach into."""

    def attributes(self, side: str) -> list[str]:
        """Return the names of the properties of rows (``"row"``) or of cells (``"cell"``), ascending."""

    def file_attributes(self) -> list[str]:
        """Return the names of the properties of the whole file, ascending: uns of AnnData, attributes of a loom."""
        return []

    def layers(self) -> list[str]:
        """Return the names of all layers, as `ReadOptions.layer` takes them."""
        return []

    def cell_values(self, name: str, first: int, last: int) -> "pd.Series":
        """Return a property of the cells ``first <= cell < last`` as the format's own library gives it to pandas."""
        message = f"{self.location}: {self.cell_attribute} '{brief(name)}' is missing"
        raise InputError(message)

    def cell_column(self, name: str, first: int, last: int) -> pa.Array:
        """Return a property of the cells ``first <= cell < last``: texts, int64, uint64, double or truth values.

        InputError if they have none of the name, or, of kind ``"column of another type"``, it is something else.
        """

    def cell_column_type(self, name: str) -> pa.DataType:
        """Return the type of a property of cells, of texts that of plain strings; InputError as `cell_column`."""

    def use_names(self, names: AttributeNames) -> None:
        """Look up attributes by other names from now on."""
        self._names = names

    def detected_genes(self, first: int, last: int) -> Ints:
        """Count the rows with a count other than 0 for each cell in ``first <= cell < last``, shape (last - first,)."""
        detected = np.zeros(last - first, dtype=np.int64)
        rows, step = np.arange(self.shape[0]), self.cells_per_tile()
        wanted = max(
            1, int(_ENTRIES_AT_ONCE * BYTES_PER_ENTRY * (last - first)) // max(1, self.stored_bytes(first, last))
        )
        step = max(step, wanted // step * step)
        for begin in range(first, last, step):
            end = min(begin + step, last)
            entries = self.entries(rows, begin, end, np.ones(end - begin, dtype=np.bool_))
            present = entries.cells[entries.counts != 0]
            detected[begin - first : end - first] = np.bincount(present, minlength=end - begin)
        return detected

    def count_layers(self) -> list[str]:
        """Return the other layers of the file that look like counts, by the names that `ReadOptions.layer` takes."""

    def warnings(self) -> list[str]:
        """Return what was chosen of the file without being asked for, for people."""

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def like_ensembl(ids: Texts) -> bool:
    """Say whether most ids are Ensembl's, of any species, in any case, also with a prefix."""
    return _like_ensembl(*content_of(ids))


@lru_cache(maxsize=4)
def _like_ensembl(dtype: str, content: bytes) -> bool:
    ids = np.frombuffer(content, dtype=dtype).tolist()
    return sum(map(genes.like_ensembl, ids)) * 2 > len(ids)


def content_of(texts: Texts) -> tuple[str, bytes]:
    """Return what distinguishes some texts from others; most sources of a corpus have the genes of the one before."""
    return texts.dtype.str, texts.tobytes()


def brief(text: object) -> str:
    """Return a text of a file, or what has it, for a message: its middle left out if it is long."""
    return shortened(str(text), _LONGEST_TEXT)


def computable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what counts are read as: compiled loops take the machine's own numbers of up to 8 bytes only."""
    native = dtype.newbyteorder("=")
    if native.kind == "f" and native.itemsize > 8:
        return np.dtype(np.float64)
    others: dict[str, np.dtype[Any]] = {"b1": np.dtype(np.uint8), "f2": np.dtype(np.float32)}
    return others.get(native.str[1:], native)
