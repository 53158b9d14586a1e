"""The three files of a matrix of triples, by the name of the one that holds the counts.

10x and its followers write matrix.mtx, features.tsv (before Cell Ranger 3 genes.tsv) and barcodes.tsv; Parse writes
DGE.mtx or count_matrix.mtx, all_genes.csv and cell_metadata.csv. Each may be gzipped. GEO puts one prefix before the
names of all three, so that a folder may hold several matrices.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from median_spark import storage
from median_spark.errors import InputError

TENX_MATRIX = re.compile(r"(?P<prefix>.*?)matrix\.mtx(\.gz)?", re.IGNORECASE)
PARSE_MATRIX = re.compile(r"(?P<prefix>.*?)(DGE|count_matrix)\.mtx(\.gz)?", re.IGNORECASE)
"""Names of files with the counts."""


@dataclass(frozen=True)
class Convention:
    """How one writer names the lists of genes and of cells, and turns the matrix."""

    writer: str
    genes: tuple[str, ...]
    cells: tuple[str, ...]
    genes_by_cells: bool


TENX = Convention("10x", ("features.tsv", "genes.tsv"), ("barcodes.tsv",), genes_by_cells=True)
PARSE = Convention("Parse", ("all_genes.csv",), ("cell_metadata.csv",), genes_by_cells=False)


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
    parse, tenx = PARSE_MATRIX.fullmatch(name), TENX_MATRIX.fullmatch(name)
    if parse is None and tenx is None:
        message = (
            f"{location}: not a matrix that can be read; the name of a file of triples must end in matrix.mtx (10x), "
            "DGE.mtx or count_matrix.mtx (Parse), perhaps with .gz"
        )
        raise InputError(message)
    if parse is not None and (tenx is None or _candidates(names, parse["prefix"], (*PARSE.genes, *PARSE.cells))):
        return _files(location, names, parse["prefix"], PARSE)
    prefix = tenx["prefix"] if tenx is not None else ""
    return _files(location, names, prefix, TENX)


def _files(location: str, names: list[str], prefix: str, convention: Convention) -> TripleFiles:
    folder = location.rpartition("/")[0]
    genes = _one_of(location, names, prefix, convention.genes, "the list of its genes")
    cells = _one_of(location, names, prefix, convention.cells, "the list of its cells")
    return TripleFiles(location, f"{folder}/{genes}", f"{folder}/{cells}", convention)


def _one_of(location: str, names: list[str], prefix: str, wanted: tuple[str, ...], what: str) -> str:
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


def _candidates(names: list[str], prefix: str, wanted: tuple[str, ...]) -> list[str]:
    endings = {f"{prefix}{name}{gz}".lower() for name in wanted for gz in ("", ".gz")}
    return [name for name in names if name.lower() in endings]


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
