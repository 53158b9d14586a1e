"""Genes of a 10x HDF5 file by plain h5py and scipy, some cells at a time."""

from collections.abc import Iterator
from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from median_spark.guard import beat
from median_spark.verification.cells import detected_in
from median_spark.verification.inside import DamagedError, holds_in_file, take_from_file, texts

_CELLS = 2_000
"""Cells that are read at a time."""


class Tenx:
    """An open 10x file; genes are the features of gene expression, of one genome if the layer names one."""

    def __init__(self, file: h5py.File, layer: str) -> None:
        self._newer = holds_in_file(file, "matrix/features")
        self._group = take_from_file(
            file, "matrix" if self._newer else layer if layer != "auto" else _only_genome(file)
        )
        features, self.cells = (int(extent) for extent in take_from_file(self._group, "shape")[()])
        chosen = np.ones(features, dtype=np.bool_)
        if self._newer:
            if holds_in_file(self._group, "features/feature_type"):
                chosen &= self._texts("features/feature_type") == "Gene Expression"
            if layer != "auto":
                chosen &= self._texts("features/genome") == layer
        self._chosen = np.flatnonzero(chosen)
        self._features = features

    def ids(self, name: str) -> list[str]:
        """Return what each gene is called."""
        return [str(gene) for gene in self._list(name if self._has(name) else "id")[self._chosen]]

    def types(self, name: str) -> list[str] | None:
        """Return the type of each gene, if it has one."""
        return [str(kind) for kind in self._list(name)[self._chosen]] if self._has(name) else None

    def numbers(self, name: str) -> NoReturn:
        """Raise DamagedError: nothing but a barcode is known of a cell."""
        message = f"there is no list '{name}' of cells"
        raise DamagedError(message)

    def labels(self, name: str) -> npt.NDArray[Any]:
        """Return the barcode of each cell, the only thing that is known of it."""
        return self.cell_ids(name)

    @property
    def columns(self) -> list[str]:
        """Names of what is known of cells."""
        return ["barcode"]

    def column(self, name: str) -> pd.Series:
        """Return what is known of each cell as pandas has it."""
        return pd.Series(self.cell_ids(name).astype(object))

    def detected(self) -> npt.NDArray[np.int64]:
        """Return how many genes have a count in each cell."""
        return detected_in(self.counts(np.arange(len(self._chosen))))

    def cell_ids(self, name: str | None) -> npt.NDArray[np.str_]:
        """Return the barcode of each cell."""
        if name not in {None, "barcode"}:
            self.numbers(str(name))
        return np.array([str(cell) for cell in self._texts("barcodes")])

    def counts(self, rows: npt.NDArray[np.int64]) -> sparse.csc_matrix:
        """Return the counts of some genes, cells by genes."""
        return sparse.vstack([block[:, self._chosen[rows]] for block in self._blocks()], format="csc")

    def totals(self) -> npt.NDArray[np.float64]:
        """Return each cell's counts summed over all genes, entry by entry."""
        counted = np.zeros(self._features)
        counted[self._chosen] = 1
        return np.concatenate([block @ counted for block in self._blocks()])

    def _has(self, name: str) -> bool:
        return name in {"id", "name"} if not self._newer else holds_in_file(self._group, f"features/{name}")

    def _list(self, name: str) -> npt.NDArray[Any]:
        return self._texts(f"features/{name}" if self._newer else {"id": "genes", "name": "gene_names"}[name])

    def _texts(self, path: str) -> npt.NDArray[Any]:
        return texts(take_from_file(self._group, path)[()])

    def _blocks(self) -> Iterator[sparse.csr_matrix]:
        bounds = take_from_file(self._group, "indptr")[()].astype(np.int64)
        for first in range(0, self.cells, _CELLS):
            beat()
            last = min(first + _CELLS, self.cells)
            begin, end = int(bounds[first]), int(bounds[last])
            counts, genes = (take_from_file(self._group, name)[begin:end] for name in ("data", "indices"))
            within = bounds[first : last + 1] - begin
            shape = (last - first, self._features)
            yield sparse.csr_matrix((counts.astype(np.float64), genes, within), shape=shape)


def is_tenx(file: h5py.File) -> bool:
    """Say whether a file is 10x's, and no loom or h5ad by another name."""
    return not (holds_in_file(file, "row_attrs") or holds_in_file(file, "obs"))


def _only_genome(file: h5py.File) -> str:
    return next(
        str(name) for name in file if holds_in_file(file, f"{name}/genes") and holds_in_file(file, f"{name}/indptr")
    )
