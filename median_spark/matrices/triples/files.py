"""The three files of a matrix of triples, by the name of the one that holds the counts.

10x and its followers write matrix.mtx, features.tsv (before Cell Ranger 3 genes.tsv) and barcodes.tsv; Parse writes
DGE.mtx or count_matrix.mtx, all_genes.csv and cell_metadata.csv. Each may be gzipped. GEO puts one prefix before the
names of all three, so that a folder may hold several matrices.
"""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from median_spark import storage
from median_spark.errors import InputError


@dataclass(frozen=True)
class Convention:
    """How one writer names the lists of genes and of cells, and turns the matrix."""

    writer: str
    matrix: tuple[str, ...]
    genes: tuple[str, ...]
    cells: tuple[str, ...]
    genes_by_cells: bool

    def prefixes(self, name: str) -> list[str]:
        """Return what a file's name has before this convention's own name of the file of counts."""
        plain = name.lower().removesuffix(".gz")
        return [name[: len(plain) - len(one)] for one in self.matrix if plain.endswith(one)]


TENX = Convention("10x", ("matrix.mtx",), ("features.tsv", "genes.tsv"), ("barcodes.tsv",), genes_by_cells=True)
PARSE = Convention(
    "Parse", ("dge.mtx", "count_matrix.mtx"), ("all_genes.csv",), ("cell_metadata.csv",), genes_by_cells=False
)


TRIPLES_ENDINGS = tuple(f"{name}{gz}" for one in (TENX, PARSE) for name in one.matrix for gz in ("", ".gz"))
"""Endings of the names of files with counts."""


@dataclass(frozen=True)
class TripleFiles:
    """The locations of the three files, and the convention that they follow."""

    matrix: str
    genes: str
    cells: str
    convention: Convention


def find_files(location: str) -> TripleFiles:
    """Return the files that belong to a file of counts; InputError if one is missing, or is there twice."""
    folder, _, name = location.rpartition("/")
    names = storage.names_in(folder or "/")
    if name not in names:
        message = f"{location}: there is no such file"
        raise InputError(message)
    prefix, convention = _convention(name, names)
    genes = _one_of(location, names, prefix, convention.genes, "the list of its genes")
    cells = _one_of(location, names, prefix, convention.cells, "the list of its cells")
    return TripleFiles(location, f"{folder}/{genes}", f"{folder}/{cells}", convention)


def companions(name: str, beside: Collection[str]) -> list[str]:
    """Return which of the files beside a file of counts belong to it, ascending."""
    prefix, convention = _convention(name, beside)
    return _candidates(beside, prefix, convention.genes + convention.cells)


def _convention(name: str, beside: Collection[str]) -> tuple[str, Convention]:
    """Return the prefix of a matrix's files, and the convention that they follow.

    ``count_matrix.mtx`` is Parse's name, or 10x's with a prefix: what is beside it decides.
    """
    found = [(prefix, one) for one in (PARSE, TENX) for prefix in one.prefixes(name)]
    for prefix, one in found:
        if _candidates(beside, prefix, one.genes + one.cells):
            return prefix, one
    return found[0] if found else ("", TENX)


def _one_of(location: str, names: Collection[str], prefix: str, wanted: tuple[str, ...], what: str) -> str:
    found = _candidates(names, prefix, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{location}: {what} is there twice, as {' and '.join(found)} beside it: take one of them away"
    else:
        message = (
            f"{location}: {what} is missing: there must be {' or '.join(prefix + name for name in wanted)}, perhaps "
            "with .gz, in the same folder"
        )
    raise InputError(message)


def _candidates(names: Collection[str], prefix: str, wanted: tuple[str, ...]) -> list[str]:
    endings = {f"{prefix}{name}{gz}".lower() for name in wanted for gz in ("", ".gz")}
    return sorted(name for name in names if name.lower() in endings)


@contextlib.contextmanager
def open_text(location: str) -> Iterator[storage.ForwardStream]:
    """Give the text of a file from its beginning on, decompressed; InputError if it is missing or may not be read."""
    try:
        with storage.open_forward(location) as stream:
            yield stream
    except FileNotFoundError as error:
        message = f"{location}: there is no such file"
        raise InputError(message) from error
    except PermissionError as error:
        message = f"{location}: this file may not be read by this user"
        raise InputError(message) from error
