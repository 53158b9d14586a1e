"""Digests in Arrow batches: what a digest task emits, what is shuffled, and what merging by gene yields."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from median_spark.digests.build import Digest, digest_runs
from median_spark.digests.merge import merge_digests
from median_spark.errors import DigestError, MedianSparkError
from median_spark.expression import DigestPlan, read_runs
from median_spark.runs import GeneRuns, join_runs

PACKED_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("task", pa.int32()),
        ("n", pa.int64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("centroids", pa.binary()),
        ("sources", pa.binary()),
        ("error", pa.string()),
    ]
)
"""A digest of a gene; `centroids` as `pack` writes them, `sources` the numbers of its sources as ascending int32. A row
with an `error` stands for a task that could not read its part, and has nothing else."""

_MERGED_ROWS = 2_000


def digest_task(plan: DigestPlan, number: int, compression: float) -> pa.RecordBatch:
    """Read the row groups of one task and digest every gene in them.

    Parameters
    ----------
    plan : DigestPlan
        All tasks.
    number : int
        Which one.
    compression : float
        Of the digests.

    Returns
    -------
    pyarrow.RecordBatch
        Of `PACKED_SCHEMA`, genes ascending.
    """
    try:
        runs, sources = [], []
        for location, source, row_groups, rows in plan.task(number):
            runs.append(read_runs(location, row_groups, rows))
            sources.append(source)
        joined = join_runs(runs)
        digests = digest_runs(joined, compression)
    except MedianSparkError as error:
        return pa.RecordBatch.from_pylist([{"gene": "", "task": number, "error": str(error)}], schema=PACKED_SCHEMA)
    return pa.RecordBatch.from_pydict(
        {
            "gene": joined.genes,
            "task": np.full(len(digests), number, dtype=np.int32),
            "n": [digest.n for digest in digests],
            "min": [digest.min for digest in digests],
            "max": [digest.max for digest in digests],
            "centroids": [pack(digest) for digest in digests],
            "sources": _sources_by_gene(joined.genes, runs, sources),
            "error": pa.nulls(len(digests), pa.string()),
        },
        schema=PACKED_SCHEMA,
    )


def merge_batches(batches: Iterator[pa.RecordBatch], compression: float) -> Iterator[pa.RecordBatch]:
    """Merge the digests of each gene in the order of tasks.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Of `PACKED_SCHEMA`, ascending by gene and task; a gene may reach over several batches.
    compression : float
        Of the result.

    Yields
    ------
    pyarrow.RecordBatch
        Of `PACKED_SCHEMA`, each gene once; rows with an error pass through.
    """
    merged: list[dict[str, object]] = []
    gene = ""
    digests: list[Digest] = []
    sources: list[bytes] = []
    for row in _rows(batches):
        if row["error"] is not None:
            merged.append(row)
            continue
        if row["gene"] != gene and digests:
            merged.append(_merged_row(gene, digests, sources, compression))
            digests, sources = [], []
            if len(merged) >= _MERGED_ROWS:
                yield pa.RecordBatch.from_pylist(merged, schema=PACKED_SCHEMA)
                merged = []
        gene = row["gene"]
        digests.append(unpack(row["n"], row["min"], row["max"], row["centroids"]))
        sources.append(row["sources"])
    if digests:
        merged.append(_merged_row(gene, digests, sources, compression))
    if merged:
        yield pa.RecordBatch.from_pylist(merged, schema=PACKED_SCHEMA)


def pack(digest: Digest) -> bytes:
    """Return the centroids as bytes: all means, then all weights, float64 little-endian."""
    return np.concatenate([digest.means, digest.weights]).astype("<f8").tobytes()


def unpack(n: int, low: float, high: float, packed: bytes) -> Digest:
    """Return a digest from what `pack` wrote and its n, min and max.

    Raises
    ------
    DigestError
        If the bytes are not two equal columns of float64.
    """
    if len(packed) % 16:
        message = f"packed centroids must be pairs of float64, 16 bytes each; there are {len(packed)} bytes"
        raise DigestError(message)
    columns = np.frombuffer(packed, dtype="<f8").astype(np.float64).reshape(2, -1)
    return Digest(n, low, high, columns[0], columns[1])


def count_sources(packed: bytes) -> int:
    """Return how many sources a packed list of sources holds."""
    return len(packed) // 4


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _merged_row(gene: str, digests: list[Digest], sources: list[bytes], compression: float) -> dict[str, object]:
    digest = merge_digests(digests, compression)
    numbers = np.unique(np.frombuffer(b"".join(sources), dtype="<i4"))
    return {
        "gene": gene,
        "task": 0,
        "n": digest.n,
        "min": digest.min,
        "max": digest.max,
        "centroids": pack(digest),
        "sources": numbers.tobytes(),
    }


def _sources_by_gene(genes: npt.NDArray[np.str_], runs: list[GeneRuns], sources: list[int]) -> list[bytes]:
    """Return the numbers of the sources that have each gene, ascending, as bytes of int32."""
    gene_of_pair = np.concatenate([np.searchsorted(genes, part.genes) for part in runs])
    source_of_pair = np.repeat(np.array(sources, dtype=np.int64), [len(part.genes) for part in runs])
    width = max(sources) + 1
    pairs = np.unique(gene_of_pair * width + source_of_pair)
    numbers = (pairs % width).astype("<i4")
    bounds = np.searchsorted(pairs // width, np.arange(len(genes) + 1)).tolist()
    return [numbers[begin:end].tobytes() for begin, end in pairwise(bounds)]
