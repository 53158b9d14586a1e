"""The gene map: ids and symbols to one id per gene, as a tokenizer collapses them. Knows nothing of matrices."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from median_spark import pickles, storage
from median_spark.errors import GeneMapError, counted, listed
from median_spark.genes.text_table import read_columns, read_content

NAME_COLUMNS = ("name", "gene", "gene_name", "gene_symbol", "symbol", "alias", "gene_id")
"""Columns in which a gene map may keep the names found in matrices; the first present is taken."""

ID_COLUMNS = ("ensembl_id", "gene_id")
"""Columns in which a gene map may keep the ids to use; the first present is taken."""

_PICKLES = (".pkl", ".pickle")

_ALLOWED = "a CSV or TSV, which may be gzipped, or a pickled dict whose name ends in .pkl or .pickle"


@dataclass(frozen=True)
class GeneMap:
    """Ensembl id under which the counts of a row are summed, by the row's name.

    Attributes
    ----------
    path : str
        Location it was read from.
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
        """Return the map of pairs of name and id: names in upper case, pairs without a name or an id skipped.

        Parameters
        ----------
        path : str
            Location the pairs come from, for messages.
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
        """Return the id of each name, in any case and with blanks around it; empty where the map lacks it."""
        ids = [self.ids.get(name.upper()) or self.ids.get(name.strip().upper(), "") for name in names.tolist()]
        return np.array(ids, dtype=np.str_)

    def fingerprint(self) -> str:
        """Return a digest of the content, the same in any order and format."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(sorted(self.ids.items())).encode()).hexdigest()[:16]


def read_gene_map(location: str) -> GeneMap:
    r"""Read a gene map: a CSV, or a pickle of a plain dict such as Geneformer's ensembl_mapping_dict.

    A CSV has a header with a column for the names found in matrices (`NAME_COLUMNS`) and one for the ids to use
    (`ID_COLUMNS`), in any position; other columns, and rows without a name or an id, are skipped. A pickle's name ends
    in .pkl or .pickle.

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

    Examples
    --------
    >>> from pathlib import Path
    >>> import median_spark
    >>> Path("map.csv").write_text("name,ensembl_id\nTP53,ENSG00000141510\n")
    37
    >>> len(median_spark.read_gene_map("map.csv").ids)
    1
    """
    location = storage.canonical(location)
    if location.lower().endswith(_PICKLES):
        return GeneMap.from_pairs(location, _pickled_pairs(location))
    columns = read_columns(location, "gene map", _ALLOWED, GeneMapError)
    id_column = next((column for column in ID_COLUMNS if column in columns), None)
    name_column = next((column for column in NAME_COLUMNS if column in columns and column != id_column), None)
    if id_column is None or name_column is None:
        missing, accepted = ("the ids to use", ID_COLUMNS) if id_column is None else ("the names", NAME_COLUMNS)
        message = (
            f"{location}: the gene map has no column for {missing}; it has {listed(list(columns), 8)}, "
            f"and one must be called {listed(list(accepted[:-1]), 8)} or '{accepted[-1]}'"
        )
        raise GeneMapError(message)
    return GeneMap.from_pairs(location, zip(columns[name_column], columns[id_column], strict=True))


def _pickled_pairs(location: str) -> Iterable[tuple[str, str]]:
    """Yield the items of a pickled dict of text."""
    content = read_content(location, "gene map", GeneMapError)
    for name, gene in pickles.read_dict(content, location, "a dict of name to id", GeneMapError).items():
        if not (isinstance(name, str) and isinstance(gene, str)):
            message = f"{location}: the gene map must hold text only; the name {name!r:.60} has the id {gene!r:.60}"
            raise GeneMapError(message)
        yield name, gene
