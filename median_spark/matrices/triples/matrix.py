"""Folders of triples as count matrices: 10x's, and Parse's."""

import contextlib
from collections.abc import Iterator

import numpy as np

from median_spark import storage
from median_spark.errors import InputError, counted, listed
from median_spark.matrices.anndata.sparse import ByCell
from median_spark.matrices.contract import Entries, Flags, Floats, Ints, Texts, brief
from median_spark.matrices.options import AUTO_LAYER, DEFAULT_NAMES, AttributeNames
from median_spark.matrices.tables import TabledMatrix
from median_spark.matrices.triples.by_cell import CellEntries, lists_of, write_by_cell
from median_spark.matrices.triples.files import PARSE, find_files
from median_spark.matrices.triples.matrix_market import read_header, read_triples
from median_spark.matrices.triples.texts import TextTable, read_csv_list, read_tenx_list, require_length
from median_spark.options import LAYER

GENE_EXPRESSION = "Gene Expression"
"""Type of the features that are genes, as 10x calls it; others are antibodies, guides, peaks."""


class TriplesMatrix(TabledMatrix):
    """One matrix of triples; its location is the file that holds the counts.

    InputError if one of its files is missing, their lengths do not fit, or it has no gene.
    """

    cell_attribute = "column"
    place = "the matrix"
    _rows: TextTable
    _cells: TextTable

    def __init__(self, location: str, names: AttributeNames, layer: str) -> None:
        self.location = location
        self._names = names
        if layer != AUTO_LAYER:
            message = f"{location}: a matrix of triples has no layers: leave out {LAYER}"
            raise InputError(message, kind="no such layer")
        self._files = find_files(location)
        self._header = read_header(location)
        genes = self._read_tables()
        self._row_of_feature = np.where(genes, np.cumsum(genes) - 1, -1).astype(np.int32)
        self.shape = (self._rows.length, self._cells.length)
        self._counts: ByCell | None = None
        self._closing = contextlib.ExitStack()

    def close(self) -> None:
        """Close the copy in scratch space."""
        self._counts = None
        self._closing.close()

    def gene_ids(self) -> Texts:
        """Return the id of each row, by default that of the writer's column of ids."""
        name = self._names.gene_id
        if name == DEFAULT_NAMES.gene_id and not self._rows.has(name):
            name = "gene_id" if self._files.convention is PARSE else "id"
        return self._strings(self._rows, "gene_id", name)

    def cell_ids(self, first: int = 0, last: int | None = None) -> Texts:
        """Return the barcodes of the cells ``first <= cell < last``, by default of all."""
        return self._strings(self._cells, "cell_id", self._names.cell_id or self._cells.first, first, last)

    def cell_totals(self, first: int, last: int) -> Floats:
        """Sum the counts of each of some cells over all rows."""
        return self._open().cell_totals(first, last)

    def entries(self, rows: Ints, first: int, last: int, taken: Flags) -> Entries:
        """Return the entries of ascending rows, for taken cells in ``first <= cell < last``."""
        return self._open().entries(rows, first, last, taken)

    def cells_per_tile(self) -> int:
        """Return 1: cells are read by themselves."""
        return 1

    def stored_bytes(self, first: int, last: int) -> int:
        """Return the bytes of some cells in the file, by the entries that they have."""
        return self._open().stored_bytes(first, last)

    def count_layers(self) -> list[str]:
        """Return nothing: there are no layers."""
        return []

    def warnings(self) -> list[str]:
        """Return how many features are not genes."""
        left_out = len(self._row_of_feature) - self._rows.length
        if not left_out:
            return []
        return [f"{counted(left_out, 'feature')} of other types than '{GENE_EXPRESSION}' were left out"]

    def describe(self) -> list[tuple[str, str]]:
        """Return what the files hold, as pairs of field and finding, for people."""
        header = self._header
        return [
            ("format", f"Matrix Market, as {self._files.convention.writer} writes it"),
            ("matrix", f"{self.shape[0]:,} genes × {self.shape[1]:,} cells, {header.entries:,} entries"),
            ("genes", self._files.genes),
            ("gene columns", ", ".join(map(brief, self._rows.columns))),
            ("cells", self._files.cells),
            ("cell columns", ", ".join(map(brief, self._cells.columns))),
        ]

    def _read_tables(self) -> Flags:
        """Read the lists of genes and cells; return which features are genes."""
        files, header = self._files, self._header
        if files.convention is PARSE:
            features = read_csv_list(files.genes, "column", "genes")
            self._cells = read_csv_list(files.cells, "column", "cells")
            lengths = (header.columns, header.rows)
        else:
            features = read_tenx_list(files.genes, "column", "features", named=("id", "name", "feature_type"))
            self._cells = read_tenx_list(files.cells, "column", "cells", named=("barcode",))
            lengths = (header.rows, header.columns)
        self._require_lengths(features, lengths)
        genes = np.ones(features.length, dtype=np.bool_)
        if files.convention is not PARSE and features.has("feature_type"):
            types = features.strings("feature_type")
            genes = types == GENE_EXPRESSION
            if len(types) and not genes.any():
                found = listed(sorted(set(types.tolist())), 5)
                message = f"{files.genes}: no feature is of the type '{GENE_EXPRESSION}'; the third column has {found}"
                raise InputError(message)
        self._rows = features if genes.all() else features.kept(genes)
        return genes

    def _require_lengths(self, features: TextTable, lengths: tuple[int, int]) -> None:
        if (features.length, self._cells.length) == lengths[::-1] != lengths:
            message = (
                f"{self.location}: its header declares {self._header.rows:,} rows and {self._header.columns:,} columns "
                f"for {features.length:,} genes and {self._cells.length:,} cells: the matrix is transposed"
            )
            raise InputError(message)
        for table, length in zip((features, self._cells), lengths, strict=True):
            require_length(table, length, self.location)

    def _open(self) -> ByCell:
        """Open the copy that is in the order of cells; it is made if no process of this machine has it."""
        if self._counts is None:
            matrix, genes = (_state(path) for path in (self._files.matrix, self._files.genes))
            # Other lists of genes may leave out other rows.
            file = storage.open_converted(self.location, "triples by cell", [matrix, genes], self._write)
            self._closing.callback(file.close)
            lists = lists_of(file, matrix.size)
            self._counts = ByCell(self.location, self.place, (self.shape[1], self.shape[0]), lists)
        return self._counts

    def _write(self, scratch: storage.ScratchWriter) -> None:
        write_by_cell(scratch, self.location, self.shape[1], self._header.entries, self._read_entries)

    def _read_entries(self) -> Iterator[CellEntries]:
        all_genes = self._rows.length == len(self._row_of_feature)
        for triples in read_triples(self.location, self._header):
            features, cells, counts = triples.rows, triples.columns, triples.counts
            if not self._files.convention.genes_by_cells:
                features, cells = cells, features
            if not all_genes:
                rows = self._row_of_feature[features]
                kept = rows >= 0
                features, cells, counts = rows[kept], cells[kept], counts[kept]
            yield CellEntries(cells, features, counts)


def _state(location: str) -> storage.FileStat:
    state = storage.stat(location)
    if state is None:
        message = f"{location}: there is no such file"
        raise InputError(message)
    return state
