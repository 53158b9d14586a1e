"""Parquet files as count matrices, with a row per cell or a row per entry."""

import re

import numpy as np

from median_spark.errors import InputError
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Texts, brief
from median_spark.matrices.coordinates import CoordinateEntries, Numbering, UnknownError
from median_spark.matrices.options import AttributeNames
from median_spark.matrices.parquet.columns import find_columns
from median_spark.matrices.parquet.files import ParquetTable
from median_spark.matrices.parquet.lists import ListEntries
from median_spark.matrices.parquet.long import LongEntries
from median_spark.matrices.tables import TabledMatrix

_OWN_PART = re.compile(r"/(values|cells)/source=[^/]*/[^/]*\.parquet\Z", re.IGNORECASE)
"""Where an expression table keeps its parts, and what it knows of cells."""


_OTHER_TABLES = re.compile(
    r"/metadata/[^/]*\Z|/gene_metadata\.parquet\Z|/(values|cells)/source=|/genes/[0-9a-f]{16}\.parquet\Z|"
    r"/(medians|digests|metrics|sources)\.parquet\Z",
    re.IGNORECASE,
)
"""Tables beside matrices, as Tahoe-100M has them, and those of expression tables and results."""


def is_other_table(path: str) -> bool:
    """Say whether a Parquet file in a folder that is searched is a table that goes with matrices or comes of them."""
    return _OTHER_TABLES.search(path) is not None


class ParquetMatrix(TabledMatrix):
    """One Parquet file; the layer is the name of its column of counts, ``"auto"`` one of the usual names.

    InputError if it is missing, cut off, no Parquet, or its columns are not those of a count matrix.
    """

    cell_attribute = "column"

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self._names = names
        if _OWN_PART.search(location):
            message = (
                f"{location}: this is a part of an expression table, whose values are normalised: name the matrices "
                "that it was converted from, or compute medians of the table"
            )
            raise InputError(message)
        self._table = ParquetTable(location)
        try:
            self._columns = find_columns(location, self._table.schema, names, layer)
            storage = LongEntries if self._columns.is_long else ListEntries
            self._storage: LongEntries | ListEntries = storage(self._table, self._columns, names)
        except BaseException:
            self.close()
            raise
        self.place = self._storage.place
        self._rows, self._cells = self._storage.genes.rows, self._storage.cells
        self.shape = (self._rows.length, self._cells.length)

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def gene_ids(self) -> Texts:
        """Return the Ensembl id of each row."""
        return self._strings(self._rows, "gene_id", self._names.gene_id)

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the ids of some cells, by default of all."""
        name = self._names.cell_id
        if name is not None and not self._cells.has(name):
            self._strings(self._cells, "cell_id", name)
        return self._storage.cell_ids(name, first, self.shape[1] if last is None else last)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        numbering = self._storage.genes.numbering
        gathered = CoordinateEntries(rows, numbering, Numbering(self.shape[1]), first, taken, self._storage.dtype)
        for cells, genes, counts in self._storage.pieces(first, last):
            try:
                gathered.add(cells, genes, counts)
            except UnknownError as error:
                gene, cell = int(genes[error.place]), int(cells[error.place])
                message = (
                    f"{self.location}: column '{brief(self._columns.gene)}' has the number {gene} in cell number "
                    f"{cell:,}, which the table of genes does not have"
                )
                raise InputError(message) from error
        return gathered.entries()

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each of some cells over all genes, as they come."""
        from median_spark.matrices.loops.sparse import add_cell_totals  # numba takes half a second

        totals = np.zeros(last - first, dtype=np.float64)
        for cells, _, counts in self._storage.pieces(first, last):
            add_cell_totals(cells, counts, first, totals)
        return totals

    def cells_per_tile(self) -> int:
        """Return how many cells are decompressed together."""
        return self._storage.cells_per_tile

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file."""
        return self._storage.stored_bytes(first, last)

    def count_layers(self) -> list[str]:
        """Return none: a column of counts is known by its name."""
        return []

    def warnings(self) -> list[str]:
        """Return none: nothing is chosen that the names do not say."""
        return []

    def describe(self) -> list[tuple[str, str]]:
        """Return what the file holds, as pairs of field and finding, for people."""
        genes, cells = self.shape
        storage = self._storage
        numbered = storage.genes.texts is None and self._columns.gene in self._rows.columns
        note = "; numbers, and no table of genes beside the file leads them to ids" if numbered else ""
        return [
            ("format", f"Parquet, {storage.kind}"),
            ("matrix", f"{self.place}: {genes:,} genes × {cells:,} cells, {self._table.groups:,} row groups"),
            ("genes", f"column '{brief(self._columns.gene)}'{note}"),
            ("columns of genes", ", ".join(map(brief, self._rows.columns))),
            ("columns of cells", ", ".join(map(brief, self._cells.columns)) or "none"),
        ]
