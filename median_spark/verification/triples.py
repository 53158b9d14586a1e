"""Genes of a folder of triples by pandas and scipy, some lines at a time."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark import storage
from median_spark.guard import beat
from median_spark.verification.cells import detected_in
from median_spark.verification.inside import DamagedError

_LINES = 1_000_000
"""Entries that are read at a time."""


class Triples:
    """A matrix of triples with the lists beside it; genes are features of gene expression."""

    def __init__(self, location: str) -> None:
        self._location = location
        genes, cells = beside(location)
        self._parse = genes.lower().removesuffix(".gz").endswith(".csv")
        self._genes, self._cells = (_read_list(path, has_header=self._parse) for path in (genes, cells))
        chosen = np.ones(len(self._genes), dtype=np.bool_)
        if not self._parse and self._genes.shape[1] > 2:
            chosen = (self._genes.iloc[:, 2] == "Gene Expression").to_numpy()
        self._chosen = np.flatnonzero(chosen)
        self.cells = len(self._cells)

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called."""
        column = self._gene_column(name)
        if column is None:
            column = self._genes["gene_id"] if self._parse else self._genes.iloc[:, 0]
        return [str(gene) for gene in column.iloc[self._chosen]]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if it has one."""
        column = self._gene_column(name)
        return None if column is None else [str(kind) for kind in column.iloc[self._chosen]]

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell, NaN where it is missing."""
        column = self._cell_column(name)
        truth = column.str.lower().map({"true": 1.0, "false": 0.0, "": np.nan})
        if not truth[column != ""].isna().any():
            return np.asarray(truth)
        return np.asarray(pd.to_numeric(column.replace({"": None, "NA": None})), dtype=np.float64)

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text or a number for each cell."""
        try:
            return self.numbers(name)
        except ValueError:
            return np.asarray(self._cell_column(name), dtype=object)

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return list(self._cells.columns) if self._parse else ["barcode"]

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return pd.Series(self.labels(name)).reset_index(drop=True)

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        return detected_in(self.counts(np.arange(len(self._chosen))))

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the barcode of each cell."""
        column = self._cells.iloc[:, 0] if name is None else self._cell_column(name)
        return np.array([str(cell) for cell in column])

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        place = np.full(len(self._genes), -1)
        place[self._chosen[rows]] = np.arange(len(rows))
        found = []
        for cells, genes, counts in self._entries():
            kept = place[genes] >= 0
            found.append((cells[kept], place[genes[kept]], counts[kept]))
        if not found:
            return sparse.csc_matrix((self.cells, len(rows)))
        of_cells, of_genes, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return sparse.coo_matrix((values, (of_cells, of_genes)), shape=(self.cells, len(rows))).tocsc()

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes, entry by entry."""
        totals = np.zeros(self.cells)
        counted = np.zeros(len(self._genes), dtype=np.bool_)
        counted[self._chosen] = True
        for cells, genes, counts in self._entries():
            kept = counted[genes]
            np.add.at(totals, cells[kept], counts[kept])
        return totals

    def _gene_column(self, name: str) -> Any:
        names = list(self._genes.columns) if self._parse else ["id", "name", "feature_type"][: self._genes.shape[1]]
        return self._genes.iloc[:, names.index(name)] if name in names else None

    def _cell_column(self, name: str) -> Any:
        names = list(self._cells.columns) if self._parse else ["barcode"]
        if name not in names:
            message = f"there is no column '{name}' of cells"
            raise DamagedError(message)
        return self._cells.iloc[:, names.index(name)]

    def _entries(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Yield cells, genes and counts, some entries at a time."""
        with storage.open_forward(self._location) as stream:
            text = io.BufferedReader(stream, 1 << 20)
            line = text.readline()
            while line.startswith(b"%") or not line.strip():
                line = text.readline()
            try:
                chunks = pd.read_csv(
                    text, sep=r"\s+", header=None, dtype=np.float64, chunksize=_LINES, float_precision="round_trip"
                )
            except pd.errors.EmptyDataError:
                return
            with chunks:
                for chunk in chunks:
                    beat()
                    first, second = (chunk[place].to_numpy().astype(np.int64) - 1 for place in (0, 1))
                    cells, genes = (first, second) if self._parse else (second, first)
                    yield cells, genes, chunk[2].to_numpy()


def beside(location: str) -> tuple[str, str]:
    """Return the lists of genes and of cells that belong to a file of counts."""
    folder, _, name = location.rpartition("/")
    names = {other.lower(): other for other in storage.names_in(folder)}
    plain = name.lower().removesuffix(".gz").removesuffix(".mtx")
    for own, genes, cells in (
        ("dge", ("all_genes.csv",), "cell_metadata.csv"),
        ("count_matrix", ("all_genes.csv",), "cell_metadata.csv"),
        ("matrix", ("features.tsv", "genes.tsv"), "barcodes.tsv"),
    ):
        if plain.endswith(own):
            prefix = plain.removesuffix(own)
            found = [names.get(f"{prefix}{end}", names.get(f"{prefix}{end}.gz")) for end in (*genes, cells)]
            there = [one for one in found if one is not None]
            if len(there) == 2:
                return f"{folder}/{there[0]}", f"{folder}/{there[1]}"
    message = "the lists of its genes and cells are not beside it"
    raise DamagedError(message)


def _read_list(location: str, *, has_header: bool) -> pd.DataFrame:
    with storage.open_forward(location) as stream:
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8", errors="backslashreplace", newline="")
        how: dict[str, Any] = {} if has_header else {"sep": "\t", "header": None, "quoting": 3}
        return pd.read_csv(text, dtype=str, keep_default_na=False, **how)
