"""Genes of a Parquet file by plain pyarrow and pandas: two lists per cell, or a row per entry."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse

from median_spark import storage
from median_spark.guard import beat
from median_spark.verification.cells import detected_in

_CELLS = ("cell", "barcode", "cell_id", "CellID", "obs_names")
_LONG = (("ensembl_id", "gene_id", "feature_id", "gene"), ("count", "counts", "value"), _CELLS)


class Parquet:
    """An open Parquet file; genes are what its column of genes names, or a table beside it."""

    def __init__(self, location: str, layer: str, names: dict[str, str | None]) -> None:
        filesystem, path = storage.resolve(location)
        self._file = pq.ParquetFile(filesystem.open_input_file(path), pre_buffer=False)
        self._names = self._file.schema_arrow.names
        lists = {
            name for name in self._names if str(self._file.schema_arrow.field(name).type).split("<")[0].endswith("list")
        }
        self._by_cell = "genes" in lists or names["gene_id"] in lists
        given = {"gene": names["gene_id"], "count": None if layer == "auto" else layer, "cell": names["cell_id"]}
        if self._by_cell:
            self._gene = str(given["gene"]) if given["gene"] in lists else "genes"
            self._count = str(given["count"] or next(name for name in ("expressions", "counts") if name in lists))
        else:
            self._gene, self._count, self._cell = (
                str(given[what])
                if given[what] in self._names
                else next(name for name in usual if name in self._names and name not in lists)
                for what, usual in zip(given, _LONG, strict=True)
            )
        self._table = _gene_table(location) if self._by_cell else None
        self._first: pd.DataFrame = self._cells_of_rows()
        self.cells = self._file.metadata.num_rows if self._by_cell else len(self._first)
        if self._table is not None:
            self._numbers = np.asarray(self._table["token_id"])
        else:
            self._numbers = np.unique(np.concatenate([genes for _, genes, _ in self._entries()] or [np.zeros(0)]))

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called."""
        if self._table is None:
            return [str(number) for number in self._numbers]
        return [
            "" if gene is None else str(gene) for gene in self._table[name if name in self._table else "ensembl_id"]
        ]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if a table says so."""
        return [str(kind) for kind in self._table[name]] if self._table is not None and name in self._table else None

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell, NaN where it is missing."""
        return np.asarray(pd.to_numeric(self._column(name)))

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text, a number or a truth value for each cell, None where it is missing."""
        values = self._column(name)
        return np.asarray(values.astype(object).where(values.notna(), None).to_numpy())

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return [name for name in self._names if name not in (self._gene, self._count)]

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return self._column(name).reset_index(drop=True)

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        return detected_in(self.counts(np.arange(len(self._numbers))))

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the name of each cell."""
        if not self._by_cell:
            return np.array([str(cell) for cell in self._first[self._cell]])
        column = name or next((each for each in ("BARCODE_SUB_LIB_ID", *_CELLS) if each in self._names), None)
        return (
            np.array([str(cell) for cell in self._column(column)]) if column else np.arange(self.cells).astype(np.str_)
        )

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        wanted = self._numbers[rows]
        order = np.argsort(wanted)
        pieces = []
        for cells, genes, counts in self._entries():
            kept = np.isin(genes, wanted)
            places = order[np.searchsorted(wanted[order], genes[kept])] if len(wanted) else np.zeros(0, dtype=np.int64)
            pieces.append((cells[kept], places, counts[kept]))
        cells, places, counts = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        return sparse.csc_matrix((counts.astype(np.float64), (cells, places)), shape=(self.cells, len(rows)))

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes, as they come."""
        totals = np.zeros(self.cells)
        for cells, _, counts in self._entries():
            np.add.at(totals, cells, counts.astype(np.float64))
        return totals

    def _column(self, name: str) -> pd.Series:
        if not self._by_cell:
            return self._first[name]
        return self._file.read([name], use_threads=False).to_pandas()[name]

    def _cells_of_rows(self) -> pd.DataFrame:
        """Return the first row of each cell of a table of an entry per row."""
        if self._by_cell:
            return pd.DataFrame()
        others = [name for name in self._names if name not in (self._gene, self._count)]
        rows = []
        for group in range(self._file.num_row_groups):
            beat()
            rows.append(
                self._file.read_row_group(group, others, use_threads=False).to_pandas().drop_duplicates(self._cell)
            )
        return pd.concat(rows, ignore_index=True).drop_duplicates(self._cell, ignore_index=True)

    def _entries(self) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """Yield cells, genes and counts, a row group at a time."""
        row = 0
        place = {} if self._by_cell else {cell: number for number, cell in enumerate(self._first[self._cell])}
        for group in range(self._file.num_row_groups):
            beat()
            columns = [self._gene, self._count] if self._by_cell else [self._gene, self._count, self._cell]
            frame = self._file.read_row_group(group, columns, use_threads=False).to_pandas()
            if self._by_cell:
                lengths = frame[self._gene].map(len).to_numpy()
                cells = np.repeat(row + np.arange(len(frame)), lengths)
                genes, counts = (np.concatenate([*frame[name], []]) for name in columns)
                if not self._is_text(genes):
                    genes = genes.astype(np.int64)
                    kept = ~self._marked(cells, genes, counts)
                    cells, genes, counts = cells[kept], genes[kept], counts[kept]
            else:
                cells = frame[self._cell].map(place).to_numpy().astype(np.int64)
                genes, counts = frame[self._gene].to_numpy(), frame[self._count].to_numpy()
            row += len(frame)
            yield cells, genes.astype(str) if self._is_text(genes) else genes, counts

    def _is_text(self, genes: npt.NDArray[Any]) -> bool:
        return bool(len(genes)) and isinstance(genes[0], str)

    def _marked(
        self, cells: npt.NDArray[Any], genes: npt.NDArray[Any], counts: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """Return which entries are the marker at the beginning of a cell, the number 1 with the count -2."""
        starts = np.ones(len(cells), dtype=np.bool_)
        starts[1:] = cells[1:] != cells[:-1]
        known = self._table is not None and bool((self._table["token_id"] == 1).any())
        return np.asarray(starts & (genes == 1) & (counts == -2) & (not known))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _gene_table(location: str) -> pd.DataFrame | None:
    """Return the table of genes beside a matrix, or in the folder of metadata, by the numbers of genes."""
    folder = location.rsplit("/", 1)[0]
    above = folder.rsplit("/", 1)[0]
    for place in (folder, f"{folder}/metadata", f"{above}/metadata"):
        path = f"{place}/gene_metadata.parquet"
        if storage.stat(path) is not None:
            filesystem, name = storage.resolve(path)
            return storage.read_parquet(filesystem.open_input_file(name)).to_pandas().sort_values("token_id")
    return None
