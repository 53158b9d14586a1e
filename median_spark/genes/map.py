"""The gene map: ids and symbols to one id a gene, as a tokenizer collapses them. Knows nothing of matrices."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from median_spark import pickles, storage
from median_spark.errors import GeneMapError, counted, listed
from median_spark.genes.ids import no_ids, without_version
from median_spark.genes.rows import read_content, read_rows

NAME_COLUMNS = ("name", "gene", "gene_name", "gene_symbol", "symbol", "alias", "gene_id")
"""Columns in which a gene map may keep the names found in matrices; the first that is there is taken."""

ID_COLUMNS = ("ensembl_id", "gene_id")
"""Columns in which a gene map may keep the ids to use; the first that is there is taken."""

_PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True)
class GeneMap:
    """Under which id the counts of a row are summed, by what the row is called.

    Attributes
    ----------
    path : str
        Where it was read from.
    ids : dict of str to str
        Name in upper case to Ensembl id; neither is empty.
    """

    path: str
    ids: dict[str, str]

    def __post_init__(self) -> None:
        lower = [name for name in self.ids if name != name.upper()]
        if lower or "" in self.ids or "" in self.ids.values():
            what = f"the names {listed(lower, 3)} are not in upper case" if lower else "a name or an id is empty"
            message = f"{self.path}: {what}; GeneMap.from_pairs makes a gene map of any names"
            raise GeneMapError(message)

    @classmethod
    def from_pairs(cls, path: str, pairs: Iterable[tuple[str, str]]) -> Self:
        """Return the map of pairs of name and id: names in upper case, pairs without a name or an id passed over.

        Parameters
        ----------
        path : str
            Where the pairs come from, for messages.
        pairs : iterable of tuple of str
            Name, of any case, and id.

        Raises
        ------
        GeneMapError
            If one name, in upper case, has two ids, or if there is no pair.
        """
        ids: dict[str, str] = {}
        twice: dict[str, set[str]] = {}
        for name, gene in pairs:
            if name and gene and ids.setdefault(name.upper(), gene) != gene:
                twice.setdefault(name.upper(), {ids[name.upper()]}).add(gene)
        if twice:
            name = min(twice)
            message = (
                f"{path}: {counted(len(twice), 'name')} of the gene map with more than one id, once in upper case: "
                f"{listed(sorted(twice))}; '{name}' has {listed(sorted(twice[name]))}: keep one of them"
            )
            raise GeneMapError(message)
        if not ids:
            message = f"{path}: the gene map is empty; it must lead names to ids"
            raise GeneMapError(message)
        return cls(path, ids)

    def ids_of(self, names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
        """Return the id of each name, whatever its case and the blanks around it; empty where the map lacks it.

        Parameters
        ----------
        names : ndarray of str, shape (rows,)
            Ids or symbols.
        """
        found = [self.ids.get(name.upper()) or self.ids.get(name.strip().upper(), "") for name in names.tolist()]
        return np.array(found, dtype=np.str_)

    def fingerprint(self) -> str:
        """Return a digest of the content: the same for maps that say the same, in whatever order or format."""
        return hashlib.sha256(json.dumps(sorted(self.ids.items())).encode()).hexdigest()[:16]


def read_gene_map(location: str) -> GeneMap:
    """Read a gene map: a CSV, or a pickle of a plain dict such as Geneformer's ensembl_mapping_dict.

    A CSV has a header with a column for the names found in matrices (`NAME_COLUMNS`) and one for the ids to use
    (`ID_COLUMNS`), wherever they stand; other columns, and rows without a name or an id, are passed over. A pickle's
    name ends in .pkl or .pickle.

    Parameters
    ----------
    location : str
        Path or URI.

    Raises
    ------
    GeneMapError
        If it cannot be read, lacks a column, holds anything but text, or leads one name to two ids.
    InputError
        If a pickle holds what would have to be run.
    """
    location = storage.canonical(location)
    if location.lower().endswith(_PICKLES):
        return GeneMap.from_pairs(location, _pickled_pairs(location))
    frame = read_rows(location, "gene map", GeneMapError)
    id_column = next((column for column in ID_COLUMNS if column in frame.columns), None)
    name_column = next((column for column in NAME_COLUMNS if column in frame.columns and column != id_column), None)
    if id_column is None or name_column is None:
        missing, columns = ("the ids to use", ID_COLUMNS) if id_column is None else ("the names", NAME_COLUMNS)
        message = (
            f"{location}: the gene map has no column for {missing}; it has {listed(list(frame.columns), 8)}, "
            f"and one must be called {listed(list(columns[:-1]), 8)} or '{columns[-1]}'"
        )
        raise GeneMapError(message)
    return GeneMap.from_pairs(location, zip(frame[name_column], frame[id_column], strict=True))


def _pickled_pairs(location: str) -> list[tuple[str, str]]:
    """Return the items of a pickled dict of text."""
    content = read_content(location, "gene map", GeneMapError)
    pairs: list[tuple[str, str]] = []
    for name, gene in pickles.read_dict(content, location, "a dict of name to id", GeneMapError).items():
        if not (isinstance(name, str) and isinstance(gene, str)):
            message = f"{location}: the gene map must hold text only; the name {name!r:.60} has the id {gene!r:.60}"
            raise GeneMapError(message)
        pairs.append((name, gene))
    return pairs


@dataclass(frozen=True)
class RowIds:
    """What the rows of a matrix are called, and under which id they count.

    Attributes
    ----------
    names : ndarray of str, shape (rows,)
        As the matrix has them, or without versions.
    ids : ndarray of str, shape (rows,)
        Empty where a row has no id, or where a gene map lacks its name.
    lacking : ndarray of bool, shape (rows,)
        Rows without an id: their name is none, or the gene map leads it to none; see `median_spark.genes.ids.is_no_id`.
    """

    names: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    lacking: npt.NDArray[np.bool_]


def row_ids(gene_ids: npt.NDArray[np.str_], gene_map: GeneMap | None, *, strip_version: bool) -> RowIds:
    """Return what the rows of a matrix are called, and under which id they count.

    Parameters
    ----------
    gene_ids : ndarray of str, shape (rows,)
        As the matrix has them.
    gene_map : GeneMap or None
        Without one, rows count under what they are called. With one, numbers that it has, such as Entrez's, are names.
    strip_version : bool
        Whether the versions of Ensembl ids are taken off.
    """
    names = without_version(gene_ids) if strip_version else gene_ids
    lacking = no_ids(names)
    if gene_map is None:
        return RowIds(names, np.where(lacking, "", names), lacking)
    found = np.where(no_ids(names, numbers_are_ids=True), "", gene_map.ids_of(names))
    mapped = found != ""
    lacking = np.where(mapped, no_ids(found), lacking)
    return RowIds(names, np.where(lacking, "", found), lacking)
