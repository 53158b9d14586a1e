"""Genes of a SOMA experiment by plain tiledbsoma and scipy, a block of cells or some genes at a time."""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark.guard import beat
from median_spark.verification.cells import detected_in

_USUAL = ("RNA/raw", "RNA/counts", "RNA/data", "raw/data", "RNA/X")
_BLOCK = 4096
"""Cells that are read at a time."""

_LOOKED_AT = 64
"""Cells that show whether a layer holds counts."""


class Soma:
    """An open experiment; genes are the rows of var, cells those of obs, both by soma_joinid."""

    def __init__(self, location: str, layer: str) -> None:
        soma = import_module("tiledbsoma")
        context = soma.SOMATileDBContext(
            tiledb_config={
                "soma.init_buffer_bytes": str(1 << 26),
                "sm.query.sparse_global_order.preprocess_tile_merge": "0",  # else it may crash on a busy machine
            }
        )
        self._experiment = soma.Experiment.open(location, context=context)
        layers = {
            f"{measurement}/{name}": held.X[name]
            for measurement, held in self._experiment.ms.items()
            for name in held.X
        }
        chosen = _usual(layers) if layer == "auto" else _named(layers, layer)
        self._counts = layers[chosen]
        self._obs, self._var = self._experiment.obs, self._experiment.ms[chosen.split("/", 1)[0]].var
        self._cell_numbers, self._gene_numbers = (_column(frame, "soma_joinid") for frame in (self._obs, self._var))
        self.cells = len(self._cell_numbers)

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called: a column of var."""
        names = set(self._var.keys())
        for other in ("feature_id", "var_id") if name == "ensembl_id" and name not in names else ():
            if other in names:
                ids = [str(gene) for gene in _column(self._var, other)]
                if sum("ENS" in gene.upper() for gene in ids) * 2 > len(ids):
                    return ids
        return ["" if gene is None else str(gene) for gene in _column(self._var, name)]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if it has one."""
        for column in (name, "feature_type") if name == "gene_type" else (name,):
            if column in set(self._var.keys()):
                types = [str(kind) for kind in _column(self._var, column)]
                if column == name or "protein_coding" in types:
                    return types
        return None

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Return a number for each cell, NaN where it is missing."""
        values = _column(self._obs, name)
        return np.array([np.nan if value is None else value for value in values]) if values.dtype == object else values

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return a text, a number or a truth value for each cell, None where it is missing."""
        return _column(self._obs, name)

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return list(self._obs.keys())

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return pd.Series(_column(self._obs, name))

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        return detected_in(self.counts(np.arange(len(self._gene_numbers))))

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the name of each cell."""
        known = ("obs_id", "cell_id", "CellID", "obs_names")
        column = name or next((each for each in known if each in set(self._obs.keys())), "soma_joinid")
        return np.array(["" if cell is None else str(cell) for cell in _column(self._obs, column)])

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        wanted = self._gene_numbers[rows]
        pieces = [self._entries(begin, end, wanted) for begin, end in self._ranges()]
        if not pieces:
            return sparse.csc_matrix((self.cells, len(rows)))
        cells, genes, counts = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        order = np.argsort(wanted)
        places = (np.searchsorted(self._cell_numbers, cells), order[np.searchsorted(wanted[order], genes)])
        return sparse.csc_matrix((counts.astype(np.float64), places), shape=(self.cells, len(rows)))

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes, by ascending gene."""
        totals = np.zeros(self.cells)
        for begin, end in self._ranges():
            cells, genes, counts = self._entries(begin, end, self._gene_numbers)
            order = np.lexsort((genes, cells))
            np.add.at(totals, np.searchsorted(self._cell_numbers, cells[order]), counts[order].astype(np.float64))
        return totals

    def _ranges(self) -> list[tuple[int, int]]:
        numbers = self._cell_numbers
        return [
            (int(numbers[first]), int(numbers[min(first + _BLOCK, self.cells) - 1]))
            for first in range(0, self.cells, _BLOCK)
        ]

    def _entries(self, begin: int, end: int, genes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], ...]:
        """Return soma_joinids of cells and genes, and counts, of some genes in a range of cells."""
        beat()
        if str(self._counts.soma_type) == "SOMADenseNDArray":
            block = self._counts.read((slice(begin, end),)).to_numpy()[:, genes]
            cells, columns = np.nonzero(block)
            return begin + cells, genes[columns], block[cells, columns]
        table = self._counts.read((slice(begin, end), genes.tolist())).tables().concat()
        return tuple(table[name].to_numpy() for name in ("soma_dim_0", "soma_dim_1", "soma_data"))

    def close(self) -> None:
        """Close the experiment."""
        self._experiment.close()


def _column(frame: Any, name: str) -> npt.NDArray[Any]:
    """Return a column in the order of soma_joinid; None for what is missing."""
    names = ["soma_joinid"] if name == "soma_joinid" else ["soma_joinid", name]
    columns = frame.read(column_names=names).concat().to_pandas()
    columns = columns.sort_values("soma_joinid", kind="stable")
    values = columns[name]
    if values.dtype.kind in "iufb" and not values.isna().any():
        return np.asarray(values.to_numpy())
    return np.asarray(values.astype(object).where(values.notna(), None).to_numpy())


def _usual(layers: dict[str, Any]) -> str:
    """Return the only layer, or the first of the usual ones that holds whole numbers."""
    present = [name for name in _USUAL if name in layers] or list(layers)
    if len(present) == 1:
        return present[0]
    return next((name for name in present if _holds_integers(layers[name])), present[0])


def _holds_integers(layer: Any) -> bool:
    shape = layer.shape
    for first in sorted({0, shape[0] // 2}):
        where = (slice(first, min(first + _LOOKED_AT, shape[0]) - 1),)
        if str(layer.soma_type) == "SOMADenseNDArray":
            some = layer.read(where).to_numpy()
        else:
            some = layer.read(where).tables().concat()["soma_data"].to_numpy()
        if not np.all(np.abs(some - np.rint(some)) <= 1e-6 * np.maximum(np.abs(some), 1)) or (some < 0).any():
            return False
    return True


def _named(layers: dict[str, Any], wanted: str) -> str:
    return wanted if wanted in layers else next(name for name in layers if name.split("/", 1)[1] == wanted)
