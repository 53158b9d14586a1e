"""Reading one file of digests, of whichever kind, into the same shape, and refusing what cannot be merged."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from median_spark import storage
from median_spark.digests import Digest, check_digests
from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import DigestError, InputError, TableError, counted, listed
from median_spark.merging.find import DigestFile, Kind
from median_spark.results import DIGESTS_SCHEMA, RESULT_FORMAT_VERSION

_BEGINNING = 2**18  # bytes of a pickle that hold its first digest, whatever its compression


@dataclass(frozen=True)
class FileHead:
    """What is known of a file of digests before it is read.

    Attributes
    ----------
    compression : float or None
        Of its digests, or of the first of them; None if there are none.
    provenance : dict or None
        Of a result.
    """

    compression: float | None
    provenance: dict[str, Any] | None


@dataclass(frozen=True)
class FileDigests:
    """What a file of digests holds.

    Attributes
    ----------
    genes : list of str
        All of its genes, detected or not.
    digests : dict of str to Digest
        Of the detected ones.
    compressions : dict of str to float
        Of the same genes.
    n_sources : dict of str to int
        Of the same genes: sources with a value, or 1 where the file does not say.
    says_sources : bool
        Whether `n_sources` is what the file says.
    sha256 : str
        Of the file's content.
    """

    genes: list[str]
    digests: dict[str, Digest]
    compressions: dict[str, float]
    n_sources: dict[str, int]
    says_sources: bool
    sha256: str


def read_head(found: DigestFile) -> FileHead:
    """Look at a file of digests without reading all of it.

    Raises
    ------
    InputError
        If it cannot be read, or is no pickle of digests.
    TableError
        If it is no digests.parquet of this format version, or damaged.
    """
    path = found.file.path
    if found.kind is not Kind.RESULT:
        return FileHead(first_compression(_content(path, _BEGINNING, found.file.size), path), None)
    with _naming_faults(path):
        filesystem, inner = storage.resolve(path)
        read = partial(pq.read_table, inner, columns=["compression"], filesystem=filesystem, partitioning=None)
        table = storage.with_retries(path, read)
    provenance = _provenance(path, table.schema.metadata or {})
    compressions = sorted(set(table["compression"].to_pylist()))
    if len(compressions) > 1:
        message = f"{path}: its digests must have one compression, not {listed([str(c) for c in compressions])}"
        raise TableError(message)
    return FileHead(compressions[0] if compressions else None, provenance)


def read_digests(found: DigestFile, head: FileHead) -> FileDigests:
    """Read a file of digests and check every one of them.

    Raises
    ------
    InputError
        If it cannot be read, is no pickle of digests, or if a digest is none of values above 0.
    TableError
        If it is a damaged digests.parquet.
    """
    content = _content(found.file.path)
    digest = hashlib.sha256(content).hexdigest()
    if found.kind is Kind.RESULT:
        read = _read_result(found.file.path, content, head, digest)
    else:
        pickled = unpickle_digests(content, found.file.path)
        genes = [*pickled.digests, *pickled.undetected]
        once = dict.fromkeys(pickled.digests, 1)
        read = FileDigests(genes, pickled.digests, pickled.compressions, once, found.kind is Kind.ONE_SOURCE, digest)
    if not read.genes:
        message = f"{found.file.path}: there is no gene in this file: leave it out"
        raise InputError(message)
    low = [gene for gene, digest in read.digests.items() if not digest.min > 0]
    if low:
        message = (
            f"{found.file.path}: {counted(len(low), 'gene')} with values not above 0, such as {listed(low, 3)}: these "
            "are no digests of non-zero normalised expression"
        )
        raise InputError(message)
    return read


def _content(path: str, size: int | None = None, whole: int = 0) -> bytes:
    try:
        if size is None or whole <= size:
            return storage.read_bytes(path)
        filesystem, inner = storage.resolve(path)
        with filesystem.open_input_stream(inner) as stream:
            return bytes(stream.read(size))
    except OSError as error:
        message = f"{path}: this file cannot be read ({error})"
        raise InputError(message) from error


def _provenance(path: str, metadata: dict[bytes, bytes]) -> dict[str, Any]:
    try:
        found = json.loads(metadata[b"median_spark"])
        version = found["format_version"]
    except (KeyError, ValueError, TypeError) as error:
        message = f"{path}: this is no digests.parquet of a result: it does not record where it comes from"
        raise TableError(message) from error
    if version != RESULT_FORMAT_VERSION:
        message = (
            f"{path}: this is of a result of format version {version}; this version of median_spark reads "
            f"{RESULT_FORMAT_VERSION}"
        )
        raise TableError(message)
    return dict(found)


def _read_result(path: str, content: bytes, head: FileHead, sha256: str) -> FileDigests:
    with _naming_faults(path):
        table = pq.read_table(pa.BufferReader(content)).combine_chunks().select(DIGESTS_SCHEMA.names)
        if not table.schema.equals(DIGESTS_SCHEMA):
            message = f"its columns are not those of digests.parquet: {table.schema.to_string()}"
            raise ValueError(message)
        if any(column.null_count for column in table.columns):
            message = "it holds nulls"
            raise ValueError(message)
        genes: list[str] = table["gene"].to_pylist()
        if len(set(genes)) < len(genes):
            message = "a gene stands in it twice"
            raise ValueError(message)
        digests = dict(zip(genes, _digests(table), strict=True))
        if head.compression is not None:
            check_digests(list(digests.values()), head.compression)
    compressions = dict.fromkeys(genes, head.compression or 0.0)
    universe, n_sources = _beside(path, digests)
    if n_sources is None:
        several = len((head.provenance or {}).get("sources", [])) != 1
        return FileDigests(genes, digests, compressions, dict.fromkeys(genes, 1), not several, sha256)
    return FileDigests(universe, digests, compressions, n_sources, says_sources=True, sha256=sha256)


def _digests(table: pa.Table) -> list[Digest]:
    columns = [table[name].to_pylist() for name in ("n", "min", "max")]
    centroids = []
    for name in ("mean", "weight"):
        lists = table[name].combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        flat, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
        centroids.append([flat[begin:end] for begin, end in pairwise(offsets.tolist())])
    return [Digest(*digest) for digest in zip(*columns, *centroids, strict=True)]


def _beside(path: str, digests: dict[str, Digest]) -> tuple[list[str], dict[str, int] | None]:
    """Return the universe, and of how many sources each digest is, from the medians.parquet beside the digests."""
    location = storage.join(path.rsplit("/", 1)[0], "medians.parquet")
    if storage.stat(location) is None:
        return list(digests), None
    with _naming_faults(location):
        content = pa.BufferReader(_content(location))
        table = pq.read_table(content, columns=["gene", "n_cells", "n_sources"])
        genes: list[str] = table["gene"].to_pylist()
        cells = dict(zip(genes, table["n_cells"].to_pylist(), strict=True))
        if {gene: n for gene, n in cells.items() if n} != {gene: digest.n for gene, digest in digests.items()}:
            message = "it does not belong to the digests.parquet beside it: cells and values differ"
            raise ValueError(message)
    sources = dict(zip(genes, table["n_sources"].to_pylist(), strict=True))
    return genes, {gene: sources[gene] for gene in digests}


class _naming_faults:  # noqa: N801 (used as a statement)
    """Turn what a damaged Parquet file raises into one sentence that names it."""

    def __init__(self, location: str) -> None:
        self._location = location

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, KeyError, TypeError, IndexError, OSError, pa.ArrowException, DigestError)):
            message = f"{self._location}: this file cannot be read or is damaged ({error})"
            raise TableError(message) from error
