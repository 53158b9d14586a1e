"""What is fuzzed: the reading of one matrix and of one pickle, as a run reads them. Nothing else calls median_spark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from median_spark.errors import InputError, MedianSparkError
from median_spark.genes.map import read_gene_map
from median_spark.guard import Limits, read_guarded
from median_spark.matrices import ReadOptions, open_matrix, outline, read_unit, select_rows
from median_spark.matrices.cell_filter import passing_cells
from median_spark.merging.find import find_digests
from median_spark.merging.read import read_digests, read_head
from median_spark.report.other_medians import read_medians

LIMITS = Limits(processor_seconds=5, memory=500 << 20)
"""What the guard allows for one of these small files."""

SECONDS = 20.0
"""Processor time after which reading one small file counts as a hang."""

Refusal = MedianSparkError
"""What may be raised: a sentence for the user."""


@dataclass(frozen=True)
class Values:
    """What a matrix yields.

    Attributes
    ----------
    place : str
        Which of the file's matrices was read: ``"X"``, ``"raw.X"``, ``"layer 'counts'"``, ``"the matrix"``.
    genes : dict of str to (ndarray of int64, ndarray of float64)
        Each gene's cells, counted from the first of the file, and values.
    cells : list of str
        Ids of all cells of the file that pass.
    """

    place: str
    genes: dict[str, tuple[Any, Any]]
    cells: list[str]


def read_all(path: str, options: ReadOptions, unit_entries: int) -> Values:
    """Return what `_read_all` does, read as a worker reads it."""
    found: Values = _guarded(path, _read_all, path, options, unit_entries)
    return found


def describe(path: str, options: ReadOptions) -> None:
    """Describe a matrix as `median-spark inspect` does."""
    _guarded(path, _describe, path, options)


def _guarded(path: str, function: Any, *arguments: Any) -> Any:
    """Call a function in the guard's child; that it needs too much memory is a failure of ours, and no refusal."""
    try:
        return read_guarded(path, function, *arguments, limits=LIMITS)
    except InputError as error:
        if "GiB of memory" in str(error) or "Unexpected error" in str(error):
            raise AssertionError(str(error)) from error
        raise


def _read_all(path: str, options: ReadOptions, unit_entries: int) -> Values:
    """Return all values of a matrix, read unit by unit.

    Parameters
    ----------
    path : str
        The matrix.
    options : ReadOptions
        What decides the values.
    unit_entries : int
        See `median_spark.matrices.outline`; small numbers cut a small file into several units.
    """
    with open_matrix(path, options.names, options.layer) as matrix:
        found = outline(matrix, options, unit_entries)
        place = matrix.place
    genes: dict[str, tuple[list[Any], list[Any]]] = {}
    cells: list[str] = []
    for unit in found.units:
        # Each task opens the file again.
        with open_matrix(path, options.names, options.layer) as matrix:
            runs, passing = read_unit(matrix, select_rows(matrix, options), unit, options)
            numbers = np.flatnonzero(passing_cells(matrix, options, unit.first, unit.last)) + unit.first
        cells += passing["cell"].to_pylist()
        for number, gene in enumerate(runs.genes.tolist()):
            where, values = genes.setdefault(gene, ([], []))
            begin, end = runs.offsets[number : number + 2].tolist()
            where.append(numbers[runs.cells[begin:end]])
            values.append(runs.values[begin:end])
    joined = {gene: (np.concatenate(where), np.concatenate(values)) for gene, (where, values) in genes.items()}
    return Values(place, joined, cells)


def _describe(path: str, options: ReadOptions) -> None:
    with open_matrix(path, options.names, options.layer) as matrix:
        matrix.describe()
        matrix.count_layers()
        matrix.warnings()


def gene_map(path: str) -> dict[str, str]:
    """Read a pickle as ``--gene-map``."""
    return read_gene_map(path).ids


def compared(path: str) -> dict[str, float]:
    """Read a pickle as ``--compare``."""
    return dict(read_medians(path).medians)


def merged(path: str) -> dict[str, tuple[float, ...]]:
    """Read a pickle as an input of `merge`; return what each digest says."""
    (file,) = find_digests([str(Path(path))]).files
    read = read_digests(file, read_head(file))
    return {
        gene: (digest.n, digest.min, digest.max, *digest.means.tolist(), *digest.weights.tolist())
        for gene, digest in read.digests.items()
    }


PICKLE_READERS = {"gene map": gene_map, "compare": compared, "merge": merged}
