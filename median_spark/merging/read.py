"""Reading one file of digests, of whichever kind, into the same shape, and rejecting what cannot be merged."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pyarrow as pa

from median_spark import storage
from median_spark.digests import Digest, check_digests
from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import DigestError, InputError, TableError, counted, listed
from median_spark.merging.find import DigestFile, Kind
from median_spark.results import (
    DIGESTS_SCHEMA,
    Provenance,
    RecordedSource,
    check_format_version,
    decode_sources,
    is_in_file,
    layout,
)

_BEGINNING = 2**18  # bytes of a pickle that hold its first digest, whatever its compression


@dataclass(frozen=True)
class FileHead:
    """What is known of a file of digests before it is read."""

    compression: float | None  # of its digests, or of the first of them; None if there are none
    provenance: Provenance | None  # of a result

    @property
    def sources(self) -> Sequence[RecordedSource]:
        """The sources of a result."""
        return self.provenance.sources if self.provenance else ()


@dataclass(frozen=True)
class FileDigests:
    """What a file of digests holds; all but `genes` are of the detected ones."""

    genes: list[str]  # detected or not
    digests: dict[str, Digest]
    compressions: dict[str, float]
    n_sources: dict[str, int]  # sources with a value, or 1 where the file does not say
    says_sources: bool  # the file says `n_sources`
    sha256: str  # of the file's content


def read_head(file: DigestFile) -> FileHead:
    """Look at a file of digests without reading all of it.

    Raises InputError if it cannot be read or is not a pickle of digests, TableError if it is not a digests.parquet of
    this format version, or damaged.
    """
    path = file.file.path
    if file.kind is not Kind.RESULT:
        return FileHead(first_compression(_content(path, _BEGINNING, file.file.size), path), None)
    with _naming_faults(path):
        table = storage.with_retries(path, partial(_compressions, path))
    provenance = _provenance(path, table.schema.metadata or {})
    compressions = sorted(set(table["compression"].to_pylist()))
    if len(compressions) > 1:
        message = f"{path}: its digests must have one compression, not {listed([str(c) for c in compressions])}"
        raise TableError(message)
    return FileHead(compressions[0] if compressions else None, provenance)


def read_digests(file: DigestFile, head: FileHead) -> FileDigests:
    """Read a file of digests and check every one of them.

    Raises InputError if it cannot be read, is not a pickle of digests, or if a digest has values not above 0;
    TableError if it is a damaged digests.parquet.
    """
    path = file.file.path
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    if file.kind is Kind.RESULT:
        read = _read_result(path, content, head, sha256)
    else:
        pickled = unpickle_digests(content, path)
        genes = [*pickled.digests, *pickled.undetected]
        once = dict.fromkeys(pickled.digests, 1)
        read = FileDigests(genes, pickled.digests, pickled.compressions, once, file.kind is Kind.ONE_SOURCE, sha256)
    if not read.genes:
        message = f"{path}: there is no gene in this file: leave it out"
        raise InputError(message)
    low = [gene for gene, digest in read.digests.items() if not digest.min > 0]
    if low:
        message = (
            f"{path}: {counted(len(low), 'gene')} with values not above 0, such as {listed(low, 3)}: these "
            "are no digests of non-zero normalised expression"
        )
        raise InputError(message)
    return read


def _content(path: str, size: int | None = None, whole: int = 0) -> bytes:
    """Return a file's bytes: the first `size`, if they are given and the whole file has more."""
    try:
        if size is None or whole <= size:
            return storage.read_bytes(path)
        filesystem, inner = storage.resolve(path)
        with filesystem.open_input_stream(inner) as stream:
            return bytes(stream.read(size))
    except OSError as error:
        message = f"{path}: this file cannot be read ({error})"
        raise InputError(message) from error


def _compressions(path: str) -> pa.Table:
    filesystem, inner = storage.resolve(path)
    with filesystem.open_input_file(inner) as stream:
        return storage.read_parquet(stream, ["compression"])


def _provenance(path: str, metadata: dict[bytes, bytes]) -> Provenance:
    try:
        document = json.loads(metadata[b"median_spark"])
        version = document["format_version"]
    except (KeyError, ValueError, TypeError) as error:
        message = f"{path}: this is no digests.parquet of a result: it does not record where it comes from"
        raise TableError(message) from error
    check_format_version(version, f"{path}: this is of a result of")
    sources = None
    if is_in_file(document):
        with _naming_faults(path):
            content = base64.b64decode(metadata[layout.SOURCES_KEY.encode()])
        sources = decode_sources(pa.py_buffer(content), document, f"{path}: its record of sources")
    return Provenance.from_json(document, f"{path}: its record of where it comes from", sources)


def _read_result(path: str, content: bytes, head: FileHead, sha256: str) -> FileDigests:
    with _naming_faults(path):
        table = storage.read_parquet(content, DIGESTS_SCHEMA.names).combine_chunks()
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
        once = dict.fromkeys(genes, 1)
        return FileDigests(genes, digests, compressions, once, len(head.sources) == 1, sha256)
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
    location = storage.join(path.rsplit("/", 1)[0], layout.MEDIANS)
    if storage.stat(location) is None:
        return list(digests), None
    with _naming_faults(location):
        table = storage.read_parquet(_content(location), ["gene", "n_cells", "n_sources"])
        genes: list[str] = table["gene"].to_pylist()
        cells = dict(zip(genes, table["n_cells"].to_pylist(), strict=True))
        if {gene: n for gene, n in cells.items() if n} != {gene: digest.n for gene, digest in digests.items()}:
            message = "it does not belong to the digests.parquet beside it: cells and values differ"
            raise ValueError(message)
    sources = dict(zip(genes, table["n_sources"].to_pylist(), strict=True))
    return genes, {gene: sources[gene] for gene in digests}


@contextlib.contextmanager
def _naming_faults(location: str) -> Iterator[None]:
    """Turn what a damaged Parquet file raises into one sentence that names it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, OSError, pa.ArrowException, DigestError) as error:
        message = f"{location}: this file cannot be read or is damaged ({error})"
        raise TableError(message) from error
