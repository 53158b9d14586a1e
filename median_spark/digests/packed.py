"""Digests in Arrow batches: what a sweep yields, what is shuffled, and what merging by gene yields."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from median_spark.digests.build import Digest, digest_values, sort_values, sorted_medians
from median_spark.digests.merge import medians_of, merge_digests, rank_error
from median_spark.errors import DigestError, MedianSparkError
from median_spark.expression import GeneBlock, SweepPlan, sweep
from median_spark.gene_values import GeneValues

PACKED_SCHEMA = pa.schema(
    [
        ("gene", pa.string()),
        ("bundle", pa.int32()),
        ("n", pa.int64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("centroids", pa.binary()),
        ("sources", pa.binary()),
        ("median", pa.float64()),
        ("rank_error", pa.float64()),
        ("error", pa.string()),
    ]
)
"""A digest of a gene; `centroids` as `pack` writes them, `sources` the numbers of its sources as ascending int32, and
where all of its values were at hand their `median` and the rank error of the digest's. A row with an `error` stands for
a sweep that could not read a part, and has nothing else."""

_MERGED_ROWS = 2_000


def digest_sweep(plan: SweepPlan, number: int, compression: float, *, exact: bool) -> Iterator[pa.RecordBatch]:
    """Read one sweep and digest every gene in it.

    Parameters
    ----------
    plan : SweepPlan
        All sweeps.
    number : int
        Which one.
    compression : float
        Of the digests.
    exact : bool
        Whether exact medians are taken, too, where the plan lets a sweep see all values of a gene.

    Yields
    ------
    pyarrow.RecordBatch
        Of `PACKED_SCHEMA`, genes ascending.
    """
    bundle = int(plan.bundle_of_sweep[number])
    try:
        for block in sweep(plan, number):
            yield digest_block(block, bundle, compression, exact=exact and plan.bundles == 1)
    except MedianSparkError as error:
        yield pa.RecordBatch.from_pylist([{"gene": "", "bundle": bundle, "error": error.text}], schema=PACKED_SCHEMA)


def digest_block(block: GeneBlock, bundle: int, compression: float, *, exact: bool) -> pa.RecordBatch:
    """Return the digest of every gene of a block, of `PACKED_SCHEMA`; its values are sorted in place."""
    runs = block.runs
    sort_values(runs)
    digests = digest_values(runs, compression)
    genes = len(digests)
    return pa.RecordBatch.from_pydict(
        {
            "gene": runs.genes,
            "bundle": np.full(genes, bundle, dtype=np.int32),
            "n": runs.lengths,
            "min": [digest.min for digest in digests],
            "max": [digest.max for digest in digests],
            "centroids": [pack(digest) for digest in digests],
            "sources": block.sources,
            "median": sorted_medians(runs) if exact else pa.nulls(genes, pa.float64()),
            "rank_error": _rank_errors(runs, digests) if exact else pa.nulls(genes, pa.float64()),
            "error": pa.nulls(genes, pa.string()),
        },
        schema=PACKED_SCHEMA,
    )


def _rank_errors(runs: GeneValues, digests: list[Digest]) -> list[float]:
    """Return how far the digests' medians are from the middle ranks of the sorted values that they were made of."""
    errors = []
    for place, (digest, estimate) in enumerate(zip(digests, medians_of(digests).tolist(), strict=True)):
        values = runs.run(place)
        below, up_to = values.searchsorted(estimate, side="left"), values.searchsorted(estimate, side="right")
        errors.append(rank_error(int(below), int(up_to), digest.n))
    return errors


def merge_batches(batches: Iterator[pa.RecordBatch], compression: float) -> Iterator[pa.RecordBatch]:
    """Merge the digests of each gene in the order in which they come.

    Parameters
    ----------
    batches : iterator of pyarrow.RecordBatch
        Of `PACKED_SCHEMA`, ascending by gene, and of a gene in a fixed order, such as that of bundles; a gene may reach
        over several batches.
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
    columns = np.frombuffer(packed, dtype="<f8")
    half = len(columns) // 2
    return Digest(n, low, high, columns[:half], columns[half:])


def count_sources(packed: bytes) -> int:
    """Return how many sources a packed list of sources holds."""
    return len(packed) // 4


def unpack_table(table: pa.Table) -> tuple[list[Digest], list[int]]:
    """Return the digests of a table of `PACKED_SCHEMA`, and of how many sources each is.

    Raises
    ------
    DigestError
        See `unpack`.
    """
    fields = (table[name].to_pylist() for name in ("n", "min", "max", "centroids"))
    digests = [unpack(*row) for row in zip(*fields, strict=True)]
    return digests, [count_sources(packed) for packed in table["sources"].to_pylist()]


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()


def _merged_row(gene: str, digests: list[Digest], sources: list[bytes], compression: float) -> dict[str, object]:
    held = [digest for digest in digests if digest.n] or digests[:1]
    digest = merge_digests(held, compression)
    numbers = np.unique(np.frombuffer(b"".join(sources), dtype="<i4"))
    return {
        "gene": gene,
        "bundle": 0,
        "n": digest.n,
        "min": digest.min,
        "max": digest.max,
        "centroids": pack(digest),
        "sources": numbers.tobytes(),
    }
