"""The formats that can be read: each is one module or folder with a `CountMatrix`, and one line in `FORMATS`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from median_spark import storage
from median_spark.errors import InputError
from median_spark.matrices.anndata.h5ad import H5adMatrix
from median_spark.matrices.contract import CountMatrix
from median_spark.matrices.h5 import open_h5
from median_spark.matrices.loom import LoomMatrix
from median_spark.matrices.options import AUTO_LAYER, AttributeNames
from median_spark.matrices.parquet.matrix import ParquetMatrix, is_other_table
from median_spark.matrices.soma.experiment import SomaMatrix
from median_spark.matrices.triples.files import TRIPLES_ENDINGS, companions
from median_spark.matrices.triples.matrix import TriplesMatrix
from median_spark.matrices.zarr.matrix import open_zarr
from median_spark.storage import FileStat


def _none(_name: str, _beside: Collection[str]) -> list[str]:
    return []


def _never(_path: str) -> bool:
    return False


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    name : str
        Name for ``spark.read.format``.
    opener : callable
        Opens the matrix at a path or URI, with attribute names and a layer.
    endings : tuple of str
        Endings of a file's name, or of a folder's if there are `marks`; in lower case.
    marks : tuple of str
        Names of files or folders that make the folder they lie in one matrix.
    companions : callable
        Takes a file's name and those beside it; returns the names of the other files that belong to the matrix.
    only_named : bool
        True if folders are searched for it only if they hold no other matrix.
    ignored : callable
        Says of a path in a searched folder that it is no matrix, whatever its ending.
    """

    name: str
    opener: Callable[[str, AttributeNames, str], CountMatrix]
    endings: tuple[str, ...]
    marks: tuple[str, ...] = ()
    companions: Callable[[str, Collection[str]], list[str]] = _none
    only_named: bool = False
    ignored: Callable[[str], bool] = _never

    @property
    def has_companions(self) -> bool:
        """Whether a matrix is several files side by side."""
        return self.companions is not _none

    def ending(self, path: str) -> str | None:
        """Return the longest of the endings that a path has, as it is written there, or None."""
        lower = path.lower()
        return max((path[-len(end) :] for end in self.endings if lower.endswith(end)), key=len, default=None)

    def named(self, path: str, below: int) -> str:
        """Return the name of the source at a path: what follows the first `below` characters, without the ending.

        For a matrix of several files, this is the folder's name, with what all of these files' names begin with.
        """
        stem = path[below:].removesuffix(self.ending(path) or "")
        if self.has_companions:
            stem = stem.rstrip("/._- ")
        folder = path.rpartition("/")[0] if self.has_companions else path
        return stem or folder.rpartition("/")[2].removesuffix(self.ending(folder) or "")


FORMATS = (
    Format("loom", LoomMatrix, (".loom", ".loom.gz")),
    Format("h5ad", H5adMatrix, (".h5ad", ".h5ad.gz")),
    Format("10x", open_h5, (".h5", ".h5.gz")),
    Format("mtx", TriplesMatrix, TRIPLES_ENDINGS, companions=companions),
    Format("zarr", open_zarr, (".zarr",), marks=("zarr.json", ".zgroup")),
    Format("soma", SomaMatrix, (".soma",), marks=("__tiledb_group.tdb",)),
    Format("counts_parquet", ParquetMatrix, (".parquet",), only_named=True, ignored=is_other_table),
)

ENDINGS = tuple(ending for one in FORMATS for ending in one.endings)
"""The endings of what can be read, for people."""


def either(endings: Sequence[str]) -> str:
    """Return some endings in words, such as ``.loom, .h5ad or .zarr``."""
    return " or ".join(filter(None, (", ".join(endings[:-1]), *endings[-1:])))


_ZIPPED_STORE = ".zarr.zip"


def format_of_file(path: str, formats: Collection[Format] = FORMATS) -> Format | None:
    """Return the format of a file by its name, None if it has none of their endings."""
    found = [(len(ending), one) for one in formats if not one.marks and (ending := one.ending(path)) is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def format_of_folder(names: Collection[str], formats: Collection[Format] = FORMATS) -> Format | None:
    """Return the format of a folder that is a matrix, by the names in it, else None."""
    return next((one for one in formats if not set(one.marks).isdisjoint(names)), None)


def zipped_store(path: str) -> str | None:
    """Say what to do with a file that is a zarr store in a zip file, by its name; None of other files."""
    if not path.lower().endswith(_ZIPPED_STORE):
        return None
    name = path.rpartition("/")[2]
    folder = f"{name[: -len(_ZIPPED_STORE)]}.zarr"
    return f"it is a zarr store in a zip file, which cannot be read: unzip it with `unzip '{name}' -d '{folder}'`"


def matrix_at(folder: str, names: Collection[str]) -> str | None:
    """Return the path of the one matrix that a folder is, or that the files in it make; None if there is no such.

    `names` are those in the folder.
    """
    if format_of_folder(names) is not None:
        return folder
    found = [name for name in names if (one := format_of_file(name)) is not None and one.has_companions]
    return storage.join(folder, found[0]) if len(found) == 1 else None


def format_at(location: str) -> Format | None:
    """Return the format of a matrix by its name, or by the names in its folder; None if they tell none."""
    found = format_of_file(location)
    if found is None and storage.kind(location) == "folder":
        found = format_of_folder(storage.names_in(location))
    return found


def open_matrix(location: str, names: AttributeNames, layer: str = AUTO_LAYER) -> CountMatrix:
    """Open a count matrix at a path or URI; close it by using it as a context manager.

    InputError if its name or content tells no format, or it is missing or not of its format, or has no such layer.
    """
    found = format_at(location)
    if found is None:
        why = zipped_store(location)
        message = f"{location}: {why or f'not a matrix that can be read; its name must end in {either(ENDINGS)}'}"
        raise InputError(message)
    matrix = found.opener(location, names, layer)
    matrix.format_name = found.name
    return matrix


def matrix_stat(location: str, formats: Collection[Format] = FORMATS) -> FileStat | None:
    """Return the size and the last change of all files of a matrix, or None if there is none."""
    file = storage.stat(location)
    if file is None:
        return storage.folder_stat(location)
    found = format_of_file(location, formats)
    if found is None or not found.has_companions:
        return file
    folder, _, name = location.rpartition("/")
    others = found.companions(name, storage.names_in(folder))
    beside = [storage.stat(storage.join(folder, other)) for other in others]
    return storage.joint_stat(location, [file, *(one for one in beside if one is not None)])
