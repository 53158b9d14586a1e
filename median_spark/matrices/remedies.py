"""What would have to be given for a matrix that cannot be used as it is: found by trying one option after the other."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from median_spark.errors import InputError
from median_spark.genes import GeneTable
from median_spark.matrices import CountMatrix, ReadOptions, open_matrix, outline
from median_spark.matrices.counts import AUTO_LAYER, like_ensembl

_TOTALS = ("total_counts", "nCount_RNA", "nCounts_RNA", "n_umi", "n_umis", "nUMI", "total_umis", "n_counts_all")
"""Names under which other programs keep the total counts of cells."""

_MOST = 8  # there are no more things to give


def find_remedies(location: str, options: ReadOptions) -> list[str]:
    """Return the options of the command line that would make a matrix usable; none if it is, or if nothing would.

    Parameters
    ----------
    location : str
        The matrix, as canonical path or URI.
    options : ReadOptions
        With which it cannot be used.
    """
    given: list[str] = []
    problem = _problem(location, options)
    while problem is not None:
        for text, tried in _candidates(location, options):
            found = _problem(location, tried)
            if _kind(found) != _kind(problem) and len(given) < _MOST:
                given.append(text)
                options, problem = tried, found
                break
        else:
            return []
    return given


def _problem(location: str, options: ReadOptions) -> str | None:
    """Say why a matrix cannot be used with some options, None if it can."""
    try:
        with open_matrix(location, options.names, options.layer) as matrix:
            outline(matrix, options)
    except InputError as error:
        return str(error).removeprefix(f"{location}: ")
    return None


def _kind(problem: str | None) -> list[str]:
    """Return by what two problems are told apart: their first words, for the others name examples."""
    return problem.split()[:4] if problem else []


def _candidates(location: str, options: ReadOptions) -> Iterator[tuple[str, ReadOptions]]:
    """Yield what could be given, as text and as options, the likelier before the last resort."""
    try:
        with open_matrix(location, options.names, options.layer) as matrix:
            found = [*_of_layers(matrix, options), *_of_genes(matrix, options), *_of_cells(matrix, options)]
    except InputError:
        found = []
    yield from found
    if options.layer != AUTO_LAYER:
        yield "--layer auto", replace(options, layer=AUTO_LAYER)
    if not options.allow_non_integer:
        yield "--allow-non-integer (if these are counts all the same)", replace(options, allow_non_integer=True)


def _of_layers(matrix: CountMatrix, options: ReadOptions) -> Iterator[tuple[str, ReadOptions]]:
    for layer in matrix.count_layers():
        yield f"--layer {layer}", replace(options, layer=layer)


def _of_genes(matrix: CountMatrix, options: ReadOptions) -> Iterator[tuple[str, ReadOptions]]:
    for name in [*matrix.attributes("row"), "index"]:
        named = replace(options, names=replace(options.names, gene_id=name))
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                if like_ensembl(other.gene_ids()):
                    yield f"--gene-id-attr {name}", named
        except InputError:  # it is no attribute of strings, or there is none of that name: it is not what is sought
            continue
    if not options.strip_version:
        yield "--strip-version", replace(options, strip_version=True)
    for name in matrix.attributes("row"):
        named = replace(options, names=replace(options.names, gene_type=name))
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                types = other.gene_types()
        except InputError:  # see above
            continue
        if types is not None and np.isin(types, options.gene_types).any():
            yield f"--gene-type-attr {name}", named
    if options.gene_table is None:
        try:
            ids = matrix.gene_ids().tolist()
        except InputError:  # what holds the ids must be given first
            return
        table = GeneTable("", dict.fromkeys(ids, options.gene_types[0]))
        yield "--gene-table CSV", replace(options, gene_table=table)


def _of_cells(matrix: CountMatrix, options: ReadOptions) -> Iterator[tuple[str, ReadOptions]]:
    if options.cell_filter:
        yield "--no-cell-filter", replace(options, cell_filter=False)
    if options.compute_n_counts:
        return
    held = matrix.attributes("cell")
    for name in (name for name in _TOTALS if name in held):
        named = replace(options, names=replace(options.names, n_counts=name))
        try:
            with open_matrix(matrix.location, named.names, named.layer) as other:
                last = min(other.cells_per_tile(), other.shape[1])
                if np.array_equal(other.n_counts()[:last], other.cell_totals(0, last)):
                    yield f"--n-counts-attr {name}", named
        except InputError:  # it is no column of numbers
            continue
    yield "--compute-n-counts", replace(options, compute_n_counts=True)
