"""How many of a matrix's ids gene table and gene map know, and why they may not know the others."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from median_spark.errors import counted, listed
from median_spark.genes.ids import (
    VERSIONS,
    has_version,
    like_ensembl,
    respelled,
    version_off,
    why_unlike,
    without_version,
)
from median_spark.genes.map import GeneMap
from median_spark.genes.matching import respelling_warning
from median_spark.genes.row_ids import RowCounts, RowIds, row_ids
from median_spark.genes.table import GeneTable
from median_spark.options import GENE_ID_ATTR, GENE_MAP, GENE_TABLE, STRIP_VERSION

_LEAST_KNOWN = 0.5
"""Share of a matrix's ids below which gene table or gene map give a warning."""

_SAMPLE = 1000
"""Ids, at most, from which a cause is guessed."""
_TABLE_HAS_VERSIONS = (
    "the gene table's ids carry version suffixes, and so do some of these: take them off on both sides with "
    f"{STRIP_VERSION}"
)


def coverage_warning(
    row_counts: RowCounts,
    gene_ids: Callable[[], npt.NDArray[np.str_]],
    table: GeneTable | None,
    gene_map: GeneMap | None = None,
    *,
    strip_version: bool = False,
) -> str | None:
    """Return a warning with the likely cause if gene map or gene table know fewer than half of a matrix's ids.

    `gene_ids` reads the ids, which are wanted for the warning only.
    """
    with_id = row_counts.rows - row_counts.no_id_rows
    least = with_id * _LEAST_KNOWN
    mapped = with_id - row_counts.unmapped_rows
    if gene_map is not None and mapped < least:
        what, known, examples = "map", mapped, row_counts.unmapped_examples
    elif table is not None and row_counts.known_rows < least:
        what, known, examples = "table", row_counts.known_rows, row_counts.unknown_examples
    else:
        return None
    if table is not None and row_counts.versions_ignored:
        table = table.without_versions
    rows = row_ids(gene_ids(), gene_map, strip_version=strip_version)
    rows = replace(rows, ids=respelled(rows.ids, row_counts.respelled))
    why = _why_unmapped(rows, gene_map) if gene_map and what == "map" else _why_unknown(rows, table, gene_map)
    unlike = f", not {listed(list(examples[:3]))}" if examples else ""
    share = f"{known:,} of its {counted(with_id, 'id')} ({known / with_id:.0%})"
    return f"the gene {what} knows only {share}{unlike}: {why}"


def spelling_warnings(row_counts: RowCounts, genes: npt.NDArray[np.str_], table: GeneTable | None) -> list[str]:
    """Return warnings about the spelling of the selected genes; those that a gene table knows are not doubted."""
    if table is not None:
        return list(_matching_warnings(row_counts))
    names = genes.tolist()
    # Most are plain Ensembl ids, which regular expressions would be slow to confirm.
    unusual = [gene for gene in names if not (gene.startswith("ENS") and gene.isalnum() and gene[-1].isdigit())]
    odd = [gene for gene in unusual if not like_ensembl(gene)]
    if len(odd) * 2 >= len(names):  # the matrix has ids of another kind
        return []
    warnings = []
    if odd:
        warnings.append(
            f"{len(odd):,} of its {counted(len(names), 'gene')} unlike the others, which have Ensembl ids: "
            f"{listed(odd)}; if these are no genes, leave them out with a gene table ({GENE_TABLE})"
        )
    disguised = [gene for gene in unusual if why_unlike([gene])]
    why = why_unlike(disguised) if disguised else None
    if why is None and any(map(has_version, unusual)):
        disguised, why = [gene for gene in unusual if has_version(gene)], VERSIONS
    if why is not None:
        warnings.append(f"{listed(disguised, 3)} would be genes of the result under these very ids: {why}")
    return warnings


def _matching_warnings(row_counts: RowCounts) -> Iterator[str]:
    if row_counts.respelled:
        yield respelling_warning(row_counts.respelled)
    elif row_counts.versions_ignored:
        yield "the gene table's ids have versions and this matrix's have none: they were matched without versions"
    if row_counts.other_version_rows:
        rows = counted(row_counts.other_version_rows, "row")
        yield (
            f"{rows} left out, of ids that the gene table has in another version: take versions off on both sides with "
            f"{STRIP_VERSION}"
        )


def why_none(
    row_counts: RowCounts,
    rows: RowIds,
    own_types: npt.NDArray[np.str_] | None,
    table: GeneTable | None,
    gene_types: tuple[str, ...],
    gene_map: GeneMap | None,
) -> tuple[str, str]:
    """Return what kept every row of a matrix from being selected, as an error's kind, and a sentence with the cause."""
    if not row_counts.rows:
        return "no row", "the matrix has no row"
    if row_counts.no_id_rows == row_counts.rows:
        return "no ids", (
            f"none of its {counted(row_counts.rows, 'row')} has an id that can be a gene's; it has "
            f"{listed(list(row_counts.no_id_examples), 3)}: name the attribute that holds Ensembl ids with "
            f"{GENE_ID_ATTR}"
        )
    if gene_map is not None and row_counts.unmapped_rows + row_counts.no_id_rows == row_counts.rows:
        names = rows.names[~rows.lacking]
        return "unmapped ids", (
            f"none of its {counted(len(names), 'gene id')} is in the gene map {gene_map.path}; "
            f"it has {listed(names.tolist(), 3)}: {_why_unmapped(rows, gene_map)}"
        )
    if table is not None and not row_counts.known_rows:
        which = "gene id" if gene_map is None else "mapped gene id"
        ids = rows.ids[rows.ids != ""]
        return "unknown ids", (
            f"none of its {counted(len(ids), which)} is in the gene table {table.path}; "
            f"it has {listed(ids.tolist(), 3)}: {_why_unknown(rows, table, gene_map)}"
        )
    types = sorted(set(own_types.tolist())) if own_types is not None else []
    own = f"; its gene types are {listed(types, 8)}" if types else ""
    also = " in the gene table and" if table is not None and own_types is not None else ""
    return "no chosen gene type", f"no gene is{also} of a chosen type {list(gene_types)}{own}"


def _why_unmapped(rows: RowIds, gene_map: GeneMap) -> str:
    """Say why a gene map may not know what a matrix's rows are called."""
    unmapped = rows.names[(rows.ids == "") & ~rows.lacking][:_SAMPLE]
    if np.any(gene_map.ids_of(without_version(unmapped)) != ""):
        return VERSIONS
    targets = set(gene_map.ids.values())
    if any(name in targets for name in unmapped.tolist()):
        return "they are ids that the map leads to: for files that have these already, let it lead them to themselves"
    return why_unlike(unmapped.tolist()) or (
        f"the map has names such as {listed(list(islice(gene_map.ids, 3)), 3)}: "
        f"it may be of another species or annotation, or another attribute has such names ({GENE_ID_ATTR})"
    )


def _why_unknown(rows: RowIds, table: GeneTable | None, gene_map: GeneMap | None) -> str:
    """Say why a gene table may not know the ids of a matrix."""
    known = table.gene_types if table is not None else {}
    unknown = [gene for gene in rows.ids.tolist() if gene and gene not in known][:_SAMPLE]
    if any(gene in known for gene in map(version_off, unknown)):
        return VERSIONS
    in_other_versions = not {version_off(gene) for gene in unknown}.isdisjoint(map(version_off, known))
    if table is not None and table.has_versions and in_other_versions:
        return _TABLE_HAS_VERSIONS
    if gene_map is not None:
        return f"these are ids of the gene map {gene_map.path}: map and table may be of two species or annotations"
    why = why_unlike(unknown) if unknown else None
    if why is not None:
        return why
    if unknown and not any(gene.startswith("ENS") for gene in unknown):
        return (
            f"they look like gene symbols: name the attribute that holds Ensembl ids with {GENE_ID_ATTR}, "
            f"or map them with {GENE_MAP}"
        )
    return "they may be of another species or annotation"
