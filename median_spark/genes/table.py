"""The gene table: a corpus's genes, their types and their names. Knows nothing of matrices."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Self

from median_spark import storage
from median_spark.errors import GeneTableError, UsageError, counted, listed
from median_spark.genes.annotation import ALLOWED, GeneColumns, read_annotation
from median_spark.genes.ids import has_version, is_no_id, like_ensembl, version_off
from median_spark.genes.text_table import read_columns
from median_spark.options import GENE_TABLE

DEFAULT_GENE_TYPES = ("protein_coding", "miRNA")
"""The published procedure's choice of `gene_type`."""

ID_COLUMNS = (
    "ensembl_id",
    "ensembl_ids",
    "ensembl_gene_id",
    "gene_stable_id",
    "ensembl_gene_id_version",
    "gene_stable_id_version",
    "gene_id",
    "gene_ids",
    "feature_id",
)
"""Columns in which gene tables keep ids, in any case and with any separators, such as BioMart's ``Gene stable ID``; the
first present is taken. Without any of them, ids may be the names of rows, as R and pandas write them."""

TYPE_COLUMNS = ("gene_type", "gene_biotype", "feature_type", "biotype")
"""Columns in which gene tables keep gene types; the first present is taken."""

_MOST_TYPES = 60
"""Gene types that are listed at most; GENCODE and Ensembl have about 40."""

NAME_COLUMNS = ("gene_name", "gene_symbol", "symbol", "external_gene_name", "hgnc_symbol", "mgi_symbol", "feature_name")
"""Columns in which gene tables keep names for people; the first present is taken."""


@dataclass(frozen=True)
class GeneTable:
    """The genes that a corpus is about.

    Attributes
    ----------
    path : str
        Location it was read from.
    gene_types : dict of str to str
        Ensembl id to gene type, every row of the table.
    gene_names : dict of str to str
        Ensembl id, as the table has it and also without version, to the gene's name for people, of the genes that have
        one; decides nothing.
    """

    path: str
    gene_types: dict[str, str]
    gene_names: dict[str, str] = field(default_factory=dict)

    def universe(self, gene_types: tuple[str, ...]) -> list[str]:
        """Return the table's genes of the chosen types, ascending.

        GeneTableError if there is none, or if the table has no gene of a type that is not among the defaults.
        """
        held = set(self.gene_types.values())
        # The defaults may be lacking: a table of long RNAs has no miRNA.
        unknown = sorted(set(gene_types) - held - set(DEFAULT_GENE_TYPES))
        if unknown and not held.isdisjoint(gene_types):
            message = (
                f"{self.path}: the gene table has no gene of type {listed(unknown)}; "
                f"its types are {listed(sorted(held), _MOST_TYPES)}"
            )
            raise GeneTableError(message)
        genes = sorted(gene for gene, gene_type in self.gene_types.items() if gene_type in gene_types)
        if not genes:
            message = (
                f"{self.path}: no gene has a gene_type among {list(gene_types)}; "
                f"the table has {listed(sorted(held), _MOST_TYPES)}"
            )
            raise GeneTableError(message)
        return genes

    @cached_property
    def has_versions(self) -> bool:
        """Whether any of its ids is Ensembl's with a version."""
        return any(map(has_version, self.gene_types))

    @cached_property
    def without_versions(self) -> Self:
        """The table with versions taken off its ids; GeneTableError if two versions of one id have two types."""
        if not self.has_versions:
            return self
        typed = sorted((version_off(gene), gene_type) for gene, gene_type in self.gene_types.items())
        once = " once versions are taken off", ": keep one version of each"
        return replace(self, gene_types=_one_type_each(self.path, typed, *once))

    @cached_property
    def _stems(self) -> frozenset[str]:
        """Its Ensembl ids without versions."""
        return frozenset(map(version_off, self.gene_types)) if self.has_versions else frozenset(self.gene_types)

    def in_other_versions(self, unknown: list[str]) -> int:
        """Return how many of some ids, which the table lacks, it has in another version, or without any."""
        return sum(version_off(gene) in self._stems for gene in unknown if self.has_versions or has_version(gene))

    def fingerprint(self) -> str:
        """Return a digest of ids and types, not names: the same for tables that say the same, in whatever order."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        rows = "\n".join(f"{gene}\t{gene_type}" for gene, gene_type in sorted(self.gene_types.items()))
        return hashlib.sha256(rows.encode()).hexdigest()[:16]


def read_gene_table(location: str | Sequence[str]) -> GeneTable:
    """Read a gene table: an annotation of Ensembl or GENCODE (GTF, GFF3), or a CSV with ids and gene types.

    Several tables, as of several species, become one. A CSV has columns for ids, gene types and perhaps names, in any
    position, called as `ID_COLUMNS`, `TYPE_COLUMNS` and `NAME_COLUMNS` in `median_spark.genes.table`. Other columns,
    and rows whose id is none (see `median_spark.genes.ids.is_no_id`), are skipped. Separators other than commas, and
    the files that R's ``write.csv`` and ``write.table`` write, are understood. Files may be gzipped.

    Parameters
    ----------
    location : str or sequence of str
        Path or URI of the table, or of each table.

    Raises
    ------
    GeneTableError
        If one cannot be read, lacks a column or rows, or gives one id two types; if two tables give one id two types.
    UsageError
        If no table is named.

    Examples
    --------
    >>> import median_spark
    >>> genes = median_spark.read_gene_table("corpus/gene_info_table.csv")
    >>> len(genes.universe(("protein_coding",))) > 0
    True
    """
    locations = [location] if isinstance(location, str) else list(location)
    if not locations:
        message = f"{GENE_TABLE:name} names no file"
        raise UsageError(message)
    first, *others = [_read_one(storage.canonical(each)) for each in locations]
    return reduce(_joined, others, first)


def _joined(table: GeneTable, other: GeneTable) -> GeneTable:
    """Return the genes of both tables; the path names both."""
    twice = sorted(
        gene for gene in table.gene_types.keys() & other.gene_types if table.gene_types[gene] != other.gene_types[gene]
    )
    if twice:
        types = f"'{table.gene_types[twice[0]]}' and '{other.gene_types[twice[0]]}'"
        message = (
            f"{table.path} and {other.path}: {counted(len(twice), 'gene id')} with another gene type in each: "
            f"{listed(twice)}; '{twice[0]}' has {types}: keep one of the tables, or make them agree"
        )
        raise GeneTableError(message)
    return GeneTable(
        f"{table.path}, {other.path}", table.gene_types | other.gene_types, other.gene_names | table.gene_names
    )


def _read_one(location: str) -> GeneTable:
    columns = read_annotation(location) or _columns_of_csv(location)
    rows = [row for row, gene in enumerate(columns.ids) if not is_no_id(gene)]
    if not rows:
        ids = list(dict.fromkeys(columns.ids))
        instead = f"not {listed(ids, 3)}" if ids else "and it has no row but its header"
        message = f"{location}: the column '{columns.id_column}' of the gene table must hold Ensembl ids, {instead}"
        raise GeneTableError(message)
    gene_types = _one_type_each(location, ((columns.ids[row], columns.gene_types[row]) for row in rows))
    names: dict[str, str] = {}
    for row in rows:
        if columns.names[row]:
            names.setdefault(columns.ids[row], columns.names[row])
    for gene, name in list(names.items()):
        names.setdefault(version_off(gene), name)
    return GeneTable(location, gene_types, names)


def _columns_of_csv(location: str) -> GeneColumns:
    columns = read_columns(location, "gene table", ALLOWED, GeneTableError)
    row_names = columns.get("", [])
    others = ("",) if sum(map(like_ensembl, row_names)) * 2 > len(row_names) else ()  # the names of R's rows, an index
    ids = _column(location, columns, "ids", ID_COLUMNS, others)
    gene_types = _column(location, columns, "gene types", TYPE_COLUMNS)
    named = _first_column(columns, NAME_COLUMNS)
    names = columns[named] if named is not None else [""] * len(columns[ids])
    return GeneColumns(ids, columns[ids], columns[gene_types], names)


def _column(
    location: str, columns: dict[str, list[str]], what: str, accepted: tuple[str, ...], others: tuple[str, ...] = ()
) -> str:
    name = _first_column(columns, (*accepted, *others))
    if name is None:
        message = (
            f"{location}: the gene table has no column for {what}; it has {listed(list(columns), 12)}, and one must be "
            f"called {listed(list(accepted[:-1]), len(accepted))} or '{accepted[-1]}'"
        )
        raise GeneTableError(message)
    return name


def _first_column(columns: dict[str, list[str]], accepted: tuple[str, ...]) -> str | None:
    """Return the first of the accepted columns that is there: under this very name, or else one that is alike."""
    alike = {re.sub("[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(columns)}
    names = (name if name in columns else alike.get(name) for name in accepted)
    return next((name for name in names if name is not None), None)


def _one_type_each(location: str, typed: Iterable[tuple[str, str]], why: str = "", hint: str = "") -> dict[str, str]:
    """Return the pairs of id and gene type as a dict; GeneTableError if an id has more than one type."""
    pairs = list(dict.fromkeys(typed))
    gene_types = dict(pairs)
    twice = sorted({gene for gene, gene_type in pairs if gene_types[gene] != gene_type})
    if twice:
        ids = counted(len(twice), "gene id")
        message = f"{location}: {ids} with more than one gene_type{why}: {listed(twice)}{hint}"
        raise GeneTableError(message)
    return gene_types
