"""How much of a matrix's ids the gene table and the gene map know, and for people, why they may not know the others."""

from itertools import islice

import numpy as np
import numpy.typing as npt

from median_spark.errors import counted, listed
from median_spark.genes.census import RowCensus
from median_spark.genes.map import GeneMap, row_ids, without_version
from median_spark.genes.table import GeneTable

_LEAST_KNOWN = 0.5
"""A matrix of which the gene table or the gene map knows less is warned about."""

_LOOKED_AT = 1000
"""Ids, at most, that a cause is guessed from."""

_VERSIONS = "they carry version suffixes (ENSG….12): take these off with --strip-version"


def coverage_warning(
    census: RowCensus,
    gene_ids: npt.NDArray[np.str_],
    table: GeneTable | None,
    gene_map: GeneMap | None = None,
    *,
    strip_version: bool = False,
) -> str | None:
    """Return a warning if gene map or gene table know fewer than half of a matrix's ids, with the likely cause.

    Parameters
    ----------
    census : RowCensus
        Of the matrix.
    gene_ids : ndarray of str, shape (rows,)
        Its ids.
    table : GeneTable or None
        The corpus's genes.
    gene_map : GeneMap or None
        Under which id rows count.
    strip_version : bool
        Whether the versions of Ensembl ids were taken off.

    Returns
    -------
    str or None
        None if they know enough, or if there is neither.
    """
    least = census.rows * _LEAST_KNOWN
    mapped = census.rows - census.unmapped_rows
    if gene_map is not None and mapped < least:
        what, known, examples = "map", mapped, census.unmapped_examples
    elif table is not None and census.known_rows < least:
        what, known, examples = "table", census.known_rows, census.unknown_examples
    else:
        return None
    names, ids = row_ids(gene_ids, gene_map, strip_version=strip_version)
    why = _why_unmapped(names, gene_map) if gene_map and what == "map" else _why_unknown(ids, table, gene_map)
    unlike = f", not {listed(list(examples[:3]))}" if examples else ""
    share = f"{known:,} of its {counted(census.rows, 'id')} ({known / census.rows:.0%})"
    return f"the gene {what} knows only {share}{unlike}: {why}"


def why_none(
    census: RowCensus,
    names: npt.NDArray[np.str_],
    ids: npt.NDArray[np.str_],
    own_types: npt.NDArray[np.str_] | None,
    table: GeneTable | None,
    gene_types: tuple[str, ...],
    gene_map: GeneMap | None,
) -> str:
    """Say why no row of a matrix was selected, with the likely cause.

    Parameters
    ----------
    census : RowCensus
        Of the matrix.
    names, ids : ndarray of str, shape (rows,)
        What its rows are called, and under which id they would count; see `row_ids`.
    own_types, table, gene_types, gene_map
        See `median_spark.genes.select_genes`.
    """
    if not census.rows:
        return "the matrix has no row"
    if gene_map is not None and census.unmapped_rows == census.rows:
        return (
            f"none of its {counted(census.rows, 'gene id')} is in the gene map {gene_map.path}; "
            f"it has {listed(names.tolist(), 3)}: {_why_unmapped(names, gene_map)}"
        )
    if table is not None and not census.known_rows:
        which = "gene id" if gene_map is None else "mapped gene id"
        mapped = ids if gene_map is None else ids[ids != ""]
        return (
            f"none of its {counted(len(mapped), which)} is in the gene table {table.path}; "
            f"it has {listed(mapped.tolist(), 3)}: {_why_unknown(ids, table, gene_map)}"
        )
    found = sorted(set(own_types.tolist())) if own_types is not None else []
    seen = f"; its gene types are {listed(found, 8)}" if found else ""
    also = " in the gene table and" if table is not None and own_types is not None else ""
    return f"no gene is{also} of a chosen type {list(gene_types)}{seen}"


def _why_unmapped(names: npt.NDArray[np.str_], gene_map: GeneMap) -> str:
    """Say why a gene map may not know what a matrix's rows are called."""
    unmapped = names[gene_map.ids_of(names) == ""][:_LOOKED_AT]
    if np.any(gene_map.ids_of(without_version(unmapped)) != ""):
        return _VERSIONS
    targets = set(gene_map.ids.values())
    if any(name in targets for name in unmapped.tolist()):
        return "they are ids that the map leads to: for files that have these already, let it lead them to themselves"
    return (
        f"the map has names such as {listed(list(islice(gene_map.ids, 3)), 3)}: "
        "it may be of another species or annotation, or another attribute has such names (--gene-id-attr)"
    )


def _why_unknown(ids: npt.NDArray[np.str_], table: GeneTable | None, gene_map: GeneMap | None) -> str:
    """Say why a gene table may not know the ids of a matrix."""
    known = table.gene_types if table is not None else {}
    unknown = [gene for gene in ids.tolist() if gene and gene not in known][:_LOOKED_AT]
    if any(gene in known for gene in without_version(np.array(unknown, dtype=np.str_)).tolist()):
        return _VERSIONS
    if gene_map is not None:
        return f"these are ids of the gene map {gene_map.path}: map and table may be of two species or annotations"
    if unknown and not any(gene.startswith("ENS") for gene in unknown):
        return (
            "they look like gene symbols: name the attribute that holds Ensembl ids with --gene-id-attr, "
            "or map them with --gene-map"
        )
    return "they may be of another species or annotation"
